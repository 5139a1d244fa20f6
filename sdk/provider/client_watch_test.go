package provider

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// slowly takes its time with each event.
func slowly(events iter.Seq2[openresponses.Event, error]) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		for ev, err := range events {
			time.Sleep(10 * time.Minute)
			ev.More = false
			if !yield(ev, err) {
				return
			}
		}
	}
}

type slowWriter struct{ io.Writer }

func (w slowWriter) Write(p []byte) (int, error) {
	time.Sleep(10 * time.Minute)
	return w.Writer.Write(p)
}

// A plugin whose turn it is for longer than the client's patience is given up.
// Time in which it waits for the client or the model does not count.
func TestPatience(t *testing.T) {
	t.Parallel()
	// hanging is a plugin whose wait lasts until the end of the test.
	hanging := func(t *testing.T, tr func(wait func()) Translator) *Client {
		release := make(chan bool)
		c := piped(t, tr(func() { <-release }))
		t.Cleanup(func() { close(release) })
		return c
	}
	write := func(c *Client, body string, events iter.Seq2[openresponses.Event, error], w func(io.Writer) io.Writer) error {
		d, err := c.Accept(context.Background(), clientRequest(body))
		if err != nil {
			return err
		}
		return d.Write(context.Background(), events, w(io.Discard))
	}
	same := func(w io.Writer) io.Writer { return w }
	tests := []struct {
		name  string
		stuck bool
		do    func(t *testing.T) (*Client, error)
	}{
		{"Begin", true, func(t *testing.T) (*Client, error) {
			c := hanging(t, func(wait func()) Translator {
				return lines{begin: func(context.Context, Turn) error { wait(); return nil }}
			})
			_, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
			return c, err
		}},
		{"Accept", true, func(t *testing.T) (*Client, error) {
			c := hanging(t, func(wait func()) Translator {
				return plainFront{accept: func(context.Context, ClientRequest) error { wait(); return nil }}
			})
			return c, write(c, `{}`, said("a"), same)
		}},
		{"Write that takes no events", true, func(t *testing.T) (*Client, error) {
			c := hanging(t, func(wait func()) Translator {
				return plainFront{write: func(context.Context, iter.Seq2[openresponses.Event, error], io.Writer) error { wait(); return nil }}
			})
			return c, write(c, `{"stream":true}`, said(strings.Repeat("x", 1<<20), strings.Repeat("y", 1<<20)), same)
		}},
		{"Write that does not end", true, func(t *testing.T) (*Client, error) {
			c := hanging(t, func(wait func()) Translator {
				return plainFront{write: func(_ context.Context, events iter.Seq2[openresponses.Event, error], _ io.Writer) error {
					for range events {
					}
					wait()
					return nil
				}}
			})
			return c, write(c, `{}`, said("a"), same)
		}},
		{"slow model", false, func(t *testing.T) (*Client, error) {
			c := piped(t, plainFront{})
			return c, write(c, `{"stream":true}`, slowly(said("a", "b")), same)
		}},
		{"slow client", false, func(t *testing.T) (*Client, error) {
			c := piped(t, plainFront{})
			return c, write(c, `{"stream":true}`, said(strings.Repeat("x", 1<<20), strings.Repeat("y", 1<<20)), func(w io.Writer) io.Writer { return slowWriter{w} })
		}},
		{"slow plugin", false, func(t *testing.T) (*Client, error) {
			c := piped(t, lines{begin: func(context.Context, Turn) error { time.Sleep(patience - time.Second); return nil }})
			_, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
			return c, err
		}},
		{"slow plugin under a debugger", false, func(t *testing.T) (*Client, error) {
			c := piped(t, lines{begin: func(context.Context, Turn) error { time.Sleep(time.Hour); return nil }})
			c.cfg.Patience = -1
			_, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
			return c, err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				c, err := tt.do(t)
				if !tt.stuck {
					if err != nil {
						t.Errorf("error %v, want none", err)
					}
					return
				}
				if !apierror.Is(err, apierror.Unavailable) || !strings.Contains(err.Error(), "did nothing about the request for 30s") {
					t.Errorf("error %v, want %s", err, apierror.Unavailable)
				}
				if took := time.Since(began); took < patience || took > patience+2*patience/looks {
					t.Errorf("after %s, want it soon after %s", took, patience)
				}
				if n, kept := c.InFlight(), len(c.idle); n != 0 || kept != 0 {
					t.Errorf("%d connections in use, %d kept, want none", n, kept)
				}
			})
		})
	}
}

func TestHungIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := 0
		c := NewClient(ClientConfig{Name: "x", Hung: func() { told++ }, Dial: func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer c.Close()
		_, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
		if !apierror.Is(err, apierror.Unavailable) || told != 1 {
			t.Errorf("a connection that takes for ever: %v, told %d times, want %s and once", err, told, apierror.Unavailable)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Begin(ctx, Turn{Op: Generate, Request: request("x")})
		if !apierror.Is(err, apierror.Canceled) || told != 1 {
			t.Errorf("a caller that did not wait: %v, told %d times, want %s and no more", err, told, apierror.Canceled)
		}
		if n := c.Conns(); n != 1 {
			t.Errorf("%d connections, want that one is still being made", n)
		}
		time.Sleep(2 * patience)
		synctest.Wait()
		if n := c.Conns(); n != 0 || told != 2 {
			t.Errorf("%d connections at the end, told %d times, want none and twice", n, told)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	c.cfg.MaxConns = 3
	turn := Turn{Op: Generate, Request: request("x")}
	for range 2 { // the second time over connections that were kept
		var all []Exchange
		for range 3 {
			all = append(all, begin(t, c, turn))
		}
		_, err := c.Begin(t.Context(), turn)
		if e := apierror.From(err); e == nil || e.Code != apierror.Unavailable || e.RetryAfter != time.Second || !strings.Contains(e.Message, "as many requests under way") {
			t.Errorf("one exchange too many: %#v, want %s with a time to try again", err, apierror.Unavailable)
		}
		if n := c.Conns(); n != 3 {
			t.Errorf("%d connections, want 3", n)
		}
		for _, ex := range all {
			if _, _, err := collect(t.Context(), ex, strings.NewReader("a\n")); err != nil {
				t.Error(err)
			}
		}
	}
	c.cfg.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("no way there") }
	c.cfg.MaxIdle = 0
	var held []Exchange
	for range 3 {
		held = append(held, begin(t, c, turn))
	}
	for _, ex := range held {
		ex.(io.Closer).Close()
	}
	for range 5 { // dials that fail take no place
		if _, err := c.Begin(t.Context(), turn); err == nil || !strings.Contains(err.Error(), "no way there") {
			t.Errorf("error %v, want that of the dial", err)
		}
	}
}

// A watch ends with the last exchange and begins again with the next.
func TestWatchBeginsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		release := make(chan bool)
		c := piped(t, lines{begin: func(context.Context, Turn) error {
			if hang.Load() {
				<-release
			}
			return nil
		}})
		t.Cleanup(func() { close(release) })
		for range 3 {
			ex := begin(t, c, Turn{Op: Generate, Request: request("x")})
			time.Sleep(3 * patience) // it is not the plugin's turn
			if _, _, err := collect(t.Context(), ex, strings.NewReader("a\n")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * patience)
			c.mu.Lock()
			watching := c.watching
			c.mu.Unlock()
			if watching {
				t.Error("nothing is under way and somebody watches")
			}
		}
		hang.Store(true)
		if _, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")}); !apierror.Is(err, apierror.Unavailable) {
			t.Errorf("a plugin that hangs: %v, want %s", err, apierror.Unavailable)
		}
	})
}
