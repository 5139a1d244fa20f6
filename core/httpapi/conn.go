package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
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
	return &corkConn{Conn: socket.Direct(c)}, nil
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
	c.out.enter(c.Conn.SetWriteDeadline)
	defer c.out.leave()
	return c.Conn.Write(b)
}

func (c *corkConn) Read(b []byte) (int, error) {
	c.in.enter(c.Conn.SetReadDeadline)
	defer c.in.leave()
	return c.Conn.Read(b)
}

// SetReadDeadline implements net.Conn, as do the other two.
func (c *corkConn) SetReadDeadline(t time.Time) error { return c.in.set(t, c.Conn.SetReadDeadline) }

func (c *corkConn) SetWriteDeadline(t time.Time) error {
	return c.out.set(t, c.Conn.SetWriteDeadline)
}

func (c *corkConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// deadline is that of a connection's reads, or of its writes. The connection is
// told of it only for a read or a write: for each request net/http sets some that
// are replaced before anything waits for them.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	told  time.Time // what the connection knows
	users int       // reads or writes under way
}

// set makes t the deadline, of what is under way too. tell tells the connection.
func (d *deadline) set(t time.Time, tell func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.users == 0 {
		return nil
	}
	return d.settle(tell)
}

// enter is called before a read or a write, and leave after it. An error is left
// to these: the connection is closed.
func (d *deadline) enter(tell func(time.Time) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users++
	_ = d.settle(tell)
}

func (d *deadline) leave() {
	d.mu.Lock()
	d.users--
	d.mu.Unlock()
}

func (d *deadline) settle(tell func(time.Time) error) error {
	if d.at.Equal(d.told) {
		return nil
	}
	err := tell(d.at)
	if err == nil {
		d.told = d.at
	}
	return err
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
