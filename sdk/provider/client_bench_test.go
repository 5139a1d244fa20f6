package provider

import (
	"context"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// BenchmarkLoopback is one exchange of 200 lines of 190 bytes through the
// frames, both ends in this process.
func BenchmarkLoopback(b *testing.B) {
	for name, tr := range map[string]Translator{"short": lines{}, "bare": bare{}} {
		b.Run(name, func(b *testing.B) {
			c, stop := Loopback(tr)
			defer stop()
			body := strings.Repeat(strings.Repeat("z", 189)+"\n", 200)
			for b.Loop() {
				ex, err := c.Begin(b.Context(), Turn{Op: Generate, Request: request("x")})
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := collect(b.Context(), ex, strings.NewReader(body)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUnary is one exchange with 1 KB each way.
func BenchmarkUnary(b *testing.B) {
	c, stop := Loopback(lines{})
	defer stop()
	in, out := request(strings.Repeat("x", 900)), strings.Repeat("y", 1000)
	for b.Loop() {
		ex, err := c.Begin(b.Context(), Turn{Op: Generate, Request: in})
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := collect(b.Context(), ex, strings.NewReader(out)); err != nil {
			b.Fatal(err)
		}
	}
}

// bare gives 200 events that cost it nothing.
type bare struct{}

func (bare) Begin(context.Context, Turn) (Exchange, error) { return bareExchange{}, nil }

type bareExchange struct{}

func (bareExchange) Upstream() *Upstream { return &Upstream{Method: "POST"} }

func (bareExchange) Decode(_ context.Context, r Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		io.Copy(io.Discard, r.Body)
		ev := openresponses.Event{Type: openresponses.EventTextDelta, Delta: strings.Repeat("z", 190)}
		for range 200 {
			if !yield(ev, nil) {
				return
			}
		}
	}
}

// BenchmarkFrameEcho is one frame of 1 KB there and back: the transport alone.
func BenchmarkFrameEcho(b *testing.B) {
	near, far, err := socketPair()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		r, w := newFrameReader(far), newFrameWriter(far)
		for {
			t, payload, err := r.next()
			if err != nil {
				return
			}
			if w.frame(t, payload) != nil || w.flush() != nil {
				return
			}
		}
	}()
	r, w := newFrameReader(near), newFrameWriter(near)
	payload := make([]byte, 1024)
	for b.Loop() {
		if err := w.frame(frameReq, payload); err != nil {
			b.Fatal(err)
		}
		if err := w.flush(); err != nil {
			b.Fatal(err)
		}
		if _, _, err := r.next(); err != nil {
			b.Fatal(err)
		}
	}
	near.Close()
	<-done
	far.Close()
}
