package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/core/store/storetest"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

const canary = "sk-canary-91c4"

// lines is a translator for a made-up provider whose replies are one event a
// line:
//
//	item, part        announce a message, and a text part of it
//	text T            a delta
//	usage I O …       token counts, on the next event; behind input and output
//	                  those from the cache, into it, into it for 1 hour, reasoning
//	call F ARGUMENTS  a call of the function F
//	end               ends part and item, and the turn as completed
//	cut-short         the same, as incomplete
//	finish            ends the turn as completed, of the service tier flex
//	fail CODE TEXT    an error of that code
//	failed CODE TEXT  the same as a terminal event
//	raw TYPE          an event of that type and nothing else
//	noise …           nothing
//	stop              ends decoding
type lines struct {
	begin func(ctx context.Context, t provider.Turn) error // before each exchange; may be nil
	after func(ctx context.Context) error                  // before decoding, once the head is there; may be nil
	up    func(t provider.Turn) *provider.Upstream         // nil means a plain one
	blind bool                                             // takes every answer for a good reply
}

func (l *lines) Begin(ctx context.Context, t provider.Turn) (provider.Exchange, error) {
	if l.begin != nil {
		if err := l.begin(ctx, t); err != nil {
			return nil, err
		}
	}
	up := &provider.Upstream{Method: "POST", Path: "gen/" + t.Model, Body: []byte(`{"model":"` + t.Model + `"}`), Stream: true, Lost: []string{"top_k"}}
	if l.up != nil {
		up = l.up(t)
	}
	return &lineExchange{up: up, after: l.after, blind: l.blind}, nil
}

type lineExchange struct {
	up    *provider.Upstream
	blind bool
	after func(ctx context.Context) error
}

func (x *lineExchange) Upstream() *provider.Upstream { return x.up }

// DecodeCount reads a number.
func (x *lineExchange) DecodeCount(_ context.Context, r provider.Reply) (n int64, err error) {
	text, err := x.text(r)
	if err == nil {
		_, err = fmt.Sscan(text, &n)
	}
	return n, err
}

// DecodeEmbed reads the number of vectors and of tokens.
func (x *lineExchange) DecodeEmbed(_ context.Context, r provider.Reply) ([][]float32, *openresponses.Usage, error) {
	text, err := x.text(r)
	var vectors int
	var u openresponses.Usage
	if err == nil {
		_, err = fmt.Sscan(text, &vectors, &u.Input)
	}
	return make([][]float32, vectors), &u, err
}

func (x *lineExchange) text(r provider.Reply) (string, error) {
	b, err := io.ReadAll(r.Body)
	if err == nil && r.Status >= 400 {
		err = apierror.New(apierror.UpstreamInvalid, "refused: %s", b)
	}
	return string(b), err
}

