package router

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func TestRelayedStream(t *testing.T) {
	t.Parallel()
	var got struct {
		body, path, query string
		header            http.Header
		length            int64
	}
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { events(spoken)(w, r) })
	up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got.body, got.path, got.query, got.header, got.length = string(b), r.URL.Path, r.URL.RawQuery, r.Header, r.ContentLength
		h := w.Header()
		for k, v := range map[string]string{"Set-Cookie": "s=1", "X-Ratelimit-Left": "9", "Keep-Alive": "5", "Content-Type": "text/event-stream; charset=utf-8"} {
			h.Set(k, v)
		}
		events(spoken)(w, r)
	})
	b := newBench(t, speaking(at(up.URL+"/base"), "p0"), both)
	a, p := asking(said, true)
	a.Query = "beta=true"
	a.Header = http.Header{
		"User-Agent": {"agent/1"}, "X-Beta": {"b1", "b2"}, "Session_id": {"s"}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"},
		"Authorization": {"Bearer t"}, "X-Api-Key": {"t"}, "X_api_key": {"t"}, "X-Goog-Api-Key": {"t"}, "Cookie": {"c=1"}, "Proxy-Authorization": {"x"},
		"X-Databricks-Ai-Gateway-Token": {"t"}, "X-Databricks-Use-Coding-Agent-Mode": {"true"}, "Databricks-Ai-Gateway-Request-Tags": {"{}"},
		"X-Forwarded-For": {"10.0.0.1"}, "Forwarded": {"for=10.0.0.1"}, "Connection": {"close, X-Hop"}, "X-Hop": {"1"}, "Te": {"trailers"},
		"Accept-Encoding": {"br, zstd"}, "X-Http-Method-Override": {"DELETE"}, "Sallyport-Output": {"openai"},
	}
	w := &client{}
	rec, err := serve(t, b, a, w)
	if err != nil || w.status != 200 || w.body.String() != spoken {
		t.Fatalf("Serve = %v, status %d, body %q; want 200 and the provider's bytes", err, w.status, w.body.String())
	}
	if want := strings.Replace(said, `"m"`, `"x"`, 1); got.body != want || got.length != int64(len(want)) || got.path != "/base/v1/talk" || got.query != "beta=true" {
		t.Errorf("the provider was sent %s?%s %q, want the body with its name of the model", got.path, got.query, got.body)
	}
	for _, k := range []string{"X-Api-Key", "X_api_key", "X-Goog-Api-Key", "Cookie", "Proxy-Authorization", "X-Databricks-Ai-Gateway-Token", "X-Databricks-Use-Coding-Agent-Mode",
		"Databricks-Ai-Gateway-Request-Tags", "X-Forwarded-For", "Forwarded", "X-Hop", "Te", "X-Http-Method-Override", "Sallyport-Output"} {
		if v, ok := got.header[k]; ok {
			t.Errorf("the provider was sent %s: %q", k, v)
		}
	}
	for k, want := range map[string]string{"User-Agent": "agent/1", "Authorization": "Bearer " + canary, "Session_id": "s", "Content-Type": "application/json",
		"Accept": "text/event-stream", "Accept-Encoding": "identity", "X-Sallyport-Depth": "1"} {
		if strings.Join(got.header[k], ",") != want {
			t.Errorf("the provider was sent %s: %q, want %q", k, got.header[k], want)
		}
	}
	if fmt.Sprint(got.header["X-Beta"]) != "[b1 b2]" {
		t.Errorf("X-Beta = %q, want both", got.header["X-Beta"])
	}
	if w.header.Get("Set-Cookie") != "" || w.header.Get("Keep-Alive") != "" || w.header.Get("X-Ratelimit-Left") != "9" || w.header.Get("Request-Id") != "up-7" {
		t.Errorf("the client got the headers %v", w.header)
	}
	rec.firstByte, rec.latency = 0, 0
	want := record{request: "req-1", principal: "alice", model: "m", provider: "p0", destination: "x", status: "completed",
		usage: openresponses.Usage{Input: 9, CacheRead: 2, Output: 4}}
	if fmt.Sprintf("%+v", rec) != fmt.Sprintf("%+v", want) {
		t.Errorf("record =\n%+v\nwant\n%+v", rec, want)
	}
	if p.written+p.closed > 0 {
		t.Errorf("the dialogue of a request that was relayed was used: %+v", p)
	}
	if slices.ContainsFunc(w.beats, func(s string) bool { return s != "" }) {
		t.Errorf("pings in a relayed stream: %q", w.beats)
	}
}

