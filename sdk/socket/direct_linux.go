package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// conn is a socket that is read and written directly. Deadlines, Close and
// waiting are the connection's below.
type conn struct {
	net.Conn
	raw syscall.RawConn
	in  half
	out half
}

// half is one direction. Its functions are made once, so that a call allocates
// nothing.
type half struct {
	mu   sync.Mutex
	run  func(fd uintptr) bool // reports false where it would have to wait
	peek func(fd uintptr) bool // of what comes in; fail is EAGAIN where nothing has
	b    []byte                // to fill, or what is left to write
	n    int                   // bytes done
	fail syscall.Errno
}

var _ syscall.Conn = (*conn)(nil)

func direct(c net.Conn) net.Conn {
	switch c.(type) {
	case *net.UnixConn, *net.TCPConn:
	default:
		return c
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return c // closed; it says so itself
	}
	d := &conn{Conn: c, raw: raw}
	d.in.run, d.in.peek, d.out.run = d.in.read, d.in.look, d.out.write
	return d
}

// SyscallConn gives access to the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// CloseWrite ends the writing half.
func (c *conn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite() // both types have it
}

func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 || len(p) > maxDirect {
		return c.Conn.Read(p)
	}
	n, err := c.in.do(c.raw.Read, p)
	switch {
	case err != nil:
		return n, c.told("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *conn) Write(p []byte) (int, error) {
	if len(p) == 0 || len(p) > maxDirect {
		return c.Conn.Write(p)
	}
	n, err := c.out.do(c.raw.Write, p)
	if err != nil {
		return n, c.told("write", err)
	}
	return n, nil
}

// do runs the half's function with p as often as the socket wants.
func (h *half) do(with func(func(fd uintptr) bool) error, p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b, h.n, h.fail = p, 0, 0
	err := with(h.run)
	h.b = nil
	if err == nil && h.fail != 0 {
		err = h.fail
	}
	return h.n, err
}

func (h *half) read(fd uintptr) bool {
	for {
		n, fail := call(syscall.SYS_READ, fd, h.b)
		switch fail {
		case 0:
			h.n = n
			return true
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
		default:
			h.fail = fail
			return true
		}
	}
}

func (h *half) write(fd uintptr) bool {
	for h.n < len(h.b) {
		n, fail := call(syscall.SYS_WRITE, fd, h.b[h.n:])
		switch fail {
		case 0:
			h.n += n
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
		default:
			h.fail = fail
			return true
		}
	}
	return true
}

// call is one system call on a socket that does not block. b is not empty.
func call(number, fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, fail := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), fail
}

func (h *half) look(fd uintptr) bool {
	var b [1]byte
	_, _, h.fail = syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK, 0, 0)
	return true
}

// quiet is Quiet without an allocation, and without the scheduler.
func (c *conn) quiet() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.raw.Read(c.in.peek) == nil && c.in.fail == syscall.EAGAIN
}

// told is an error as the connection below would have worded it: callers look at
// what kind it is.
func (c *conn) told(op string, err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		err = os.NewSyscallError(op, e)
	} else if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	a := c.LocalAddr()
	return &net.OpError{Op: op, Net: a.Network(), Source: a, Addr: c.RemoteAddr(), Err: err}
}
