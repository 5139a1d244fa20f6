package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func TestErrorsKeepTheirCodes(t *testing.T) {
	t.Parallel()
	refuse := lines{begin: func(_ context.Context, t Turn) error {
		switch t.Model {
		case "invalid":
			return apierror.At(apierror.Invalid, "input[3]", "No.")
		case "plain":
			return errors.New("a detail that must not cross")
		case "panic":
			panic("secret detail")
		}
		return nil
	}, decode: func(_ context.Context, r Reply, out *Output) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			out.Fail(err)
			return
		}
		switch string(b) {
		case "panic":
			panic("secret detail")
		case "limited":
			e := apierror.New(apierror.UpstreamLimited, "Slow down.")
			e.RetryAfter, e.Upstream = time.Second, &apierror.Upstream{Status: 429, RequestID: "r1", Code: "rate"}
			out.Fail(e)
		case "fine":
			out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
		}
	}}
	c := loopback(t, refuse)
	for model, want := range map[string]apierror.Code{"invalid": apierror.Invalid, "plain": apierror.Internal, "panic": apierror.Internal} {
		_, err := c.Begin(t.Context(), Turn{Op: Generate, Model: model, Request: request("x")})
		if apierror.CodeOf(err) != want || strings.Contains(fmt.Sprint(err), "detail") {
			t.Errorf("Begin of %s: %v, want %s", model, err, want)
		}
	}
	_, _, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("limited"))
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok || e.Code != apierror.UpstreamLimited || e.RetryAfter != time.Second || e.Upstream == nil || e.Upstream.RequestID != "r1" {
		t.Errorf("Decode: %#v, want the translator's own error", err)
	}
	_, _, err = collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("panic"))
	if apierror.CodeOf(err) != apierror.Internal || strings.Contains(err.Error(), "detail") {
		t.Errorf("panic in Decode: %v, want internal", err)
	}
	if _, _, err = collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("fine")); err != nil {
		t.Errorf("the exchange after a panic: %v", err)
	}
	if n := len(c.idle); n != 1 {
		t.Errorf("%d connections at rest, want that one served everything", n)
	}
}

