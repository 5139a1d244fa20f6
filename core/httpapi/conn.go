package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

// corkConn lets a writer turn several small writes into one. net/http writes a
// chunk's head, body and tail through a small buffer, so a large event would
// leave in pieces; clients exist that lose an event whose lines come in
// separate reads.
type corkConn struct {
	net.Conn
	in, out deadline
	mu      sync.Mutex
	corked  bool
	buf     bytes.Buffer
}

// listener hands out corkConns.
type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newCorkConn(socket.Direct(c)), nil
}

func newCorkConn(c net.Conn) *corkConn {
	return &corkConn{Conn: c, in: deadline{tell: c.SetReadDeadline}, out: deadline{tell: c.SetWriteDeadline}}
}

// Write sends b, or keeps it while the connection is corked.
func (c *corkConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.corked {
		return c.buf.Write(b)
	}
	return c.write(b)
}

func (c *corkConn) write(b []byte) (int, error) {
	c.out.enter()
	defer c.out.leave()
	n, err := c.Conn.Write(b)
	for err != nil && c.out.early(err) {
		var more int
		more, err = c.Conn.Write(b[n:])
		n += more
	}
	return n, err
}

func (c *corkConn) Read(b []byte) (int, error) {
	c.in.enter()
	defer c.in.leave()
	n, err := c.Conn.Read(b)
	for n == 0 && err != nil && c.in.early(err) {
		n, err = c.Conn.Read(b)
	}
	return n, err
}

// SetReadDeadline implements net.Conn, as do the other two.
func (c *corkConn) SetReadDeadline(t time.Time) error { return c.in.set(t) }

func (c *corkConn) SetWriteDeadline(t time.Time) error { return c.out.set(t) }

func (c *corkConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// deadline is that of a connection's reads, or of its writes. The connection is
// told of it only for a read or a write, and not of one that is later than what it
// knows: for each request several are set, and most are replaced before they pass.
type deadline struct {
	tell func(time.Time) error // the connection

	mu    sync.Mutex
	at    time.Time
	told  time.Time // what the connection knows
	users int       // reads or writes under way
}

// set makes t the deadline, of what is under way too.
func (d *deadline) set(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.users == 0 {
		return nil
	}
	return d.settle()
}

// enter is called before a read or a write, and leave after it. An error is left
// to these: the connection is closed.
func (d *deadline) enter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users++
	_ = d.settle()
}

func (d *deadline) leave() {
	d.mu.Lock()
	d.users--
	d.mu.Unlock()
}

// settle tells the connection, unless what it knows comes first and is still to
// come: early is asked then.
func (d *deadline) settle() error {
	sooner := !d.told.IsZero() && (d.at.IsZero() || d.told.Before(d.at))
	if d.at.Equal(d.told) || sooner && d.told.After(time.Now()) {
		return nil
	}
	return d.now()
}

func (d *deadline) now() error {
	err := d.tell(d.at)
	if err == nil {
		d.told = d.at
	}
	return err
}

// early reports whether err comes from a deadline that is over while the one that
// counts is not; the connection is told of that one then.
func (d *deadline) early(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && !d.at.After(time.Now()) {
		return false
	}
	return d.now() == nil
}

// CloseWrite lets net/http end its half first, so that a client which is still
// sending reads the answer before it meets a closed connection.
func (c *corkConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *corkConn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// uncork sends what was kept in one write.
func (c *corkConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	if c.buf.Len() == 0 {
		return nil
	}
	_, err := c.write(c.buf.Bytes())
	if c.buf.Cap() > 256<<10 {
		c.buf = bytes.Buffer{}
	}
	c.buf.Reset()
	return err
}

type connKey struct{}

// withConn is the server's ConnContext: it keeps the connection for those that
// write streams. Under TLS it is the connection below: what one flush encrypts
// leaves in one write.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if cc, ok := c.(*corkConn); ok {
		return context.WithValue(ctx, connKey{}, cc)
	}
	return ctx
}

// connOf is the connection of r, nil where it cannot be corked: one of HTTP/2
// carries other replies too.
func connOf(r *http.Request) *corkConn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*corkConn)
	return c
}
