//go:build linux

package gateway_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// process finds the running process of a plugin of this gateway.
func (w *world) process(t testing.TB, kind, name string) pluginhost.Info {
	t.Helper()
	for _, p := range w.Plugins() {
		if p.Kind == kind && p.Name == name {
			return p
		}
	}
	t.Fatalf("no %s plugin %s", kind, name)
	return pluginhost.Info{}
}

// pid is the process's number; the plugin must run.
func (w *world) pid(t testing.TB, kind, name string) int {
	t.Helper()
	p := w.process(t, kind, name)
	if p.PID == 0 {
		t.Fatalf("plugin %s does not run: %+v", name, p)
	}
	return p.PID
}

func signal(t testing.TB, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("signal %v to %d: %v", s, pid, err)
	}
}

// children are the processes whose parent is pid.
func children(t testing.TB, pid int) []int {
	t.Helper()
	var out []int
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended since
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// busy waits until a plugin has a call under way.
func (w *world) busy(t testing.TB, kind, name string) {
	t.Helper()
	gatewaytest.Eventually(t, waitLong, "a call of "+name, func() bool { return w.process(t, kind, name).InFlight > 0 })
}

var translators = map[string]string{gpt: "openai", chat: "openai", claude: "anthropic", google: "gemini"}

// A translator that is killed after the first word fails its response with a
// terminal event; before, a fresh process takes over.
func TestKilledTranslator(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed)
	for _, model := range []string{gpt, claude, google, chat} {
		t.Run(model, func(t *testing.T) {
			up := w.upstream(model)
			works := func(what string) {
				t.Helper()
				up.Script(upstream.Turn{Text: answered})
				if a := w.ask(t, object{"model": model, "input": "hi", "stream": true}); a.text() != answered {
					t.Fatalf("%s: got %d %s", what, a.status, a.raw)
				}
			}
			works("before")

			middle := upstream.NewGate()
			up.Script(upstream.Turn{Text: answered, Middle: middle})
			resp := w.open(t, object{"model": model, "input": "hi", "stream": true})
			r := bufio.NewReader(resp.Body)
			head := readUntil(t, r, "response.output_text.delta")
			signal(t, w.pid(t, "provider", translators[model]), syscall.SIGKILL)
			a := read(t, 200, []byte(head+tail(t, r)), true)
			failedStream(t, model, a, "unavailable")
			<-middle.Gone() // the provider is not left talking to nobody
			works("after it was killed in the middle")

			for _, stream := range []bool{false, true} {
				before := upstream.NewGate()
				up.Script(upstream.Turn{Text: answered, Before: before}, upstream.Turn{Text: "From a fresh process."})
				ch := w.start(t, object{"model": model, "input": "hi", "stream": stream})
				<-before.Reached()
				signal(t, w.pid(t, "provider", translators[model]), syscall.SIGKILL)
				before.Open() // what is killed may be noticed when its reply comes
				if a := wait(t, ch, stream); a.status != 200 || a.text() != "From a fresh process." && a.text() != answered {
					t.Errorf("killed before the first word, stream=%v: got %d %s", stream, a.status, a.raw)
				}
				up.Reset()
			}
			works("after it was killed at the beginning")
			w.refused(t)
		})
	}
}

// A tool or an engine that is killed in the middle of a call costs nothing:
// the query is asked once more of a fresh process. When that one is killed
// too, the model hears of it and the loop goes on.
func TestKilledToolAndEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed)
	want := aggregates[0].want(samples.Reviews(samples.Seed))
	request := object{"model": gpt, "input": "How many?", "tools": tools(), "stream": true}
	works := func(what string) {
		t.Helper()
		w.openai.Script(upstream.Turn{Calls: []upstream.Call{sql(aggregates[0].sql)}}, upstream.Turn{Text: answered})
		a := w.ask(t, request)
		if r := a.results(); a.text() != answered || len(r) != 1 || !holds(r[0], want) {
			t.Fatalf("%s: got %d %s", what, a.status, a.raw)
		}
	}
	works("before")
	for _, tc := range []struct {
		name, kind, plugin string
		child              bool
	}{
		{"tool", "tool", "table", false},
		{"engine", "engine", "duckdb", false},
		{"engine's child", "engine", "duckdb", true},
	} {
		for kills := 1; kills <= 2; kills++ {
			gate := upstream.NewGate()
			w.openai.Script(upstream.Turn{Calls: []upstream.Call{sql(aggregates[0].sql)}, Before: gate}, upstream.Turn{Text: answered})
			ch := w.start(t, request)
			<-gate.Reached() // the tools are open; the call comes next
			stopped := w.stop(t, tc.kind, tc.plugin, tc.child)
			gate.Open()
			w.busy(t, tc.kind, tc.plugin)
			for n := 1; ; n++ {
				for _, pid := range stopped {
					signal(t, pid, syscall.SIGKILL)
				}
				if n == kills {
					break
				}
				first := stopped[0]
				gatewaytest.Eventually(t, waitLong, "a fresh "+tc.name, func() bool {
					p := w.process(t, tc.kind, tc.plugin)
					return tc.child || p.PID != 0 && p.PID != first && p.State == pluginhost.Running
				})
				stopped = w.stop(t, tc.kind, tc.plugin, tc.child)
				if len(stopped) == 0 {
					break
				}
			}
			a := wait(t, ch, true)
			r := a.results()
			if a.status != 200 || a.text() != answered || len(r) != 1 {
				t.Fatalf("%s killed %d times: got %d %s", tc.name, kills, a.status, a.raw)
			}
			// A second kill may come when the answer is there already.
			if !holds(r[0], want) && (kills == 1 || !strings.Contains(r[0], "rror")) {
				t.Errorf("%s killed %d times: got %q, want %v", tc.name, kills, r[0], want)
			}
			works(fmt.Sprintf("after the %s was killed %d times", tc.name, kills))
		}
	}
	w.refused(t)
}

// stop halts a plugin's process, or its children, so that a call of it cannot
// end before it is killed.
func (w *world) stop(t testing.TB, kind, name string, child bool) []int {
	t.Helper()
	pids := []int{w.pid(t, kind, name)}
	if child {
		pids = children(t, pids[0])
		if len(pids) == 0 {
			return nil
		}
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
	return pids
}
