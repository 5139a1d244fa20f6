package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

func TestGenerate(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, says(good))
	var turn provider.Turn
	cfg := at(up.URL + "/v1")
	p := cfg.Providers["p0"]
	p.Settings = map[string]any{"region": "north"}
	cfg.Providers["p0"] = p
	b := newBench(t, cfg, plugins{"lines": &lines{begin: func(_ context.Context, t provider.Turn) error { turn = t; return nil }}})
	c := ask("system.ai.M[1m]")
	c.Header = http.Header{"X-Beta": {"b1"}, "X-Other": {"no"}, "Authorization": {"Bearer client"}, "X-Sallyport-Depth": {"1"}}
	got := collect(b.Generate(t.Context(), alice, c))

	if want := "output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done completed"; got.events != want || got.err != nil {
		t.Errorf("events = %s, error %v; want %s", got.events, got.err, want)
	}
	if want := (openresponses.Usage{Input: 7, Output: 3}); got.usage == nil || *got.usage != want {
		t.Errorf("usage = %+v, want %+v", got.usage, want)
	}
	if turn.Model != "x" || turn.Op != provider.Generate || turn.Account.Name != "p0" || string(turn.Account.Settings) != `{"region":"north"}` || turn.Request != c.Request {
		t.Errorf("turn = %+v, want the destination's model, account, settings and the request", turn)
	}
	if fmt.Sprint(turn.Carry) != "map[X-Beta:[b1]]" {
		t.Errorf("carried = %v, want X-Beta only: Authorization is no translator's business", turn.Carry)
	}
	r := up.seen[0]
	if r.URL.Path != "/v1/gen/x" || r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("X-Sallyport-Depth") != "2" {
		t.Errorf("request = %s with %v, want /v1/gen/x with the account's key and depth 2", r.URL.Path, r.Header)
	}
	rec := <-b.records
	if rec.firstByte < 0 || rec.latency < rec.firstByte {
		t.Errorf("times do not fit: first byte %v ms, call %v ms", rec.firstByte, rec.latency)
	}
	rec.firstByte, rec.latency = 0, 0
	want := fmt.Sprintf("%+v", record{request: "req-1", principal: "alice", model: "m", provider: "p0", destination: "x", status: "completed",
		usage: openresponses.Usage{Input: 7, Output: 3}, lost: []string{"top_k"}})
	if got := fmt.Sprintf("%+v", rec); got != want {
		t.Errorf("record =\n%s\nwant\n%s", got, want)
	}
	line := b.logs.String()
	for _, part := range []string{`msg="model call"`, "request=req-1", "principal=alice", "model=m", "provider=p0", "destination=x",
		"status=completed", "input_tokens=7", "output_tokens=3", "lost=[top_k]", "first_byte_ms=", "latency_ms="} {
		if !strings.Contains(line, part) {
			t.Errorf("log line lacks %q: %s", part, line)
		}
	}
	for _, part := range []string{"attempts=", "code=", "estimated=", "cache_read_tokens=", "reasoning_tokens="} {
		if strings.Contains(line, part) {
			t.Errorf("log line has %q, of which there is nothing to say: %s", part, line)
		}
	}
}

