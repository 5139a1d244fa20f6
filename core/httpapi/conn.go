package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

// corkConn lets a writer turn several small writes into one. net/http writes a
// chunk's head, body and tail through a small buffer, so a large event would
// leave in pieces; clients exist that lose an event whose lines come in
// separate reads.
type corkConn struct {
	net.Conn
	mu     sync.Mutex
	corked bool
	buf    bytes.Buffer
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
	return c.Conn.Write(b)
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
	_, err := c.Conn.Write(c.buf.Bytes())
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
