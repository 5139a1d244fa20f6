package wasi

import (
	"errors"
	"fmt"
	"io/fs"
)

// What the host does with a session's files, on the session's goroutine.

// Show makes exactly the given files visible below "data"; each must be one
// that the file system was made with.
func (f *FS) Show(files map[string][]byte) {
	data := f.root.children["data"]
	clear(data.children)
	for name := range files {
		if n := f.data[name]; n != nil {
			data.children[name] = n
		}
	}
}

// NewRun starts a new execution: Written will list what changes from now on.
func (f *FS) NewRun() { f.run++ }

// Written is a file that the current execution wrote.
type Written struct {
	Name string // below tmp
	Size int64
}

// maxWritten bounds the list of Written.
const maxWritten = 100

// Written lists the files in tmp that the current execution wrote, in order of
// their names, at most 100.
func (f *FS) Written() []Written {
	var out []Written
	f.written(f.tmp, "", &out)
	return out
}

func (f *FS) written(dir *node, prefix string, out *[]Written) {
	if len(prefix) > maxPath {
		return
	}
	for _, name := range dir.names() {
		n := dir.children[name]
		switch {
		case len(*out) == maxWritten:
			return
		case n.dir:
			f.written(n, prefix+name+"/", out)
		case n.run == f.run:
			*out = append(*out, Written{prefix + name, n.size})
		}
	}
}

// ReadFile copies a file. The error is fs.ErrNotExist when there is none.
func (f *FS) ReadFile(path string) ([]byte, error) {
	n, _, _, errno := f.walk(f.root, path)
	switch {
	case errno != 0 || n == nil:
		return nil, fmt.Errorf("file %q: %w", path, fs.ErrNotExist)
	case n.dir:
		return nil, fmt.Errorf("file %q is a directory", path)
	}
	return n.contents(), nil
}

// ErrFull says that a file does not fit into the scratch directory.
var ErrFull = errors.New("the scratch directory is full")

// WriteFile writes a file below tmp, which is made or replaced.
func (f *FS) WriteFile(path string, b []byte) error {
	h, errno := f.open(f.root, path, oCreate|oTruncate, false, true, false)
	if errno == 0 {
		defer f.close(h)
		if errno = f.truncate(h.n, int64(len(b))); errno == 0 {
			_, errno = f.writeAt(h.n, b, 0)
		}
	}
	switch {
	case errno == ENOSPC:
		return fmt.Errorf("file %q: %w", path, ErrFull)
	case errno != 0:
		return fmt.Errorf("file %q: error %d", path, errno)
	}
	return nil
}

// Used is what the scratch directory holds now: bytes charged, and files and
// directories.
func (f *FS) Used() (bytes int64, inodes int) { return f.bytes, f.inodes }
