package router

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// talk is a made-up dialect. A request is {"model", "say", "stream",
// "max_words"}; a stream has events begin, word and done, or bad; a body is
// {"text", "usage"}.
var talk = provider.Dialect{
	Name: "talk", Errors: "openai", Ends: []string{"done", "[OVER]", "stopped.incomplete"}, Failures: []string{"bad"},
	Cut: "event: bad\ndata: {\"bad\":{\"message\":$MESSAGE}}\n\n", Ping: "event: ping\ndata: {}\n\n",
	MaxTokens: []string{"max_words"}, Text: []string{"word", "text"},
}

// talks is the manifest of a provider that speaks talk.
var talks = provider.Manifest{
	Name: "talks", Ops: []provider.Op{provider.Generate, provider.CountTokens, provider.Embed}, RequestIDs: []string{"Request-Id"},
	Credential: provider.Credential{Scheme: "bearer"}, Settings: lineManifest.Settings, Carry: lineManifest.Carry,
	Meter: provider.Meter{Fields: []provider.Field{
		{Event: "begin", Path: "usage.in", Count: provider.Input, Op: provider.Max},
		{Event: "begin", Path: "usage.cached", Count: provider.CacheRead, Op: provider.Max, In: provider.Input},
		{Path: "usage.out", Count: provider.OutputTokens, Op: provider.Last},
		{Path: "usage.in", Count: provider.Input, Op: provider.Max},
	}},
	Natives: []provider.Native{
		{Dialect: "talk", Op: provider.Generate, Path: "v1/talk", Unless: map[string]string{"region": "mute"}},
		{Dialect: "talk", Op: provider.CountTokens, Path: "v1/talk/count"},
		{Dialect: "talk", Op: provider.Embed, Path: "v1/embed"},
		{Dialect: "path", Op: provider.Generate, Path: "v1/models/{model}:say", StreamPath: "v1/models/{model}:stream"},
	},
}

// A stream of talk as a provider sends it, and what a client is to make of it.
const spoken = "event: begin\ndata: {\"usage\":{\"in\":9,\"cached\":2},\"model\":\"served-9\"}\n\n" +
	"event: word\ndata: {\"word\":\"hello\"}\n\n: a comment\r\n\r\n" +
	"event: word\ndata: {\"word\":\" wörld\",\"usage\":{\"out\":3}}\n\n" +
	"event: done\ndata: {\"usage\":{\"out\":4}}\n\n"

// events answers with a stream, in one piece.
func events(body string) http.HandlerFunc { return answers("text/event-stream", body) }

func answers(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Request-Id", "up-7")
		io.WriteString(w, body)
	}
}

// eventsThen answers with a part of a stream, and then does something else.
func eventsThen(body string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		events(body)(w, r)
		w.(http.Flusher).Flush()
		then(w, r)
	}
}

// client is the other side of an Ask.
type client struct {
	mu     sync.Mutex
	status int
	header http.Header
	body   strings.Builder
	writes []string
	beats  []string
	pinged bool            // Beat sends its ping at once
	leaves int             // writes after which the client is gone; 0 means never
	onSend func(so string) // before each write; may be nil
}

var errGone = errors.New("the client is gone")

func (c *client) Head(status int, h http.Header) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != 0 {
		if c.pinged && status == http.StatusOK {
			return nil
		}
		return fmt.Errorf("a second head %d", status)
	}
	c.status, c.header = status, h.Clone()
	return nil
}

func (c *client) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 {
		return 0, errors.New("written before the head")
	}
	if c.leaves > 0 && len(c.writes) >= c.leaves {
		return 0, errGone
	}
	if c.onSend != nil {
		c.onSend(string(b))
	}
	c.writes = append(c.writes, string(b))
	c.body.Write(b)
	return len(b), nil
}

func (c *client) Beat(ping string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beats = append(c.beats, ping)
	if c.pinged && ping != "" && c.status == 0 {
		c.status, c.header = http.StatusOK, http.Header{}
		c.body.WriteString(ping)
	}
}

func (c *client) Begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status != 0
}

