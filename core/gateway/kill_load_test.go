//go:build linux

package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// errand is a request that the load is made of.
type errand struct {
	uses []string // plugins, "kind name"
	body object
	good func(a answer) bool
	bad  func(a answer) bool // a clear failure
}

func errands() []errand {
	var all []errand
	for model, name := range translators {
		for _, stream := range []bool{false, true} {
			all = append(all, errand{
				uses: []string{"provider " + name},
				body: object{"model": model, "input": "hi", "stream": stream},
				good: func(a answer) bool { return a.status == 200 && a.text() == answered },
				bad:  clearFailure,
			})
		}
	}
	for _, stream := range []bool{false, true} {
		all = append(all, errand{
			uses: []string{"provider demo", "tool table", "engine duckdb"},
			body: object{"model": "databricks-demo", "input": "How many rows are there?", "tools": tools()[:1], "stream": stream},
			good: func(a answer) bool {
				r := a.results()
				return a.status == 200 && len(r) == 1 && !strings.Contains(r[0], "rror") && a.text() != ""
			},
			bad: func(a answer) bool { // the model may have been told, too
				r := a.results()
				return clearFailure(a) || a.status == 200 && len(r) > 0 && strings.Contains(r[len(r)-1], "rror") && a.text() != ""
			},
		})
	}
	return all
}

// clearFailure reports whether a client could tell that trying again is the
// thing to do.
func clearFailure(a answer) bool {
	code, message := a.failure()
	if a.status == 503 {
		return message != ""
	}
	return a.status == 200 && a.response["status"] == "failed" && code != "" && message != ""
}

// span is a time in which something was the case.
type span struct{ from, to time.Time }

func (s span) meets(o span) bool { return !s.to.Before(o.from) && !o.to.Before(s.from) }

// Plugins are killed at random moments, each of them kills times, while requests
// of every kind go on. Not parallel: it looks at all processes of this one.
func TestRandomKillsUnderLoad(t *testing.T) {
	w := newWorld(t, samples.Seed)
	for _, up := range []*upstream.Server{w.openai, w.anthropic, w.gemini} {
		up.Repeat(upstream.Turn{Text: answered})
	}
	all := errands()
	for _, e := range all {
		if a := w.ask(t, e.body); !e.good(a) {
			t.Fatalf("before any kill: %v: got %d %s", e.body, a.status, a.raw)
		}
	}

	type outcome struct {
		span
		errand errand
		answer answer
	}
	var mu sync.Mutex
	var done []outcome
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range 4 {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				o := outcome{errand: all[rng.IntN(len(all))]}
				o.from = time.Now()
				o.answer = w.ask(t, o.errand.body)
				o.to = time.Now()
				mu.Lock()
				done = append(done, o)
				mu.Unlock()
			}
		})
	}

	plugins := []string{"provider openai", "provider anthropic", "provider gemini", "provider demo", "tool table", "engine duckdb"}
	downs := map[string][]span{}
	backOf := map[string][]time.Duration{}
	rng := rand.New(rand.NewPCG(2, 2))
	var victims []string
	for range kills {
		victims = append(victims, plugins...)
	}
	rng.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for _, victim := range victims {
		time.Sleep(time.Duration(20+rng.IntN(60)) * time.Millisecond)
		kind, name, _ := strings.Cut(victim, " ")
		probe := all[slices.IndexFunc(all, func(e errand) bool { return slices.Contains(e.uses, victim) })]
		var pid int
		gatewaytest.Eventually(t, waitLong, victim+" to run", func() bool {
			pid = w.process(t, kind, name).PID
			return pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
		})
		killed := time.Now()
		gatewaytest.Eventually(t, waitLong, victim+" to be back", func() bool { return probe.good(w.ask(t, probe.body)) })
		down := span{killed.Add(-time.Millisecond), time.Now()}
		backOf[victim] = append(backOf[victim], down.to.Sub(killed))
		downs[victim] = append(downs[victim], down)
	}
	close(stop)
	load.Wait()

	affected, failed := 0, 0
	for _, o := range done {
		hit := slices.ContainsFunc(o.errand.uses, func(p string) bool { return slices.ContainsFunc(downs[p], o.meets) })
		switch {
		case hit:
			affected++
			if !o.errand.good(o.answer) {
				failed++
				if !o.errand.bad(o.answer) {
					t.Errorf("%v, hit by a kill, ended unclearly: %d %s", o.errand.body, o.answer.status, o.answer.raw)
				}
			}
		case !o.errand.good(o.answer):
			t.Errorf("%v, of which nothing was killed, was hurt: %d %s", o.errand.body, o.answer.status, o.answer.raw)
		}
	}
	t.Logf("%d kills, %d requests: %d while a plugin of theirs was killed, of which %d failed and said so", len(victims), len(done), affected, failed)
	for _, victim := range plugins {
		var quiet []time.Duration
		for _, o := range done {
			if slices.Contains(o.errand.uses, victim) && !slices.ContainsFunc(downs[victim], o.meets) {
				quiet = append(quiet, o.to.Sub(o.from))
			}
		}
		t.Logf("%-18s from the kill to the end of the next request that succeeded: %s; a request without: %s", victim, quantiles(backOf[victim]), quantiles(quiet))
	}
	t.Logf("from the start of a process to its first call: %s", quantiles(startTimes(t, w.Log())))

	w.nothingLeft(t)
	w.refused(t)
}

var startedLine = regexp.MustCompile(`msg="plugin started".* elapsed=(\S+)`)

func startTimes(t *testing.T, log string) []time.Duration {
	t.Helper()
	var all []time.Duration
	for _, m := range startedLine.FindAllStringSubmatch(log, -1) {
		d, err := time.ParseDuration(m[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	return fmt.Sprintf("p50 %v, p99 %v of %d", all[len(all)/2].Round(100*time.Microsecond), all[len(all)*99/100].Round(100*time.Microsecond), len(all))
}

// nothingLeft fails the test if anything of a plugin process that has ended is
// still there: the process, one that it had started, its sockets.
func (w *world) nothingLeft(t *testing.T) {
	t.Helper()
	var run string
	expected := 0
	for _, p := range w.Plugins() {
		if p.PID == 0 {
			continue
		}
		expected++
		run = filepath.Dir(workDir(t, p.PID))
	}
	gatewaytest.Eventually(t, waitLong, "directories of processes that have ended to go", func() bool {
		dirs, err := os.ReadDir(run)
		if err != nil {
			t.Fatal(err)
		}
		return len(dirs) == expected+1 // the owner file
	})
	known := map[int]bool{}
	for _, p := range w.Plugins() {
		known[p.PID] = true
	}
	gatewaytest.Eventually(t, waitLong, "processes without a parent to go", func() bool {
		orphans := 0
		dirs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			b, err := os.ReadFile(dir + "/stat")
			cwd, lerr := os.Readlink(dir + "/cwd")
			if err != nil || lerr != nil || !strings.HasPrefix(cwd, run+"/") {
				continue // ended, or another's
			}
			var pid, parent int
			var state string
			_, rest, _ := strings.Cut(string(b), ") ")
			fmt.Sscan(rest, &state, &parent)
			fmt.Sscan(filepath.Base(dir), &pid)
			if !known[pid] && !known[parent] && state != "Z" {
				orphans++
			}
		}
		return orphans == 0
	})
}

// workDir is the working directory of a process.
func workDir(t *testing.T, pid int) string {
	t.Helper()
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
