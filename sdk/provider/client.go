package provider

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

// ClientConfig says how the gateway reaches the translator of one plugin
// process.
type ClientConfig struct {
	// Name of the plugin, for messages.
	Name string
	// Dial makes a connection that is ready for its first exchange: HELLO is
	// sent, the peer is checked. Its context is the client's and ends with Close
	// or Patience, not with an exchange. See Dialer.
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
	// MaxIdle is how many connections are kept for the next exchange. 0 means 32,
	// less than 0 none.
	MaxIdle int
	// MaxConns is how many connections there may be, in use and kept. An exchange
	// beyond that ends at once with apierror.Unavailable and a time to try again. 0
	// means any number.
	MaxConns int
	// Patience is how long making a connection may take, and how long the plugin
	// may neither take nor give anything while Begin, Accept or Write wait for it.
	// Decode has no such bound: there it may wait for the provider. 0 means 30 s,
	// less than 0 any time.
	Patience time.Duration
	// Hung is called for everything that Patience has ended, before that returns.
	// Nil means nobody wants to know.
	Hung func()
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

	ctx    context.Context // ends with Close: of the client's own work, not of calls
	cancel context.CancelFunc
	makes  sync.WaitGroup // connections being made

	mu       sync.Mutex
	idle     []*clientConn // last used at the end
	used     map[*clientConn]struct{}
	dialing  int
	left     map[*making]struct{} // of dialing, those nobody waits for
	most     int                  // connections, since MostConns was asked
	watching bool
	closed   bool
	empty    chan struct{} // not nil while Drain waits; closed when used is empty
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
	if cfg.Patience == 0 {
		cfg.Patience = patience
	}
	c := &Client{cfg: cfg, used: make(map[*clientConn]struct{}), left: make(map[*making]struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
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
	ex.hold(c, cc, begun)
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

// Conns is the number of connections, in use, kept and being made.
func (c *Client) Conns() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connsLocked()
}

// MostConns is the largest number of connections since it was asked for last.
func (c *Client) MostConns() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := c.most
	c.most = c.connsLocked()
	return most
}

func (c *Client) connsLocked() int { return len(c.used) + len(c.idle) + c.dialing }

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
	c.closeAll()
	c.makes.Wait()
}

func (c *Client) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.cancel()
	for _, cc := range c.idle {
		cc.close()
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
			m := c.makeLocked()
			c.mu.Unlock()
			if m == nil {
				return nil, c.full(nil)
			}
			return c.await(ctx, m)
		}
		cc := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		c.used[cc] = struct{}{}
		c.watchLocked()
		c.mu.Unlock()
		if socket.Quiet(cc.c) { // at rest a connection has nothing to read but its end
			return cc, nil
		}
		c.release(cc, false)
	}
}

// release ends the use of a connection; again says that it can serve the next
// exchange: it is at rest and has no deadline.
func (c *Client) release(cc *clientConn, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if again && !cc.stuck.Load() {
		cc.texts.reset()
		c.keepLocked(cc)
	} else {
		cc.close()
	}
	c.unusedLocked(cc)
}

// forgotten is release for a connection whose lease was lost.
func (c *Client) forgotten(cc *clientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.c.Close()
	c.unusedLocked(cc)
}

func (c *Client) unusedLocked(cc *clientConn) {
	delete(c.used, cc)
	if len(c.used) == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

// keepLocked has a connection serve the next exchange, or closes it when enough
// are kept.
func (c *Client) keepLocked(cc *clientConn) {
	if c.closed || len(c.idle) >= c.cfg.MaxIdle {
		cc.close()
		return
	}
	c.idle = append(c.idle, cc)
}

// explain turns what went wrong on a connection into what callers get.
func (c *Client) explain(ctx context.Context, err error) error {
	if said, ok := errors.AsType[*pluginError](err); ok {
		return said.err
	}
	if errors.Is(err, errStuck) {
		return c.hung()
	}
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	if errors.Is(err, errFull) {
		return c.full(err)
	}
	if NoDescriptors(err) {
		return c.scarce(err)
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
