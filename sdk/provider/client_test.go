package provider

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// lines is a translator whose provider answers in lines: each is a piece of
// text.
type lines struct {
	begin  func(ctx context.Context, t Turn) error
	decode func(ctx context.Context, r Reply, out *Output)
	ended  chan error // gets the context's error when a decode has ended
}

func (l lines) Begin(ctx context.Context, t Turn) (Exchange, error) {
	if l.begin != nil {
		if err := l.begin(ctx, t); err != nil {
			return nil, err
		}
	}
	x := lineExchange{l, &Upstream{Method: "POST", Path: "lines", Header: http.Header{"X-Model": {t.Model}}, Lost: []string{"input[0]"}}}
	switch {
	case t.Embed != nil:
		x.up.Body = []byte(strings.Join(t.Embed.Input, "\n"))
	case t.Request != nil:
		x.up.Body = t.Request.AppendJSON(nil)
	}
	if t.Model == "offline" {
		x.up = nil
	}
	return x, nil
}

type lineExchange struct {
	lines
	up *Upstream
}

func (x lineExchange) Upstream() *Upstream { return x.up }

func (x lineExchange) Decode(ctx context.Context, r Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		if x.ended != nil {
			defer func() { x.ended <- ctx.Err() }()
		}
		out := NewOutput(yield)
		if x.decode != nil {
			x.decode(ctx, r, out)
			return
		}
		if r.Body != nil {
			sc := bufio.NewScanner(r.Body)
			sc.Buffer(nil, MaxFrame)
			for sc.Scan() {
				if !out.Text(sc.Text()) {
					return
				}
			}
			if err := sc.Err(); err != nil {
				out.Fail(apierror.Wrap(apierror.UpstreamFailed, err, "The reply was cut: %v.", err))
				return
			}
		}
		out.Usage(openresponses.Usage{Input: int64(r.Status), Output: 2})
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted, Model: r.Header.Get("X-Answered")})
	}
}

func (x lineExchange) DecodeEmbed(_ context.Context, r Reply) ([][]float32, *openresponses.Usage, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	if string(b) == "ragged" {
		return [][]float32{{1}, {1, 2}}, nil, nil
	}
	return [][]float32{{float32(len(b)), 0.5}, {-1, 1e-9}}, &openresponses.Usage{Input: 3, CacheRead: 4}, nil
}

func (x lineExchange) DecodeCount(context.Context, Reply) (int64, error) { return 1 << 40, nil }

func loopback(t *testing.T, tr Translator) *Client {
	t.Helper()
	c, stop := Loopback(tr)
	t.Cleanup(stop)
	return c
}

// piped is loopback over a connection in memory, which a bubble of synctest sees
// at rest.
func piped(t *testing.T, tr Translator) *Client {
	t.Helper()
	s := newServer(tr)
	c := NewClient(ClientConfig{Name: "piped", Dial: func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go s.conn(far)
		return near, nil
	}})
	t.Cleanup(func() {
		c.Close()
		s.close()
		rest() // ends the watcher
	})
	return c
}

// rest returns when nothing moves any more in the bubble, watchers included.
func rest() {
	time.Sleep(2 * watchEvery)
	synctest.Wait()
}

func request(text string) *openresponses.Request {
	return &openresponses.Request{Model: "m", Input: []openresponses.Item{openresponses.Text("user", text)}}
}

func begin(t *testing.T, tr Translator, turn Turn) Exchange {
	t.Helper()
	ex, err := tr.Begin(t.Context(), turn)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return ex
}

// collect reads a reply to its end: the text, the number of events and the error.
func collect(ctx context.Context, ex Exchange, body io.Reader) (text string, events int, err error) {
	var b strings.Builder
	for ev, err := range ex.Decode(ctx, Reply{Status: 200, Header: http.Header{"X-Answered": {"m-1"}}, Body: body}) {
		if err != nil {
			return b.String(), events, err
		}
		events++
		if ev.Type == openresponses.EventTextDelta {
			b.WriteString(ev.Delta)
		}
	}
	return b.String(), events, nil
}

