package router

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

func TestCountTokens(t *testing.T) {
	t.Parallel()
	count := func(t provider.Turn) *provider.Upstream {
		return &provider.Upstream{Method: "POST", Path: "count/" + t.Model, Body: []byte("{}")}
	}
	request := openresponses.Request{Model: "m", Input: []openresponses.Item{openresponses.Text("user", strings.Repeat("word ", 200))}}
	tests := []struct {
		name   string
		speaks string
		steps  []http.HandlerFunc
		change func(*Ask)
		body   string
		http   int
		err    apierror.Code
		status string
		calls  int
	}{
		{name: "the provider counts", speaks: "p0", steps: []http.HandlerFunc{answers("application/json", `{"tokens":42}`)}, body: `{"tokens":42}`, http: 200, status: usage.Completed, calls: 1},
		{name: "the provider counts what is translated", speaks: "p0", change: func(a *Ask) { a.Translated = true }, steps: []http.HandlerFunc{says("42")}, body: `{"count":42}`, http: 200, status: usage.Completed, calls: 1},
		{name: "a provider that cannot count", steps: []http.HandlerFunc{abort}, body: `{"count":266}`, http: 200, status: usage.Completed},
		{name: "a provider without the path", speaks: "p0", steps: []http.HandlerFunc{status(404)}, body: `{"count":266}`, http: 200, status: usage.Completed, calls: 1},
		{name: "a provider that is down", speaks: "p0", steps: []http.HandlerFunc{abort}, body: `{"count":266}`, http: 200, status: usage.Completed, calls: 1},
		{name: "a wrong request", speaks: "p0", steps: []http.HandlerFunc{status(400)}, body: "no, and your key is Bearer ***", http: 400, status: usage.Failed, calls: 1},
		{name: "a wrong request that is translated", speaks: "p0", change: func(a *Ask) { a.Translated = true }, steps: []http.HandlerFunc{status(400)}, err: apierror.UpstreamInvalid, status: usage.Failed, calls: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			up := newUpstream(t, tt.steps...)
			b := newBench(t, speaking(at(up.URL), tt.speaks), plugins{"lines": &lines{}, "talks": &lines{up: count}})
			a, p := asking(`{"model":"m"}`, false)
			a.Op, p.asked.Op, p.asked.Request = provider.CountTokens, provider.CountTokens, &request
			if tt.change != nil {
				tt.change(&a)
			}
			w := &client{}
			rec, err := serve(t, b, a, w)
			if apierror.CodeOf(err) != tt.err || w.body.String() != tt.body || w.status != tt.http {
				t.Errorf("Serve = %v, %d %q; want %q, %d %q", err, w.status, w.body.String(), tt.err, tt.http, tt.body)
			}
			if rec.status != tt.status || rec.usage != (openresponses.Usage{}) || up.requests() != tt.calls {
				t.Errorf("record = %+v after %d requests; want %s, no tokens, %d requests", rec, up.requests(), tt.status, tt.calls)
			}
		})
	}
}

func TestEmbed(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, nil)
	up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/gen/") {
			says("2 9")(w, r)
			return
		}
		answers("application/json", `{"vectors":[[1],[2]],"usage":{"in":8}}`)(w, r)
	})
	embed := func(cfg Config, translated bool) (*client, record, error) {
		b := newBench(t, cfg, both)
		a, p := asking(`{"model":"m","input":["a","b"]}`, false)
		a.Op, a.Translated = provider.Embed, translated
		p.asked = provider.Asked{Op: provider.Embed, Embed: &provider.EmbedRequest{Input: []string{"a", "b"}}}
		w := &client{}
		rec, err := serve(t, b, a, w)
		return w, rec, err
	}
	if w, rec, err := embed(speaking(at(up.URL), "p0"), false); err != nil || w.body.String() != `{"vectors":[[1],[2]],"usage":{"in":8}}` || rec.usage != (openresponses.Usage{Input: 8}) {
		t.Errorf("relayed: %v, %q, %+v", err, w.body.String(), rec)
	}
	if w, rec, err := embed(speaking(at(up.URL), "p0"), true); err != nil || w.body.String() != `{"vectors":2,"in":9}` || rec.usage != (openresponses.Usage{Input: 9}) || rec.status != usage.Completed {
		t.Errorf("translated: %v, %q, %+v", err, w.body.String(), rec)
	}
	// p0 makes none, p1 does.
	if w, rec, err := embed(speaking(at(up.URL, up.URL), "p1"), false); err != nil || w.status != 200 || rec.provider != "p1" {
		t.Errorf("at the second provider: %v, %d, %+v", err, w.status, rec)
	}
	if w, rec, err := embed(at(up.URL), false); !apierror.Is(err, apierror.Unsupported) || w.status != 0 || rec.status != usage.Failed {
		t.Errorf("nowhere: %v, %d, %+v; want unsupported", err, w.status, rec)
	}
}