// phrase is a dialogue of talk.
type phrase struct {
	mu      sync.Mutex
	asked   provider.Asked
	closed  int
	written int
	async   bool // writes from a goroutine of its own, as a client of a plugin does
	early   bool // writes something before the first event
	die     bool // its process dies after the first event
}

func (p *phrase) Asked() provider.Asked { return p.asked }

func (p *phrase) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
	return nil
}

func (p *phrase) Write(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	p.mu.Lock()
	p.written++
	p.mu.Unlock()
	write := func(b string) error { _, err := io.WriteString(w, b); return err }
	if p.async {
		pieces, ended := make(chan string, 16), make(chan error, 1)
		go func() {
			var failed error
			for b := range pieces {
				if failed == nil {
					_, failed = io.WriteString(w, b)
				}
			}
			ended <- failed
		}()
		write = func(b string) error { pieces <- b; return nil }
		defer func() { close(pieces); <-ended }()
	}
	if p.early && p.asked.Stream {
		if err := write("event: hello\ndata: {}\n\n"); err != nil {
			return err
		}
	}
	var text string
	for ev, err := range events {
		switch {
		case err != nil && !p.asked.Stream:
			return err
		case err != nil:
			return write("event: bad\ndata: {\"bad\":{\"message\":" + quote(apierror.From(err).Message) + "}}\n\n")
		case p.die:
			return apierror.New(apierror.Unavailable, "the front died")
		case ev.Type == openresponses.EventTextDelta:
			text += ev.Delta
			if p.asked.Stream {
				if err := write("event: word\ndata: {\"word\":" + quote(ev.Delta) + "}\n\n"); err != nil {
					return err
				}
			}
		case ev.IsTerminal() && p.asked.Stream:
			return write(fmt.Sprintf("event: done\ndata: {\"usage\":{\"out\":%d}}\n\n", ev.Usage.OutputTotal()))
		case ev.IsTerminal():
			return write(fmt.Sprintf(`{"text":%s,"usage":{"out":%d}}`, quote(text), ev.Usage.OutputTotal()))
		}
	}
	return apierror.New(apierror.Internal, "the events ended without an end")
}

func (p *phrase) WriteCount(_ context.Context, n int64, w io.Writer) error {
	_, err := fmt.Fprintf(w, `{"count":%d}`, n)
	return err
}

func (p *phrase) WriteEmbed(_ context.Context, v [][]float32, u *openresponses.Usage, w io.Writer) error {
	_, err := fmt.Fprintf(w, `{"vectors":%d,"in":%d}`, len(v), u.InputTotal())
	return err
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// asking makes an Ask of talk. Its dialogue is given back for a look at it.
func asking(body string, stream bool) (Ask, *phrase) {
	p := &phrase{asked: provider.Asked{Op: provider.Generate, Model: "m", Stream: stream, Lost: []string{"tone"},
		Request: &openresponses.Request{Model: "m", Input: []openresponses.Item{openresponses.Text("user", "hi")}, Stream: stream}}}
	a := Ask{
		Op: provider.Generate, Surface: "talk", Dialect: talk, Model: "m", Stream: stream, Body: []byte(body),
		Header: http.Header{"User-Agent": {"agent/1"}, "Authorization": {"Bearer client-token"}},
		Source: &usage.Source{RequestID: "req-1"},
		Accept: func(context.Context) (provider.Dialogue, error) { return p, nil },
	}
	return a, p
}

// speaking is at, where the providers named speak talk themselves.
func speaking(cfg Config, names ...string) Config {
	for name, p := range cfg.Providers {
		if slices.Contains(names, name) {
			p.Translator = "talks"
			cfg.Providers[name] = p
		}
	}
	return cfg
}

// serve asks b for a, and gives what the client saw and the record.
func serve(t *testing.T, b *bench, a Ask, w *client) (record, error) {
	t.Helper()
	err := b.Serve(t.Context(), alice, a, w)
	if len(b.records) == 0 {
		return record{}, err
	}
	return <-b.records, err
}

func gzipped(s string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}
