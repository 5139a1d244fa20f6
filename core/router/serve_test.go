package router

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

var both = plugins{"lines": &lines{}, "talks": &lines{}}

const said = `{ "say":"hi", "model" : "m", "extra":[1, 2.50,"\u00e9"], "stream":true }`

// Which attempts relay and which translate, by where the request arrives.
func TestLanes(t *testing.T) {
	t.Parallel()
	pathDialect := talk
	pathDialect.Name = "path"
	tests := []struct {
		name   string
		body   string
		change func(*Ask, *Config)
		path   string
		sent   string // the body, when it is relayed
	}{
		{name: "the provider speaks it", body: `{"model":"m","n":1}`, path: "/v1/talk", sent: `{"model":"x","n":1}`},
		{name: "the route is translated", body: `{"model":"m"}`, change: func(a *Ask, _ *Config) { a.Translated = true }, path: "/gen/x"},
		{name: "state of ours", body: `{"model":"m","s":"sp1.a.b.c"}`, path: "/gen/x"},
		{name: "state of ours in base64", body: `{"model":"m","s":"c3AxLmE"}`, path: "/gen/x"},
		{name: "another dialect", body: `{"model":"m"}`, change: func(a *Ask, _ *Config) { a.Dialect.Name = "other" }, path: "/gen/x"},
		{name: "a setting of the account", body: `{"model":"m"}`, change: func(_ *Ask, c *Config) {
			p := c.Providers["p0"]
			p.Settings = map[string]any{"region": "mute"}
			c.Providers["p0"] = p
		}, path: "/gen/x"},
		{name: "another setting", body: `{"model":"m"}`, change: func(_ *Ask, c *Config) {
			p := c.Providers["p0"]
			p.Settings = map[string]any{"region": "loud"}
			c.Providers["p0"] = p
		}, path: "/v1/talk", sent: `{"model":"x"}`},
		{name: "a name that JSON escapes", body: `{"model":"m"}`, change: func(_ *Ask, c *Config) { c.Models["m"].Destinations[0].Model = `a"b` }, path: "/v1/talk", sent: `{"model":"a\"b"}`},
		{name: "the model in the path", body: `{"model":"m"}`, change: func(a *Ask, c *Config) {
			a.Dialect = pathDialect
			c.Models["m"].Destinations[0].Model = "models/x 1"
		}, path: "/v1/models/x 1:say", sent: `{"model":"models/x 1"}`},
		{name: "the model in the path of a stream", body: `{}`, change: func(a *Ask, c *Config) {
			a.Dialect, a.Stream = pathDialect, true
			c.Models["m"].Destinations[0].Model = "tuned/x"
		}, path: "/v1/models/tuned/x:stream", sent: `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var sent string
			up := newUpstream(t, nil)
			up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != tt.path {
					t.Errorf("path = %s, want %s", r.URL.Path, tt.path)
				}
				if strings.HasPrefix(r.URL.Path, "/gen") {
					says(good)(w, r)
					return
				}
				b, _ := io.ReadAll(r.Body)
				sent = string(b)
				answers("application/json", `{"text":"x"}`)(w, r)
			})
			a, p := asking(tt.body, false)
			cfg := speaking(at(up.URL), "p0")
			if tt.change != nil {
				tt.change(&a, &cfg)
			}
			b := newBench(t, cfg, both)
			w := &client{}
			if _, err := serve(t, b, a, w); err != nil {
				t.Fatal(err)
			}
			if sent != tt.sent || (p.written == 0) != (tt.sent != "") {
				t.Errorf("sent %q with %d dialogues written, want %q", sent, p.written, tt.sent)
			}
		})
	}
}

// A provider's refusal is the client's, but for what concerns our key.
func TestRelayedRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		code   apierror.Code // of the error; "" when the answer passes
		text   string
	}{
		{400, "", ""}, {404, "", ""}, {413, "", ""}, {422, "", ""}, {429, "", ""}, {500, "", ""}, {529, "", ""},
		{401, apierror.UpstreamAuth, "check its key (status 401"}, {403, apierror.UpstreamAuth, "with status 403"},
	} {
		body := fmt.Sprintf(`{"error": {"message":"because %s", "type":"t-1"}}`, canary)
		up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "7") // longer than we wait
			w.Header().Set("Request-Id", "up-7")
			w.WriteHeader(tt.status)
			io.WriteString(w, body)
		})
		b := newBench(t, speaking(at(up.URL), "p0"), both)
		a, _ := asking(said, true)
		w := &client{}
		rec, err := serve(t, b, a, w)
		if tt.code != "" {
			if apierror.CodeOf(err) != tt.code || w.status != 0 || !strings.Contains(err.Error(), "up-7") {
				t.Errorf("%d: Serve = %v with status %d, want an error %s with the request id", tt.status, err, w.status, tt.code)
			}
		} else if want := strings.ReplaceAll(body, canary, "***"); err != nil || w.status != tt.status || w.body.String() != want || w.header.Get("Retry-After") != "7" {
			t.Errorf("%d: Serve = %v, %d %v %s; want the provider's answer", tt.status, err, w.status, w.header, w.body.String())
		}
		if rec.status != usage.Failed || rec.usage.Total() != 0 || up.requests() != 1 {
			t.Errorf("%d: record = %+v after %d requests, want failed for nothing after 1", tt.status, rec, up.requests())
		}
	}
}

func TestTranslatedReplies(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"plain", "async", "early"} {
		up := newUpstream(t, says("item; part; text hel; text lo; usage 7 3; end"))
		b := newBench(t, at(up.URL), both)
		for _, stream := range []bool{true, false} {
			a, p := asking(said, stream)
			p.async, p.early = kind == "async", kind == "early"
			w := &client{onSend: func(so string) {
				if last := strings.Contains(so, `"out":3`); last != (len(b.records) == 1) {
					t.Errorf("at %q the row is ended: %v", so, len(b.records) == 1)
				}
			}}
			rec, err := serve(t, b, a, w)
			want := "event: word\ndata: {\"word\":\"hel\"}\n\nevent: word\ndata: {\"word\":\"lo\"}\n\nevent: done\ndata: {\"usage\":{\"out\":3}}\n\n"
			if kind == "early" {
				want = "event: hello\ndata: {}\n\n" + want
			}
			if !stream {
				want = `{"text":"hello","usage":{"out":3}}`
			}
			if err != nil || w.status != 200 || w.body.String() != want {
				t.Errorf("%s %v: Serve = %v, %d %q, want %q", kind, stream, err, w.status, w.body.String(), want)
			}
			if w.header.Get(LostHeader) != "tone, top_k" || fmt.Sprint(rec.lost) != "[tone top_k]" {
				t.Errorf("lost = %q in the header and %v on record, want the front's and the translator's", w.header.Get(LostHeader), rec.lost)
			}
			if stream && (len(w.beats) < 2 || w.beats[0] != talk.Ping || w.beats[len(w.beats)-1] != "") || !stream && strings.Join(w.beats, "") != "" {
				t.Errorf("beats = %q, want the dialect's ping for a stream, and its end", w.beats)
			}
			if !stream && w.header.Get("Content-Length") != fmt.Sprint(len(want)) {
				t.Errorf("headers = %v, want the length", w.header)
			}
			if rec.status != usage.Completed || rec.usage != (openresponses.Usage{Input: 7, Output: 3}) {
				t.Errorf("record = %+v", rec)
			}
		}
	}
}

// A client that leaves ends the provider's side, and pays for what it was given.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 4)
	drip := func(first, more string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(first, "event") {
				w.Header().Set("Content-Type", "text/event-stream")
			}
			io.WriteString(w, first)
			for r.Context().Err() == nil {
				io.WriteString(w, more)
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
			ended <- struct{}{}
		}
	}
	for name, up := range map[string]*upstream{
		"relayed":    newUpstream(t, drip("event: begin\ndata: {\"usage\":{\"in\":9}}\n\n", "event: word\ndata: {\"word\":\"1234\"}\n\n")),
		"translated": newUpstream(t, drip("item\npart\n", "text 1234\n")),
	} {
		for _, how := range []string{"write", "context"} {
			cfg := at(up.URL)
			if name == "relayed" {
				cfg = speaking(cfg, "p0")
			}
			b := newBench(t, cfg, both)
			a, _ := asking(said, true)
			ctx, cancel := context.WithCancel(t.Context())
			w := &client{}
			if how == "write" {
				w.leaves = 3
			} else {
				w.onSend = func(string) {
					if len(w.writes) == 3 {
						cancel()
					}
				}
			}
			err := b.Serve(ctx, alice, a, w)
			cancel()
			rec := <-b.records
			if err != nil || rec.status != usage.Canceled || rec.code != apierror.Canceled || rec.usage.Output == 0 || !rec.usage.Estimated {
				t.Errorf("%s, %s: Serve = %v, record %+v; want canceled with what was read", name, how, err, rec)
			}
			<-ended
		}
	}
}

// A front whose process dies ends the reply in the dialect, or is an error as
// long as there is a status to choose.
func TestFrontDies(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, says("item; part; text a; text b; end"))
	b := newBench(t, at(up.URL), both)
	for _, stream := range []bool{true, false} {
		for _, pinged := range []bool{true, false} {
			a, p := asking(said, stream)
			p.die = true
			w := &client{pinged: pinged && stream}
			rec, err := serve(t, b, a, w)
			if pinged && stream {
				if want := talk.Ping + "\nevent: bad\ndata: {\"bad\":{\"message\":\"the front died\"}}\n\n"; err != nil || w.body.String() != want {
					t.Errorf("Serve = %v with %q, want %q", err, w.body.String(), want)
				}
			} else if !apierror.Is(err, apierror.Unavailable) || w.status != 0 {
				t.Errorf("Serve = %v with status %d, want unavailable and nothing sent", err, w.status)
			}
			if rec.status != usage.Failed || rec.code != apierror.Unavailable {
				t.Errorf("record = %+v, want failed", rec)
			}
		}
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, events(spoken))
	b := newBench(t, speaking(at(up.URL, up.URL), "p0"), both)
	wrong := apierror.At(apierror.Invalid, "say", "The member say is missing.")
	for name, tt := range map[string]struct {
		change func(*Ask)
		code   apierror.Code
		status string // of the record; "" for none
	}{
		"a model that is not there": {func(a *Ask) { a.Model = "nobody" }, apierror.NotFound, ""},
		"no model":                  {func(a *Ask) { a.Model = "" }, apierror.Invalid, ""},
		"a broken body":             {func(a *Ask) { a.Body = []byte(`{"a":`) }, apierror.Invalid, ""},
		"too deep":                  {func(a *Ask) { a.Header = http.Header{"X-Sallyport-Depth": {"3"}} }, apierror.Invalid, usage.Refused},
		"an op that is not there":   {func(a *Ask) { a.Op = provider.Compact; a.Translated = true }, apierror.Unsupported, usage.Failed},
		"a request that cannot be read": {func(a *Ask) {
			a.Translated = true
			a.Accept = func(context.Context) (provider.Dialogue, error) { return nil, wrong }
		}, apierror.Invalid, ""},
		"a dialect nobody can translate": {func(a *Ask) { a.Translated = true; a.Accept = nil }, apierror.Unsupported, ""},
	} {
		a, p := asking(said, true)
		tt.change(&a)
		w := &client{}
		rec, err := serve(t, b, a, w)
		if apierror.CodeOf(err) != tt.code || w.status != 0 || rec.status != tt.status || up.requests() != 0 {
			t.Errorf("%s: Serve = %v, status %d, record %q, %d requests; want %s and record %q", name, err, w.status, rec.status, up.requests(), tt.code, tt.status)
		}
		if p.written != 0 || p.closed != 0 && !a.Translated {
			t.Errorf("%s: dialogue %+v", name, p)
		}
	}
	// Permission goes before everything else.
	a, _ := asking(`{"a":`, true)
	if err := b.Serve(t.Context(), mallory, a, &client{}); !apierror.Is(err, apierror.Denied) {
		t.Errorf("Serve for mallory = %v, want denied", err)
	}
	if !b.Known("system.ai.M[1m]") || b.Known("nobody") {
		t.Error("Known: want m to be known in any spelling, and nobody not")
	}
}

// What cannot be recorded is not done; and the rows of calls that were.
func TestServeRows(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf)
	up := newUpstream(t, events(spoken), events("event: begin\ndata: {}\n\nevent: word\ndata: {}\n\n"), says(good))
	b := newRecordedBench(t, speaking(priced(up.URL), "p0"), both, log.Recorder)
	for range 2 {
		a, _ := asking(said, true)
		w := &client{onSend: func(so string) {
			if end := strings.Contains(so, "done") || strings.Contains(so, "bad"); end != (log.Open() == 0) {
				t.Errorf("at %q %d calls are open", so, log.Open())
			}
		}}
		if err := b.Serve(t.Context(), alice, a, w); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := asking(said, true)
	a.Translated = true
	if err := b.Serve(t.Context(), alice, a, &client{}); err != nil {
		t.Fatal(err)
	}
	rows := log.Rows()
	if len(rows) != 3 || log.Open() != 0 {
		t.Fatalf("%d rows and %d open calls, want 3 and none", len(rows), log.Open())
	}
	for i, want := range []usagetest.Row{
		{"status": "completed", "input_tokens": "9", "output_tokens": "4", "token_details.cache_read_input_tokens": "2", "destination_id": "served-9", "cost_usd": "0.0000816", "lost_fields": ""},
		{"status": "failed", "error_code": "upstream_failed", "token_source": "estimated", "lost_fields": ""},
		{"status": "completed", "input_tokens": "7", "output_tokens": "3", "lost_fields": "tone, top_k"},
	} {
		for k, v := range want {
			if rows[i][k] != v {
				t.Errorf("row %d: %s = %q, want %q", i, k, rows[i][k], v)
			}
		}
	}
	log.Fill(t.Context())
	before := up.requests()
	for _, translated := range []bool{false, true} {
		a, p := asking(said, true)
		a.Translated = translated
		w := &client{}
		if err := b.Serve(t.Context(), alice, a, w); !apierror.Is(err, apierror.Unavailable) || w.status != 0 || up.requests() != before {
			t.Errorf("with a full ledger Serve = %v, status %d, %d requests", err, w.status, up.requests()-before)
		}
		if translated && p.closed != 1 {
			t.Errorf("the dialogue that is not written is closed %d times, want once", p.closed)
		}
	}
}

// Inference tables get what the client sent and was given.
func TestServePayloads(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf, "main.gateway.x_payload")
	up := newUpstream(t, events(strings.Replace(spoken, "hello", "hello "+canary, 1)), says(good), status(400), answers("application/json", `{"text":"x"}`))
	cfg := speaking(at(up.URL), "p0")
	m := cfg.Models["m"]
	m.InferenceTable = &InferenceTable{Parent: "main.gateway", Prefix: "x"}
	cfg.Models["m"] = m
	b := newRecordedBench(t, cfg, both, log.Recorder)
	var want []string
	for i := range 4 {
		a, _ := asking(said, i < 3)
		a.Translated = i == 1
		w := &client{}
		if err := b.Serve(t.Context(), alice, a, w); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(w.body.String(), canary) {
			t.Errorf("the client was told the key: %s", w.body.String())
		}
		want = append(want, w.body.String())
	}
	rows := log.Payloads("main.gateway.x_payload")
	if len(rows) != len(want) {
		t.Fatalf("%d payload rows, want %d", len(rows), len(want))
	}
	for i, r := range rows {
		if r["request"] != said || r["response"] != want[i] {
			t.Errorf("payload %d = %q and %q, want %q and %q", i, r["request"], r["response"], said, want[i])
		}
	}
}
