package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// plainFront is a front whose clients send {"model","text","stream"} and get
// every piece of text as an event of its own, or all of it as one JSON text.
type plainFront struct {
	lines
	accept func(ctx context.Context, r ClientRequest) error
	write  func(ctx context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error
	closed *atomic.Int32 // counts dialogues that were closed unused
	left   chan error    // gets the context's error when a Write has ended
}

var _ Front = plainFront{}

func (f plainFront) Accept(ctx context.Context, r ClientRequest) (Dialogue, error) {
	if f.accept != nil {
		if err := f.accept(ctx, r); err != nil {
			return nil, err
		}
	}
	var body struct {
		Model  string   `json:"model"`
		Text   string   `json:"text"`
		Stream bool     `json:"stream"`
		Embed  []string `json:"embed"`
		Count  bool     `json:"count"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return nil, apierror.At(apierror.Invalid, "text", "The body is wrong: %v.", err)
	}
	a := Asked{Op: Generate, Model: body.Model, Stream: body.Stream || r.Stream, Lost: []string{r.Header.Get("X-Lost")}}
	switch {
	case body.Embed != nil:
		a.Op, a.Embed = Embed, &EmbedRequest{Input: body.Embed, Dimensions: 2}
	case body.Text != "none":
		a.Request = request(body.Text)
		if body.Count {
			a.Op = CountTokens
		}
	}
	return &plainDialogue{plainFront: f, asked: a}, nil
}

type plainDialogue struct {
	plainFront
	asked Asked
}

func (d *plainDialogue) Asked() Asked { return d.asked }

func (d *plainDialogue) Close() error {
	if d.closed != nil {
		d.closed.Add(1)
	}
	return nil
}

func (d *plainDialogue) Write(ctx context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	if d.left != nil {
		defer func() { d.left <- ctx.Err() }()
	}
	if d.write != nil {
		return d.write(ctx, events, w)
	}
	var all strings.Builder
	for ev, err := range events {
		switch {
		case err != nil && d.asked.Stream:
			_, err = fmt.Fprintf(w, "event: error\ndata: %s\n\n", apierror.From(err).Message)
			return err
		case err != nil:
			return err
		case ev.Type == openresponses.EventTextDelta && d.asked.Stream:
			if _, err := fmt.Fprintf(w, "data: %s\n\n", ev.Delta); err != nil {
				return err
			}
		case ev.Type == openresponses.EventTextDelta:
			all.WriteString(ev.Delta)
		}
	}
	if d.asked.Stream {
		_, err := io.WriteString(w, "data: end\n\n")
		return err
	}
	return json.NewEncoder(w).Encode(all.String())
}

func (d *plainDialogue) WriteCount(_ context.Context, tokens int64, w io.Writer) error {
	_, err := fmt.Fprintf(w, `{"n":%d}`, tokens)
	return err
}

func (d *plainDialogue) WriteEmbed(_ context.Context, vs [][]float32, u *openresponses.Usage, w io.Writer) error {
	_, err := fmt.Fprintf(w, `{"v":%v,"u":%d}`, vs, u.Input)
	return err
}

func clientRequest(body string) ClientRequest {
	return ClientRequest{Surface: "plain", Route: "/v1/plain", Header: http.Header{"X-Lost": {"top_k"}}, Body: []byte(body)}
}

func accept(t *testing.T, f Front, body string) Dialogue {
	t.Helper()
	d, err := f.Accept(t.Context(), clientRequest(body))
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return d
}

// said is a whole turn of a model, in pieces, all of which are there at once.
func said(pieces ...string) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		out := NewOutput(func(ev openresponses.Event, err error) bool {
			ev.More = true
			return yield(ev, err)
		})
		for _, p := range pieces {
			if !out.Text(p) {
				return
			}
		}
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}
}

// broken ends in err after the pieces, or without an end.
func broken(err error, pieces ...string) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		for ev := range said(pieces...) {
			if ev.IsTerminal() {
				break
			}
			if !yield(ev, nil) {
				return
			}
		}
		if err != nil {
			yield(openresponses.Event{}, err)
		}
	}
}

func TestDialogueOverFramesEqualsInProcess(t *testing.T) {
	t.Parallel()
	over := loopback(t, plainFront{})
	limited := apierror.New(apierror.UpstreamLimited, "Slow down.")
	for _, tt := range []struct {
		body   string
		events iter.Seq2[openresponses.Event, error]
		want   string
		err    error
	}{
		{`{"model":"m","text":"héllo \u2028","stream":true}`, said("a", "b"), "data: a\n\ndata: b\n\ndata: end\n\n", nil},
		{`{"model":"m","text":"x"}`, said("a", "b"), "\"ab\"\n", nil},
		{`{"model":"m","text":"x"}`, said(strings.Repeat("z", 1<<20)), `"` + strings.Repeat("z", 1<<20) + "\"\n", nil},
		{`{"model":"m","text":"x","stream":true}`, said(strings.Repeat("z", 1<<20), "b"), "data: " + strings.Repeat("z", 1<<20) + "\n\ndata: b\n\ndata: end\n\n", nil},
		{`{"model":"m","text":"x","stream":true}`, broken(limited, "a"), "data: a\n\nevent: error\ndata: Slow down.\n\n", nil},
		{`{"model":"m","text":"x"}`, broken(limited, "a"), "", limited},
	} {
		inside := accept(t, plainFront{}, tt.body)
		outside := accept(t, over, tt.body)
		gotAsked, wantAsked := outside.Asked(), inside.Asked()
		if got, want := string(gotAsked.Request.AppendJSON(nil)), string(wantAsked.Request.AppendJSON(nil)); got != want {
			t.Errorf("%s: request %s, want %s", tt.body, got, want)
		}
		gotAsked.Request, wantAsked.Request = nil, nil
		if !reflect.DeepEqual(gotAsked, wantAsked) {
			t.Errorf("%s: asked %+v, want %+v", tt.body, gotAsked, wantAsked)
		}
		for how, d := range map[string]Dialogue{"in process": inside, "over frames": outside} {
			var b strings.Builder
			err := d.Write(t.Context(), tt.events, &b)
			if err != tt.err || b.String() != tt.want {
				t.Errorf("%s, %.40s: wrote %.200q, %v; want %.200q, %v", how, tt.body, b.String(), err, tt.want, tt.err)
			}
		}
	}
	if n := len(over.idle); n != 1 {
		t.Errorf("%d connections at rest, want that one served everything", n)
	}
}

