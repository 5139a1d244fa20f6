package provider

import (
	"context"
	"errors"
	"net"
)

// making is a connection being made. It goes on when who waited for it has left,
// for whoever needs one next: a plugin that was asked for a token and sees nobody
// come keeps a place for him.
type making struct {
	done   chan struct{} // closed when cc or err is there
	wanted bool          // somebody waits; guarded by the client's lock
	cc     *clientConn
	err    error
}

// makeLocked gives a connection being made that nobody waits for, or begins to
// make one. It is nil when there are as many as there may be.
func (c *Client) makeLocked() *making {
	for m := range c.left {
		delete(c.left, m)
		m.wanted = true
		return m
	}
	if c.cfg.MaxConns > 0 && c.connsLocked() >= c.cfg.MaxConns {
		return nil
	}
	m := &making{done: make(chan struct{}), wanted: true}
	c.dialing++
	c.most = max(c.most, c.connsLocked())
	c.makes.Add(1)
	go func() { // ends with the dial, which ends with Patience or Close
		stuck := c.make(m)
		c.makes.Done()
		if stuck {
			c.hung()
		}
	}()
	return m
}

// make makes the connection, and reports whether it took longer than patience
// lasts and nobody waits to be told.
func (c *Client) make(m *making) (stuck bool) {
	nc, err := c.dial()
	var cc *clientConn
	if err == nil {
		cc = newClientConn(nc)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(m.done)
	c.dialing--
	delete(c.left, m)
	switch {
	case err != nil:
		m.err = err
		return !m.wanted && errors.Is(err, errStuck)
	case c.closed:
		nc.Close()
		m.err = net.ErrClosed
	case m.wanted:
		c.used[cc] = struct{}{}
		c.watchLocked()
		m.cc = cc
	default:
		c.keepLocked(cc)
	}
	return false
}

// dial makes a connection, as long as patience lasts.
func (c *Client) dial() (net.Conn, error) {
	if c.cfg.Patience < 0 {
		return c.cfg.Dial(c.ctx)
	}
	patient, cancel := context.WithTimeout(c.ctx, c.cfg.Patience)
	defer cancel()
	nc, err := c.cfg.Dial(patient)
	if err != nil && c.ctx.Err() == nil && patient.Err() != nil {
		return nil, errStuck
	}
	return nc, err
}

// await waits for a connection that is made for the caller.
func (c *Client) await(ctx context.Context, m *making) (*clientConn, error) {
	select {
	case <-m.done:
	case <-ctx.Done():
		if c.leave(m) {
			return nil, canceled(ctx)
		}
	}
	if m.err != nil {
		return nil, c.explain(ctx, m.err)
	}
	if ctx.Err() != nil {
		c.release(m.cc, true)
		return nil, canceled(ctx)
	}
	return m.cc, nil
}

// leave gives m to whoever needs it next, unless it is made.
func (c *Client) leave(m *making) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-m.done:
		return false
	default:
	}
	m.wanted = false
	c.left[m] = struct{}{}
	return true
}
