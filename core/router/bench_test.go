package router

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// deltas is a translator that does next to nothing, so that what is measured
// is the router.
type deltas struct{ n int }

func (d deltas) Begin(context.Context, provider.Turn) (provider.Exchange, error) { return d, nil }
func (deltas) Upstream() *provider.Upstream                                      { return nil }

func (d deltas) Decode(context.Context, provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		part := openresponses.Part{Type: openresponses.PartOutputText}
		item := openresponses.Item{Type: openresponses.TypeMessage, Role: "assistant"}
		if !yield(openresponses.Event{Type: openresponses.EventItemAdded, Item: &item}, nil) ||
			!yield(openresponses.Event{Type: openresponses.EventPartAdded, Part: &part}, nil) {
			return
		}
		ev := openresponses.Event{Type: openresponses.EventTextDelta, Delta: "word "}
		for range d.n {
			if !yield(ev, nil) {
				return
			}
		}
		_ = yield(openresponses.Event{Type: openresponses.EventPartDone, Part: &part}, nil) &&
			yield(openresponses.Event{Type: openresponses.EventItemDone, Item: &item}, nil) &&
			yield(openresponses.Event{Type: openresponses.EventCompleted, Terminal: &openresponses.Terminal{Status: openresponses.StatusCompleted}}, nil)
	}
}

func benchRouter(b *testing.B, cfg Config, tr plugins) *Router {
	b.Helper()
	out, err := egress.New(egress.Config{})
	if err != nil {
		b.Fatal(err)
	}
	r, err := New(cfg, tr, out, newAccess(b, everyModel), nil, nil, slog.New(slog.NewJSONHandler(io.Discard, nil)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	return r
}

// BenchmarkCall is one whole call with a reply of one delta, without HTTP:
// permission, choice, attempt, record, log line.
func BenchmarkCall(b *testing.B) {
	r := benchRouter(b, offline(1), plugins{"offline": deltas{1}})
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range r.Generate(b.Context(), alice, ask("m")) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkEvent is one delta on its way from a translator to the consumer.
func BenchmarkEvent(b *testing.B) {
	const n = 10000
	r := benchRouter(b, offline(1), plugins{"offline": deltas{n}})
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range r.Generate(b.Context(), alice, ask("m")) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}

// BenchmarkHTTP is one whole call over loopback HTTP with 200 events, and the
// same done by hand with a bare client, so that the difference is ours.
func BenchmarkHTTP(b *testing.B) {
	const n = 200
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "item\npart\n")
		for range n {
			io.WriteString(w, "text word\n")
		}
		io.WriteString(w, "end\n")
	}))
	b.Cleanup(s.Close)
	b.Run("router", func(b *testing.B) {
		r := benchRouter(b, at(s.URL), plugins{"lines": &lines{}})
		b.ReportAllocs()
		for b.Loop() {
			events := 0
			for _, err := range r.Generate(b.Context(), alice, ask("m")) {
				if err != nil {
					b.Fatal(err)
				}
				events++
			}
			if events < n {
				b.Fatal(fmt.Errorf("%d events", events))
			}
		}
	})
	b.Run("direct", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{}}
		b.Cleanup(client.CloseIdleConnections)
		b.ReportAllocs()
		for b.Loop() {
			res, err := client.Post(s.URL+"/gen/x", "application/json", nil)
			if err != nil {
				b.Fatal(err)
			}
			x := &lineExchange{}
			for _, err := range x.Decode(b.Context(), provider.Reply{Status: 200, Body: bufio.NewReader(res.Body)}) {
				if err != nil {
					b.Fatal(err)
				}
			}
			res.Body.Close()
		}
	})
}

// quiet is a client that takes everything.
type quiet struct{ n int }

func (q *quiet) Head(int, http.Header) error { return nil }
func (q *quiet) Write(b []byte) (int, error) { q.n += len(b); return len(b), nil }
func (q *quiet) Beat(string)                 {}
func (q *quiet) Begun() bool                 { return q.n > 0 }

// BenchmarkRelay is one request that is relayed over loopback HTTP: small, 10
// KiB each way, and a stream of 200 chunks, which come one by one.
func BenchmarkRelay(b *testing.B) {
	const chunks = 200
	chunk := "event: word\ndata: {\"type\":\"word\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"word\":\"some words\"}}\n\n"
	answer := `{"text":"` + string(bytes.Repeat([]byte("line of text\\n"), 750)) + `","usage":{"in":1,"out":2}}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch {
		case r.URL.Query().Has("stream"):
			w.Header().Set("Content-Type", "text/event-stream")
			for range chunks {
				io.WriteString(w, chunk)
				w.(http.Flusher).Flush()
			}
			io.WriteString(w, "event: done\ndata: {}\n\n")
		case r.ContentLength > 1000:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, answer)
		default:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"text":"hello","usage":{"in":1,"out":2}}`)
		}
	}))
	b.Cleanup(s.Close)
	r := benchRouter(b, speaking(at(s.URL), "p0"), both)
	for name, body := range map[string][]byte{"small": []byte(`{"model":"m","say":"hi"}`), "10KiB": agentBody(10 << 10), "stream": []byte(`{"model":"m","stream":true}`)} {
		b.Run(name, func(b *testing.B) {
			a, _ := asking(string(body), name == "stream")
			if a.Stream {
				a.Query = "stream"
			}
			b.ReportAllocs()
			for b.Loop() {
				a.Scan = nil
				var q quiet
				if err := r.Serve(b.Context(), alice, a, &q); err != nil || q.n == 0 {
					b.Fatal(err)
				}
			}
			if a.Stream {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/chunks, "ns/chunk")
			}
		})
	}
}
