package provider

import (
	"runtime"
	"sync"
	"time"
)

// held is the connection of an exchange or of a dialogue, from its beginning
// until it is used, which it is once, or given up.
type held struct {
	client *Client
	begun  time.Time

	mu    sync.Mutex
	lease *lease // nil once used or closed
}

// lease is the right to use a connection. A connection has one, and while that is
// lent nobody else points to it: when its holder is forgotten the garbage
// collector finds it, and gives the connection up.
type lease struct {
	cc  *clientConn
	end runtime.Cleanup
}

// hold lends h the connection.
func (h *held) hold(c *Client, cc *clientConn, begun time.Time) {
	h.client, h.begun = c, begun
	if cc.lease == nil {
		cc.lease = &lease{cc: cc}
		cc.lease.end = runtime.AddCleanup(cc.lease, c.forgotten, cc)
	}
	h.lease, cc.lease = cc.lease, nil
}

// take hands out the connection, once.
func (h *held) take() *clientConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lease == nil {
		return nil
	}
	cc := h.lease.cc
	cc.lease, h.lease = h.lease, nil
	return cc
}

// Close gives up what is not to be used. After that it does nothing.
func (h *held) Close() error {
	if cc := h.take(); cc != nil {
		h.client.release(cc, false)
	}
	return nil
}
