package pluginlock

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Verify checks that every file of p below root is the one that was added. Files
// whose stamp is known are not read again. A file that differs gives a *Changed.
func (p *Plugin) Verify(root string) error {
	return p.each(root, func(name, file string, open func() (*os.File, error)) error {
		if info, err := os.Lstat(file); err == nil && info.Mode().IsRegular() && CheckOwned(info) == nil {
			if sum, ok := sums.find(StampOf(info)); ok && sum == p.Files[name] {
				return nil
			}
		}
		f, err := open()
		if err != nil {
			return p.missing(root, name, err)
		}
		defer f.Close()
		sum, _, err := Sum(f)
		return p.compare(root, name, sum, err)
	})
}

// Open opens the main file of p below root and checks it: what is read from, or
// executed by, the file that is returned is what was added, for as long as
// Unchanged finds nothing wrong with its stamp.
func (p *Plugin) Open(root string) (*os.File, Stamp, error) {
	f, err := open(filepath.Join(root, filepath.FromSlash(p.Main)))
	if err != nil {
		return nil, Stamp{}, p.missing(root, p.Main, err)
	}
	sum, stamp, err := Sum(f)
	if err := p.compare(root, p.Main, sum, err); err != nil {
		f.Close()
		return nil, Stamp{}, err
	}
	return f, stamp, nil
}

// Copy copies the files of p from root to the directory dest, which must not
// hold them yet. Each is checked while it is copied: what dest has when there is
// no error is what was added, whatever happens below root at the same time.
func (p *Plugin) Copy(root, dest string) error {
	return p.each(root, func(name, _ string, open func() (*os.File, error)) error {
		f, err := open()
		if err != nil {
			return p.missing(root, name, err)
		}
		defer f.Close()
		to := filepath.Join(dest, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		sum, err := copyTo(to, f)
		return p.compare(root, name, sum, err)
	})
}

func copyTo(to string, f *os.File) (digest string, err error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	mode := fs.FileMode(0o644)
	if info.Mode().Perm()&0o111 != 0 {
		mode = 0o755
		// A program that a child process, forked meanwhile, has open for
		// writing cannot be executed.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return "", err
	}
	digest, _, err = sum(f, w)
	return digest, errors.Join(err, w.Close())
}

// each calls f for every file of p in order, after it has checked the
// directories that the files are in. open follows no link out of the directory
// of a plugin that is one.
func (p *Plugin) each(root string, f func(name, file string, open func() (*os.File, error)) error) error {
	dir, prefix := root, ""
	var own *os.Root
	if top := p.Dir(); top != "" {
		real, err := realDir(filepath.Join(root, top))
		if err != nil {
			return p.missing(root, top, err)
		}
		if own, err = os.OpenRoot(real); err != nil {
			return p.missing(root, top, err)
		}
		defer own.Close()
		dir, prefix = real, top+"/"
	}
	checked := map[string]bool{".": true}
	for _, name := range slices.Sorted(maps.Keys(p.Files)) {
		inside := strings.TrimPrefix(name, prefix)
		for up := path.Dir(inside); !checked[up]; up = path.Dir(up) {
			checked[up] = true
			if err := checkSubdir(filepath.Join(dir, filepath.FromSlash(up))); err != nil {
				return p.missing(root, name, err)
			}
		}
		file := filepath.Join(dir, filepath.FromSlash(inside))
		err := f(name, file, func() (*os.File, error) {
			if own != nil {
				return openIn(own, inside)
			}
			return open(file)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Plugin) compare(root, name, sum string, err error) error {
	switch {
	case err != nil:
		return err
	case sum != p.Files[name]:
		return p.changed(root, name, "was changed")
	}
	return nil
}
