//go:build unix

package wire

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// sendFiles writes b with the descriptors of files beside its first byte.
func sendFiles(conn *net.UnixConn, b []byte, files []*os.File) error {
	return withDescriptors(files, nil, func(fds []int) error {
		n, _, err := conn.WriteMsgUnix(b, syscall.UnixRights(fds...), nil)
		if err == nil && n < len(b) {
			_, err = conn.Write(b[n:])
		}
		return err
	})
}

// withDescriptors calls f while none of files can be closed: a number that
// meanwhile belongs to another file must never reach a worker.
func withDescriptors(files []*os.File, fds []int, f func([]int) error) error {
	if len(files) == 0 {
		return f(fds)
	}
	c, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = c.Control(func(fd uintptr) { inner = withDescriptors(files[1:], append(fds, int(fd)), f) })
	if err != nil {
		return fmt.Errorf("%s: %w", files[0].Name(), err)
	}
	return inner
}

// FileReader is the receiving end of a worker: an io.Reader that keeps the
// descriptors which come beside the bytes.
type FileReader struct {
	conn *net.UnixConn
	oob  []byte
	fds  []int
}

// NewFileReader reads from conn.
func NewFileReader(conn *net.UnixConn) *FileReader {
	return &FileReader{conn: conn, oob: make([]byte, syscall.CmsgSpace(4*MaxFiles))}
}

func (r *FileReader) Read(p []byte) (int, error) {
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(p, r.oob)
	if err != nil {
		return n, err
	}
	if flags&syscall.MSG_CTRUNC != 0 {
		return n, fmt.Errorf("%w: too many descriptors", ErrMalformed)
	}
	if oobn > 0 {
		msgs, err := syscall.ParseSocketControlMessage(r.oob[:oobn])
		if err != nil {
			return n, err
		}
		for _, m := range msgs {
			fds, err := syscall.ParseUnixRights(&m)
			if err != nil {
				return n, err
			}
			r.fds = append(r.fds, fds...)
		}
	}
	return n, nil
}

// Take returns the next n descriptors, which belong to the caller then.
func (r *FileReader) Take(n int) ([]*os.File, error) {
	if n > len(r.fds) {
		return nil, fmt.Errorf("%w: %d of %d descriptors came", ErrMalformed, len(r.fds), n)
	}
	files := make([]*os.File, n)
	for i := range files {
		files[i] = os.NewFile(uintptr(r.fds[i]), "table")
	}
	r.fds = append(r.fds[:0], r.fds[n:]...)
	return files, nil
}