func (x *lineExchange) Decode(ctx context.Context, r provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		if x.after != nil {
			if err := x.after(ctx); err != nil {
				yield(openresponses.Event{}, err)
				return
			}
		}
		body := r.Body
		if body == nil || x.blind {
			body = strings.NewReader("item\npart\ntext offline\nend\n")
		}
		if r.Status >= 400 && !x.blind {
			text, _ := io.ReadAll(body)
			yield(openresponses.Event{}, apierror.New(apierror.UpstreamInvalid, "refused: %s", text))
			return
		}
		var text string
		var usage *openresponses.Usage
		items := 0 // that are done
		give := func(ev openresponses.Event) bool {
			ev.Usage, usage = usage, nil
			ev.OutputIndex = items
			if ev.Type == openresponses.EventItemDone {
				items++
			}
			return yield(ev, nil)
		}
		in := bufio.NewReader(body)
		for {
			line, err := in.ReadString('\n')
			if err != nil && err != io.EOF {
				yield(openresponses.Event{}, fmt.Errorf("read reply: %w", err))
				return
			}
			if err == io.EOF {
				yield(openresponses.Event{}, apierror.New(apierror.UpstreamFailed, "the reply ended early"))
				return
			}
			word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			ok := true
			switch word {
			case "item":
				ok = give(openresponses.Event{Type: openresponses.EventItemAdded, Item: &openresponses.Item{Type: openresponses.TypeMessage, Role: "assistant"}})
			case "part":
				ok = give(openresponses.Event{Type: openresponses.EventPartAdded, Part: &openresponses.Part{Type: openresponses.PartOutputText}})
			case "text":
				text += rest
				ok = give(openresponses.Event{Type: openresponses.EventTextDelta, Delta: rest})
			case "usage":
				usage = &openresponses.Usage{}
				fmt.Sscan(rest, &usage.Input, &usage.Output, &usage.CacheRead, &usage.CacheWrite, &usage.CacheWrite1h, &usage.Reasoning)
			case "call":
				name, arguments, _ := strings.Cut(rest, " ")
				call := openresponses.Item{Type: openresponses.TypeFunctionCall, CallID: "c-" + name, Name: name}
				done := call
				done.Arguments, done.Status = arguments, openresponses.StatusCompleted
				ok = give(openresponses.Event{Type: openresponses.EventItemAdded, Item: &call}) &&
					give(openresponses.Event{Type: openresponses.EventArgumentsDelta, Delta: arguments}) &&
					give(openresponses.Event{Type: openresponses.EventItemDone, Item: &done})
			case "finish":
				give(openresponses.Event{Type: openresponses.EventCompleted, Terminal: &openresponses.Terminal{Status: openresponses.StatusCompleted, Model: "served-1", Tier: "flex"}})
				return
			case "end", "cut-short":
				typ, status, reason := openresponses.EventCompleted, openresponses.StatusCompleted, ""
				if word == "cut-short" {
					typ, status, reason = openresponses.EventIncomplete, openresponses.StatusIncomplete, "max_output_tokens"
				}
				part := openresponses.Part{Type: openresponses.PartOutputText, Text: text}
				_ = give(openresponses.Event{Type: openresponses.EventTextDone, Text: text}) &&
					give(openresponses.Event{Type: openresponses.EventPartDone, Part: &part}) &&
					give(openresponses.Event{Type: openresponses.EventItemDone, Item: &openresponses.Item{
						Type: openresponses.TypeMessage, Role: "assistant", Status: status, Content: []openresponses.Part{part}}}) &&
					give(openresponses.Event{Type: typ, Terminal: &openresponses.Terminal{Status: status, Reason: reason, Model: "served-1"}})
				return
			case "fail", "failed":
				code, msg, _ := strings.Cut(rest, " ")
				e := apierror.New(apierror.Code(code), "%s", msg)
				if word == "fail" {
					yield(openresponses.Event{}, e)
				} else {
					give(openresponses.Event{Type: openresponses.EventFailed, Terminal: &openresponses.Terminal{Status: openresponses.StatusFailed, Error: e}})
				}
				return
			case "raw":
				ok = give(openresponses.Event{Type: rest})
			case "noise":
			case "stop":
				return
			default:
				yield(openresponses.Event{}, apierror.New(apierror.UpstreamFailed, "line not understood: %s", line))
				return
			}
			if !ok {
				return
			}
		}
	}
}

// plugins are the translators of a test by name.
type plugins map[string]provider.Translator

var lineManifest = provider.Manifest{
	Name: "lines", Ops: []provider.Op{provider.Generate}, Carry: []string{"X-Beta", "Authorization"}, RequestIDs: []string{"Request-Id"},
	Credential: provider.Credential{Scheme: "bearer"},
	Settings:   []byte(`{"type":"object","properties":{"region":{"type":"string"}},"additionalProperties":false}`),
}

func (p plugins) Translator(name string) (provider.Translator, provider.Manifest, bool) {
	t, ok := p[name]
	m := lineManifest
	switch name {
	case "offline":
		m = provider.Manifest{Name: name, Ops: m.Ops, Offline: true}
	case "talks":
		m = talks
	}
	return t, m, ok
}

// upstream is a scripted provider: each request takes the next step; the last
// one serves the rest.
type upstream struct {
	*httptest.Server
	mu    sync.Mutex
	steps []http.HandlerFunc
	seen  []*http.Request
	first func() // called when the first request is there; may be nil
}

func newUpstream(t *testing.T, steps ...http.HandlerFunc) *upstream {
	t.Helper()
	u := &upstream{steps: steps}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	u.mu.Lock()
	step := u.steps[min(len(u.seen), len(u.steps)-1)]
	u.seen = append(u.seen, r)
	first := u.first
	u.first = nil
	u.mu.Unlock()
	if first != nil {
		first()
	}
	step(w, r)
}

func (u *upstream) requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.seen)
}

// arrived has f called when the first request is there. Set it before.
func (u *upstream) arrived(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.first = f
}

