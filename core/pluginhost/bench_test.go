package pluginhost

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// inProcess is the translation of testdata/plugin, called directly: what the
// process costs is the difference.
type inProcess struct{}

func (inProcess) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	return inExchange{&provider.Upstream{Method: "POST", Path: "chat", Stream: true, Body: t.Request.AppendJSON(nil)}}, nil
}

type inExchange struct{ up *provider.Upstream }

func (x inExchange) Upstream() *provider.Upstream { return x.up }

func (inExchange) Decode(_ context.Context, r provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		out := provider.NewOutput(yield)
		sc := bufio.NewScanner(r.Body)
		for sc.Scan() {
			text, ok := strings.CutPrefix(sc.Text(), `data: {"t":"`)
			if ok && !out.Text(strings.TrimSuffix(text, `"}`)) {
				return
			}
		}
		if err := sc.Err(); err != nil {
			out.Fail(apierror.Wrap(apierror.UpstreamFailed, err, "The provider cut its reply."))
			return
		}
		out.Usage(openresponses.Usage{Input: 1, Output: 1})
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}
}

// cpu is the processor time of this process and of pid so far.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	sum := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	if pid == 0 {
		return sum
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks { // schedstat counts nanoseconds; stat only ticks
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if err != nil {
			continue // ended meanwhile
		}
		var ns int64
		fmt.Sscan(string(stat), &ns)
		sum += time.Duration(ns)
	}
	return sum
}

// both runs f with the translation in process and in a plugin, and reports the
// processor time of everything for each of units things an iteration does.
func both(b *testing.B, units int, f func(tr provider.Translator)) {
	for _, where := range []string{"in-process", "plugin"} {
		b.Run(where, func(b *testing.B) {
			var tr provider.Translator = inProcess{}
			pid := 0
			if where == "plugin" {
				h, _ := start(b, Config{Dirs: []string{plugins(b, "provider-echo")}})
				tr = translator(b, h, "echo")
				f(tr)
				pid = info(b, h, "echo").PID
			}
			before := cpu(b, pid)
			for b.Loop() {
				f(tr)
			}
			used := cpu(b, pid) - before
			b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(b.N*units), "cpu-µs/unit")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1e3/float64(b.N*units), "µs/unit")
		})
	}
}

// BenchmarkUnary is an exchange with 1 KB each way.
func BenchmarkUnary(b *testing.B) {
	in := turn("m")
	in.Request.Instructions = strings.Repeat("x", 900)
	reply := sse(strings.Repeat("y", 1000))
	both(b, 1, func(tr provider.Translator) {
		ex, err := tr.Begin(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := decode(b.Context(), ex, strings.NewReader(reply)); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkChunks is a streamed reply of 200 events of 190 bytes: as one burst,
// in reads of an HTTP client's buffer, and with every event in a read of its own.
func BenchmarkChunks(b *testing.B) {
	const chunks = 200
	piece := strings.Repeat("z", 190-len(sse("")))
	var one strings.Builder
	for range chunks {
		one.WriteString(sse(piece))
	}
	for name, body := range map[string]func() io.Reader{
		"burst":   func() io.Reader { return strings.NewReader(one.String()) },
		"reads4K": func() io.Reader { return &sliced{one.String(), 4 << 10} },
		"reads1":  func() io.Reader { return &sliced{one.String(), 190} },
	} {
		b.Run(name, func(b *testing.B) {
			both(b, chunks, func(tr provider.Translator) {
				ex, err := tr.Begin(b.Context(), turn("m"))
				if err != nil {
					b.Fatal(err)
				}
				got, err := decode(b.Context(), ex, body())
				if err != nil || len(got) != chunks*len(piece) {
					b.Fatalf("%d bytes, %v", len(got), err)
				}
			})
		})
	}
}

// sliced gives at most n bytes a read, as a slower provider would.
type sliced struct {
	s string
	n int
}

func (r *sliced) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p, r.s[:min(r.n, len(r.s))])
	r.s = r.s[n:]
	return n, nil
}

// BenchmarkLockStep sends a chunk and waits for its event.
func BenchmarkLockStep(b *testing.B) {
	for _, where := range []string{"in-process", "plugin"} {
		b.Run(where, func(b *testing.B) {
			var tr provider.Translator = inProcess{}
			if where == "plugin" {
				h, _ := start(b, Config{Dirs: []string{plugins(b, "provider-echo")}})
				tr = translator(b, h, "echo")
			}
			ex, err := tr.Begin(b.Context(), turn("m"))
			if err != nil {
				b.Fatal(err)
			}
			body := make(chanReader)
			next, stop := iter.Pull2(ex.Decode(b.Context(), provider.Reply{Status: 200, Body: body}))
			defer stop()
			defer close(body)
			chunk := []byte(sse(strings.Repeat("z", 175)))
			for b.Loop() {
				sent := make(chan bool)
				go func() { body <- chunk; close(sent) }()
				for {
					ev, err, ok := next()
					if err != nil || !ok {
						b.Fatalf("ended: %v", err)
					}
					if ev.Type == openresponses.EventTextDelta {
						break
					}
				}
				<-sent
			}
		})
	}
}

type chanReader chan []byte

func (r chanReader) Read(p []byte) (int, error) {
	b, ok := <-r
	if !ok {
		return 0, io.EOF
	}
	return copy(p, b), nil
}

// BenchmarkStart is the way from nothing to the first answer.
func BenchmarkStart(b *testing.B) {
	h, _ := start(b, Config{Dirs: []string{plugins(b, "provider-echo")}})
	tr := translator(b, h, "echo")
	for b.Loop() {
		if _, err := ask(b.Context(), tr, "m", "x"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s, _, _ := h.find("provider", "echo")
		s.mu.Lock()
		p := s.cur
		s.cur = nil
		s.mu.Unlock()
		p.stop(b.Context())
		b.StartTimer()
	}
}

// BenchmarkBack is the time from kill -9 to the end of the next exchange.
func BenchmarkBack(b *testing.B) {
	h, _ := start(b, Config{Dirs: []string{plugins(b, "provider-echo")}})
	tr := translator(b, h, "echo")
	var all []time.Duration
	for b.Loop() {
		if _, err := ask(b.Context(), tr, "m", "x"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		time.Sleep(firstPause) // a life, not a crash loop
		pid := info(b, h, "echo").PID
		b.StartTimer()
		killed := time.Now()
		syscall.Kill(pid, syscall.SIGKILL)
		for {
			if _, err := ask(b.Context(), tr, "m", "x"); err == nil {
				break
			}
		}
		all = append(all, time.Since(killed))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}
