package pluginlock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockWait is how long Update waits for another one to finish.
const lockWait = 30 * time.Second

// Update changes the list of a plugins directory: change gets what it is now,
// and when it returns nil the result is written, whole or not at all. One Update
// of a directory runs at a time, also among processes, so none is lost.
func Update(dir string, change func(*Lock) error) error {
	if err := CheckDir(dir); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // and with it the lock
	if err := exclusive(d); err != nil {
		return err
	}
	l, err := Read(dir)
	if err != nil {
		return err
	}
	before, err := l.encode()
	if err != nil {
		return err
	}
	if err := change(l); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, FileName), err)
	}
	after, err := l.encode()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, FileName)
	if _, err := os.Lstat(file); err == nil && bytes.Equal(before, after) {
		return nil
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	return replaceFile(file, after, d)
}

// exclusive takes the lock of the directory d.
func exclusive(d *os.File) error {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("plugin directory %q: lock: %w", d.Name(), err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("plugin directory %q has been locked by another command for %s", d.Name(), lockWait)
		}
	}
}

func (l *Lock) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(l)
	return b.Bytes(), err
}

// replaceFile writes a file of the directory d so that a reader sees the old or
// the new one, whatever happens.
func replaceFile(path string, content []byte, d *os.File) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+FileName+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return d.Sync()
}