func TestExchangeOverFramesEqualsInProcess(t *testing.T) {
	t.Parallel()
	turn := Turn{
		Op: Generate, Account: Account{Name: "acme", Settings: []byte(`{"a":1}`)}, Model: "m-large",
		Carry: http.Header{"X-Beta": {"one", "two"}}, Request: request("hello \u2028 wörld"),
	}
	gather := func(tr Translator) (up Upstream, evs []openresponses.Event) {
		ex := begin(t, tr, turn)
		up = *ex.Upstream()
		for ev, err := range ex.Decode(t.Context(), Reply{Status: 207, Header: http.Header{"X-Answered": {"m-1"}}, Body: strings.NewReader("a\nb\nc")}) {
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			evs = append(evs, ev)
		}
		return up, evs
	}
	wantUp, want := gather(lines{})
	gotUp, got := gather(loopback(t, lines{}))
	if !reflect.DeepEqual(gotUp, wantUp) {
		t.Errorf("Upstream = %+v, want %+v", gotUp, wantUp)
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		if g, w := string(got[i].AppendJSON(nil)), string(want[i].AppendJSON(nil)); g != w {
			t.Errorf("event %d = %s, want %s", i, g, w)
		}
	}
	if last := got[len(got)-1]; last.Terminal == nil || last.Terminal.Model != "m-1" || last.Usage == nil || last.Usage.Input != 207 {
		t.Errorf("last event = %+v, want terminal of m-1 with usage", last)
	}
}

func TestTurnArrivesWhole(t *testing.T) {
	t.Parallel()
	want := Turn{
		Op: CountTokens, Account: Account{Name: "acme", Settings: []byte(`{"a":[1,2]}`)}, Model: "m",
		Carry: http.Header{"X-Beta": {"b"}}, Request: request("text"),
	}
	var got Turn
	c := loopback(t, lines{begin: func(_ context.Context, t Turn) error { got = t; return nil }})
	ex := begin(t, c, want)
	if n, err := ex.(CountDecoder).DecodeCount(t.Context(), Reply{Status: 200}); n != 1<<40 || err != nil {
		t.Errorf("DecodeCount = %d, %v", n, err)
	}
	gotReq, wantReq := string(got.Request.AppendJSON(nil)), string(want.Request.AppendJSON(nil))
	got.Request, want.Request = nil, nil
	if !reflect.DeepEqual(got, want) || gotReq != wantReq {
		t.Errorf("turn = %+v %s, want %+v %s", got, gotReq, want, wantReq)
	}
}

func TestEmbed(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	turn := Turn{Op: Embed, Model: "e", Embed: &EmbedRequest{Input: []string{"x", "yy"}, Dimensions: 2}}
	ex := begin(t, c, turn)
	if got := string(ex.Upstream().Body); got != "x\nyy" {
		t.Errorf("body = %q", got)
	}
	vs, u, err := ex.(EmbedDecoder).DecodeEmbed(t.Context(), Reply{Status: 200, Body: strings.NewReader("four")})
	if want := [][]float32{{4, 0.5}, {-1, 1e-9}}; !reflect.DeepEqual(vs, want) || err != nil {
		t.Errorf("vectors = %v, %v, want %v", vs, err, want)
	}
	if want := (openresponses.Usage{Input: 3, CacheRead: 4}); u == nil || *u != want {
		t.Errorf("usage = %+v, want %+v", u, want)
	}
	_, _, err = begin(t, c, turn).(EmbedDecoder).DecodeEmbed(t.Context(), Reply{Status: 200, Body: strings.NewReader("ragged")})
	if !apierror.Is(err, apierror.UpstreamFailed) {
		t.Errorf("vectors of different lengths: %v, want %s", err, apierror.UpstreamFailed)
	}
}

func TestOfflineExchangeHasNoUpstream(t *testing.T) {
	t.Parallel()
	ex := begin(t, loopback(t, lines{}), Turn{Op: Generate, Model: "offline", Request: request("x")})
	if ex.Upstream() != nil {
		t.Errorf("Upstream = %+v, want nil", ex.Upstream())
	}
	var last openresponses.Event
	for ev, err := range ex.Decode(t.Context(), Reply{}) {
		if err != nil {
			t.Fatal(err)
		}
		last = ev
	}
	if !last.IsTerminal() {
		t.Errorf("last event = %+v, want a terminal one", last)
	}
}

func TestEventsLeaveWhenTheInputIsDrained(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	pr, pw := io.Pipe()
	next, stop := iter.Pull2(begin(t, c, Turn{Op: Generate, Request: request("x")}).Decode(t.Context(), Reply{Status: 200, Body: pr}))
	defer stop()
	for i := range 5 {
		want := fmt.Sprint("piece ", i)
		go io.WriteString(pw, want+"\n")
		for { // the event must come although the provider says nothing more
			ev, err, ok := next()
			if err != nil || !ok {
				t.Fatalf("ended early: %v", err)
			}
			if ev.Type == openresponses.EventTextDelta {
				if ev.Delta != want {
					t.Fatalf("delta %q, want %q", ev.Delta, want)
				}
				break
			}
		}
	}
	pw.Close()
}

