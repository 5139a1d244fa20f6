package delta

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Storage keeps the files of one table. Names are slash-separated and relative
// to the table's directory, as they lie on the disk: not URL-encoded. Methods
// may be called side by side, also by several processes on one table.
type Storage interface {
	// PutIfAbsent makes name with data, durably and atomically: the whole file
	// or none. When name exists it changes nothing, and the error wraps
	// fs.ErrExist. Any other error leaves open whether name exists now.
	// The directory of name must exist.
	PutIfAbsent(ctx context.Context, name string, data []byte) error

	// Put makes name from r, or replaces it, durably and atomically. An error
	// of r aborts it and is returned. Missing directories above name are made,
	// the table's own excepted.
	Put(ctx context.Context, name string, r io.Reader) error

	// Open opens name for reading. The error wraps fs.ErrNotExist when there
	// is none. Close the Object.
	Open(ctx context.Context, name string) (Object, error)

	// List yields every file below the directory dir, at any depth, in no
	// order; "" is the whole table. A directory that does not exist has no
	// files, or is an error that wraps fs.ErrNotExist.
	List(ctx context.Context, dir string) iter.Seq2[Entry, error]

	// Delete removes name. One that does not exist is no error.
	Delete(ctx context.Context, name string) error
}

// Object is a file that is open for reading.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}

// Entry is a file as a listing shows it.
type Entry struct {
	Name     string
	Size     int64     // bytes
	Modified time.Time // by the storage's clock
}

// errNotFile says that something other than a plain file has a name of the
// table. Links are refused because they could name any file.
var errNotFile = errors.New("not a regular file")
