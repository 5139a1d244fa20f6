package provider

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// ClientConfig says how the gateway reaches the translator of one plugin
// process.
type ClientConfig struct {
	// Name of the plugin, for messages.
	Name string
	// Dial makes a connection that is ready for its first exchange: HELLO is
	// sent, the peer is checked. See Dialer.
	Dial func(ctx context.Context) (net.Conn, error)
	// Gone makes the error of an exchange whose connection was lost, for a
	// reason that is not the exchange's own. It may wait a moment to learn
	// more. Nil means an apierror.Unavailable that names the plugin.
	Gone func(cause error) error
	// Ended is told of every exchange that was decoded: since when it was under
	// way, and what error it ended with. Nil means nobody wants to know.
	Ended func(begun time.Time, err error)
	// Written is the same for every dialogue whose reply was asked for.
	Written func(begun time.Time, err error)
	// MaxIdle is how many connections are kept for the next exchange. 0 means 32.
	MaxIdle int
}

// Client is a Translator that lives in another process, and a Front when that
// process is one. Each exchange has a connection of its own from Begin to the
// end of Decode, and each dialogue one from Accept to the end of Write, so none
// waits for another, and giving one up closes its connection.
//
// When the process ends in the middle of one, its calls give
// apierror.Unavailable; every other code was said by the plugin itself, save
// apierror.Internal for one that breaks the frame format and apierror.Canceled
// for a context that ended.
type Client struct {
	cfg ClientConfig

	mu     sync.Mutex
	idle   []*clientConn // last used at the end
	used   map[*clientConn]struct{}
	closed bool
	empty  chan struct{} // not nil while Drain waits; closed when used is empty
}

var (
	_ Translator = (*Client)(nil)
	_ Front      = (*Client)(nil)
)

// NewClient makes a Client. Close it.
func NewClient(cfg ClientConfig) *Client {
	if cfg.MaxIdle == 0 {
		cfg.MaxIdle = 32
	}
	return &Client{cfg: cfg, used: make(map[*clientConn]struct{})}
}

// Begin asks the plugin to translate the turn's request. An Exchange that will
// not be decoded should be closed: it is an io.Closer. One that is forgotten is
// closed when the garbage collector finds it.
func (c *Client) Begin(ctx context.Context, t Turn) (Exchange, error) {
	if err := ctx.Err(); err != nil {
		return nil, canceled(ctx)
	}
	begun := time.Now()
	cc, err := c.conn(ctx)
	if err != nil {
		return nil, err
	}
	up, again, err := cc.begin(ctx, t)
	if err != nil {
		c.release(cc, again)
		return nil, c.explain(ctx, err)
	}
	ex := &exchange{op: t.Op, up: up.Upstream}
	hold(ex, &ex.held, c, cc, begun)
	switch {
	case t.Op == Embed && up.Embeds:
		return &embedExchange{ex}, nil
	case t.Op == CountTokens && up.Counts:
		return &countExchange{ex}, nil
	}
	return ex, nil
}

// InFlight is the number of exchanges and dialogues under way.
func (c *Client) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.used)
}

// Drain waits until none is under way, or ctx ends.
func (c *Client) Drain(ctx context.Context) error {
	for {
		c.mu.Lock()
		if len(c.used) == 0 {
			c.mu.Unlock()
			return nil
		}
		if c.empty == nil {
			c.empty = make(chan struct{})
		}
		empty := c.empty
		c.mu.Unlock()
		select {
		case <-empty:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close closes every connection, also those in use: their exchanges end with
// apierror.Unavailable.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, cc := range c.idle {
		cc.c.Close()
	}
	c.idle = nil
	for cc := range c.used {
		cc.c.Close()
	}
}

// conn takes an idle connection that is still alive, or makes one.
func (c *Client) conn(ctx context.Context) (*clientConn, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, c.gone(net.ErrClosed)
		}
		if len(c.idle) == 0 {
			c.mu.Unlock()
			break
		}
		cc := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		c.used[cc] = struct{}{}
		c.mu.Unlock()
		if !readable(cc.c) { // at rest a connection has nothing to read but its end
			return cc, nil
		}
		c.release(cc, false)
	}
	nc, err := c.cfg.Dial(ctx)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	cc := newClientConn(nc)
	c.mu.Lock()
	closed := c.closed
	c.used[cc] = struct{}{}
	c.mu.Unlock()
	if closed {
		c.release(cc, false)
		return nil, c.gone(net.ErrClosed)
	}
	return cc, nil
}

// release ends the use of a connection; again says that it can serve the next
// exchange: it is at rest and has no deadline.
func (c *Client) release(cc *clientConn, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.used, cc)
	if again && !c.closed && len(c.idle) < c.cfg.MaxIdle {
		c.idle = append(c.idle, cc)
	} else {
		cc.c.Close()
	}
	if len(c.used) == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

// explain turns what went wrong on a connection into what callers get.
func (c *Client) explain(ctx context.Context, err error) error {
	if said, ok := errors.AsType[*pluginError](err); ok {
		return said.err
	}
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	if _, ok := errors.AsType[*frameError](err); ok {
		return apierror.Wrap(apierror.Internal, err, "The plugin %q broke the frame format.", c.cfg.Name)
	}
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		return e
	}
	return c.gone(err)
}

func (c *Client) gone(cause error) error {
	if c.cfg.Gone != nil {
		return c.cfg.Gone(cause)
	}
	return apierror.Wrap(apierror.Unavailable, cause, "The plugin %q ended in the middle of the request; try again.", c.cfg.Name)
}

func canceled(ctx context.Context) error {
	cause := context.Cause(ctx)
	if e, ok := errors.AsType[*apierror.Error](cause); ok {
		return e
	}
	return apierror.Wrap(apierror.Canceled, cause, "The request was cancelled.")
}

// pluginError is an ERR frame: what the translator itself said.
type pluginError struct{ err *apierror.Error }

func (e *pluginError) Error() string { return e.err.Error() }