func TestCutReplyReachesTheTranslatorAsCut(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	tests := []struct {
		end  error
		code apierror.Code
		want string
	}{
		{errors.New("connection reset"), apierror.UpstreamFailed, "The reply was cut: reply cut: connection reset."},
		{io.ErrUnexpectedEOF, apierror.UpstreamFailed, "The reply was cut: reply cut: unexpected EOF."},
		{apierror.New(apierror.UpstreamTimeout, "Silent for 5 s."), apierror.UpstreamFailed, "The reply was cut: Silent for 5 s.."},
	}
	for _, tt := range tests {
		body := io.MultiReader(strings.NewReader("a\nb\n"), &failing{tt.end})
		text, _, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), body)
		e, _ := errors.AsType[*apierror.Error](err)
		if text != "ab" || e == nil || e.Code != tt.code || e.Message != tt.want {
			t.Errorf("cut by %v: text %q, error %v, want %s: %s", tt.end, text, err, tt.code, tt.want)
		}
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestCancelReachesTheTranslator(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	c := loopback(t, lines{ended: ended, decode: func(ctx context.Context, _ Reply, out *Output) {
		out.Text("first")
		<-ctx.Done() // neither reads nor writes
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pr, _ := io.Pipe()
	var last error
	for _, err := range begin(t, c, Turn{Op: Generate, Request: request("x")}).Decode(ctx, Reply{Body: pr}) {
		last = err
		cancel()
	}
	if !apierror.Is(last, apierror.Canceled) {
		t.Errorf("Decode ended with %v, want %s", last, apierror.Canceled)
	}
	if err := <-ended; err != context.Canceled {
		t.Errorf("translator's context: %v, want cancelled", err)
	}
	if n := c.InFlight(); n != 0 {
		t.Errorf("%d exchanges in flight after the cancel", n)
	}
}

func TestStoppingEarlyCancels(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	c := loopback(t, lines{ended: ended, decode: func(ctx context.Context, _ Reply, out *Output) {
		for out.Text("more ") {
		}
	}})
	pr, _ := io.Pipe()
	for range begin(t, c, Turn{Op: Generate, Request: request("x")}).Decode(t.Context(), Reply{Body: pr}) {
		break
	}
	<-ended
	if _, err := pr.Read(nil); err != io.ErrClosedPipe {
		t.Errorf("the body is still open: %v", err)
	}
}

func TestConnectionLostIsUnavailable(t *testing.T) {
	t.Parallel()
	var conns sync.Map
	s := newServer(lines{})
	var wg sync.WaitGroup
	c := NewClient(ClientConfig{Name: "acme", Dial: func(context.Context) (net.Conn, error) {
		near, far, err := socketPair()
		conns.Store(far, true)
		wg.Go(func() { s.conn(far) })
		return near, err
	}})
	t.Cleanup(func() { c.Close(); s.close(); wg.Wait() })
	drop := func() { conns.Range(func(k, _ any) bool { k.(net.Conn).Close(); conns.Delete(k); return true }) }

	pr, pw := io.Pipe()
	ex := begin(t, c, Turn{Op: Generate, Request: request("x")})
	go io.WriteString(pw, "a\n")
	var last error
	for ev, err := range ex.Decode(t.Context(), Reply{Body: pr}) {
		last = err
		if ev.Type == openresponses.EventTextDelta {
			drop()
		}
	}
	if !apierror.Is(last, apierror.Unavailable) || !strings.Contains(fmt.Sprint(last), `"acme"`) {
		t.Errorf("lost in mid-stream: %v, want %s naming the plugin", last, apierror.Unavailable)
	}
	collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("a"))
	drop() // at rest
	if _, _, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("a")); err != nil {
		t.Errorf("the exchange after the connection was lost at rest: %v", err)
	}
	broken := begin(t, c, Turn{Op: Generate, Request: request("x")})
	drop()
	if _, _, err := collect(t.Context(), broken, strings.NewReader("a")); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("lost before Decode: %v, want %s", err, apierror.Unavailable)
	}
}

func TestExchangeNotDecodedIsClosed(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	ex := begin(t, c, Turn{Op: Generate, Request: request("x")})
	if n := c.InFlight(); n != 1 {
		t.Errorf("InFlight = %d, want 1", n)
	}
	ex.(io.Closer).Close()
	if n := c.InFlight(); n != 0 {
		t.Errorf("InFlight after Close = %d, want 0", n)
	}
	if _, _, err := collect(t.Context(), ex, nil); !apierror.Is(err, apierror.Internal) {
		t.Errorf("Decode after Close: %v, want %s", err, apierror.Internal)
	}
	for _, body := range []string{"a\n", "b\n"} { // the second time on a connection that has served another
		func() { begin(t, c, Turn{Op: Generate, Request: request("x")}) }()
		for c.InFlight() != 0 { // forgotten: the collector finds it
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		if _, _, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %v", err)
	}
}

// What finds a forgotten exchange does not itself keep a connection that is closed.
func TestClosedConnectionsAreCollected(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	if _, _, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("a\n")); err != nil {
		t.Fatal(err)
	}
	kept := weak.Make(c.idle[0])
	c.Close()
	for kept.Value() != nil {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func TestPluginThatBreaksTheFormat(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"unknown type":   "\x00\x00\x00\x00\x63",
		"too long":       "\xff\xff\xff\xff\x11",
		"short head":     "\x00\x00\x00\x02\x10ab",
		"head not JSON":  "\x00\x00\x00\x05\x10\x00\x00\x00\x01x",
		"error not JSON": "\x00\x00\x00\x01\x12x",
	}
	for name, reply := range tests {
		c := NewClient(ClientConfig{Name: "x", Dial: func(context.Context) (net.Conn, error) {
			near, far, err := socketPair()
			go func() { io.WriteString(far, reply); io.Copy(io.Discard, far); far.Close() }()
			return near, err
		}})
		_, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
		if !apierror.Is(err, apierror.Internal) {
			t.Errorf("%s: %v, want %s", name, err, apierror.Internal)
		}
		c.Close()
	}
}
