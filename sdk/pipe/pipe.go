// Package pipe reads what another process writes, up to its last words.
package pipe

import (
	"errors"
	"io"
	"os"
)

// Most is how many bytes are read past the deadline, so that a process which
// writes for ever keeps no reader: as much as a pipe can hold. Source: pipe(7),
// /proc/sys/fs/pipe-max-size.
const Most = 1 << 20

// Reader reads the pipe F. Past the read deadline of F it gives what is in the
// pipe by then, however late it is called, at most Most bytes, and then io.EOF; an
// os.File gives nothing past its deadline. So whoever knows that a process has
// ended sets a deadline, since others may hold the pipe, and loses nothing of what
// that process wrote.
type Reader struct {
	F    *os.File
	late int // bytes read past the deadline
}

// Read implements io.Reader.
func (r *Reader) Read(b []byte) (int, error) {
	n, err := r.F.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if r.late >= Most {
		return 0, io.EOF
	}
	if n, err = inside(r.F, b); n > 0 {
		r.late += n
		return n, nil
	}
	if err != nil {
		return 0, err
	}
	return 0, io.EOF
}
