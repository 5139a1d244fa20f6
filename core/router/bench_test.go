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
	r, err := New(cfg, tr, out, newAccess(b, everyModel), nil, slog.New(slog.NewJSONHandler(io.Discard, nil)))
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
