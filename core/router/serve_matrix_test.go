package router

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// The ways a call can go over attempts of both kinds. Each leaves one record.
func TestServeMatrix(t *testing.T) {
	t.Parallel()
	const (
		native     = spoken
		translated = "event: word\ndata: {\"word\":\"hello\"}\n\nevent: done\ndata: {\"usage\":{\"out\":3}}\n\n"
		begun      = "event: begin\ndata: {\"usage\":{\"in\":9,\"cached\":2}}\n\nevent: word\ndata: {\"word\":\"12345678\"}\n\n"
	)
	// The log counts what came from a cache as input too; what is asked has 18
	// tokens by its bytes.
	short := Timeouts{FirstByte: 300 * time.Millisecond, Idle: 300 * time.Millisecond}
	tests := []struct {
		name    string
		speaks  string // the providers that speak the dialect
		steps   [][]http.HandlerFunc
		limits  Timeouts
		body    string
		ends    string // how it ends
		calls   []int
		status  string
		code    apierror.Code // of the record
		err     apierror.Code // that Serve returns
		http    int           // 0 means 200
		usage   openresponses.Usage
		pinged  bool
		noCut   bool
		message string // part of the error's
	}{
		{name: "native, 503, then served", speaks: "p0", steps: [][]http.HandlerFunc{{status(503), events(spoken)}}, body: native, calls: []int{2}, status: "completed",
			usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 4}},
		{name: "native 503 to translated", speaks: "p0", steps: [][]http.HandlerFunc{{status(503)}, {says(good)}}, body: translated, calls: []int{2, 1}, status: "completed",
			usage: openresponses.Usage{Input: 7, Output: 3}},
		{name: "translated 503 to native", speaks: "p1", steps: [][]http.HandlerFunc{{status(503)}, {events(spoken)}}, body: native, calls: []int{2, 1}, status: "completed",
			usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 4}},
		{name: "native, translated, native", speaks: "p0 p2", steps: [][]http.HandlerFunc{{status(503)}, {status(503)}, {events(spoken)}}, body: native, calls: []int{2, 2, 1}, status: "completed",
			usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 4}},
		{name: "translated, native, translated", speaks: "p1", steps: [][]http.HandlerFunc{{status(503)}, {status(503)}, {says(good)}}, body: translated, calls: []int{2, 2, 1}, status: "completed",
			usage: openresponses.Usage{Input: 7, Output: 3}},
		{name: "a ping, then native", speaks: "p1", pinged: true, steps: [][]http.HandlerFunc{{status(503)}, {events(spoken)}}, body: talk.Ping + native, calls: []int{2, 1}, status: "completed",
			usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 4}},

		{name: "an error first is a failed attempt", speaks: "p0", steps: [][]http.HandlerFunc{{events("event: bad\ndata: {\"bad\":{\"message\":\"busy\",\"type\":\"overloaded\"}}\n\n")}, {says(good)}},
			body: translated, calls: []int{2, 1}, status: "completed", usage: openresponses.Usage{Input: 2*18 + 7, Output: 3, Estimated: true}},
		{name: "an error first, without a type", speaks: "p0", steps: [][]http.HandlerFunc{{events(": wait\n\ndata: {\"bad\":{\"message\":\"busy\"}}\n\n"), events(spoken)}},
			body: native, calls: []int{2}, status: "completed", usage: openresponses.Usage{Input: 18 + 9, CacheRead: 2, Output: 4, Estimated: true}},
		{name: "an error first and nothing else to try", speaks: "p0", steps: [][]http.HandlerFunc{{events("event: bad\ndata: {\"error\":{\"message\":\"no\",\"type\":\"invalid_request\"}}\n\n")}},
			body: "event: bad\ndata: {\"error\":{\"message\":\"no\",\"type\":\"invalid_request\"}}\n\n", calls: []int{1}, status: "failed", code: apierror.UpstreamInvalid, usage: openresponses.Usage{Input: 18, Estimated: true}},
		{name: "an error in the middle", speaks: "p0", steps: [][]http.HandlerFunc{{events(begun + "event: bad\ndata: {\"error\":{\"message\":\"no\",\"type\":\"overloaded\"}}\n\n")}, {says(good)}},
			body: begun + "event: bad\ndata: {\"error\":{\"message\":\"no\",\"type\":\"overloaded\"}}\n\n", calls: []int{1, 0}, status: "failed", code: apierror.UpstreamLimited,
			usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 2, Estimated: true}},
		{name: "ends incomplete", speaks: "p0", steps: [][]http.HandlerFunc{{events(begun + "data: {\"type\":\"stopped.incomplete\",\"usage\":{\"out\":8}}\n\n")}},
			body: begun + "data: {\"type\":\"stopped.incomplete\",\"usage\":{\"out\":8}}\n\n", calls: []int{1}, status: "incomplete", usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 8}},

		{name: "cut before anything", speaks: "p0", steps: [][]http.HandlerFunc{{abort, events(spoken)}}, body: native, calls: []int{2}, status: "completed", usage: openresponses.Usage{Input: 18 + 9, CacheRead: 2, Output: 4, Estimated: true}},
		{name: "empty stream", speaks: "p0", steps: [][]http.HandlerFunc{{events(""), events(spoken)}}, body: native, calls: []int{2}, status: "completed", usage: openresponses.Usage{Input: 18 + 9, CacheRead: 2, Output: 4, Estimated: true}},
		{name: "only comments", speaks: "p0", steps: [][]http.HandlerFunc{{events(": a\n\n: b\n\n"), events(spoken)}}, body: native, calls: []int{2}, status: "completed", usage: openresponses.Usage{Input: 18 + 9, CacheRead: 2, Output: 4, Estimated: true}},
		{name: "hangs before the head", speaks: "p0", limits: short, steps: [][]http.HandlerFunc{{hang}, {says(good)}}, body: translated, calls: []int{1, 1}, status: "completed", usage: openresponses.Usage{Input: 18 + 7, Output: 3, Estimated: true}},
		{name: "hangs before the first event", speaks: "p0", limits: short, steps: [][]http.HandlerFunc{{eventsThen(": x\n\n", hang)}, {says(good)}}, body: translated, calls: []int{1, 1}, status: "completed",
			usage: openresponses.Usage{Input: 18 + 7, Output: 3, Estimated: true}},
		{name: "cut in the middle", speaks: "p0", steps: [][]http.HandlerFunc{{eventsThen(begun+"event: word\ndata: {\"wor", abort)}, {says(good)}},
			body: begun + "event: word\n\nevent: bad\ndata: {\"bad\":{\"message\":\"Provider \\\"p0\\\" cut its reply before it was complete.", ends: "\"}}\n\n", calls: []int{1, 0}, status: "failed", code: apierror.UpstreamFailed,
			usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 2, Estimated: true}},
		{name: "ends without an end", speaks: "p0", steps: [][]http.HandlerFunc{{events(begun)}}, body: begun + "event: bad\ndata: {\"bad\":{\"message\":\"Provider \\\"p0\\\" ended its reply before it was complete.", ends: "\"}}\n\n",
			calls: []int{1}, status: "failed", code: apierror.UpstreamFailed, usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 2, Estimated: true}},
		{name: "ends in the middle of the last event", speaks: "p0", steps: [][]http.HandlerFunc{{eventsThen(begun+"event: done\nda", abort)}}, body: begun + "\nevent: bad\ndata: ", ends: "\"}}\n\n",
			calls: []int{1}, status: "failed", code: apierror.UpstreamFailed, usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 2, Estimated: true}},
		{name: "hangs in the middle", speaks: "p0", limits: short, steps: [][]http.HandlerFunc{{eventsThen(begun, hang)}}, body: begun + "event: bad\ndata: {\"bad\":{\"message\":\"Provider \\\"p0\\\" stopped in the middle", ends: "\"}}\n\n",
			calls: []int{1}, status: "failed", code: apierror.UpstreamTimeout, usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 2, Estimated: true}},
		{name: "cut in a dialect that has no word for it", speaks: "p0", noCut: true, steps: [][]http.HandlerFunc{{eventsThen(begun, abort)}}, body: begun, err: apierror.UpstreamFailed,
			calls: []int{1}, status: "failed", code: apierror.UpstreamFailed, usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 2, Estimated: true}},
		{name: "hangs after the end", speaks: "p0", steps: [][]http.HandlerFunc{{eventsThen(spoken, hang)}}, body: native, calls: []int{1}, status: "completed", usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 4}},
		{name: "malformed data passes", speaks: "p0", steps: [][]http.HandlerFunc{{events("data: {\"word\":\"a\"\n\ndata: }{[\n\ndata:\n\n:\n\nevent:\n\ndata: {\"usage\":{\"in\":-1,\"out\":1e9}}\n\n" + spoken)}},
			body: "data: {\"word\":\"a\"\n\ndata: }{[\n\ndata:\n\n:\n\nevent:\n\ndata: {\"usage\":{\"in\":-1,\"out\":1e9}}\n\n" + spoken, calls: []int{1}, status: "completed", usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 4}},
		{name: "nobody counted", speaks: "p0", steps: [][]http.HandlerFunc{{events("data: {\"word\":\"12345678\"}\n\ndata: [OVER]\n\n")}}, body: "data: {\"word\":\"12345678\"}\n\ndata: [OVER]\n\n",
			calls: []int{1}, status: "completed", usage: openresponses.Usage{Input: 18, Output: 2, Estimated: true}},
		{name: "a body where a stream was asked for", speaks: "p0", steps: [][]http.HandlerFunc{{answers("application/json", `{"text":"x","usage":{"in":1,"out":1}}`)}}, body: `{"text":"x","usage":{"in":1,"out":1}}`,
			calls: []int{1}, status: "completed", usage: openresponses.Usage{Input: 1, Output: 1}},
		{name: "a body that says it failed", speaks: "p0", steps: [][]http.HandlerFunc{{answers("application/json", `{"bad":{"message":"busy"}}`)}, {says(good)}}, body: translated,
			calls: []int{2, 1}, status: "completed", usage: openresponses.Usage{Input: 2*18 + 7, Output: 3, Estimated: true}},

		{name: "all fail, native last", speaks: "p1", steps: [][]http.HandlerFunc{{status(503)}, {status(500)}}, http: 500, body: "no, and your key is Bearer ***", calls: []int{2, 2}, status: "failed", code: apierror.UpstreamFailed},
		{name: "all fail, translated last", speaks: "p0", steps: [][]http.HandlerFunc{{status(503)}, {status(500)}}, err: apierror.UpstreamInvalid, message: "4 attempts failed; this is the last one's error; status 500", calls: []int{2, 2}, status: "failed", code: apierror.UpstreamInvalid},
		{name: "all fail after a ping", speaks: "p1", pinged: true, steps: [][]http.HandlerFunc{{status(503)}, {status(500)}}, body: talk.Ping + "event: bad\ndata: {\"bad\":{\"message\":\"Provider \\\"p1\\\" answered with status 500.", ends: "\"}}\n\n",
			calls: []int{2, 2}, status: "failed", code: apierror.UpstreamFailed},
		{name: "translated, fails in the middle", speaks: "", steps: [][]http.HandlerFunc{{saysThen("item; part; text 12345678", abort)}}, body: "event: word\ndata: {\"word\":\"12345678\"}\n\nevent: bad\ndata: ", ends: "\"}}\n\n",
			calls: []int{1}, status: "failed", code: apierror.UpstreamFailed, usage: openresponses.Usage{Input: 4, Output: 2, Estimated: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var bases []string
			var ups []*upstream
			for _, steps := range tt.steps {
				up := newUpstream(t, steps...)
				ups, bases = append(ups, up), append(bases, up.URL)
			}
			b := newBench(t, patience(speaking(at(bases...), strings.Fields(tt.speaks)...), tt.limits), both)
			a, _ := asking(said, true)
			if tt.noCut {
				a.Dialect.Cut = ""
				a.Surface = "talk without"
			}
			w := &client{pinged: tt.pinged}
			rec, err := serve(t, b, a, w)
			if apierror.CodeOf(err) != tt.err || err != nil && !strings.Contains(err.Error(), tt.message) {
				t.Errorf("Serve = %v, want %q", err, tt.err)
			}
			if body := w.body.String(); tt.ends == "" && body != tt.body || !strings.HasPrefix(body, tt.body) || !strings.HasSuffix(body, tt.ends) {
				t.Errorf("the client got %q,\nwant %q … %q", body, tt.body, tt.ends)
			}
			if want := tt.http; want != 0 && w.status != want {
				t.Errorf("status = %d, want %d", w.status, want)
			}
			var calls []int
			for _, up := range ups {
				calls = append(calls, up.requests())
			}
			if !slices.Equal(calls, tt.calls) {
				t.Errorf("requests = %v, want %v", calls, tt.calls)
			}
			if rec.status != tt.status || rec.code != tt.code || rec.usage != tt.usage {
				t.Errorf("record = %s %s %+v, want %s %s %+v", rec.status, rec.code, rec.usage, tt.status, tt.code, tt.usage)
			}
			if len(b.records) != 0 {
				t.Errorf("another record: %+v", <-b.records)
			}
			if strings.Contains(b.logs.String()+w.body.String(), canary) {
				t.Error("the key is in what was said")
			}
		})
	}
}