func TestAcceptArrivesWhole(t *testing.T) {
	t.Parallel()
	want := ClientRequest{
		Surface: "s", Route: "/r/{model}:x", Model: "m", Stream: true, Query: "alt=sse&beta=true",
		Header: http.Header{"X-Beta": {"one", "two"}}, Body: []byte("{\"text\":\"x\"}\n"),
	}
	var got ClientRequest
	c := loopback(t, plainFront{accept: func(_ context.Context, r ClientRequest) error {
		r.Body = bytes.Clone(r.Body)
		got = r
		return nil
	}})
	d, err := c.Accept(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Accept got %+v, want %+v", got, want)
	}
}

func TestCountAndVectorsAreWritten(t *testing.T) {
	t.Parallel()
	c := loopback(t, plainFront{})
	var b strings.Builder
	d := accept(t, c, `{"count":true,"text":"x"}`)
	if err := d.(CountWriter).WriteCount(t.Context(), 1<<40, &b); err != nil || b.String() != `{"n":1099511627776}` {
		t.Errorf("count: %q, %v", b.String(), err)
	}
	b.Reset()
	d = accept(t, c, `{"embed":["a","b"]}`)
	if a := d.Asked(); a.Embed == nil || len(a.Embed.Input) != 2 || a.Embed.Dimensions != 2 {
		t.Errorf("asked %+v", a)
	}
	ew := d.(EmbedWriter)
	if err := ew.WriteEmbed(t.Context(), [][]float32{{1, -0.5}}, &openresponses.Usage{Input: 7}, &b); err != nil || b.String() != `{"v":[[1 -0.5]],"u":7}` {
		t.Errorf("vectors: %q, %v", b.String(), err)
	}
	if err := ew.WriteEmbed(t.Context(), nil, nil, &b); apierror.CodeOf(err) != apierror.Internal {
		t.Errorf("a dialogue written twice: %v, want internal", err)
	}
	if _, ok := accept(t, c, `{"text":"x"}`).(CountWriter); ok {
		t.Error("a dialogue of op generate writes counts")
	}
}

