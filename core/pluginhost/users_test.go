package pluginhost

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// callTool runs a function of the demo tool for a principal and returns its text.
func callTool(ctx context.Context, h *Host, principal, function string) (string, error) {
	tl, _, ok := h.Tool("demo", principal)
	if !ok {
		return "", fmt.Errorf("no tool")
	}
	r, err := tl.Call(ctx, tool.Call{ID: "1", Function: function, Arguments: []byte(`{}`)}, tool.NewHost(tool.Service{}))
	if err != nil {
		return "", err
	}
	return r.Content[0].Text, nil
}

func pidOf(t *testing.T, h *Host, principal string) int {
	t.Helper()
	text, err := callTool(t.Context(), h, principal, "pid")
	if err != nil {
		t.Fatalf("%s: %v", principal, err)
	}
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

var demoPerUser = map[string]bool{"demo": true}

func TestUsersShareNoProcess(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "tool-demo", "tool-other")}, PerUser: demoPerUser})
	var mu sync.Mutex
	owner := map[int]string{} // of each process, over all restarts
	var wg sync.WaitGroup
	for u := range 4 {
		user := fmt.Sprintf("user-%d", u)
		wg.Go(func() {
			for i := range 12 {
				text, err := callTool(t.Context(), h, user, "pid")
				if err != nil {
					t.Errorf("%s: %v", user, err)
					return
				}
				pid, _ := strconv.Atoi(text)
				mu.Lock()
				if o := owner[pid]; o != "" && o != user {
					t.Errorf("process %d works for %s and for %s", pid, o, user)
				}
				owner[pid] = user
				mu.Unlock()
				if i == 5 {
					callTool(t.Context(), h, user, "exit")
				}
			}
		})
	}
	wg.Wait()
	if len(owner) != 8 {
		t.Errorf("%d processes for 4 users who each ended one, want 8", len(owner))
	}
	i := info(t, h, "demo")
	if i.State != Running || i.PID != 0 || i.Processes != 4 || i.Restarts != 4 || i.InFlight != 0 {
		t.Errorf("info = %+v, want 4 processes, 4 restarts and no number of one", i)
	}
	if strings.Contains(fmt.Sprintf("%+v", h.Plugins()), "user-") {
		t.Error("the list of plugins names users")
	}
	if _, err := callTool(t.Context(), h, "", "pid"); !apierror.Is(err, apierror.Internal) {
		t.Errorf("a call for nobody: %v, want %s", err, apierror.Internal)
	}
}

func TestCrashOfOneUserIsNotAnothers(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "tool-demo")}, PerUser: demoPerUser, Breaker: Breaker{Crashes: 2}})
	before := pidOf(t, h, "bob")
	for range 3 {
		callTool(t.Context(), h, "mallory", "exit")
	}
	if _, err := callTool(t.Context(), h, "mallory", "pid"); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("who crashed it again and again: %v, want %s", err, apierror.Unavailable)
	}
	if pid := pidOf(t, h, "bob"); pid != before {
		t.Errorf("another user's process is %d, was %d", pid, before)
	}
}

func TestProcessesOfUsersAreBounded(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "tool-demo")}, PerUser: demoPerUser, UserProcesses: 2})
	a, b := pidOf(t, h, "a"), pidOf(t, h, "b")
	if again := pidOf(t, h, "a"); again != a {
		t.Errorf("a's second call went to %d, the first to %d", again, a)
	}
	c := pidOf(t, h, "c")
	awaitGone(t, "the process that was idle for longest", b)
	if !running(a) || !running(c) {
		t.Error("another process had to go")
	}

	// Nobody has to go in the middle of a call.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, user := range []string{"a", "c"} {
		wg.Go(func() { callTool(ctx, h, user, "wait") })
	}
	for info(t, h, "demo").InFlight < 2 {
		time.Sleep(time.Millisecond)
	}
	_, err := callTool(t.Context(), h, "d", "pid")
	if e := apierror.From(err); e.Code != apierror.Unavailable || e.RetryAfter == 0 {
		t.Errorf("a third user while two are at work: %v, want %s and when to try again", err, apierror.Unavailable)
	}
	cancel()
	wg.Wait()
	pidOf(t, h, "d")
}

func TestIdleProcessOfAUserEnds(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "tool-demo")}, PerUser: demoPerUser, UserIdle: 100 * time.Millisecond})
	pid := pidOf(t, h, "a")
	awaitGone(t, "idle process", pid)
	if again := pidOf(t, h, "a"); again == pid {
		t.Error("the process that ended answers")
	}
	syscall.Kill(pidOf(t, h, "a"), syscall.SIGKILL)
	for info(t, h, "demo").Restarts == 0 { // counted also when the slot is gone
		callTool(t.Context(), h, "a", "pid")
	}
	for info(t, h, "demo").Processes > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	if i := info(t, h, "demo"); i.Restarts == 0 || i.State != Idle {
		t.Errorf("info = %+v, want idle, with the restarts there were", i)
	}
}

func TestReloadOfAToolWithAProcessAUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "tool-demo", content(t))
	h, _ := start(t, Config{Dirs: []string{dir}, PerUser: demoPerUser})
	a, b := pidOf(t, h, "a"), pidOf(t, h, "b")
	replace(t, dir, "tool-demo")
	if err := h.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, "old process", a)
	awaitGone(t, "old process", b)
	if x, y := pidOf(t, h, "a"), pidOf(t, h, "b"); x == y || x == a || y == b {
		t.Errorf("processes after the reload: %d and %d, were %d and %d", x, y, a, b)
	}
}
