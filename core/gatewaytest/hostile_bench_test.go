//go:build linux

package gatewaytest_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// The load that is measured alone and beside hostile programs.
const (
	hostileClients = 8
	hostileWindow  = 4 * time.Second
	hostileRounds  = 3
)

// hostileLoads are how the clients ask: as fast as they are answered, which is
// all that the machine can do, and at leisure, which shows what one request
// waits for.
var hostileLoads = []struct {
	name  string
	pause time.Duration // between the beginnings of two requests of a client
}{{"busy", 0}, {"paced", 100 * time.Millisecond}}

// BenchmarkHostile measures what the hostile programs of 20 users cost the
// others: windows of the same load, beside the programs until the last of them
// has ended and then as many alone, take turns in one run. It prints a table and
// fails when an answer is wrong, not when one is slow.
func BenchmarkHostile(b *testing.B) {
	rounds := hostileRounds
	if testing.Short() {
		rounds = 1
	}
	w := newHostileWorld(b)
	if _, err := w.hostile(b.Context(), 0); err != nil { // starts the plugins and a worker
		b.Fatal(err)
	}
	w.load(b, 0, time.Second, nil)
	w.rest(b)
	before := loadAverage(b)
	alone, beside := map[hostileKey][]time.Duration{}, map[hostileKey][]time.Duration{}
	ends, ended := map[string]int{}, 0
	var attacked time.Duration
	for range rounds {
		begun, windows := time.Now(), 0
		over := w.attack(b, func(how string) { ends[how]++; ended++ })
		for isOver := false; !isOver; windows++ {
			w.window(b, windows, beside, over)
			select {
			case <-over:
				isOver = windows > 0
			default:
			}
		}
		attacked += time.Since(begun)
		w.rest(b)
		for n := range windows {
			w.window(b, n, alone, nil)
		}
	}
	fmt.Printf("Load average %s before and %s after; %d rounds; %d processors.\n\n", before, loadAverage(b), rounds, processors(b))
	fmt.Println("| load | request | alone: requests | p50 ms | p99 ms | beside: requests | p50 ms | p99 ms | p99 ratio |\n|---|---|--:|--:|--:|--:|--:|--:|--:|")
	b.ReportMetric(0, "ns/op")
	for _, l := range hostileLoads {
		for _, k := range kinds {
			a, o := alone[hostileKey{l.name, k}], beside[hostileKey{l.name, k}]
			ratio := quantile(o, 0.99).Seconds() / quantile(a, 0.99).Seconds()
			fmt.Printf("| %s | %s | %d | %s | %s | %d | %s | %s | %.2f |\n", l.name, k, len(a), millis(quantile(a, 0.5)), millis(quantile(a, 0.99)),
				len(o), millis(quantile(o, 0.5)), millis(quantile(o, 0.99)), ratio)
			b.ReportMetric(ratio, fmt.Sprintf("p99-ratio/%s-%s", l.name, k))
		}
	}
	fmt.Printf("\n%d hostile programs in %s ended:", ended, attacked.Round(time.Second))
	for _, how := range slices.Sorted(maps.Keys(ends)) {
		fmt.Printf(" %s %d;", how, ends[how])
	}
	fmt.Println()
	b.ReportMetric(float64(ended), "programs")
}

// hostileKey names a row of the table.
type hostileKey struct {
	load string
	kind kind
}

// window measures one window, of one load and then of the other, into to.
func (w *hostileWorld) window(b *testing.B, n int, to map[hostileKey][]time.Duration, over <-chan bool) {
	b.Helper()
	l := hostileLoads[n%len(hostileLoads)]
	if n < len(hostileLoads) {
		over = nil // there is one whole window of each
	}
	for k, took := range w.load(b, l.pause, hostileWindow, over) {
		to[hostileKey{l.name, k}] = append(to[hostileKey{l.name, k}], took...)
	}
}

// load has the clients ask for as long as a window is or until over is closed,
// with requests of all kinds in turn, and returns how long they took.
func (w *hostileWorld) load(b *testing.B, pause, window time.Duration, over <-chan bool) map[kind][]time.Duration {
	b.Helper()
	took := map[kind][]time.Duration{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	for c := range hostileClients {
		clients.Go(func() {
			// Not all in the same moment.
			next := time.Now().Add(pause * time.Duration(c) / hostileClients)
			end := time.Now().Add(window)
			for n := c; ; n++ {
				if pause > 0 {
					time.Sleep(time.Until(next))
					next = next.Add(pause)
				}
				select {
				case <-over:
					return
				default:
				}
				begun := time.Now()
				if begun.After(end) {
					return
				}
				k := kinds[n%len(kinds)]
				if err := w.other(b.Context(), k); err != nil {
					b.Errorf("a request of the load: %v", err)
					return
				}
				mu.Lock()
				took[k] = append(took[k], time.Since(begun))
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return took
}

// attack has each user's model run its program, and tells how it ended. It
// closes over when the last has.
func (w *hostileWorld) attack(b *testing.B, ended func(how string)) (over <-chan bool) {
	done := make(chan bool)
	var mu sync.Mutex
	var users sync.WaitGroup
	for i, h := range hostilePrograms {
		users.Go(func() {
			r, err := w.hostile(b.Context(), i)
			if err != nil {
				b.Errorf("%q: %v", h.code, err)
				return
			}
			if !h.ends.MatchString(r.why()) {
				b.Errorf("%q: its model sees %q", h.code, r.why())
			}
			mu.Lock()
			defer mu.Unlock()
			ended(r.how())
		})
	}
	go func() {
		users.Wait()
		close(done)
	}()
	return done
}

// rest waits until nothing is left of the programs, such as a worker that ends.
func (w *hostileWorld) rest(b *testing.B) {
	b.Helper()
	gatewaytest.Eventually(b, time.Minute, "the workers to come to rest", func() bool {
		busy := w.workersBusy(b)
		time.Sleep(200 * time.Millisecond)
		return w.workersBusy(b)-busy < 10*time.Millisecond
	})
}

// workersBusy is the CPU time that the processes of programs have used.
func (w *hostileWorld) workersBusy(b *testing.B) time.Duration {
	var sum time.Duration
	for _, pid := range w.workers(b) {
		if isWorker(pid) {
			sum += cpuOfOne(b, pid)
		}
	}
	return sum
}

// how is why in a word.
func (r programResult) how() string {
	for _, h := range []struct{ sign, word string }{
		{"took too long", "time"}, {"processor time", "cpu"}, {"too much memory", "memory"}, {"recursion", "recursion"},
		{"interpreter", "exit"}, {"truncated", "truncated"}, {"Error", "error"}, {"too big", "error"}, {"out of memory", "error"},
	} {
		if strings.Contains(r.why(), h.sign) {
			return h.word
		}
	}
	return "otherwise"
}
