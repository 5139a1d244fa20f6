package provider

import (
	"runtime"
	"sync"
	"time"
)

// held is the connection of an exchange or of a dialogue, from its beginning
// until it is used, which it is once, or given up.
type held struct {
	client  *Client
	begun   time.Time
	cleanup runtime.Cleanup

	mu sync.Mutex
	cc *clientConn // nil once used or closed
}

// hold gives h, which is a part of owner, the connection. An owner that is
// forgotten gives it up when the garbage collector finds it.
func hold[T any](owner *T, h *held, c *Client, cc *clientConn, begun time.Time) {
	h.client, h.cc, h.begun = c, cc, begun
	h.cleanup = runtime.AddCleanup(owner, func(cc *clientConn) { c.release(cc, false) }, cc)
}

// take hands out the connection, once.
func (h *held) take() *clientConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	cc := h.cc
	h.cc = nil
	if cc != nil {
		h.cleanup.Stop()
	}
	return cc
}

// Close gives up what is not to be used. After that it does nothing.
func (h *held) Close() error {
	if cc := h.take(); cc != nil {
		h.client.release(cc, false)
	}
	return nil
}