// Every way out of a call gives one record, one line, one error or terminal
// event, and never the key.
func TestEveryExit(t *testing.T) {
	t.Parallel()
	noHead, noMore := Timeouts{FirstByte: 300 * time.Millisecond}, Timeouts{Idle: 300 * time.Millisecond}
	tests := []struct {
		name   string
		first  []http.HandlerFunc // of the destination
		second []http.HandlerFunc // of the fallback; nil means there is none
		tr     func() *lines      // nil means a plain one
		calls  [2]int             // requests each got
		text   string             // what the consumer saw
		code   apierror.Code
		msg    string // part of the error's message
		status string // of the record
		usage  openresponses.Usage
		limits Timeouts // of the destination
	}{
		{name: "served", first: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, text: "hello", status: "completed", usage: openresponses.Usage{Input: 7, Output: 3}},
		{name: "incomplete", first: []http.HandlerFunc{says("item; part; text he; cut-short")}, calls: [2]int{1, 0}, text: "he", status: "incomplete",
			usage: openresponses.Usage{Input: 4, Output: 1, Estimated: true}},
		{name: "no usage said", first: []http.HandlerFunc{says("item; part; text 12345678; end")}, calls: [2]int{1, 0}, text: "12345678", status: "completed",
			usage: openresponses.Usage{Input: 4, Output: 2, Estimated: true}},

		// Before anything was given on.
		{name: "503 then served", first: []http.HandlerFunc{status(503), says(good)}, calls: [2]int{2, 0}, text: "hello", status: "completed", usage: openresponses.Usage{Input: 7, Output: 3}},
		{name: "503 twice then fallback", first: []http.HandlerFunc{status(503)}, second: []http.HandlerFunc{says(good)}, calls: [2]int{2, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 7, Output: 3}},
		{name: "503 everywhere", first: []http.HandlerFunc{status(503)}, second: []http.HandlerFunc{status(500)}, calls: [2]int{2, 2}, code: apierror.UpstreamInvalid, msg: "(4 attempts failed", status: "failed"},
		{name: "429 with a long wait goes on at once", first: []http.HandlerFunc{status(429, "Retry-After", "3600")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 7, Output: 3}},
		{name: "429 with a long wait and no fallback", first: []http.HandlerFunc{status(429, "Retry-After", "3600")}, calls: [2]int{1, 0}, code: apierror.UpstreamInvalid, status: "failed"},
		{name: "400 stops", first: []http.HandlerFunc{status(400)}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, code: apierror.UpstreamInvalid, msg: "your key is Bearer ***", status: "failed"},
		{name: "401 stops", first: []http.HandlerFunc{status(401)}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, code: apierror.UpstreamAuth, msg: "administrator should check its key", status: "failed"},
		{name: "overload inside a reply falls back", first: []http.HandlerFunc{says("item; part; fail upstream_limited overloaded")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{2, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 4 + 7, Output: 3, Estimated: true}},
		{name: "failed event before content falls back", first: []http.HandlerFunc{says("item; failed upstream_failed sorry")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{2, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 4 + 7, Output: 3, Estimated: true}},
		{name: "refusal inside a reply stops", first: []http.HandlerFunc{says("item; fail upstream_invalid no")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, code: apierror.UpstreamInvalid, msg: "no", status: "failed",
			usage: openresponses.Usage{Input: 4, Estimated: true}},
		{limits: noHead, name: "no head", first: []http.HandlerFunc{hang}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 1}, text: "hello", status: "completed", usage: openresponses.Usage{Input: 4 + 7, Output: 3, Estimated: true}},
		{limits: noHead, name: "no head anywhere", first: []http.HandlerFunc{hang}, calls: [2]int{1, 0}, code: apierror.UpstreamTimeout, msg: "did not begin to answer", status: "failed", usage: openresponses.Usage{Input: 4, Estimated: true}},
		{name: "cut before content", first: []http.HandlerFunc{saysThen("item", abort), says(good)}, calls: [2]int{2, 0}, text: "hello", status: "completed", usage: openresponses.Usage{Input: 4 + 7, Output: 3, Estimated: true}},
		{limits: noMore, name: "hang before content", first: []http.HandlerFunc{saysThen("item", hang)}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 7, Output: 3, Estimated: true}},
		{name: "empty reply", first: []http.HandlerFunc{func(http.ResponseWriter, *http.Request) {}, says(good)}, calls: [2]int{2, 0}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 7, Output: 3, Estimated: true}},
		{name: "garbage", first: []http.HandlerFunc{says("<html>")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{2, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 4 + 7, Output: 3, Estimated: true}},
		{name: "redirect stops", first: []http.HandlerFunc{status(302, "Location", "http://169.254.169.254/")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, code: apierror.UpstreamFailed, msg: "redirect", status: "failed"},
		{name: "grammar goes on at once", first: []http.HandlerFunc{says("part")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 7, Output: 3, Estimated: true}},
		{name: "no terminal event", first: []http.HandlerFunc{says("item; stop")}, calls: [2]int{1, 0}, code: apierror.UpstreamFailed, msg: `translator plugin "lines" broke a rule: the reply ended without a terminal event`, status: "failed",
			usage: openresponses.Usage{Input: 4, Estimated: true}},
		{name: "error answer becomes events", first: []http.HandlerFunc{status(404)}, tr: func() *lines { return &lines{blind: true} }, calls: [2]int{1, 0}, code: apierror.UpstreamInvalid, msg: "answered with status 404", status: "failed"},

		// After it.
		{name: "error after content", first: []http.HandlerFunc{says("item; part; text par; fail upstream_limited overloaded")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, text: "par", code: apierror.UpstreamLimited,
			msg: "overloaded", status: "failed", usage: openresponses.Usage{Input: 4, Output: 1, Estimated: true}},
		{name: "failed event after content", first: []http.HandlerFunc{says("item; part; text par; usage 9 1; failed upstream_failed sorry")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, text: "par", code: apierror.UpstreamFailed,
			msg: "sorry", status: "failed", usage: openresponses.Usage{Input: 9, Output: 1}},
		{name: "error that repeats the key", first: []http.HandlerFunc{says("item; part; text par; fail upstream_failed bad key " + canary)}, calls: [2]int{1, 0}, text: "par", code: apierror.UpstreamFailed,
			msg: "bad key ***", status: "failed", usage: openresponses.Usage{Input: 4, Output: 1, Estimated: true}},
		{name: "cut after content", first: []http.HandlerFunc{saysThen("item; part; usage 9 1; text 1234567890", abort)}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, text: "1234567890", code: apierror.UpstreamFailed,
			msg: "cut its reply", status: "failed", usage: openresponses.Usage{Input: 9, Output: 3, Estimated: true}},
		{limits: noMore, name: "hang after content", first: []http.HandlerFunc{saysThen("item; part; text par", hang)}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, text: "par", code: apierror.UpstreamTimeout,
			msg: "sent nothing more", status: "failed", usage: openresponses.Usage{Input: 4, Output: 1, Estimated: true}},
		{name: "error after more was read than may be held back", first: []http.HandlerFunc{says("item; noise " + strings.Repeat("x", 70<<10) + "; part; fail upstream_limited overloaded")}, second: []http.HandlerFunc{says(good)},
			calls: [2]int{1, 0}, code: apierror.UpstreamLimited, msg: "overloaded", status: "failed", usage: openresponses.Usage{Input: 4, Estimated: true}},
		{limits: noHead, name: "hang after the head", first: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); hang(w, r) }}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 1}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 7, Output: 3, Estimated: true}},
		{name: "grammar after content", first: []http.HandlerFunc{says("item; part; text par; item")}, second: []http.HandlerFunc{says(good)}, calls: [2]int{1, 0}, text: "par", code: apierror.UpstreamFailed,
			msg: "an item is added while another is open", status: "failed", usage: openresponses.Usage{Input: 4, Output: 1, Estimated: true}},

		// The translator itself.
		{name: "begin refuses", first: []http.HandlerFunc{says(good)}, tr: func() *lines {
			return &lines{begin: func(context.Context, provider.Turn) error {
				return apierror.At(apierror.Invalid, "top_p", "no top_p here")
			}}
		}, code: apierror.Invalid, msg: "no top_p here", status: "failed"},
		{name: "begin dies once", first: []http.HandlerFunc{says(good)}, tr: func() *lines { return &lines{begin: once(apierror.New(apierror.Unavailable, "plugin died"))} }, calls: [2]int{1, 0}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 7, Output: 3}},
		{name: "dies in decoding once", first: []http.HandlerFunc{says(good)}, tr: func() *lines { return &lines{after: onceCtx(apierror.New(apierror.Unavailable, "plugin died"))} }, calls: [2]int{2, 0}, text: "hello", status: "completed",
			usage: openresponses.Usage{Input: 4 + 7, Output: 3, Estimated: true}},
		{name: "is always dead", first: []http.HandlerFunc{says(good)}, tr: func() *lines {
			return &lines{begin: func(context.Context, provider.Turn) error { return apierror.New(apierror.Unavailable, "plugin died") }}
		},
			code: apierror.Unavailable, msg: "plugin died (2 attempts failed", status: "failed"},
		{name: "error without code", first: []http.HandlerFunc{says(good)}, tr: func() *lines {
			return &lines{after: func(context.Context) error { return errors.New("index out of range") }}
		}, calls: [2]int{1, 0}, code: apierror.UpstreamFailed,
			msg: "could not be translated", status: "failed", usage: openresponses.Usage{Input: 4, Estimated: true}},
		{name: "makes no request", first: []http.HandlerFunc{says(good)}, tr: func() *lines { return &lines{up: func(provider.Turn) *provider.Upstream { return nil }} }, code: apierror.UpstreamFailed, msg: "declares itself offline", status: "failed"},
		{name: "names a host", first: []http.HandlerFunc{says(good)}, tr: func() *lines {
			return &lines{up: func(provider.Turn) *provider.Upstream { return &provider.Upstream{Path: "//evil.example/x"} }}
		}, code: apierror.UpstreamFailed,
			msg: "refused to call", status: "failed"},
	}
	for i, tt := range append(tests, tests...) {
		if tt.tr == nil {
			tt.tr = func() *lines { return &lines{} }
		}
		name, framed := tt.name, i >= len(tests)
		if framed { // the same again with frames between the router and the translator, as in life
			name += ", framed"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ups := []*upstream{newUpstream(t, tt.first...)}
			bases := []string{ups[0].URL}
			if tt.second != nil {
				ups = append(ups, newUpstream(t, tt.second...))
				bases = append(bases, ups[1].URL)
			}
			var tr provider.Translator = tt.tr()
			if framed {
				client, end := provider.Loopback(tr)
				t.Cleanup(end)
				tr = client
			}
			b := newBench(t, patience(at(bases...), tt.limits), plugins{"lines": tr})
			got := collect(b.Generate(t.Context(), alice, ask("m")))
			for i, u := range ups {
				if n := u.requests(); n != tt.calls[i] {
					t.Errorf("p%d got %d requests, want %d", i, n, tt.calls[i])
				}
			}
			if got.text != tt.text {
				t.Errorf("text = %q, want %q", got.text, tt.text)
			}
			switch {
			case tt.code == "" && got.err != nil:
				t.Errorf("error = %v, want none", got.err)
			case tt.code != "" && (got.err == nil || got.err.Code != tt.code || !strings.Contains(got.err.Message, tt.msg)):
				t.Errorf("error = %+v, want code %q with %q", got.err, tt.code, tt.msg)
			}
			rec := <-b.records
			if rec.status != tt.status || rec.code != tt.code {
				t.Errorf("record has status %q and code %q, want %q and %q", rec.status, rec.code, tt.status, tt.code)
			}
			if rec.usage != tt.usage {
				t.Errorf("record has usage %+v, want %+v", rec.usage, tt.usage)
			}
			if tt.code != "" && tt.usage.Total() > 0 && (got.usage == nil || *got.usage != tt.usage) {
				t.Errorf("the error came with usage %+v, want %+v", got.usage, tt.usage)
			}
			select {
			case again := <-b.records:
				t.Errorf("a second record: %+v", again)
			default:
			}
			if all := b.logs.String() + fmt.Sprintf("%+v %+v %v", rec, got, got.err); strings.Contains(all, canary) {
				t.Errorf("the key shows: %s", all)
			}
			if n := strings.Count(b.logs.String(), `msg="model call"`); n != 1 {
				t.Errorf("%d log lines, want 1", n)
			}
		})
	}
}

// once fails the first Begin.
func once(err error) func(context.Context, provider.Turn) error {
	f := onceCtx(err)
	return func(ctx context.Context, _ provider.Turn) error { return f(ctx) }
}

func onceCtx(err error) func(context.Context) error {
	failed := false
	return func(context.Context) error {
		if failed {
			return nil
		}
		failed = true
		return err
	}
}

// Many calls at once share a Router, a translator and a connection pool.
func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, says(good))
	client, end := provider.Loopback(&lines{})
	t.Cleanup(end)
	b := newBench(t, at(up.URL), plugins{"lines": client})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if got := collect(b.Generate(t.Context(), alice, ask("m"))); got.text != "hello" || got.err != nil {
				t.Errorf("got %q, %v; want hello", got.text, got.err)
			}
		})
	}
	wg.Wait()
	if len(b.records) != 32 || up.requests() != 32 {
		t.Errorf("%d records and %d requests, want 32 of each", len(b.records), up.requests())
	}
}