// However a stream is split, the same bytes come out, in complete lines, and
// the row is ended before the last event is given on.
func TestRelayedChunks(t *testing.T) {
	t.Parallel()
	long := "event: begin\r\ndata: {\"usage\":{\"in\":9,\"cached\":2}}\r\n\r\n: ping\n\nid: 7\nretry: 10\ndata: {\"word\":\ndata: \"two lines\"}\n\n" +
		strings.Repeat("event: word\ndata: {\"word\":\"wörld ☃ 🙂\",\"unknown\":{\"a\":[1,2,{\"b\":\"}]\\\"\"}]}}\n\n", 30) +
		"data: {\"word\":\"" + strings.Repeat("long ", 20000) + "\"}\n\nevent: done\r\ndata: {\"usage\":{\"out\":4}}\r\n\r\n"
	for name, stream := range map[string]string{
		"mixed": long, "short": spoken, "no event lines": "data: {\"word\":\"a\"}\n\ndata: [OVER]\n\n", "no last line end": strings.TrimRight(spoken, "\n"),
		"carriage returns alone": strings.ReplaceAll(strings.ReplaceAll(spoken, "\r\n", "\n"), "\n", "\r"), "byte order mark": "\ufeff" + spoken,
		"bytes behind the end": spoken + ": cost 3\n\ndata: {\"late\":1}", "type in the data": "data: {\"type\":\"begin\",\"word\":\"a\"}\n\ndata: {\"x\":1,\"type\":\"done\"}\n\n",
	} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%s %d", name, seed), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, 1))
				up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					for rest := stream; rest != ""; {
						n := min(len(rest), 1+random.IntN([]int{1, 7, 60, 4000, 40000, 400000}[seed]))
						if len(stream) > 5000 {
							n = min(len(rest), n*50)
						}
						io.WriteString(w, rest[:n])
						w.(http.Flusher).Flush()
						rest = rest[n:]
					}
				})
				b := newBench(t, speaking(at(up.URL), "p0"), both)
				a, _ := asking(said, true)
				w := &client{}
				ended := false
				w.onSend = func(so string) {
					last := strings.Contains(so, "done") || strings.Contains(so, "[OVER]")
					if ended = ended || last; ended != (len(b.records) == 1) {
						t.Errorf("at %q the row is ended: %v", so, len(b.records) == 1)
					}
					if !ended && !strings.HasSuffix(so, "\n") && !strings.HasSuffix(so, "\r") {
						t.Errorf("a part of a line was given on: %q", so[max(0, len(so)-40):])
					}
				}
				rec, err := serve(t, b, a, w)
				if err != nil || w.body.String() != stream {
					t.Fatalf("Serve = %v; %d bytes came out of %d", err, w.body.Len(), len(stream))
				}
				if rec.status != usage.Completed {
					t.Errorf("status = %s, want completed", rec.status)
				}
			})
		}
	}
}

// What comes at once goes on as soon as its beginning has been read along.
func TestRelayedBurst(t *testing.T) {
	t.Parallel()
	stream := "event: begin\ndata: {}\n\n" + strings.Repeat("event: word\ndata: {\"word\":\"a\"}\n\n", 2000) + "event: done\ndata: {}\n\n"
	up := newUpstream(t, events(stream))
	b := newBench(t, speaking(at(up.URL), "p0"), both)
	a, _ := asking(said, true)
	w := &client{}
	var sizes []int
	w.onSend = func(so string) { sizes = append(sizes, len(so)) }
	if _, err := serve(t, b, a, w); err != nil || w.body.String() != stream {
		t.Fatalf("Serve = %v; %d bytes came out of %d", err, w.body.Len(), len(stream))
	}
	if first := sizes[0]; first == 0 || first > firstRead || slices.Max(sizes) <= firstRead {
		t.Errorf("%d bytes were given on in pieces of %v, want at most %d in the first and more in others", len(stream), sizes, firstRead)
	}
}

