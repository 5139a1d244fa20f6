package pluginlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// CheckDir refuses a plugins directory that somebody else could put a program
// into. Its errors name the directory.
func CheckDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("plugin directory %q: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("plugin directory %q is not a directory", dir)
	}
	if err := CheckOwned(info); err != nil {
		return fmt.Errorf("plugin directory %q %w", dir, err)
	}
	return nil
}

// CheckOwned refuses what others than this user and root may change. Its
// errors go on after the name of the thing.
func CheckOwned(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("has no owner that could be checked")
	}
	if perm := info.Mode().Perm(); perm&0o002 != 0 {
		return fmt.Errorf("is writable by everybody (mode %04o): whoever can change it can run programs as the gateway; run chmod o-w", perm)
	} else if perm&0o020 != 0 && int(st.Gid) != os.Getegid() {
		return fmt.Errorf("is writable by another group (mode %04o): run chmod g-w", perm)
	}
	if uid := int(st.Uid); uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("belongs to user %d, who is neither root nor the gateway's user", uid)
	}
	return nil
}

// open opens a regular file that only its owner can change, through a symbolic
// link too when it leads to a directory that only its owner can change. Its
// errors name the file.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not make it wait
	if err != nil {
		return nil, err
	}
	if err := checkOpened(f, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkOpened(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if err := CheckOwned(info); err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if real == path {
		return nil // its directory was checked
	}
	return CheckDir(filepath.Dir(real))
}
