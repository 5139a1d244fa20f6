package gateway_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

var workerReady = regexp.MustCompile(`worker ready" pid=(\d+)`)

// workers are the processes that run programs of the gateway, those that have
// loaded what they need.
func (w *world) workers(t testing.TB) []int {
	t.Helper()
	var pids []int
	for _, m := range workerReady.FindAllStringSubmatch(w.Log(), -1) {
		b, err := os.ReadFile("/proc/" + m[1] + "/cmdline")
		if err != nil || !bytes.Contains(b, []byte("\x00"+gateway.WorkerCommand)) {
			continue // ended since
		}
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// A worker is confined as plugins are, and more: it has no file, no environment,
// no socket but the one by which it is told what to run. One that is killed
// costs the state of its sessions, which the model learns, and nothing else.
func TestWorkersAreConfinedAndReplaced(t *testing.T) {
	t.Parallel()
	w := codeWorld(t, "", "shell", "sql")
	if got := w.programs(t, compute(false), run(shellExec, "echo 1")); got[0].text() != "1\n" {
		t.Fatalf("got %+v", got)
	}
	pids := w.workers(t)
	if len(pids) == 0 {
		t.Fatal("there is no worker")
	}
	for _, pid := range pids {
		at := fmt.Sprintf("/proc/%d", pid)
		status, err := os.ReadFile(at + "/status")
		if err != nil {
			continue // ended since
		}
		for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("worker %d: no %q in\n%s", pid, want, status)
			}
		}
		if os.Getuid() == 0 && strings.Contains(string(status), "Uid:\t0") {
			t.Errorf("worker %d runs as root", pid)
		}
		if env, err := os.ReadFile(at + "/environ"); err == nil && len(env) > 0 {
			t.Errorf("worker %d has the environment %q", pid, env)
		}
		fds, err := filepath.Glob(at + "/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		sockets := 0
		for _, fd := range fds {
			to, err := os.Readlink(fd)
			switch {
			case err != nil:
			case strings.HasPrefix(to, "socket:"):
				sockets++
			case strings.HasPrefix(to, "/sys/fs/cgroup/"): // the Go runtime's: how many cores it may use
			case strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/memfd:") && to != os.DevNull:
				t.Errorf("worker %d has %s open", pid, to)
			}
		}
		if sockets > 1 {
			t.Errorf("worker %d has %d sockets, want the one by which it is told what to run", pid, sockets)
		}
	}

	gate := upstream.NewGate()
	w.openai.Script(
		upstream.Turn{Calls: []upstream.Call{run(shellExec, "echo 1 > note.txt; cat note.txt")}},
		upstream.Turn{Calls: []upstream.Call{run(shellExec, "true")}, Before: gate},
		upstream.Turn{Calls: []upstream.Call{run(shellExec, "test -e note.txt; echo $?; test -s /data/main.sales.reviews.csv && echo table")}},
		upstream.Turn{Text: answered})
	ch := w.start(t, compute(true))
	<-gate.Reached()
	pids = w.workers(t)
	ends := func() int { return strings.Count(w.Log(), `"code execution: worker ended"`) }
	want := ends()
	for _, pid := range pids {
		switch err := syscall.Kill(pid, syscall.SIGKILL); err {
		case nil:
			want++
		case syscall.ESRCH:
		default:
			t.Fatal(err)
		}
	}
	// A process may be gone before the gateway has seen it.
	gatewaytest.Eventually(t, waitLong, "the gateway to see that the killed workers are gone", func() bool {
		return ends() >= want && !slices.ContainsFunc(w.workers(t), func(pid int) bool { return slices.Contains(pids, pid) })
	})
	gate.Open()
	a := wait(t, ch, true)
	all := ranAll(t, a)
	if a.text() != answered || len(all) != 3 || all[0].text() != "1\n" || all[2].text() != "1\ntable\n" {
		t.Fatalf("after the workers were killed: %+v, %q", all, a.text())
	}
	// Whether the gateway has seen the end of the worker before the call or within it.
	if !strings.Contains(all[1].Note, "was gone when this call began") && !strings.Contains(all[1].Note, "the process that ran it has ended") {
		t.Errorf("the model is not told that its state is gone: %+v", all)
	}
}