// A line that is longer than any that is held goes on in pieces.
func TestRelayedEndlessLine(t *testing.T) {
	t.Parallel()
	stream := "event: begin\ndata: {}\n\nevent: word\ndata: {\"word\":\"" + strings.Repeat("x", maxLine+maxLine/2) + "\"}\n\nevent: done\ndata: {\"usage\":{\"in\":1,\"out\":2}}\n\n"
	up := newUpstream(t, events(stream))
	b := newBench(t, speaking(at(up.URL), "p0"), both)
	a, _ := asking(said, true)
	w := &client{}
	rec, err := serve(t, b, a, w)
	if err != nil || w.body.String() != stream || rec.status != usage.Completed || rec.usage.Output != 2 {
		t.Errorf("Serve = %v, %d bytes of %d, record %+v", err, w.body.Len(), len(stream), rec)
	}
}

func TestRelayedBody(t *testing.T) {
	t.Parallel()
	const reply = `{"text":"hello", "usage":{"in":5,"out":2},"model":"served-2"}`
	for name, up := range map[string]*upstream{
		"plain": newUpstream(t, answers("application/json", reply)),
		"chunked": newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := range len(reply) {
				io.WriteString(w, reply[i:i+1])
				w.(http.Flusher).Flush()
			}
		}),
		"compressed": newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("Accept-Encoding = %q, want gzip", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			answers("application/json", gzipped(reply))(w, r)
		}),
	} {
		b := newBench(t, speaking(at(up.URL), "p0"), both)
		a, _ := asking(`{"model":"m"}`, false)
		w := &client{onSend: func(string) {
			if len(b.records) != 1 {
				t.Errorf("%s: the body is given on before the row is ended", name)
			}
		}}
		rec, err := serve(t, b, a, w)
		if err != nil || w.body.String() != reply || w.header.Get("Content-Length") != fmt.Sprint(len(reply)) || w.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: Serve = %v, %v %q", name, err, w.header, w.body.String())
		}
		if rec.usage != (openresponses.Usage{Input: 5, Output: 2}) || rec.status != usage.Completed {
			t.Errorf("%s: record = %+v", name, rec)
		}
	}
}

// Where the dialect says so, the client is told its own name of the model, once,
// and nothing else is changed.
func TestRelayedModelName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ asked, body, reply, want string }{
		{"", `{"model":"m[1m]"}`, `{"text":"t","model": "x-20250929","n":[1]}`, `{"text":"t","model": "m","n":[1]}`},
		{"", `{"model":"a-much-longer-name-than-x"}`, `{"model":"x"}`, `{"model":"a-much-longer-name-than-x"}`},
		{"m-asked", `{}`, `{"model":"x"}`, `{"model":"m-asked"}`},
		{"", `{}`, `{"model":"x"}`, `{"model":"x"}`},
		{"", `{"model":"m"}`, `{"model":7,"message":{}}`, `{"model":7,"message":{}}`},
		{"", `{"model":"a-much-longer-name-than-x"}`, "event: begin\r\ndata: {\"message\":{\"model\":\"x\"},\"usage\":{\"in\":1}}\r\n\r\nevent: word\ndata: {\"model\":\"x\"}\n\nevent: done\ndata: {}\n\n",
			"event: begin\r\ndata: {\"message\":{\"model\":\"a-much-longer-name-than-x\"},\"usage\":{\"in\":1}}\r\n\r\nevent: word\ndata: {\"model\":\"x\"}\n\nevent: done\ndata: {}\n\n"},
		{"", `{"model":"m"}`, "data: {\"message\":{\"model\":\"x-20250929\"}}\n\ndata: [OVER]\n\n", "data: {\"message\":{\"model\":\"m\"}}\n\ndata: [OVER]\n\n"},
	} {
		stream := !strings.HasPrefix(tt.reply, "{")
		up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if !stream {
				answers("application/json", tt.reply)(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range len(tt.reply) {
				io.WriteString(w, tt.reply[i:i+1])
				w.(http.Flusher).Flush()
			}
		})
		b := newBench(t, speaking(at(up.URL), "p0"), both)
		a, _ := asking(tt.body, stream)
		a.Asked, a.Dialect.Model = tt.asked, []string{"message.model", "model"}
		w := &client{}
		if rec, err := serve(t, b, a, w); err != nil || w.body.String() != tt.want || rec.status != usage.Completed {
			t.Errorf("%q asked %s: %v, %q, want %q", tt.asked, tt.body, err, w.body.String(), tt.want)
		}
	}
}
