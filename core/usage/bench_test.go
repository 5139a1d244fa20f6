package usage

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/tables"
)

// processor is what this process has used of the processors so far.
func processor() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func reportProcessor(b *testing.B, since time.Duration, n int) {
	b.ReportMetric(float64((processor()-since).Nanoseconds())/1e3/float64(n), "cpu-µs/op")
}

// BenchmarkBeginEnd is what recording a call costs, ledger on disk included:
// the two records, their fsyncs, and reading the log behind them, but not the
// tables, which commit nothing while it runs.
func BenchmarkBeginEnd(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d callers", n), func(b *testing.B) {
			w := benchWorld(b)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			start := processor()
			for range n {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						beginEnd(b, w)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			reportProcessor(b, start, b.N)
		})
	}
	// At a steady rate fewer records share an fsync. The second one shows what
	// the pacing costs.
	for name, w := range map[string]*world{"1000 a second": benchWorld(b), "1000 a second, nothing recorded": {}} {
		b.Run(name, func(b *testing.B) {
			var wg sync.WaitGroup
			b.ResetTimer()
			start, began := processor(), time.Now()
			for i := range b.N {
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Millisecond)))
				wg.Go(func() { beginEnd(b, w) })
			}
			wg.Wait()
			b.StopTimer()
			reportProcessor(b, start, b.N)
		})
	}
}

func benchWorld(b *testing.B) *world {
	return openWorld(b, b.TempDir(), tables.Config{FlushAfter: time.Hour, FlushBytes: 8 << 30, LogBytes: 8 << 30})
}

func beginEnd(b *testing.B, w *world) {
	call, err := w.rec.Begin(b.Context(), sampleStart())
	if err != nil {
		b.Error(err)
		return
	}
	call.End(sampleOutcome())
}

// BenchmarkToTable is the way of usage rows from the ledger into the table, on
// disk: reading, decoding, Parquet and the commit. An operation is a row.
func BenchmarkToTable(b *testing.B) {
	w := benchWorld(b)
	bodies := sampleBodies(w.rec.cfg, 10_000)
	b.ResetTimer()
	var used time.Duration
	for done := 0; done < b.N; {
		n := min(b.N-done, 100_000)
		var wg sync.WaitGroup
		for i := range 64 { // share the writes
			wg.Go(func() {
				for j := range (n + 63) / 64 {
					if _, err := w.tables.Append(b.Context(), UsageTable, bodies[(64*j+i)%len(bodies)]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		done += (n + 63) / 64 * 64
		since := processor()
		if err := w.tables.Fresh(b.Context(), UsageTable); err != nil {
			b.Fatal(err)
		}
		used += processor() - since
	}
	b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/used.Seconds(), "rows/cpu-s")
}

// sampleBodies are the bodies of records of n calls that differ.
func sampleBodies(cfg Config, n int) [][]byte {
	bodies := make([][]byte, n)
	for i := range bodies {
		s, o, x := sampleStart(), sampleOutcome(), new(draft)
		s.Time = s.Time.Add(time.Duration(i) * 1234567 * time.Nanosecond)
		s.Source.RequestID, _ = newID()
		s.Requester = fmt.Sprintf("user%d@example.com", i%500)
		o.Attempts[0].Usage.Input, o.Attempts[0].Usage.Output = int64(i*7919%20_000), int64(i*104729%3000)
		o.Latency, o.FirstByte = time.Duration(i*15485863%30_000)*time.Millisecond, time.Duration(i*31%900)*time.Millisecond
		id, _ := newID()
		x.begin(&s, &cfg, id)
		x.end(&o, cfg.StatusOf)
		bodies[i] = x.appendTo(nil)
	}
	return bodies
}

// BenchmarkWrite is BenchmarkToTable without the ledger: rows are written to a
// table on disk, 5,000 in a commit. An operation is a row.
func BenchmarkWrite(b *testing.B) {
	const rows = 5000
	bodies := sampleBodies(Config{StatusOf: statusOf, AccountID: "acme"}, rows)
	decoded := make([]*row, rows)
	for i := range bodies {
		var err error
		if decoded[i], err = decodeRow(bodies[i]); err != nil {
			b.Fatal(err)
		}
	}
	for name, get := range map[string]func(i int) (any, error){
		"rows":    func(i int) (any, error) { return decoded[i], nil },
		"records": func(i int) (any, error) { return decodeRow(bodies[i]) },
	} {
		b.Run(name, func(b *testing.B) {
			dir, err := delta.MakeDir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer dir.Close()
			k := UsageKind()
			t, err := delta.Create(b.Context(), dir, delta.Definition{Schema: k.Schema, Partition: k.Partition}, delta.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			start, written, size := processor(), 0, int64(0)
			for written < b.N {
				w := t.NewWriter()
				for i := range rows {
					x, err := get(i)
					if err == nil {
						err = w.Write(b.Context(), x)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				c, err := w.Commit(b.Context(), delta.Txn{})
				if err != nil {
					b.Fatal(err)
				}
				written += rows
				size += c.Bytes
			}
			reportProcessor(b, start, written)
			b.ReportMetric(float64(size)/float64(written), "bytes/row")
		})
	}
}

// BenchmarkRow is Begin and End without the ledger.
func BenchmarkRow(b *testing.B) {
	s, o, cfg := sampleStart(), sampleOutcome(), &Config{StatusOf: statusOf}
	var buf []byte
	b.ReportAllocs()
	start := processor()
	for b.Loop() {
		id, _ := newID()
		x := new(draft)
		x.begin(&s, cfg, id)
		buf = x.appendTo(buf[:0])
		x.end(&o, cfg.StatusOf)
		buf = x.appendTo(buf[:0])
	}
	reportProcessor(b, start, b.N)
}

func BenchmarkDecode(b *testing.B) {
	body := sampleRow().appendTo(nil)
	decode := UsageKind().Decode
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	start := processor()
	for b.Loop() {
		if _, err := decode(body); err != nil {
			b.Fatal(err)
		}
	}
	reportProcessor(b, start, b.N)
}
