package provider

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	providerv1 "github.com/sallyport-gateway/sallyport/sdk/proto/provider/v1"
)

// Clients that leave while their connection is made, between OpenData and HELLO,
// leave nothing behind, and keep nobody out.
func TestCallersThatLeaveCloseNoPlugin(t *testing.T) {
	t.Parallel()
	for name, idle := range map[string]int{"kept": 0, "not kept": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, dir := data(t, os.Getpid())
			var leave atomic.Pointer[context.CancelFunc]
			var asked atomic.Int64
			dial := Dialer(control{d: d, change: func(*providerv1.OpenDataResponse) {
				asked.Add(1)
				(*leave.Load())()
			}}, os.Getpid(), dir)
			c := NewClient(ClientConfig{Name: "x", Dial: dial, MaxConns: 8, MaxIdle: idle})
			defer c.Close()
			for i := 0; i < 2*maxTokens || idle < 0 && asked.Load() <= maxTokens; i++ {
				ctx, cancel := context.WithCancel(t.Context())
				leave.Store(&cancel)
				cc, err := c.conn(ctx)
				cancel()
				switch {
				case err == nil:
					c.release(cc, true)
				case !apierror.Is(err, apierror.Canceled):
					t.Fatalf("caller %d: %v, want %s", i, err, apierror.Canceled)
				}
			}
			if n := c.Conns(); n > 8 {
				t.Errorf("%d connections, want 8 at most", n)
			}
			if _, _, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("a\n")); err != nil {
				t.Errorf("the exchange after them: %v", err)
			}
			c.Close() // waits for what is being made
			if n := c.Conns(); n != 0 || len(c.left) != 0 {
				t.Errorf("%d connections, %d of them being made, want none", n, len(c.left))
			}
			for d.tokens.count() != 0 || served(d.server) != 0 { // the plugin sees their end in its own time
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func served(s *server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// gate is a Dial that lets connections through when told.
type gate struct {
	begun atomic.Int64
	open  chan error // what a dial ends with
	conns chan net.Conn
}

func newGate() *gate { return &gate{open: make(chan error), conns: make(chan net.Conn, 100)} }

func (g *gate) dial(ctx context.Context) (net.Conn, error) {
	g.begun.Add(1)
	select {
	case err := <-g.open:
		if err != nil {
			return nil, err
		}
		near, far := net.Pipe()
		g.conns <- far
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open reports whether the plugin's end of a connection is open.
func open(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Second))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func TestConnectionBeingMadeIsHandedOn(t *testing.T) {
	t.Parallel()
	// wait has n callers come and leave, all at once.
	wait := func(t *testing.T, c *Client, n int) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		for range n {
			go func() {
				_, err := c.conn(ctx)
				ended <- err
			}()
		}
		synctest.Wait()
		cancel()
		for range n {
			if err := <-ended; !apierror.Is(err, apierror.Canceled) {
				t.Errorf("a caller that left: %v, want %s", err, apierror.Canceled)
			}
		}
	}
	tests := []struct {
		name string
		do   func(t *testing.T, c *Client, g *gate)
	}{
		{"it is kept", func(t *testing.T, c *Client, g *gate) {
			wait(t, c, 1)
			g.open <- nil
			synctest.Wait()
			if n := len(c.idle); n != 1 || !open(<-g.conns) {
				t.Errorf("%d connections kept, want 1, open", n)
			}
		}},
		{"it is closed where enough are kept", func(t *testing.T, c *Client, g *gate) {
			c.cfg.MaxIdle = 1
			wait(t, c, 2)
			g.open <- nil
			g.open <- nil
			synctest.Wait()
			if one, other := open(<-g.conns), open(<-g.conns); len(c.idle) != 1 || one == other {
				t.Errorf("%d connections kept; open: %t, %t", len(c.idle), one, other)
			}
		}},
		{"the next caller takes it", func(t *testing.T, c *Client, g *gate) {
			for range 10 {
				wait(t, c, 1)
			}
			go func() { g.open <- nil }()
			cc, err := c.conn(t.Context())
			if n := g.begun.Load(); err != nil || n != 1 {
				t.Fatalf("%d connections begun, %v, want 1", n, err)
			}
			c.release(cc, false)
		}},
		{"the next caller gets its failure", func(t *testing.T, c *Client, g *gate) {
			wait(t, c, 1)
			cause := errors.New("no way there")
			go func() { g.open <- cause }()
			if _, err := c.conn(t.Context()); !errors.Is(err, cause) {
				t.Errorf("error %v, want %v", err, cause)
			}
		}},
		{"they count", func(t *testing.T, c *Client, g *gate) {
			c.cfg.MaxConns = 3
			for range 5 {
				wait(t, c, 3)
			}
			if n := g.begun.Load(); n != 3 || c.Conns() != 3 {
				t.Errorf("%d connections begun, %d there, want 3", n, c.Conns())
			}
			if n := c.MostConns(); n != 3 {
				t.Errorf("%d at most, want 3", n)
			}
		}},
		{"its failure takes no place", func(t *testing.T, c *Client, g *gate) {
			wait(t, c, 2)
			g.open <- errors.New("no way there")
			g.open <- errors.New("no way there")
			synctest.Wait()
			if n := c.Conns(); n != 0 {
				t.Errorf("%d connections, want none", n)
			}
		}},
		{"Close ends it", func(t *testing.T, c *Client, g *gate) {
			wait(t, c, 4)
			began := time.Now()
			c.Close()
			if n := c.Conns(); n != 0 || time.Since(began) != 0 {
				t.Errorf("%d connections after %s, want none at once", n, time.Since(began))
			}
		}},
		{"Close ends it for who waits", func(t *testing.T, c *Client, g *gate) {
			go func() { time.Sleep(time.Second); c.Close() }()
			if _, err := c.conn(t.Context()); !apierror.Is(err, apierror.Unavailable) {
				t.Errorf("error %v, want %s", err, apierror.Unavailable)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				c := NewClient(ClientConfig{Name: "x", Dial: g.dial})
				defer c.Close()
				tt.do(t, c, g)
			})
		})
	}
}

// A gateway without descriptors does not blame the plugin.
func TestGatewayWithoutDescriptors(t *testing.T) {
	t.Parallel()
	for errno, scarce := range map[syscall.Errno]bool{syscall.EMFILE: true, syscall.ENFILE: true, syscall.ECONNREFUSED: false} {
		cause := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("socket", errno)}
		gone := false
		c := NewClient(ClientConfig{
			Name: "x", Dial: func(context.Context) (net.Conn, error) { return nil, cause },
			Gone: func(err error) error { gone = true; return apierror.Wrap(apierror.Unavailable, err, "It ended.") },
		})
		_, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
		e := apierror.From(err)
		if gone == scarce || e.Code != apierror.Unavailable || !errors.Is(err, errno) ||
			(e.RetryAfter == time.Second) != scarce || strings.Contains(e.Message, "The gateway has as many files") != scarce {
			t.Errorf("%v: %#v, the plugin blamed: %t", errno, e, gone)
		}
		c.Close()
	}
}

// Those who wait for a place in the backlog ask ever less often.
func TestBacklogPausesGrow(t *testing.T) {
	t.Parallel()
	var longest []time.Duration
	for p := firstBacklogPause; len(longest) < 8; p = nextBacklogPause(p) {
		longest = append(longest, p)
		for range 100 {
			if got := jittered(p); got > p || got < p/2 {
				t.Fatalf("a pause of %s for %s", got, p)
			}
		}
	}
	const ms = time.Millisecond
	if want := []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 200 * ms, 200 * ms}; !slices.Equal(longest, want) {
		t.Errorf("pauses %v, want %v", longest, want)
	}
}
