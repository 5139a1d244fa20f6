package pluginhost

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// fds counts the open files of a process.
func fds(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// rss is the memory a process holds, in bytes.
func rss(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	fmt.Sscan(string(b), &size, &resident)
	return resident * os.Getpagesize()
}

// settle waits until f is at most most, and returns its last value.
func settle(f func() int, most int) int {
	var n int
	for range 400 {
		if n = f(); n <= most {
			return n
		}
		time.Sleep(5 * time.Millisecond)
	}
	return n
}

// Not parallel: it counts what the whole process has.
func TestExchangesLeakNothing(t *testing.T) {
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	round := func(n int) {
		for i := range n {
			switch i % 4 {
			case 0, 1:
				if got, err := ask(t.Context(), tr, "m", "a", "b"); got != "ab" || err != nil {
					t.Fatalf("exchange %d = %q, %v", i, got, err)
				}
			case 2: // not decoded
				ex, err := tr.Begin(t.Context(), turn("m"))
				if err != nil {
					t.Fatal(err)
				}
				ex.(io.Closer).Close()
			case 3: // given up in the middle
				ex, err := tr.Begin(t.Context(), turn("m"))
				if err != nil {
					t.Fatal(err)
				}
				pr, pw := io.Pipe()
				go io.WriteString(pw, sse("a", "b", "c"))
				for range ex.Decode(t.Context(), provider.Reply{Status: 200, Body: pr}) {
					break
				}
			}
		}
	}
	round(40)
	pid := info(t, h, "echo").PID
	goroutines, ours, theirs := runtime.NumGoroutine(), fds(t, os.Getpid()), fds(t, pid)
	round(1000)
	if n := settle(runtime.NumGoroutine, goroutines+5); n > goroutines+5 {
		t.Errorf("%d goroutines, were %d", n, goroutines)
	}
	if n := settle(func() int { return fds(t, os.Getpid()) }, ours+3); n > ours+3 {
		t.Errorf("%d open files here, were %d", n, ours)
	}
	if n := settle(func() int { return fds(t, pid) }, theirs+3); n > theirs+3 {
		t.Errorf("%d open files in the plugin, were %d", n, theirs)
	}
}

// Not parallel, as above.
func TestRestartsLeakNothing(t *testing.T) {
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}, Breaker: Breaker{Within: time.Nanosecond}}) // no crash counts
	tr := translator(t, h, "echo")
	round := func(n int) {
		for i := range n {
			if got, err := ask(t.Context(), tr, "m", "a"); got != "a" || err != nil {
				t.Fatalf("start %d = %q, %v", i, got, err)
			}
			if i%2 == 0 {
				pid := info(t, h, "echo").PID
				syscall.Kill(pid, syscall.SIGKILL)
				logged.await(t, "plugin ended", fmt.Sprintf("pid=%d ", pid))
			} else if err := h.Replace("provider", "echo"); err != nil {
				t.Fatal(err)
			}
		}
	}
	round(4)
	goroutines, files := settle(runtime.NumGoroutine, 0), fds(t, os.Getpid())
	round(20)
	if n := settle(runtime.NumGoroutine, goroutines+5); n > goroutines+5 {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines after 20 more processes, were %d:\n%s", n, goroutines, buf[:runtime.Stack(buf, true)])
	}
	if n := settle(func() int { return fds(t, os.Getpid()) }, files+5); n > files+5 {
		t.Errorf("%d open files after 20 more processes, were %d", n, files)
	}
	dirs, err := os.ReadDir(h.run.path)
	if err != nil || len(dirs) > 3 { // owner file, the running process, one being removed
		t.Errorf("%d entries in the run directory, %v", len(dirs), err)
	}
}

// endless is a provider that never stops talking.
type endless struct {
	piece []byte
	at    int
	n     atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.piece[e.at:])
	e.at = (e.at + n) % len(e.piece)
	e.n.Add(int64(n))
	return n, nil
}

func TestSlowReadersHoldTheProviderBack(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	var bodies []*endless
	for range 8 {
		ex, err := tr.Begin(t.Context(), turn("m"))
		if err != nil {
			t.Fatal(err)
		}
		body := &endless{piece: []byte(sse(strings.Repeat("x", 900)))}
		next, stop := iter.Pull2(ex.Decode(t.Context(), provider.Reply{Status: 200, Body: body}))
		defer stop()
		next()
		bodies = append(bodies, body)
	}
	read := func() (sum int64) {
		for _, b := range bodies {
			sum += b.n.Load()
		}
		return sum
	}
	for last := int64(-1); last != read(); time.Sleep(200 * time.Millisecond) {
		last = read()
	}
	if n := read(); n > 8*(4<<20) {
		t.Errorf("%d bytes were read for 8 consumers that took one event each", n)
	}
	if n := rss(t, info(t, h, "echo").PID); n > 128<<20 {
		t.Errorf("the plugin holds %d MiB", n>>20)
	}
}

func TestLargeRequestsAndReplies(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	big := strings.Repeat("0123456789abcdef", 4<<20/16)
	in := turn("m")
	in.Request.Instructions = big
	ex, err := translator(t, h, "echo").Begin(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(ex.Upstream().Body), big) {
		t.Errorf("the request of 4 MiB came back with %d bytes", len(ex.Upstream().Body))
	}
	if got, err := decode(t.Context(), ex, strings.NewReader(sse(big))); got != big || err != nil {
		t.Errorf("the reply of 4 MiB came with %d bytes, %v", len(got), err)
	}
}