// says answers with lines.
func says(script string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Request-Id", "up-1")
		for line := range strings.SplitSeq(script, ";") {
			io.WriteString(w, strings.TrimSpace(line)+"\n")
		}
	}
}

// saysThen answers with lines, and then does something else.
func saysThen(script string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		says(script)(w, r)
		w.(http.Flusher).Flush()
		then(w, r)
	}
}

// status answers with an error, header pairs included.
func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, "no, and your key is %s", r.Header.Get("Authorization"))
	}
}

func hang(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
func abort(http.ResponseWriter, *http.Request)    { panic(http.ErrAbortHandler) }

const good = "item; part; text hello; usage 7 3; end"

// bench is a Router with what a test wants to look at.
type bench struct {
	*Router
	acc     *access.Service
	logs    *logBuffer
	records chan record
	failed  func()    // when it is logged that an attempt failed; may be nil
	up      *upstream // for tests that look at it
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var (
	alice   = &access.Principal{Name: "alice", Kind: access.KindUser, Scopes: []string{access.ScopeAll}}
	mallory = &access.Principal{Name: "mallory", Kind: access.KindUser, Scopes: []string{access.ScopeAll}}
	root    = &access.Principal{Name: "root", Kind: access.KindUser, Admin: true, Scopes: []string{access.ScopeAll}}
)

func newAccess(t testing.TB, grants ...access.Grant) *access.Service {
	t.Helper()
	acc, err := access.New(access.Config{
		Users:             []access.User{{Name: "alice", Groups: []string{"analysts"}}, {Name: "mallory"}, {Name: "root", Admin: true}},
		ServicePrincipals: []access.ServicePrincipal{{Name: "robot", Groups: []string{"analysts"}}},
		Grants:            grants,
	}, storetest.Open(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("access: %v", err)
	}
	t.Cleanup(func() { acc.Close() })
	return acc
}

var everyModel = access.Grant{To: "analysts", Privileges: []string{"EXECUTE"}, On: "schema system.ai"}

// newBench builds a Router over cfg, in which analysts may use every model.
func newBench(t testing.TB, cfg Config, tr plugins) *bench {
	t.Helper()
	return newRecordedBench(t, cfg, tr, nil)
}

// newRecordedBench is newBench with usage rows.
func newRecordedBench(t testing.TB, cfg Config, tr plugins, rec *usage.Recorder) *bench {
	t.Helper()
	b := &bench{acc: newAccess(t, everyModel), logs: &logBuffer{}, records: make(chan record, 64)}
	out, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.Router, err = New(cfg, tr, out, b.acc, rec, nil, slog.New(lineHandler{slog.NewTextHandler(b.logs, nil), b}))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(b.Router.Close)
	return b
}

// at makes the configuration of one model m over providers p0, p1, … at the
// bases, of which the first is the destination and the others the fallback.
func at(bases ...string) Config {
	cfg := Config{Providers: map[string]Provider{}, Models: map[string]Model{}}
	var m Model
	for i, base := range bases {
		name := fmt.Sprintf("p%d", i)
		cfg.Providers[name] = Provider{Translator: "lines", BaseURL: base, Key: secret.Of(canary)}
		d := Destination{Provider: name, Model: "x"}
		if i == 0 {
			m.Destinations = []Destination{d}
		} else {
			m.Fallback = append(m.Fallback, d)
		}
	}
	cfg.Models["m"] = m
	return cfg
}

// patience sets the timeouts of p0.
func patience(cfg Config, t Timeouts) Config {
	p := cfg.Providers["p0"]
	p.Timeouts = t
	cfg.Providers["p0"] = p
	return cfg
}

func ask(model string) Call {
	return Call{Request: &openresponses.Request{Model: model, Stream: true}, Source: &usage.Source{RequestID: "req-1"}}
}

// outcome is what a consumer saw of one call.
type outcome struct {
	events string // types without "response.", and deltas
	text   string
	usage  *openresponses.Usage // the last one
	err    *apierror.Error
}

func collect(seq iter.Seq2[openresponses.Event, error]) outcome {
	var o outcome
	var types []string
	for ev, err := range seq {
		if ev.Usage != nil {
			o.usage = ev.Usage
		}
		if err != nil {
			o.err = apierror.From(err)
			continue
		}
		types = append(types, strings.TrimPrefix(ev.Type, "response."))
		o.text += ev.Delta
	}
	o.events = strings.Join(types, " ")
	return o
}
