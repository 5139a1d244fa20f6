//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"
)

// sameLine reports a record that slog.TextHandler writes in another way.
func sameLine(t *testing.T, r slog.Record) {
	t.Helper()
	var got, want bytes.Buffer
	if err := newLineHandler(&got, nil).Handle(t.Context(), r.Clone()); err != nil {
		t.Fatal(err)
	}
	if err := slog.NewTextHandler(&want, nil).Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("got  %swant %s", got.String(), want.String())
	}
}

type stringer struct{ a, b string }

func (s stringer) String() string { return s.a }

func (s stringer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("a", s.a), slog.Int("b", len(s.b)))
}

// TestLineHandler: our lines are those of slog.TextHandler, whatever is in them.
func TestLineHandler(t *testing.T) {
	t.Parallel()
	texts := []string{"", "plain", "two words", `a"b`, `back\slash`, "k=v", "tab\tline\n", "\x00\x1f\x7f", "ä", "…", "\xff", "日本", "\u2028", "é=", strings.Repeat("long ", 9000)}
	for c := range 256 {
		texts = append(texts, string([]byte{byte(c)}), "x"+string([]byte{byte(c)})+"y")
	}
	values := []any{0, -1, int64(math.MinInt64), uint64(math.MaxUint64), true, false, 1.5, 0.0, -0.001, 1e21, 1e-7, 123456789.123, math.Inf(1), math.NaN(), float32(0.1),
		nil, time.Second, time.Unix(0, 1), errors.New("an error"), error(nil), []string{"a b", "c"}, []byte("bytes"), map[string]int{"a": 1}, stringer{"x", "y"}, &stringer{}, slog.LevelWarn, struct{ A int }{1},
		slog.GroupValue(slog.Int("a", 1)), slog.GroupValue()}
	for _, s := range texts {
		values = append(values, s)
	}
	at := time.Date(2026, 11, 21, 12, 0, 0, 120_000_000, time.UTC)
	for i, v := range values {
		for j, key := range []string{"key", "", "two words", "k=v", "ä"} {
			r := slog.NewRecord(at, slog.Level(i%16-8), texts[(i+j)%len(texts)], 0)
			r.Add("before", "x", key, v, "after", 1)
			sameLine(t, r)
		}
	}
	for _, when := range []time.Time{{}, time.Now(), at.In(time.FixedZone("", -3600)), at.In(time.FixedZone("", 1)), at.Add(999_999), at.AddDate(9000, 0, 0), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)} {
		for _, n := range []int{0, 1, 5, 6, 20} {
			r := slog.NewRecord(when, slog.LevelInfo, "model call", 0)
			for i := range n {
				r.Add(fmt.Sprint("a", i), i)
			}
			sameLine(t, r)
		}
	}
	r := slog.NewRecord(at, slog.LevelInfo, "an empty attribute", 0)
	r.AddAttrs(slog.Attr{}, slog.String("a", "b"))
	sameLine(t, r)
}

// TestAnyLine is TestLineHandler with what chance makes of texts and numbers.
func TestAnyLine(t *testing.T) {
	t.Parallel()
	err := quick.Check(func(at int64, level int8, message, key, value string, bytes []byte, n int64, x float64, yes bool) bool {
		for _, s := range []string{value, string(bytes)} {
			r := slog.NewRecord(time.UnixMicro(at%1e15), slog.Level(level), message, 0)
			r.Add("n", n, key, s, "x", x, "yes", yes)
			sameLine(t, r)
			r = slog.NewRecord(time.UnixMicro(at%1e15), slog.Level(level), "model call", 0)
			r.Add("n", n, "x", x, "yes", yes)
			sameLine(t, r)
		}
		return !t.Failed()
	}, &quick.Config{MaxCount: 2000})
	if err != nil {
		t.Error(err)
	}
}

// Loggers with attributes and groups, and levels, are as they were; and lines do
// not run into each other, whoever makes them.
func TestLogger(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log, err := logger(&b, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not this")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				log.Info("plain", "n", 1)
				log.Info("odd", "error", io.EOF)
				log.With("plugin", "p").WithGroup("g").Warn("with", "n", 1)
			}
		})
	}
	all.Wait()
	n := 0
	for l := range strings.Lines(b.String()) {
		_, l, _ = strings.Cut(l, " ")
		if l != "level=INFO msg=plain n=1\n" && l != "level=INFO msg=odd error=EOF\n" && l != "level=WARN msg=with plugin=p g.n=1\n" {
			t.Errorf("a line is %q", l)
		}
		n++
	}
	if n != 1200 {
		t.Errorf("%d lines, want 1200", n)
	}
}

// BenchmarkLine is the line of a model call.
func BenchmarkLine(b *testing.B) {
	for name, h := range map[string]slog.Handler{"ours": newLineHandler(io.Discard, nil), "slog": slog.NewTextHandler(io.Discard, nil)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := slog.NewRecord(time.Now(), slog.LevelInfo, "model call", 0)
				r.AddAttrs(slog.String("request", "0a5c7e9e-5a43-4a7c-9f39-58a6ef3f7a11"), slog.String("call", "019ab3c8-5c8e-7a51-b1f5-0c9d5b3c7e01"),
					slog.String("principal", "ana@example.com"), slog.String("model", "databricks-claude-sonnet-4-5"), slog.String("provider", "anthropic"),
					slog.String("destination", "claude-sonnet-4-5-20250929"), slog.String("status", "completed"), slog.Int64("input_tokens", 1200),
					slog.Int64("output_tokens", 40), slog.Float64("first_byte_ms", 432.125), slog.Float64("latency_ms", 2345.5))
				_ = h.Handle(context.Background(), r)
			}
		})
	}
}