func TestPacedEventsWithoutInputLeave(t *testing.T) {
	t.Parallel()
	proceed := make(chan bool)
	c := loopback(t, lines{decode: func(_ context.Context, _ Reply, out *Output) {
		out.Text("first")
		<-proceed
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}})
	for ev, err := range begin(t, c, Turn{Op: Generate, Model: "offline", Request: request("x")}).Decode(t.Context(), Reply{}) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Type == openresponses.EventTextDelta {
			close(proceed) // it would wait for ever when "first" waited for company
		}
	}
}

func TestConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(lines{})
	var wg sync.WaitGroup
	var dials atomic.Int32
	c := NewClient(ClientConfig{Name: "x", Dial: func(context.Context) (net.Conn, error) {
		dials.Add(1)
		near, far, err := socketPair()
		wg.Go(func() { s.conn(far) })
		return near, err
	}})
	t.Cleanup(func() { c.Close(); s.close(); wg.Wait() })
	for i := range 50 {
		ex := begin(t, c, Turn{Op: Generate, Request: request("x")})
		if i%2 == 0 { // a consumer that stops at the terminal event
			for ev, err := range ex.Decode(t.Context(), Reply{Body: strings.NewReader("a\n")}) {
				if err != nil {
					t.Fatal(err)
				}
				if ev.IsTerminal() {
					break
				}
			}
		} else if _, _, err := collect(t.Context(), ex, strings.NewReader("a\n")); err != nil {
			t.Fatal(err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("50 exchanges one after another took %d connections, want 1", n)
	}
}

func TestTranslatorThatReadsNothingLeavesTheConnectionUsable(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{decode: func(_ context.Context, _ Reply, out *Output) {
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}})
	for range 3 {
		body := strings.NewReader(strings.Repeat("x", 1<<20))
		if _, n, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), body); n != 1 || err != nil {
			t.Fatalf("%d events, %v", n, err)
		}
	}
	if n := len(c.idle); n != 1 {
		t.Errorf("%d connections at rest, want 1", n)
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	big := strings.Repeat("wörld ", 4<<20/7)
	ex := begin(t, c, Turn{Op: Generate, Request: request(big)})
	if n := len(ex.Upstream().Body); n < len(big) {
		t.Errorf("upstream body has %d bytes, want at least %d", n, len(big))
	}
	text, _, err := collect(t.Context(), ex, strings.NewReader(big))
	if text != big || err != nil {
		t.Errorf("reply of %d bytes came as %d, %v", len(big), len(text), err)
	}
	_, err = c.Begin(t.Context(), Turn{Op: Generate, Request: request(strings.Repeat("x", MaxFrame))})
	if !apierror.Is(err, apierror.TooLarge) {
		t.Errorf("a request beyond the limit: %v, want %s", err, apierror.TooLarge)
	}
}

// counted is an endless body that counts what was read of it.
type counted struct{ n atomic.Int64 }

func (c *counted) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "0123456789abcdef\n"[i%17]
	}
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func TestSlowReaderHoldsTheProviderBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		body := new(counted)
		next, stop := iter.Pull2(begin(t, piped(t, lines{}), Turn{Op: Generate, Request: request("x")}).Decode(t.Context(), Reply{Body: body}))
		defer stop()
		next()
		rest() // everything between is full
		if n := body.n.Load(); n > 4<<20 {
			t.Errorf("%d bytes of the reply were read for a consumer that took one event", n)
		}
	})
}

func TestDrainWaits(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	ex := begin(t, c, Turn{Op: Generate, Request: request("x")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Drain(ctx); err == nil {
		t.Error("Drain with an exchange under way and no patience: no error")
	}
	done := make(chan error, 1)
	go func() { done <- c.Drain(t.Context()) }()
	collect(t.Context(), ex, strings.NewReader("a"))
	if err := <-done; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestConcurrentExchangesDoNotMix(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for k := range 10 {
				want := strings.Repeat(fmt.Sprintf("%d-%d ", i, k), 200)
				ex, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request(want)})
				if err != nil {
					t.Errorf("Begin: %v", err)
					return
				}
				if !strings.Contains(string(ex.Upstream().Body), want) {
					t.Errorf("exchange %d-%d got another's request", i, k)
				}
				text, _, err := collect(t.Context(), ex, strings.NewReader(strings.ReplaceAll(want, " ", " \n")))
				if text != want || err != nil {
					t.Errorf("exchange %d-%d got %d bytes, %v, want %d", i, k, len(text), err, len(want))
				}
			}
		})
	}
	wg.Wait()
	if n := c.InFlight(); n != 0 {
		t.Errorf("InFlight = %d at the end", n)
	}
}
