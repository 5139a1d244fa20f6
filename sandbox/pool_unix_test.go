//go:build unix

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// guard watches that no worker ever has sessions of two principals. It returns
// what ends it.
func guard(t *testing.T, b *Sandbox) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		whose := map[*proc]map[uint32]string{}
		for {
			b.mu.Lock()
			changed := b.changed
			for p := range b.procs {
				before, now := whose[p], map[uint32]string{}
				seen := map[string]bool{}
				for id, s := range p.owners {
					switch {
					case s != nil:
						now[id] = s.who
					case before[id] != "": // closing
						now[id] = before[id]
					default: // came and went unseen
						now[id] = p.who
					}
					seen[now[id]] = true
				}
				whose[p] = now
				if len(seen) > 1 {
					t.Errorf("worker %d has sessions of %v", p.pid, seen)
				}
			}
			b.mu.Unlock()
			select {
			case <-changed:
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func TestPrincipalsNeverShareAWorker(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers, c.Limits.Queue = 1, 1000 })
	defer guard(t, b)()
	var all sync.WaitGroup
	for i := range 4 {
		who := fmt.Sprintf("user%d", i)
		all.Go(func() {
			for n := range 9 {
				s := open(t, b, who)
				run(t, s, "set who "+who)
				if r := run(t, s, "get who"); strings.TrimSpace(r.Stdout) != who && r.Lost == "" {
					t.Errorf("%s sees %+v", who, r)
				}
				if n%3 > 0 {
					s.Close()
				}
			}
		})
	}
	all.Wait()
	if st := b.Stats(); st.Workers > alivePerWorker || st.Running != 0 || st.Waiting != 0 || st.Fault != nil {
		t.Errorf("%+v", st)
	}
}

func TestSharedWorkers(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers, c.Shared = 1, true })
	for i := range 5 {
		run(t, open(t, b, fmt.Sprint("user", i)), "print")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.stateful) != 5 {
		t.Errorf("%d sessions", len(b.stateful))
	}
	for s := range b.stateful {
		for other := range b.stateful {
			if s.at != other.at {
				t.Error("principals are in two workers")
			}
		}
	}
}

// When many principals have sessions the one that is idle for longest gives way.
func TestManyPrincipals(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers = 1 })
	var sessions []*Session
	for i := range alivePerWorker + 2 {
		s := open(t, b, fmt.Sprint("user", i))
		sessions = append(sessions, s)
		run(t, s, "set a 1")
	}
	if st := b.Stats(); st.Workers > alivePerWorker {
		t.Errorf("%+v", st)
	}
	if r := run(t, sessions[0], "get a"); r.Stdout != "\n" || r.Lost != "idle" {
		t.Errorf("the oldest: %+v", r)
	}
	if r := run(t, sessions[0], "get a"); r.Lost != "" {
		t.Errorf("the loss is told twice: %+v", r)
	}
	if r := run(t, sessions[len(sessions)-1], "get a"); r.Stdout != "1\n" || r.Lost != "" {
		t.Errorf("the newest: %+v", r)
	}
}

func TestSessionsThatGiveWay(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Limits.Sessions = 3 })
	var sessions []*Session
	for range 4 {
		s := open(t, b, "alice")
		sessions = append(sessions, s)
		run(t, s, "set a 1")
	}
	if st := b.Stats(); st.Sessions != 3 {
		t.Errorf("%+v", st)
	}
	if r := run(t, sessions[3], "get a"); r.Stdout != "1\n" {
		t.Errorf("the newest: %+v", r)
	}
	if r := run(t, sessions[0], "get a"); r.Lost != "idle" {
		t.Errorf("the oldest: %+v", r)
	}
	b.tick(time.Now().Add(b.limits.Idle))
	if st := b.Stats(); st.Sessions != 0 {
		t.Errorf("after the idle time: %+v", st)
	}
	if r := run(t, sessions[3], "get a"); r.Lost != "idle" {
		t.Errorf("after the idle time: %+v", r)
	}
}

func TestIdleWorkersEnd(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers = 2 })
	var sessions []*Session
	for i := range 4 {
		s := open(t, b, fmt.Sprint("user", i))
		sessions = append(sessions, s)
		run(t, s, "print")
	}
	b.tick(time.Now().Add(b.tune.idle))
	if st := b.Stats(); st.Workers < 4 {
		t.Errorf("workers with sessions ended: %+v", st)
	}
	for _, s := range sessions {
		s.Close()
	}
	until(t, b, "sessions that are closed", func() bool {
		for p := range b.procs {
			if len(p.owners) > 0 {
				return false
			}
		}
		return true
	})
	for alone := false; !alone; {
		b.tick(time.Now().Add(2 * b.tune.idle)) // those too that were starting
		b.mu.Lock()
		alone = len(b.procs) == 1
		for p := range b.procs {
			alone = alone && p.ready && p.served == 0
		}
		b.mu.Unlock()
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	b.tick(time.Now().Add(3 * b.tune.idle))
	if st := b.Stats(); st.Workers != 1 {
		t.Errorf("the spare ended: %+v", st)
	}
}

