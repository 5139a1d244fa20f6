package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cpu is what this process has used of the processors so far.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// reportCPU adds the processor time of each operation to b, for the n it made.
func reportCPU(b *testing.B, since time.Duration, n int) {
	b.ReportMetric(float64((cpu()-since).Nanoseconds())/1e3/float64(n), "cpu-µs/op")
}

// producers runs do b.N times on n goroutines.
func producers(b *testing.B, n int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	start := cpu()
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				do(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	reportCPU(b, start, b.N)
}

func benchLog(b *testing.B) *Log {
	l, err := Open(Config{Dir: b.TempDir(), MaxBytes: 8 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// BenchmarkAppend is one row of 1 KiB.
func BenchmarkAppend(b *testing.B) {
	payload := make([]byte, 1024)
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d producers", n), func(b *testing.B) {
			l := benchLog(b)
			producers(b, n, func(int) {
				if _, err := l.Append(b.Context(), "t", payload); err != nil {
					b.Error(err)
				}
			})
		})
		b.Run(fmt.Sprintf("%d producers, synced", n), func(b *testing.B) {
			l := benchLog(b)
			producers(b, n, func(int) {
				if _, err := l.AppendSync(b.Context(), "t", payload); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkCall is Start and Settle of one call, 1 KiB each.
func BenchmarkCall(b *testing.B) {
	payload := make([]byte, 1024)
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d producers", n), func(b *testing.B) {
			l := benchLog(b)
			producers(b, n, func(i int) {
				id := fmt.Sprintf("resp_%032d", i)
				if _, err := l.Start(b.Context(), id, payload); err != nil {
					b.Error(err)
				}
				if _, err := l.Settle(b.Context(), id, payload); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkPacedCall is BenchmarkCall at 1,000 calls a second, where few
// records share an fsync. Without a log it is what the pacing costs.
func BenchmarkPacedCall(b *testing.B) {
	payload := make([]byte, 1024)
	for _, within := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		name := "no log"
		if within > 0 {
			name = "fsync within " + within.String()
		}
		b.Run(name, func(b *testing.B) {
			l, err := Open(Config{Dir: b.TempDir(), SyncWithin: within})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			start := cpu()
			b.ResetTimer()
			for i := range b.N {
				<-tick.C
				if within == 0 {
					continue
				}
				id := fmt.Sprintf("resp_%032d", i)
				if _, err := l.Start(b.Context(), id, payload); err != nil {
					b.Error(err)
				}
				if _, err := l.Settle(b.Context(), id, payload); err != nil {
					b.Error(err)
				}
			}
			b.StopTimer()
			reportCPU(b, start, b.N)
		})
	}
}

// BenchmarkReplay is one record of 1 KiB, read back.
func BenchmarkReplay(b *testing.B) {
	l := benchLog(b)
	fillBench(b, l, b.N)
	start := cpu()
	b.ResetTimer()
	n := 0
	for _, err := range l.Replay(0) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.StopTimer()
	if n != b.N {
		b.Fatalf("%d records", n)
	}
	reportCPU(b, start, n)
}

// BenchmarkOpen is one record of 1 KiB in a log that is opened.
func BenchmarkOpen(b *testing.B) {
	l := benchLog(b)
	fillBench(b, l, b.N)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	start := cpu()
	b.ResetTimer()
	l, err := Open(l.cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	reportCPU(b, start, b.N)
	l.Close()
}

func fillBench(b *testing.B, l *Log, n int) {
	payload := make([]byte, 1024)
	var seq uint64
	var err error
	for range n {
		if seq, err = l.Append(b.Context(), "t", payload); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Sync(b.Context(), seq); err != nil {
		b.Fatal(err)
	}
}
