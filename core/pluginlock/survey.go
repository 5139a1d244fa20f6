package pluginlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Survey hashes the files of the plugin whose main file is main below root, by
// their slash-separated paths below root. What Excluded names is left out. It
// refuses what a plugin may not be made of: the data of a gateway, files that
// others can change, links to directories and out of the plugin's own, pipes,
// sockets and devices, and more or larger ones than the limits.
func Survey(root, main string) (map[string]string, error) {
	s := survey{root: root, files: make(map[string]string)}
	if dir, _, ok := strings.Cut(main, "/"); ok {
		real, err := realDir(filepath.Join(root, dir))
		if err != nil {
			return nil, err
		}
		if s.dir, err = os.OpenRoot(real); err != nil {
			return nil, err
		}
		defer s.dir.Close()
		if err := s.walk(dir, "."); err != nil {
			return nil, err
		}
	} else if err := s.file(main); err != nil {
		return nil, err
	}
	if s.files[main] == "" {
		return nil, fmt.Errorf("%s: there is no such file", filepath.Join(root, filepath.FromSlash(main)))
	}
	return s.files, nil
}

// Excluded reports whether a file or directory of this name is no part of a
// plugin: what tools leave behind, and a virtual environment, which works only
// where it was made.
func Excluded(name string) bool {
	return slices.Contains([]string{".venv", "venv", "__pycache__", ".git", ".pytest_cache"}, name) || strings.HasSuffix(name, ".pyc")
}

// survey is a Survey under way.
type survey struct {
	root  string
	dir   *os.Root // of a plugin that is a directory
	files map[string]string
	total int64
}

// walk adds what is in the directory inside of the plugin's, called name below
// the root.
func (s *survey) walk(name, inside string) error {
	dir := filepath.Join(s.dir.Name(), filepath.FromSlash(inside))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if what := gatewayData(entries); what != "" {
		return &DataError{Dir: dir, What: what}
	}
	for _, e := range entries {
		if Excluded(e.Name()) {
			continue
		}
		below, in, file := path.Join(name, e.Name()), path.Join(inside, e.Name()), filepath.Join(dir, e.Name())
		if e.IsDir() {
			if err := checkSubdir(file); err != nil {
				return err
			}
			if err := s.walk(below, in); err != nil {
				return err
			}
			continue
		}
		if err := checkPath(below); err != nil {
			return fmt.Errorf("%q %w", file, err)
		}
		if what := special(e.Type()); what != "" {
			return fmt.Errorf("%s is %s, and a plugin is made of files alone; move it out of the plugin's directory", file, what)
		}
		f, err := openIn(s.dir, in)
		if err != nil {
			return err
		}
		if err := s.add(below, f); err != nil {
			return err
		}
	}
	return nil
}

// DataError is the error of a plugin with the data of a gateway in its
// directory: the plugin would read it, the administrator's token too.
type DataError struct {
	Dir  string // the gateway's directory
	What string // what it is
}

func (e *DataError) Error() string {
	return fmt.Sprintf("%s is %s (by what is in it) and no part of a plugin, which could read all of it: keep the configuration and its data outside the plugin's directory", e.Dir, e.What)
}

// gatewayData says what directory of a gateway the entries are of, "" for none.
// Every gateway that was started once has made the file admin-token and state.db
// beside log, unless the configuration puts these two elsewhere; one that runs
// has control.sock.
func gatewayData(entries []fs.DirEntry) string {
	has := make(map[string]bool)
	for _, e := range entries {
		switch name := e.Name(); name {
		case "log":
			has[name] = e.IsDir()
		case "control.sock":
			has[name] = e.Type()&fs.ModeSocket != 0
		case "admin-token", "state.db", FileName:
			has[name] = !e.IsDir()
		}
	}
	switch {
	case has["admin-token"], has["control.sock"], has["state.db"] && has["log"]:
		return "the data directory of a gateway"
	case has[FileName]:
		return "a directory of plugins"
	}
	return ""
}

// special names what is neither a file, nor a directory, nor a link; "" for
// those.
func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeIrregular != 0:
		return "no regular file"
	}
	return ""
}

// file adds a plugin of one file, which may be a link.
func (s *survey) file(name string) error {
	file := filepath.Join(s.root, name)
	if err := checkPath(name); err != nil {
		return fmt.Errorf("%q %w", file, err)
	}
	f, err := open(file)
	if err != nil {
		return err
	}
	return s.add(name, f)
}

// add adds an open file and closes it.
func (s *survey) add(name string, f *os.File) error {
	defer f.Close()
	if len(s.files) == MaxFiles {
		return fmt.Errorf("%s has more than %d files", filepath.Join(s.root, path.Dir(name)), MaxFiles)
	}
	sum, stamp, err := Sum(f)
	if err != nil {
		return err
	}
	if s.total += stamp.Size; s.total > MaxTotal {
		return fmt.Errorf("%s: its files are longer than %d MiB together", filepath.Join(s.root, path.Dir(name)), MaxTotal>>20)
	}
	s.files[name] = sum
	return nil
}

// realDir finds the directory of a plugin, which may be a symbolic link, and
// checks that only its owner can change it.
func realDir(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if real != dir {
		if err := CheckDir(filepath.Dir(real)); err != nil {
			return "", err
		}
	}
	return real, checkSubdir(real)
}

// checkSubdir checks a directory inside a plugin, which must be one itself.
func checkSubdir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := CheckOwned(info); err != nil {
		return fmt.Errorf("the directory %s %w", dir, err)
	}
	return nil
}

// Changed is the error of a file that is not what was added.
type Changed struct {
	Plugin string // path of the plugin's file or directory
	File   string // path of the file that differs
	What   string // "was changed", "is gone"
}

func (e *Changed) Error() string {
	return fmt.Sprintf("%s %s since it was added; compare it with what you added, and add the original again to put it back. Only if the change is yours: sallyport plugin add %s --to %s. Then: sallyport reload",
		e.File, e.What, e.Plugin, filepath.Dir(e.Plugin))
}

func (p *Plugin) changed(root, name, what string) error {
	return &Changed{Plugin: filepath.Join(root, p.Top()), File: filepath.Join(root, filepath.FromSlash(name)), What: what}
}

// missing turns the error of opening a file of p into a Changed when the file
// is gone.
func (p *Plugin) missing(root, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return p.changed(root, name, "is gone")
	}
	return err
}
