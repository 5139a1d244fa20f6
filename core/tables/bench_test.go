package tables_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// processor is what this process has used of the processors so far.
func processor() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func openSet(b *testing.B, dir string) *tables.Set {
	b.Helper()
	cfg := tables.Config{FlushAfter: time.Hour, FlushBytes: 1 << 30, LogBytes: 8 << 30}
	s, err := tables.Open(context.Background(), tables.Dirs{Log: filepath.Join(dir, "log"), Tables: filepath.Join(dir, "tables")}, cfg,
		[]tables.Definition{{Name: usage.UsageTable, Kind: usage.UsageKind(), Retention: 365 * 24 * time.Hour}}, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// usageRecords are records of calls as a Recorder writes them.
func usageRecords(b *testing.B, n int) [][]byte {
	b.Helper()
	s := openSet(b, b.TempDir())
	r, err := usage.New(b.Context(), s, usage.Config{StatusOf: func(apierror.Code) int { return 500 }, AccountID: "acme"})
	if err != nil {
		b.Fatal(err)
	}
	price := &usage.Price{Input: new(float64(3)), Output: new(float64(15)), CacheRead: new(0.3), CacheWrite: new(3.75), CacheWrite1h: new(6.0)}
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i := range n {
		at = at.Add(37 * time.Millisecond)
		model := fmt.Sprintf("model-%d", i%7)
		c, err := r.Begin(b.Context(), usage.Start{
			Source: &usage.Source{RequestID: fmt.Sprintf("0a5c7e9e-5a43-4a7c-9f39-%012x", i*7919), URL: "/ai-gateway/mlflow/v1/responses", APIType: "mlflow/v1/responses",
				IP: fmt.Sprintf("10.1.2.%d", i%200), UserAgent: "claude-cli/2.1.329 (external, cli)", ContentType: "text/event-stream",
				Tags: map[string]string{"team": fmt.Sprintf("team-%d", i%20), "cost_centre": "42"}, Session: fmt.Sprintf("6f1adc1e-8f56-4f2f-8a55-%012x", i/20), Agent: "a7", Tool: "claude-code", ToolVersion: "2.1.329"},
			Time: at, Requester: fmt.Sprintf("user%d@example.com", i%50), Groups: []string{"analysts", "engineers"},
			Model: model, Provider: "anthropic", DestinationModel: model + "-20250929", Price: price, EstimatedInput: 1200,
		})
		if err != nil {
			b.Fatal(err)
		}
		c.End(usage.Outcome{Status: usage.Completed, Served: model + "-20250929", Tier: "standard", FirstByte: time.Duration(i%900) * time.Millisecond, Latency: time.Duration(i%9000) * time.Millisecond, ToolCalls: i % 3,
			Attempts: []usage.Attempt{{Provider: "anthropic", Model: model + "-20250929", Action: usage.Primary, Status: 200, RequestID: fmt.Sprintf("req_%d", i), Latency: time.Duration(i%9000) * time.Millisecond,
				Usage: openresponses.Usage{Input: int64(i % 4096), CacheRead: int64(i % 30000), CacheWrite: int64(i % 500), CacheWrite1h: 20, Output: int64(i % 777), Reasoning: 40}, Price: price}}})
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	if err := s.Log().Sync(b.Context(), s.Log().Stats().Last); err != nil {
		b.Fatal(err)
	}
	var all [][]byte
	for rec, err := range s.Log().Replay(1) {
		if err != nil {
			b.Fatal(err)
		}
		if rec.Kind == ledger.Settled {
			all = append(all, rec.Payload)
		}
	}
	return all
}

// BenchmarkLogToDelta brings usage rows from the ledger into the committed
// table: reading, decoding, Parquet, fsyncs, commit, trimming, and writing them
// to the ledger too. The figure that counts is rows per second of processor
// time.
func BenchmarkLogToDelta(b *testing.B) {
	const rows = 20_000
	records := usageRecords(b, rows)
	var size int
	for _, r := range records {
		size += len(r)
	}
	b.Run("after a restart", func(b *testing.B) {
		var spent time.Duration
		for b.Loop() {
			b.StopTimer()
			dir := b.TempDir()
			openSet(b, dir).Close() // makes the instance and the table
			l, err := ledger.Open(ledger.Config{Dir: filepath.Join(dir, "log")})
			if err != nil {
				b.Fatal(err)
			}
			for _, r := range records {
				if _, err := l.Append(b.Context(), "", r); err != nil {
					b.Fatal(err)
				}
			}
			l.Close()
			b.StartTimer()
			start := processor()
			s := openSet(b, dir)
			flush(b, s, rows)
			spent += processor() - start
		}
		b.ReportMetric(float64(b.N*rows)/spent.Seconds(), "rows/cpu-s")
		b.ReportMetric(float64(size)/rows, "bytes/row")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("steady, appends included", func(b *testing.B) {
		s := openSet(b, b.TempDir())
		start := processor()
		n := 0
		for b.Loop() {
			for _, r := range records {
				if _, err := s.Log().Append(b.Context(), "", r); err != nil {
					b.Fatal(err)
				}
			}
			n += rows
			flush(b, s, int64(n))
		}
		b.ReportMetric(float64(n)/(processor()-start).Seconds(), "rows/cpu-s")
		b.ReportMetric(0, "ns/op")
	})
}

func flush(b *testing.B, s *tables.Set, want int64) {
	b.Helper()
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	info, err := s.Info(b.Context())
	if err != nil || len(info) != 1 || info[0].Rows != want {
		b.Fatalf("Info = %+v, %v, want %d rows", info, err, want)
	}
}
