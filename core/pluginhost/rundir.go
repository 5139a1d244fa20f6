package pluginhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	socketPath = 104 // longest path of a unix socket, with its closing zero byte: 104 on macOS, 108 on Linux
	insideRun  = 64  // what processes and go-plugin append to the run directory
	ownerFile  = "owner"
	strayAge   = time.Minute // a directory without owner file may be one that is being made
)

// runDir is the private directory of one gateway process: sockets and
// temporary files of its plugins. A lock on the file "owner" inside says that
// the gateway lives; who finds the lock free removes the directory.
type runDir struct {
	path string
	lock *os.File

	mu   sync.Mutex
	next int
}

// newRunDir removes what dead gateways left under base, and makes a new run
// directory there.
func newRunDir(base string) (*runDir, error) {
	if base == "" {
		base = os.TempDir()
		if len(base)+insideRun > socketPath {
			base = "/tmp"
		}
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	prefix := "sp-" + strconv.Itoa(os.Getuid()) + "-"
	if n := len(base) + insideRun; n > socketPath {
		return nil, fmt.Errorf("run directory %q: path is too long for unix sockets: at most %d bytes", base, socketPath-insideRun)
	}
	sweep(base, prefix)
	for range 20 { // a sweeping gateway, or several, may take a new directory for a stray one
		path, err := os.MkdirTemp(base, prefix)
		if err != nil {
			return nil, fmt.Errorf("run directory: %w", err)
		}
		lock, err := os.OpenFile(filepath.Join(path, ownerFile), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err == nil {
			if _, err = os.Stat(lock.Name()); err == nil {
				return &runDir{path: path, lock: lock}, nil
			}
		}
		if lock != nil {
			lock.Close()
		}
		os.RemoveAll(path)
	}
	return nil, fmt.Errorf("run directory: %q could not be locked", base)
}

// process makes a directory for one process.
func (d *runDir) process() (string, error) {
	d.mu.Lock()
	d.next++
	path := filepath.Join(d.path, strconv.Itoa(d.next))
	d.mu.Unlock()
	return path, os.Mkdir(path, 0o700)
}

func (d *runDir) close() error {
	defer d.lock.Close()
	return os.RemoveAll(d.path)
}

// sweep removes the run directories of this user whose gateway is dead. What
// cannot be removed stays: it is in nobody's way.
func sweep(base, prefix string) {
	dirs, _ := filepath.Glob(filepath.Join(base, prefix+"*"))
	for _, dir := range dirs {
		if lock, ok := stray(dir); ok {
			os.RemoveAll(dir)
			lock.Close() // not before: who waits for it must see that the directory is gone
		}
	}
}

// stray reports whether nobody owns dir, and holds its lock, if there is one.
func stray(dir string) (lock *os.File, ok bool) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || ownerOf(info) != os.Getuid() {
		return nil, false
	}
	lock, err = os.OpenFile(filepath.Join(dir, ownerFile), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, time.Since(info.ModTime()) > strayAge
	}
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, false
	}
	return lock, true
}

func ownerOf(info os.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
