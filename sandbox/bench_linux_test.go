package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// quantiles reports those of times as metrics.
func quantiles(b *testing.B, times []time.Duration, name string) {
	slices.Sort(times)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		b.ReportMetric(float64(times[int(float64(len(times)-1)*q.at)].Microseconds()), name+q.name+"-us")
	}
}

func program(b *testing.B, s *Session, l Language, code string) Result {
	b.Helper()
	r, err := s.Exec(b.Context(), Program{Language: l, Code: code})
	if err != nil || r.Exit != 0 {
		b.Fatalf("%+v, %v", r, err)
	}
	return r
}

// BenchmarkFreshSession is a session from Open to the result of its first
// program and its end. "inside" is what the worker says the program took, so
// that the rest is the way there and back.
func BenchmarkFreshSession(b *testing.B) {
	for _, tt := range []struct {
		language Language
		code     string
	}{{Python, "print(1)"}, {SQL, "SELECT 1"}, {Shell, "echo 1"}} {
		b.Run(string(tt.language), func(b *testing.B) {
			box := box(b, real()(b))
			program(b, open(b, box, "alice"), tt.language, tt.code)
			var times, inside, way []time.Duration
			for b.Loop() {
				began := time.Now()
				s, err := box.Open(b.Context(), "alice", nil)
				if err != nil {
					b.Fatal(err)
				}
				r := program(b, s, tt.language, tt.code)
				took := time.Since(began)
				s.Close()
				times, inside, way = append(times, took), append(inside, r.Duration), append(way, took-r.Duration)
			}
			quantiles(b, times, "")
			quantiles(b, inside, "inside-")
			quantiles(b, way, "way-")
		})
	}
}

// BenchmarkNextProgram is print(1) in a session that is there.
func BenchmarkNextProgram(b *testing.B) {
	s := open(b, box(b, real()(b)), "alice")
	program(b, s, Python, "x = 1")
	var times []time.Duration
	for b.Loop() {
		began := time.Now()
		program(b, s, Python, "print(x)")
		times = append(times, time.Since(began))
	}
	quantiles(b, times, "")
}

// BenchmarkSessionsOfManyCallers has as many callers as run at once, with
// workers of their own.
func BenchmarkSessionsOfManyCallers(b *testing.B) {
	for _, callers := range []int{1, 2} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			box := box(b, real("python")(b))
			box.queue.free = callers
			for i := range callers {
				program(b, open(b, box, fmt.Sprint("user", i)), Python, "1")
			}
			b.ResetTimer()
			began := time.Now()
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					for range b.N / callers {
						s, err := box.Open(b.Context(), fmt.Sprint("user", i), nil)
						if err == nil {
							_, err = s.Exec(b.Context(), Program{Language: Python, Code: "print(1)"})
							s.Close()
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "sessions/s")
		})
	}
}

// proportional is the memory of a process in which what n processes share
// counts for 1/n, in bytes.
func proportional(b *testing.B, pid int) int64 {
	f, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(f)); lines.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(lines.Text(), "Pss: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	b.Fatal("no Pss")
	return 0
}

// BenchmarkLiveSessions has many sessions alive that ran print(1).
func BenchmarkLiveSessions(b *testing.B) {
	const sessions = 1000
	for b.Loop() {
		box := box(b, func(c *Config, tune *tuning) { real("python")(b)(c, tune); c.Limits.Worker = 64 << 30 })
		first := open(b, box, "alice")
		program(b, first, Python, "print(1)")
		at := workerOf(first)
		before := proportional(b, at.pid)
		for range sessions {
			program(b, open(b, box, "alice"), Python, "print(1)")
		}
		after, private := proportional(b, at.pid), privateMemory(at.pid)
		b.ReportMetric(float64(before>>20), "worker-MiB")
		b.ReportMetric(float64(after-before)/sessions/(1<<20), "MiB/session")
		b.ReportMetric(float64(private>>20), "private-MiB")
		box.Close()
	}
}

// BenchmarkBesideHostilePrograms is a goroutine of this process that wakes up
// every millisecond and works for a tenth of one, without and with twenty
// principals whose programs never end; both in turns, since other programs of
// the machine weigh more than these.
func BenchmarkBesideHostilePrograms(b *testing.B) {
	work := func() (times []time.Duration) {
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		for range 1000 {
			due := <-ticks.C
			for until := time.Now().Add(100 * time.Microsecond); time.Now().Before(until); {
			}
			times = append(times, time.Since(due))
		}
		return times
	}
	box := box(b, func(c *Config, tune *tuning) { real("python")(b)(c, tune); c.Limits.Wall = 200 * time.Millisecond })
	var sessions []*Session
	for i := range 20 {
		sessions = append(sessions, open(b, box, fmt.Sprint("user", i)))
	}
	var alone, beside []time.Duration
	for b.Loop() {
		for range 5 {
			alone = append(alone, work()...)
			ctx, cancel := context.WithCancel(b.Context())
			var all sync.WaitGroup
			for _, s := range sessions {
				all.Go(func() {
					for ctx.Err() == nil {
						s.Exec(ctx, Program{Language: Python, Code: "while True: x = bytearray(1<<20)"})
					}
				})
			}
			until(b, box, "a program that runs", func() bool {
				for p := range box.procs {
					if len(p.calls) > 0 {
						return true
					}
				}
				return false
			})
			beside = append(beside, work()...)
			cancel()
			all.Wait()
		}
	}
	quantiles(b, alone, "alone-")
	quantiles(b, beside, "beside-")
}

// BenchmarkImage is a table of 100,000 rows and five columns.
func BenchmarkImage(b *testing.B) {
	box := box(b, real("sql")(b))
	cols := []Column{{"id", "BIGINT"}, {"country", "STRING"}, {"price", "DOUBLE"}, {"stars", "INT"}, {"text", "STRING"}}
	rows := func(yield func([]any, error) bool) {
		for i := range 100_000 {
			if !yield([]any{i, "country " + strconv.Itoa(i%20), float64(i) / 7, i % 5, "some words about what was bought"}, nil) {
				return
			}
		}
	}
	for b.Loop() {
		t, err := box.Image(b.Context(), "main.a.b", cols, rows, 1<<30)
		if err != nil {
			b.Fatal(err)
		}
		t.Close()
	}
}