func TestFrontErrorsKeepTheirCodes(t *testing.T) {
	t.Parallel()
	c := loopback(t, plainFront{accept: func(_ context.Context, r ClientRequest) error {
		switch string(r.Body) {
		case "field":
			return apierror.At(apierror.Invalid, "messages[1].role", "No.")
		case "plain":
			return errors.New("a detail that must not cross")
		case "panic":
			panic("secret detail")
		}
		return nil
	}, write: func(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
		for ev, err := range events {
			if err != nil {
				return apierror.New(apierror.Internal, "Of its own.")
			}
			if ev.Delta == "panic" {
				panic("secret detail")
			}
		}
		return nil
	}})
	for body, want := range map[string]apierror.Code{"field": apierror.Invalid, "plain": apierror.Internal, "panic": apierror.Internal, `{"text":"none"}`: apierror.Internal} {
		_, err := c.Accept(t.Context(), clientRequest(body))
		if apierror.CodeOf(err) != want || strings.Contains(fmt.Sprint(err), "detail") {
			t.Errorf("Accept of %s: %v, want %s", body, err, want)
		}
		if e := apierror.From(err); body == "field" && e.Param != "messages[1].role" {
			t.Errorf("Accept of %s: param %q", body, e.Param)
		}
	}
	if err := accept(t, c, `{"text":"x"}`).Write(t.Context(), said("a", "panic", "b"), io.Discard); apierror.CodeOf(err) != apierror.Internal || strings.Contains(err.Error(), "detail") {
		t.Errorf("panic in Write: %v, want internal", err)
	}
	if err := accept(t, c, `{"text":"x"}`).Write(t.Context(), broken(apierror.New(apierror.UpstreamFailed, "No.")), io.Discard); apierror.CodeOf(err) != apierror.Internal {
		t.Errorf("an error of the front's own: %v, want internal", err)
	}
	if err := accept(t, c, `{"text":"x"}`).Write(t.Context(), said("a"), io.Discard); err != nil {
		t.Errorf("the dialogue after a panic: %v", err)
	}
	if n := len(c.idle); n != 1 {
		t.Errorf("%d connections at rest, want that one served everything", n)
	}
}

