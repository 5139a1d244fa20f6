//go:build linux

package gatewaytest_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// lanes are the ways of a request to the provider: straight to it, through a
// program that copies the bytes of each connection and does not look at them,
// through the gateway in the provider's own dialect, and through the gateway to a
// provider of another one. The copy is what this machine asks of any program in
// the middle: a piece of a stream that comes alone costs a thread's waking, a read
// and a write.
var lanes = []string{"direct", "copy", "native", "translated"}

// laneRounds is how often everything is measured, one after another, so that
// what else the machine does meets all of it alike.
const laneRounds = 5

// BenchmarkLanes measures what the gateway costs: the CPU time of all its
// processes, and what it adds to the provider's own time, for an Anthropic
// client. Authentication, permissions, limits, budgets and the ledger are on. Of
// the direct lane the CPU time is the provider's, a plain server of net/http: how
// often the other lanes take that of the same round is what can be compared
// between machines, and hours. The clients' own does not count. It prints a table
// in Markdown, and writes it to the file that SALLYPORT_LANES names. It fails when
// a reply is wrong, not when one is slow.
func BenchmarkLanes(b *testing.B) {
	rounds := laneRounds
	if testing.Short() {
		rounds = 1
	}
	w := newLaneWorld(b)
	w.copier = startBeside(b, "TestCopier", strings.TrimPrefix(w.provider.url, "http://"))
	idle := resident(b, w.gateway.PID())
	for _, l := range lanes { // also starts the plugins
		for _, k := range workloads {
			k.requests = min(k.requests, 2*k.clients)
			w.measure(b, k, l)
		}
	}
	w.settle(b)
	before := loadAverage(b)
	results := map[laneKey]*laneResult{}
	for range rounds {
		for _, k := range workloads {
			for _, l := range lanes {
				r := results[laneKey{k.name, k.clients, l}]
				if r == nil {
					r = new(laneResult)
					results[laneKey{k.name, k.clients, l}] = r
				}
				r.add(w.measure(b, k, l))
			}
		}
	}
	table := laneTable(results)
	var out strings.Builder
	fmt.Fprintf(&out, "Load average %s before and %s after; %d rounds, of whose CPU times the median stands first and the least in brackets; %d processors.\n\n",
		before, loadAverage(b), rounds, processors(b))
	out.WriteString(table)
	fmt.Fprintf(&out, "\nMemory: the gateway's process %s before the first request and %s afterwards; plugins %s.\n",
		mib(idle), mib(resident(b, w.gateway.PID())), plugins(b, w.gateway.PID()))
	fmt.Println(out.String())
	if file := os.Getenv("SALLYPORT_LANES"); file != "" {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	w.recorded(b)
	b.ReportMetric(0, "ns/op")
	for _, k := range workloads {
		for _, l := range lanes[1:] {
			r := results[laneKey{k.name, k.clients, l}]
			b.ReportMetric(1e6*quantile(r.cpu, 0.5), fmt.Sprintf("cpu-µs/%s-%d-%s", k.name, k.clients, l))
		}
	}
}

// laneKey names a row of the table.
type laneKey struct {
	workload string
	clients  int
	lane     string
}

// laneResult is what was measured of a workload on a lane, over all rounds.
type laneResult struct {
	requests     int
	cpu          []float64       // seconds of the processes in the middle for a request, by round
	first, whole []time.Duration // from the request to the first byte of the body and to the last
	elapsed      time.Duration
}

func (r *laneResult) add(o laneResult) {
	r.requests, r.elapsed = r.requests+o.requests, r.elapsed+o.elapsed
	r.cpu, r.first, r.whole = append(r.cpu, o.cpu...), append(r.first, o.first...), append(r.whole, o.whole...)
}

// times is how often the CPU time of o fits into that of r, in the middle of the
// rounds. It is empty where they are the same.
func (r *laneResult) times(o *laneResult) string {
	if r == o {
		return ""
	}
	ratios := make([]float64, len(r.cpu))
	for i := range ratios {
		ratios[i] = r.cpu[i] / o.cpu[i]
	}
	return fmt.Sprintf("%.1f", quantile(ratios, 0.5))
}

func laneTable(results map[laneKey]*laneResult) string {
	var t strings.Builder
	t.WriteString("| workload | clients | lane | CPU-s / 1,000 requests | CPU-µs / chunk | times direct | times copy | budget | p50 ms | p99 ms | added p50 ms | added p99 ms | first byte p50 ms | added ms | times direct | requests/s |\n")
	t.WriteString("|---|--:|---|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, k := range workloads {
		direct, copied := results[laneKey{k.name, k.clients, "direct"}], results[laneKey{k.name, k.clients, "copy"}]
		for _, l := range lanes {
			r := results[laneKey{k.name, k.clients, l}]
			middle, least := quantile(r.cpu, 0.5), slices.Min(r.cpu)
			cpu, perChunk := fmt.Sprintf("%.3f (%.3f)", 1000*middle, 1000*least), ""
			if k.chunks > 0 {
				perChunk = fmt.Sprintf("%.1f (%.1f)", 1e6*middle/float64(k.chunks), 1e6*least/float64(k.chunks))
			}
			added := func(of func(*laneResult) []time.Duration, q float64) string {
				if l == "direct" {
					return ""
				}
				return millis(quantile(of(r), q) - quantile(of(direct), q))
			}
			whole := func(r *laneResult) []time.Duration { return r.whole }
			first := func(r *laneResult) []time.Duration { return r.first }
			more := ""
			if base := quantile(direct.first, 0.5); l != "direct" {
				more = fmt.Sprintf("%.1f", (quantile(r.first, 0.5)-base).Seconds()/base.Seconds())
			}
			fmt.Fprintf(&t, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %.0f |\n",
				k.name, k.clients, l, cpu, perChunk, r.times(direct), r.times(copied), k.budget[l],
				millis(quantile(r.whole, 0.5)), millis(quantile(r.whole, 0.99)), added(whole, 0.5), added(whole, 0.99),
				millis(quantile(r.first, 0.5)), added(first, 0.5), more,
				float64(r.requests)/r.elapsed.Seconds())
		}
	}
	return t.String()
}

func quantile[T cmp.Ordered](all []T, q float64) T {
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

func loadAverage(b *testing.B) string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func processors(b *testing.B) int {
	all, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	return len(all)
}

// recorded compares the rows of the usage table with the requests sent.
func (w *laneWorld) recorded(b *testing.B) {
	b.Helper()
	rows := gatewaytest.SQL(b, w.file, "SELECT count(*), count(DISTINCT invocation_id) FROM system.ai_gateway.usage WHERE status = 'completed'")
	if got, want := fmt.Sprint(rows[0]), fmt.Sprintf("[%d %d]", w.sent, w.sent); got != want {
		b.Errorf("rows and invocations in the usage table: %s, want %s", got, want)
	}
}
