package delta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
)

// Dir is the Storage of a table in a directory of a local file system. The
// directory is held open: when it is removed or replaced, every method fails
// with an error that says so, and nothing is written to its successor. Links
// inside it are not followed.
//
// Files are written to a temporary name beside them, flushed, and then linked
// or renamed, so a crash leaves a temporary file at most; Vacuum and CleanLog
// remove those. The file system must have hard links.
type Dir struct {
	path string
	root *os.Root
}

var _ Storage = (*Dir)(nil)

const tempPrefix = ".tmp-"

// OpenDir opens an existing directory. Close it.
func OpenDir(dir string) (*Dir, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	return &Dir{path: abs, root: root}, nil
}

// MakeDir opens a directory and makes it first if it does not exist, with mode
// 0755, together with its parents.
func MakeDir(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	if parent, err := os.Open(filepath.Dir(filepath.Clean(dir))); err == nil {
		parent.Sync() // the new name; some file systems cannot, and a later fsync tells of real trouble
		parent.Close()
	}
	return OpenDir(dir)
}

// Close gives the directory's descriptor back.
func (d *Dir) Close() error { return d.root.Close() }

// Path is the directory, absolute.
func (d *Dir) Path() string { return d.path }

func (d *Dir) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := d.check(ctx, name); err != nil {
		return err
	}
	tmp := path.Join(path.Dir(name), tempPrefix+uuid.NewString())
	if err := d.writeTemp(ctx, tmp, strings.NewReader(string(data))); err != nil {
		return d.explain(name, err)
	}
	err := d.root.Link(tmp, name)
	if errors.Is(err, fs.ErrExist) && d.same(tmp, name) {
		err = nil // the link was made and the answer was lost, as on NFS
	}
	switch {
	case err == nil:
		err = d.syncDir(path.Dir(name))
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		// Link without a reason that other calls share: the wrapped error is cut
		// off so that it is not taken for missing rights.
		err = fmt.Errorf("the file system has no hard links, which commits need: %v", err)
	}
	d.root.Remove(tmp)
	return d.explain(name, err)
}

// makeLog makes the directory of the log, which PutIfAbsent never does: a
// commit must not bring back a table that was deleted.
func (d *Dir) makeLog() error { return d.explain(logDir, d.mkdir(logDir)) }

func (d *Dir) Put(ctx context.Context, name string, r io.Reader) error {
	if err := d.check(ctx, name); err != nil {
		return err
	}
	dir := path.Dir(name)
	if err := d.mkdir(dir); err != nil {
		return d.explain(name, err)
	}
	tmp := path.Join(dir, tempPrefix+uuid.NewString())
	if err := d.writeTemp(ctx, tmp, r); err != nil {
		return d.explain(name, err)
	}
	if err := d.root.Rename(tmp, name); err != nil {
		d.root.Remove(tmp)
		return d.explain(name, err)
	}
	return d.explain(name, d.syncDir(dir))
}

func (d *Dir) Open(ctx context.Context, name string) (Object, error) {
	if err := d.check(ctx, name); err != nil {
		return nil, err
	}
	if err := d.plain(name); err != nil {
		return nil, d.explain(name, err)
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, d.explain(name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotFile
	}
	if err != nil {
		f.Close()
		return nil, d.explain(name, err)
	}
	return object{f, info.Size()}, nil
}

// plain refuses a name that is a link or lies behind one.
func (d *Dir) plain(name string) error {
	for at := 0; ; {
		i := strings.IndexByte(name[at:], '/')
		part := name
		if i >= 0 {
			part = name[:at+i]
		}
		info, err := d.root.Lstat(part)
		if err != nil {
			return err
		}
		if i < 0 {
			if !info.Mode().IsRegular() {
				return errNotFile
			}
			return nil
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", part)
		}
		at += i + 1
	}
}

func (d *Dir) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if dir == "" {
			dir = "."
		}
		if err := d.check(ctx, dir); err != nil {
			yield(Entry{}, err)
			return
		}
		d.list(ctx, dir, yield)
	}
}

func (d *Dir) list(ctx context.Context, dir string, yield func(Entry, error) bool) bool {
	fail := func(err error) bool {
		yield(Entry{}, d.explain(dir, err))
		return false
	}
	if info, err := d.root.Lstat(dir); err != nil {
		return fail(err)
	} else if !info.IsDir() {
		return fail(errors.New("not a directory"))
	}
	f, err := d.root.Open(dir)
	if err != nil {
		return fail(err)
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return fail(err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		name := path.Join(dir, e.Name())
		switch {
		case e.IsDir():
			if !d.list(ctx, name, yield) {
				return false
			}
		case e.Type().IsRegular():
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone since
			}
			if err != nil {
				return fail(err)
			}
			if !yield(Entry{name, info.Size(), info.ModTime()}, nil) {
				return false
			}
		}
	}
	return true
}

// names lists dir alone. The error wraps syscall.ENOTDIR when dir is a link or
// a file.
func (d *Dir) names(ctx context.Context, dir string) ([]string, error) {
	if err := d.check(ctx, dir); err != nil {
		return nil, err
	}
	info, err := d.root.Lstat(dir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, d.explain(dir, err)
	}
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, d.explain(dir, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	return names, d.explain(dir, err)
}

func (d *Dir) Delete(ctx context.Context, name string) error {
	if err := d.check(ctx, name); err != nil {
		return err
	}
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.explain(name, err)
	}
	return nil
}

func (d *Dir) check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return fmt.Errorf("file %q is outside the table's directory", name)
	}
	return nil
}

// writeTemp makes the temporary file tmp of all that r has, on disk; or none.
func (d *Dir) writeTemp(ctx context.Context, tmp string, r io.Reader) (err error) {
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			d.root.Remove(tmp)
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.Sync()
}

// mkdir makes dir and what is missing above it, durably.
func (d *Dir) mkdir(dir string) error {
	if dir == "." {
		return nil
	}
	err := d.root.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if path.Dir(dir) == "." {
			return err // the table's own directory is gone
		}
		if err := d.mkdir(path.Dir(dir)); err != nil {
			return err
		}
		err = d.root.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		info, err := d.root.Lstat(dir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", dir)
		}
		return err
	}
	if err != nil {
		return err
	}
	return d.syncDir(path.Dir(dir))
}

func (d *Dir) syncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

func (d *Dir) same(a, b string) bool {
	x, err := d.root.Lstat(a)
	if err != nil {
		return false
	}
	y, err := d.root.Lstat(b)
	return err == nil && os.SameFile(x, y)
}

// explain says which file failed and, for errors an operator can mend, how.
func (d *Dir) explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) && d.gone():
		return fmt.Errorf("table directory %s was removed or replaced while the table was open: %w", d.path, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("file %s of table %s: no space is left; nothing was changed: %w", name, d.path, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("file %s of table %s: give this user write access: %w", name, d.path, err)
	}
	return fmt.Errorf("file %s of table %s: %w", name, d.path, err)
}

// gone reports whether the path no longer leads to the directory held open.
func (d *Dir) gone() bool {
	held, err := d.root.Stat(".")
	if err != nil {
		return true
	}
	now, err := os.Stat(d.path)
	return err != nil || !os.SameFile(held, now)
}

type object struct {
	*os.File
	size int64
}

func (o object) Size() int64 { return o.size }
