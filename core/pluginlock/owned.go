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

// MaxTree is the number of files and directories that CheckTree looks at.
const MaxTree = 20_000

// CheckTree refuses a directory in which others than this user and root may
// change anything, at any depth, or which they may replace. It looks at every
// entry each time and follows no link. A tree of more than MaxTree entries is
// refused. Its errors name the file.
func CheckTree(dir string) error {
	if parent, err := os.Stat(filepath.Dir(dir)); err != nil {
		return err
	} else if parent.Mode()&fs.ModeSticky == 0 { // where everybody may replace only what is theirs
		if err := CheckOwned(parent); err != nil {
			return fmt.Errorf("the directory %q %w", filepath.Dir(dir), err)
		}
	}
	n := 0
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > MaxTree {
			return fmt.Errorf("%q has more than %d files, more than can be checked; leave out what the plugin does not need", dir, MaxTree)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			info = bareLink{info} // the mode of a link says nothing
		}
		if err := CheckOwned(info); err != nil {
			return fmt.Errorf("%q %w", path, err)
		}
		return nil
	})
}

// bareLink is a symbolic link without its mode.
type bareLink struct{ fs.FileInfo }

func (bareLink) Mode() fs.FileMode { return fs.ModeSymlink }

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

// openIn is open for the file name in the directory of a plugin. A link may lead
// to another file in there, never out of it: what is outside the author does not
// give, and the plugin would read it with the operator's rights.
func openIn(dir *os.Root, name string) (*os.File, error) {
	path := filepath.Join(dir.Name(), filepath.FromSlash(name))
	f, err := dir.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, lerr := os.Lstat(path); lerr == nil && info.Mode()&fs.ModeSymlink != 0 && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%s is a symbolic link that does not stay in the plugin's directory; put the file itself there, or link to it by a relative path inside", path)
		}
		return nil, err
	}
	if info, serr := f.Stat(); serr == nil && info.IsDir() {
		err = fmt.Errorf("%s is a symbolic link to a directory; put the directory itself there", path)
	} else {
		err = checkOpened(f, path)
	}
	if err != nil {
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