func TestAWorkerWithTooMuchMemory(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Limits.Worker = 100 })
	var mu sync.Mutex
	sizes := map[int]int64{}
	b.memory = func(pid int) int64 { mu.Lock(); defer mu.Unlock(); return sizes[pid] }
	set := func(p *proc, size int64) { mu.Lock(); defer mu.Unlock(); sizes[p.pid] = size }

	s, busy := open(t, b, "alice"), open(t, b, "alice")
	run(t, s, "set a 1")
	first := workerOf(s)
	set(first, 150)
	b.tick(time.Now())
	if r := run(t, s, "get a"); r.Lost != "idle" || workerOf(s) == first {
		t.Errorf("worker over its bound: %+v", r)
	}
	until(t, b, "the end of it", func() bool { return !b.procs[first] })

	run(t, busy, "print") // a session whose worker ends before it is there goes to another one
	done := make(chan Result)
	go func() { done <- run(t, busy, "loop") }()
	until(t, b, "a program that runs", func() bool { return busy.at != nil && len(busy.at.calls) > 0 })
	b.mu.Lock()
	set(busy.at, 250)
	b.mu.Unlock()
	b.tick(time.Now())
	if r := <-done; r.Killed != "memory" || r.Exit != 137 {
		t.Errorf("worker at twice its bound: %+v", r)
	}
	if r := run(t, busy, "get a"); r.Lost != "" || r.Killed != "" {
		t.Errorf("afterwards: %+v", r)
	}
}

func TestPrivateMemory(t *testing.T) {
	b := box(t, nil)
	s := open(t, b, "alice")
	run(t, s, "print")
	pid := workerOf(s).pid
	before := privateMemory(pid)
	run(t, s, "keep 50")
	if after := privateMemory(pid); before <= 0 || after < before+50<<20 {
		t.Errorf("%d MiB, then %d MiB with 50 more", before>>20, after>>20)
	}
}

func TestWorkersThatDoNotStart(t *testing.T) {
	var mu sync.Mutex
	var fails error = errors.New("no such thing as a launcher")
	var log bytes.Buffer
	b := box(t, func(c *Config, tune *tuning) {
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		real := c.Start
		c.Start = func(ctx context.Context, f *os.File) (*exec.Cmd, error) {
			mu.Lock()
			defer mu.Unlock()
			if fails != nil {
				return nil, fails
			}
			return real(ctx, f)
		}
	})
	s := open(t, b, "alice")
	for {
		_, err := s.Exec(t.Context(), Program{Language: Shell, Code: "print"})
		if errors.Is(err, ErrWorker) && strings.Contains(err.Error(), "no such thing as a launcher") {
			break
		}
		if err == nil {
			t.Fatal("it ran")
		}
	}
	until(t, b, "more failures", func() bool { return b.failures > 3 })
	mu.Lock()
	fails = nil
	mu.Unlock()
	for {
		r, err := s.Exec(t.Context(), Program{Language: Shell, Code: "print well"})
		if err == nil {
			if r.Stdout != "well\n" {
				t.Errorf("%+v", r)
			}
			break
		}
		if !errors.Is(err, ErrWorker) {
			t.Fatal(err)
		}
	}
	b.Close()
	if n := strings.Count(log.String(), "no such thing"); n != 2 { // that it is tried again, and that this failed
		t.Errorf("said %d times, want twice:\n%s", n, log.String())
	}
}