// newLimited is newRecordedBench with limits on m.
func newLimited(t *testing.T, cfg Config, tr plugins, log *usagetest.Log, limits ...ratelimit.Limit) (*bench, *ratelimit.Service) {
	t.Helper()
	b := newRecordedBench(t, cfg, tr, log.Recorder)
	s, err := ratelimit.New(ratelimit.Config{Models: map[string][]ratelimit.Limit{"m": limits}}, slog.New(slog.DiscardHandler), ratelimit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b.Router.limits = s
	return b, s
}

// Every way to a model passes the limits: a call holds room before it is made,
// gives back what it did not use, and one that is refused is a row and nothing
// else.
func TestLimits(t *testing.T) {
	t.Parallel()
	used := func(s *ratelimit.Service) (requests, tokens int64) {
		for _, l := range s.Standing(ratelimit.Caller{Name: "alice"}, []string{"m"}).Limits {
			if l.Requests != nil && l.Op == "" {
				requests += l.Requests.Used
			}
			if l.Tokens != nil {
				tokens += l.Tokens.Used
			}
		}
		return requests, tokens
	}
	type world struct {
		b  *bench
		up *upstream
	}
	ways := map[string]func(t *testing.T, w world) error{
		"relayed": func(t *testing.T, w world) error {
			a, _ := asking(said, true)
			return w.b.Serve(t.Context(), alice, a, &client{})
		},
		"translated": func(t *testing.T, w world) error {
			a, _ := asking(said, true)
			a.Translated = true
			return w.b.Serve(t.Context(), alice, a, &client{})
		},
		"turn": func(t *testing.T, w world) error {
			if got := collect(w.b.Generate(t.Context(), alice, ask("m"))); got.err != nil {
				return got.err
			}
			return nil
		},
		"embeddings": func(t *testing.T, w world) error {
			a, _ := asking(`{"model":"m"}`, false)
			a.Op = provider.Embed
			return w.b.Serve(t.Context(), alice, a, &client{})
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := usagetest.New(t, statusOf)
			up := newUpstream(t, nil)
			up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				up.mu.Lock()
				up.seen = append(up.seen, r)
				up.mu.Unlock()
				switch {
				case strings.HasPrefix(r.URL.Path, "/gen/"):
					says("item; part; text hello; usage 9 4; end")(w, r)
				case r.URL.Path == "/v1/embed":
					answers("application/json", `{"usage":{"in":9,"out":4}}`)(w, r)
				default:
					events(spoken)(w, r)
				}
			})
			b, s := newLimited(t, speaking(at(up.URL), "p0"), both, log, ratelimit.Limit{Each: "user", Requests: 2, Tokens: 1000000, Per: "hour"})
			w := world{b, up}
			for range 2 {
				if err := way(t, w); err != nil {
					t.Fatal(err)
				}
			}
			if requests, tokens := used(s); requests != 2 || tokens != 26 {
				t.Errorf("%d requests and %d tokens are used, want 2 and 26", requests, tokens)
			}
			err := way(t, w)
			if !apierror.Is(err, apierror.RateLimited) || apierror.From(err).RetryAfter <= 0 {
				t.Errorf("the third = %v, want rate_limited with a time", err)
			}
			rows := log.Rows()
			if len(rows) != 3 || up.requests() != 2 || rows[2]["status"] != usage.Refused || rows[2]["error_code"] != "rate_limited" {
				t.Errorf("%d rows and %d requests, the last row %v", len(rows), up.requests(), rows[len(rows)-1])
			}
		})
	}
}

// What reached no provider counts for nothing; what a provider refused counts
// as a request without tokens; counting tokens is neither.
func TestLimitsGiveBack(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf)
	up := newUpstream(t, status(400))
	cfg := speaking(at(up.URL), "p0")
	b, s := newLimited(t, cfg, both, log, ratelimit.Limit{Requests: 100, Tokens: 1000000, Per: "hour"})
	standing := func() (int64, int64) {
		for _, l := range s.Standing(ratelimit.Caller{Name: "alice"}, []string{"m"}).Limits {
			if l.Op == "" {
				return l.Requests.Used, l.Tokens.Used
			}
		}
		t.Fatal("no limit")
		return 0, 0
	}
	a, _ := asking(said, true)
	if err := b.Serve(t.Context(), alice, a, &client{}); err != nil {
		t.Fatal(err)
	}
	if requests, tokens := standing(); requests != 1 || tokens != 0 {
		t.Errorf("after a refusal of the provider %d requests and %d tokens, want 1 and 0", requests, tokens)
	}
	a.Op = provider.CountTokens
	if err := b.Serve(t.Context(), alice, a, &client{}); err != nil {
		t.Fatal(err)
	}
	if requests, tokens := standing(); requests != 1 || tokens != 0 {
		t.Errorf("after a count %d requests and %d tokens, want 1 and 0 still", requests, tokens)
	}
	a.Op = provider.Generate
	log.Fill(t.Context())
	if err := b.Serve(t.Context(), alice, a, &client{}); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Serve with a full ledger = %v", err)
	}
	if requests, tokens := standing(); requests != 1 || tokens != 0 {
		t.Errorf("after a call that was not recorded %d requests and %d tokens, want 1 and 0 still", requests, tokens)
	}
}

// The rest of a reply that the request bounds is reserved by that bound.
func TestReservesTheBound(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf)
	up := newUpstream(t, events(spoken))
	b, _ := newLimited(t, speaking(at(up.URL), "p0"), both, log, ratelimit.Limit{Tokens: 1000, Per: "hour", Reserve: "max"})
	for body, want := range map[string]string{`{"model":"m","max_words":500}`: "", `{"model":"m","max_words":5000}`: "may use up to 5,0"} {
		a, _ := asking(body, true)
		if err := b.Serve(t.Context(), alice, a, &client{}); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Serve of %s = %v, want %q", body, err, want)
		}
	}
}

// A call that reaches nobody gives its request back too.
func TestLimitsGiveBackARequest(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf)
	b, s := newLimited(t, speaking(at("http://127.0.0.1:1"), "p0"), both, log, ratelimit.Limit{Requests: 100, Per: "hour"})
	a, _ := asking(said, true)
	if err := b.Serve(t.Context(), alice, a, &client{}); !apierror.Is(err, apierror.UpstreamFailed) {
		t.Errorf("Serve without a provider = %v", err)
	}
	for _, l := range s.Standing(ratelimit.Caller{Name: "alice"}, []string{"m"}).Limits {
		if l.Op == "" && l.Requests.Used != 0 {
			t.Errorf("%d requests are used, want none", l.Requests.Used)
		}
	}
}
