package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// blockBytes is how much is copied between two looks at the context.
const blockBytes = 1 << 20

// copied is what copyFile found while it copied.
type copied struct {
	size int64
	sum  string // SHA-256 in hexadecimal
}

// copyFile makes the file to, which must not exist, of the first size bytes of
// from, on disk. Size -1 is the whole file.
func copyFile(ctx context.Context, from, to string, size int64, mode fs.FileMode, modified time.Time, m *meter) (c copied, err error) {
	in, err := openPlain(from)
	if err != nil {
		return c, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return c, err
	}
	if size < 0 {
		size = 1<<63 - 1
	}
	c, err = pour(ctx, out, io.LimitReader(in, size), m)
	if err == nil && !modified.IsZero() {
		err = os.Chtimes(to, time.Time{}, modified)
	}
	if err == nil {
		err = out.Sync()
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return c, err
}

// sumFile is copyFile without a copy.
func sumFile(ctx context.Context, path string, m *meter) (copied, error) {
	in, err := openPlain(path)
	if err != nil {
		return copied{}, err
	}
	defer in.Close()
	return pour(ctx, io.Discard, in, m)
}

func pour(ctx context.Context, out io.Writer, in io.Reader, m *meter) (copied, error) {
	h := sha256.New()
	buf := make([]byte, blockBytes)
	var c copied
	for {
		if err := context.Cause(ctx); err != nil {
			return c, err
		}
		n, err := io.ReadFull(in, buf)
		if n > 0 {
			h.Write(buf[:n])
			if _, err := out.Write(buf[:n]); err != nil {
				return c, err
			}
			c.size += int64(n)
			m.Bytes += int64(n)
			m.say()
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			c.sum = hex.EncodeToString(h.Sum(nil))
			return c, nil
		}
		if err != nil {
			return c, err
		}
	}
}

// openPlain opens a regular file, and no link to one.
func openPlain(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", path))
	}
	return f, nil
}

// listing is the regular files below a directory, as slash-separated paths
// relative to it, and the other things that are no directories.
func listing(dir string) (files, others []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if e.Type().IsRegular() {
			files = append(files, filepath.ToSlash(rel))
		} else {
			others = append(others, filepath.ToSlash(rel))
		}
		return nil
	})
	return files, others, err
}

// syncTree makes the names in dir and in all directories below it last.
func syncTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in dir last; file systems that cannot are let off.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// writeFile makes the file path of data, on disk, whole or not at all.
func writeFile(path string, data []byte) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// empty reports whether dir has nothing in it but what ignore names. A
// directory that does not exist is empty. lost+found, which a file system has
// of its own, does not count.
func empty(dir string, ignore ...string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() != "lost+found" && !slices.Contains(ignore, e.Name())
	}), nil
}

// below reports whether path is dir or in it.
func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && (rel == "." || filepath.IsLocal(rel))
}

// real is path, absolute and without links in the part of it that exists.
func real(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for at, rest := abs, ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		p, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(p, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return "", err
		}
	}
}

// explain adds what to do about errors that the operator can mend.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; free space there, or choose another file system", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; the user who runs the gateway must be able to write there", err)
	}
	return err
}

// partMode is the mode of a file in its place: tables may be read by other
// programs if the operator opens their directories.
func partMode(path string) fs.FileMode {
	if strings.HasPrefix(path, tablesPart+"/") {
		return 0o644
	}
	return 0o600
}