// An event that nothing follows reaches the client before the next one is made,
// without the help of a watcher.
func TestEventsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	c, stop := loopbackOf(&server{
		translator: plainFront{}, front: plainFront{},
		conns: make(map[net.Conn]struct{}), watcher: watcher{running: true}, // it never looks
	})
	defer stop()
	pr, pw := io.Pipe()
	steps := []string{"one", "two", "three"}
	events := func(yield func(openresponses.Event, error) bool) {
		b := make([]byte, 64)
		out := NewOutput(yield)
		for _, s := range steps {
			out.Text(s)
			n, err := pr.Read(b)
			if got, want := string(b[:n]), "data: "+s+"\n\n"; got != want || err != nil {
				t.Errorf("the client has %q, %v, want %q", got, err, want)
			}
		}
		go io.Copy(io.Discard, pr)
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}
	if err := accept(t, c, `{"text":"x","stream":true}`).Write(t.Context(), events, pw); err != nil {
		t.Error(err)
	}
	pw.Close()
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// What is not streamed crosses in one write.
func TestEventsOfABodyShareAWrite(t *testing.T) {
	t.Parallel()
	c := loopback(t, plainFront{})
	var writes atomic.Int32
	dial := c.cfg.Dial
	c.cfg.Dial = func(ctx context.Context) (net.Conn, error) {
		nc, err := dial(ctx)
		return countingConn{nc, &writes}, err
	}
	d := accept(t, c, `{"text":"x"}`)
	writes.Store(0)
	if err := d.Write(t.Context(), said(strings.Split(strings.Repeat("word ", 100), " ")...), io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}

func TestEventsWithoutEndAreAFailure(t *testing.T) {
	t.Parallel()
	c := loopback(t, plainFront{})
	var b strings.Builder
	if err := accept(t, c, `{"text":"x","stream":true}`).Write(t.Context(), broken(nil, "a"), &b); err != nil {
		t.Error(err)
	}
	if want := "data: a\n\nevent: error\ndata: The reply stopped before its end; try again.\n\n"; b.String() != want {
		t.Errorf("wrote %q, want %q", b.String(), want)
	}
}

func TestFrontThatStopsReading(t *testing.T) {
	t.Parallel()
	c := loopback(t, plainFront{write: func(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
		for range events {
			break
		}
		_, err := io.WriteString(w, "enough")
		return err
	}})
	for range 3 {
		var b strings.Builder
		long := said(strings.Split(strings.Repeat(strings.Repeat("z", 4000)+" ", 200), " ")...)
		if err := accept(t, c, `{"text":"x","stream":true}`).Write(t.Context(), long, &b); err != nil || b.String() != "enough" {
			t.Errorf("wrote %q, %v", b.String(), err)
		}
	}
	if n := len(c.idle); n != 1 {
		t.Errorf("%d connections at rest, want that one served everything", n)
	}
}

func TestCancelReachesTheFront(t *testing.T) {
	t.Parallel()
	left := make(chan error, 1)
	c := loopback(t, plainFront{left: left, write: func(ctx context.Context, _ iter.Seq2[openresponses.Event, error], w io.Writer) error {
		io.WriteString(w, "first")
		<-ctx.Done() // neither reads nor writes
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	d := accept(t, c, `{"text":"x","stream":true}`)
	err := d.Write(ctx, said("a"), writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if !apierror.Is(err, apierror.Canceled) {
		t.Errorf("Write ended with %v, want %s", err, apierror.Canceled)
	}
	if err := <-left; err != context.Canceled {
		t.Errorf("front's context: %v, want cancelled", err)
	}
	if n := c.InFlight(); n != 0 {
		t.Errorf("%d dialogues in flight after the cancel", n)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestClientThatIsGone(t *testing.T) {
	t.Parallel()
	c := loopback(t, plainFront{})
	gone := errors.New("broken pipe")
	n := 0
	err := accept(t, c, `{"text":"x","stream":true}`).Write(t.Context(), func(yield func(openresponses.Event, error) bool) {
		for ev, err := range said(strings.Split(strings.Repeat("word ", 10000), " ")...) {
			n++
			if ev.More = false; !yield(ev, err) {
				return
			}
		}
	}, writerFunc(func([]byte) (int, error) { return 0, gone }))
	if err != gone {
		t.Errorf("Write: %v, want the writer's error", err)
	}
	if n >= 10000 {
		t.Error("all events were asked for, though nobody was there")
	}
}

// A client that does not read holds the model up: what is on its way is bounded.
func TestSlowClientHoldsTheEventsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, plainFront{})
		const size, all = 64 << 10, 200
		release := make(chan bool)
		var taken atomic.Int32
		events := func(yield func(openresponses.Event, error) bool) {
			out := NewOutput(yield)
			piece := strings.Repeat("z", size)
			for range all {
				out.Text(piece)
				taken.Add(1)
			}
			out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
		}
		total := 0
		first := true
		d := accept(t, c, `{"text":"x","stream":true}`)
		done := make(chan error)
		go func() {
			done <- d.Write(t.Context(), events, writerFunc(func(p []byte) (int, error) {
				if first {
					first = false
					<-release
				}
				total += len(p)
				return len(p), nil
			}))
		}()
		rest()
		if n := taken.Load(); n == 0 || n >= all/2 {
			t.Errorf("%d of %d pieces were taken while the client did not read, want some and no half", n, all)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := all*(size+len("data: \n\n")) + len("data: end\n\n"); total != want {
			t.Errorf("%d bytes, want %d", total, want)
		}
	})
}

func TestFrontThatDies(t *testing.T) {
	t.Parallel()
	s := newServer(plainFront{})
	conns := make(chan net.Conn, 1)
	c := NewClient(ClientConfig{Name: "mortal", Dial: func(context.Context) (net.Conn, error) {
		near, far, err := socketPair()
		if err != nil {
			return nil, err
		}
		conns <- far
		go s.conn(far)
		return near, nil
	}})
	defer c.Close()
	var b strings.Builder
	d := accept(t, c, `{"text":"x","stream":true}`)
	err := d.Write(t.Context(), func(yield func(openresponses.Event, error) bool) {
		for ev, err := range said("a", "b", "c") {
			if ev.More = false; !yield(ev, err) {
				return
			}
			if ev.Delta == "a" {
				(<-conns).Close()
			}
		}
	}, &b)
	if !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Write: %v, want %s", err, apierror.Unavailable)
	}
	s.close()
}

func TestTranslatorAloneIsNoFront(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	if _, err := c.Accept(t.Context(), clientRequest(`{"text":"x"}`)); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Accept: %v, want %s", err, apierror.Unavailable)
	}
	if text, _, err := collect(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), strings.NewReader("a")); text != "a" || err != nil {
		t.Errorf("an exchange after it: %q, %v", text, err)
	}
}

func TestClosedDialogueIsClosedInThePlugin(t *testing.T) {
	t.Parallel()
	var closed atomic.Int32
	c, stop := Loopback(plainFront{closed: &closed})
	d := accept(t, c, `{"text":"x"}`)
	if err := d.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	if err := d.Write(t.Context(), said("a"), io.Discard); apierror.CodeOf(err) != apierror.Internal {
		t.Errorf("Write after Close: %v", err)
	}
	stop()
	if closed.Load() != 1 {
		t.Errorf("%d dialogues closed in the plugin, want 1", closed.Load())
	}
}

// Dialogues and exchanges share the connections.
func TestDialoguesSideBySide(t *testing.T) {
	t.Parallel()
	c := loopback(t, plainFront{})
	var wg sync.WaitGroup
	for i := range 48 {
		wg.Go(func() {
			for k := range 10 {
				text := fmt.Sprintf("%d-%d", i, k)
				ex, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
				if err != nil {
					t.Error(err)
					return
				}
				d, err := c.Accept(t.Context(), clientRequest(`{"text":"x","stream":true}`))
				if err != nil {
					t.Error(err)
					return
				}
				var b strings.Builder
				err = d.Write(t.Context(), ex.Decode(t.Context(), Reply{Status: 200, Body: strings.NewReader(text + "\n" + text)}), &b)
				if want := "data: " + text + "\n\ndata: " + text + "\n\ndata: end\n\n"; err != nil || b.String() != want {
					t.Errorf("wrote %q, %v, want %q", b.String(), err, want)
				}
			}
		})
	}
	wg.Wait()
	if n := c.InFlight(); n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
}