func TestNewNeedsGuests(t *testing.T) {
	guests, _ := testGuests(t)
	half := t.TempDir()
	if err := os.CopyFS(half, os.DirFS(guests)); err != nil {
		t.Fatal(err)
	}
	os.Remove(half + "/guest.mem")
	damaged := t.TempDir()
	if err := os.CopyFS(damaged, os.DirFS(guests)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged+"/guest.mem", []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  Config
		says string
		none bool
	}{
		"no directory": {Config{Guests: half + "/none", Start: startAs("worker")}, "make build", true},
		"no image":     {Config{Guests: half, Start: startAs("worker")}, "guest.mem", true},
		"wrong image":  {Config{Guests: damaged, Start: startAs("worker")}, "guest.mem", true},
		"no Start":     {Config{Guests: guests}, "Start", false},
		"wrong limit":  {Config{Guests: guests, Start: startAs("worker"), Limits: Limits{Wall: -1}}, "Limits.Wall", false},
		"open cache":   {Config{Guests: guests, Start: startAs("worker"), Cache: "/tmp"}, "/tmp", false},
	} {
		b, err := New(tt.cfg)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) || errors.Is(err, ErrNoGuests) != tt.none {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestBusy(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers, c.Limits.Queue = 1, 4 })
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for waits := range 3 { // one runs, two wait
		s := open(t, b, "alice")
		all.Go(func() {
			if _, err := s.Exec(ctx, Program{Language: Shell, Code: "loop"}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		until(t, b, "one more that waits", func() bool { w, free := b.queue.lengths(); return w == waits && free == 0 })
	}
	if _, err := open(t, b, "alice").Exec(t.Context(), Program{Language: Shell}); !errors.Is(err, ErrBusy) {
		t.Errorf("one too many: %v", err)
	}
	bob := open(t, b, "bob")
	all.Go(func() {
		if _, err := bob.Exec(t.Context(), Program{Language: Shell}); err != nil {
			t.Errorf("another principal: %v", err)
		}
	})
	until(t, b, "another principal who waits", func() bool { w, _ := b.queue.lengths(); return w == 3 })
	cancel()
	all.Wait()
}

// workerOf is the worker that has the state of s.
func workerOf(s *Session) *proc {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	return s.at
}

func kill(t *testing.T, p *proc) {
	t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestKilledWorkersUnderLoad(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers, c.Limits.Queue = 1, 1000 })
	defer guard(t, b)()
	var load, killer sync.WaitGroup
	var killed atomic.Int64
	ran := make(chan struct{}, 1) // has one thing after each program that ended well
	quit := make(chan struct{})
	killer.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-ran:
			}
			b.mu.Lock()
			var ready []*proc
			for p := range b.procs {
				if p.ready && !p.killed {
					ready = append(ready, p)
				}
			}
			if len(ready) > 0 { // its number is nobody else's before ended has the lock
				syscall.Kill(ready[rand.IntN(len(ready))].pid, syscall.SIGKILL)
				killed.Add(1)
			}
			b.mu.Unlock()
		}
	})
	for i := range 3 {
		load.Go(func() {
			for n := range 6 {
				s := open(t, b, fmt.Sprint("user", i))
				for range 3 {
					r, err := s.Exec(t.Context(), Program{Language: Shell, Code: "set a 1\nwork 100000\nprint done"})
					switch {
					case errors.Is(err, ErrWorker): // it was killed before it began, again and again
					case err != nil:
						t.Errorf("user %d, session %d: %v", i, n, err)
					case r.Killed == "" && r.Stdout == "done\n":
						select {
						case ran <- struct{}{}:
						default:
						}
					case r.Killed != "worker":
						t.Errorf("user %d, session %d: %+v", i, n, r)
					}
				}
				s.Close()
			}
		})
	}
	load.Wait()
	close(quit)
	killer.Wait()
	if killed.Load() == 0 {
		t.Error("no worker was killed")
	}
	for s := open(t, b, "last"); ; {
		r, err := s.Exec(t.Context(), Program{Language: Shell, Code: "print fine"})
		if err != nil && !errors.Is(err, ErrWorker) {
			t.Fatal(err)
		}
		if r.Stdout == "fine\n" {
			break
		}
	}
	allLeft(t, b, 1)
}

func TestAKilledWorkerCostsItsSessionsOnly(t *testing.T) {
	b := box(t, nil)
	alice, bob := open(t, b, "alice"), open(t, b, "bob")
	run(t, alice, "set a 1")
	run(t, bob, "set a 1")
	done := make(chan Result)
	go func() { done <- run(t, alice, "loop") }()
	until(t, b, "a program that runs", func() bool { return len(alice.at.calls) > 0 })
	kill(t, workerOf(alice))
	if r := <-done; r.Killed != "worker" || r.Exit != 137 {
		t.Errorf("running: %+v", r)
	}
	if r := run(t, alice, "get a"); r.Stdout != "\n" || r.Lost != "" {
		t.Errorf("afterwards: %+v", r)
	}
	at := workerOf(alice)
	kill(t, at)
	<-at.gone
	if r := run(t, alice, "get a"); r.Stdout != "\n" || r.Lost != "worker" {
		t.Errorf("killed while idle: %+v", r)
	}
	if r := run(t, bob, "get a"); r.Stdout != "1\n" || r.Lost != "" {
		t.Errorf("another worker: %+v", r)
	}
}
