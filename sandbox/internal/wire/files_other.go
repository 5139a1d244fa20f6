//go:build !unix

package wire

import (
	"errors"
	"net"
	"os"
)

func sendFiles(*net.UnixConn, []byte, []*os.File) error { return errors.ErrUnsupported }

// FileReader is the receiving end of a worker, of which there are none here.
type FileReader struct{ conn *net.UnixConn }

// NewFileReader reads from conn.
func NewFileReader(conn *net.UnixConn) *FileReader { return &FileReader{conn} }

func (r *FileReader) Read(p []byte) (int, error) { return r.conn.Read(p) }

// Take fails: no descriptors can be received.
func (r *FileReader) Take(n int) ([]*os.File, error) { return nil, errors.ErrUnsupported }
