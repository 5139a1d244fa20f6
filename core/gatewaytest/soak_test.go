//go:build linux

package gatewaytest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// BenchmarkSoak runs a load of everything against the gateway program for as
// long as SALLYPORT_SOAK says, 20 s if it says nothing, and prints how much
// memory its processes hold. In a run of five minutes or more it fails when the
// gateway's grows by more than a fifth after the second minute.
func BenchmarkSoak(b *testing.B) {
	length := 20 * time.Second
	if v := os.Getenv("SALLYPORT_SOAK"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			b.Fatalf("SALLYPORT_SOAK: %v", err)
		}
	}
	p := newProviders(b)
	p.forget = true
	dir := b.TempDir()
	file := p.configure(b, dir, "tables: {compact_every: 1m}\n")
	g := gatewaytest.Serve(b, file)

	stop := make(chan struct{})
	var clients sync.WaitGroup
	var done atomic.Int64
	url, began := g.URL(), time.Now()
	for i := range 4 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(10, uint64(i)))
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				q := request{id: fmt.Sprintf("s%d-%d", i, n), errand: plain, stream: rng.IntN(2) == 0, model: []string{gpt, claude, google, captured}[rng.IntN(4)]}
				switch rng.IntN(20) {
				case 0:
					q.errand = hosted
				case 1:
					q.padding = rng.IntN(200_000)
				}
				if a := p.send(b.Context(), client, url, q); !a.complete {
					b.Errorf("%+v: got %d %s (%v)", q, a.status, a.raw, a.err)
					return
				}
				done.Add(1)
			}
		})
	}

	window := min(length/5, time.Minute)
	var samples []int64 // of the gateway, one a second
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(began) < length {
		<-tick.C
		samples = append(samples, resident(b, g.PID()))
		if n := len(samples); n == 1 || n%int(window/time.Second) == 0 {
			// At once, and not with b.Logf, of which a benchmark shows ten lines.
			fmt.Printf("%6s: %7d requests; gateway %s; plugins %s; log %s, tables %s\n", time.Since(began).Round(time.Second), done.Load(),
				mib(samples[n-1]), plugins(b, g.PID()), mib(size(b, filepath.Join(dir, "sallyport-data", "log"))), mib(size(b, filepath.Join(dir, "sallyport-data", "tables"))))
		}
	}
	close(stop)
	clients.Wait()
	elapsed := time.Since(began)

	n := int(window / time.Second)
	early, late := middle(samples[n:min(2*n, len(samples))]), middle(samples[len(samples)-n:])
	grown := 100 * (float64(late)/float64(early) - 1)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(done.Load())/elapsed.Seconds(), "requests/s")
	b.ReportMetric(float64(late)/(1<<20), "MiB")
	b.ReportMetric(grown, "%-grown")
	if length >= 5*time.Minute && grown > 20 {
		b.Errorf("the gateway held %s in the second minute and %s in the last: %.0f %% more", mib(early), mib(late), grown)
	}
	rows := gatewaytest.SQL(b, file, "SELECT count(*), count(DISTINCT invocation_id) FROM system.ai_gateway.usage WHERE service_type IS NULL OR service_type = ''")
	fmt.Printf("%d requests in %s; model calls in the table: %v\n", done.Load(), elapsed.Round(time.Second), rows[0])
	if rows[0][0] != rows[0][1] {
		b.Errorf("rows and invocations: %v", rows[0])
	}
}

func middle(all []int64) int64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is how many bytes of memory a process holds; 0 when it has ended.
func resident(b *testing.B, pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	m := residentLine.FindSubmatch(text)
	if m == nil {
		return 0
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}

// plugins tells the memory of the processes below pid, by name.
func plugins(b *testing.B, pid int) string {
	var all []string
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				b.Fatal(err)
			}
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
			all = append(all, strings.TrimSpace(string(name))+" "+mib(resident(b, child)))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// size is how many bytes the files below dir have.
func size(b *testing.B, dir string) int64 {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		if info, err := e.Info(); err == nil && !e.IsDir() {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}
