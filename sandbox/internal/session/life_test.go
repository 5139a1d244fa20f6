package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
)

// started runs code in the background and returns once it is at work.
func started(t *testing.T, ctx context.Context, s *Session, language, code string) <-chan Result {
	t.Helper()
	done := make(chan Result, 1)
	go func() {
		res, err := s.Exec(ctx, Program{Language: language, Code: code})
		if err != nil {
			res.Stderr = err.Error()
		}
		done <- res
	}()
	for {
		s.mu.Lock()
		on := s.running != nil
		s.mu.Unlock()
		if on {
			return done
		}
		runtime.Gosched()
	}
}

func TestStopsFromOutside(t *testing.T) {
	e := load(t, engine.Options{})
	limits := Limits{Wall: ever, CPU: ever, Grace: ever}
	t.Run("interrupt keeps the state", func(t *testing.T) {
		s := open(t, e, Setup{Limits: limits})
		try(t, s, Python, "set a kept")
		done := started(t, t.Context(), s, Python, "spin")
		s.Interrupt()
		if res := <-done; res.Killed != "" || res.Interrupted != "caller" || res.Exit != 1 {
			t.Errorf("%+v", res)
		}
		if got := try(t, s, Python, "get a").Stdout; got != "kept\n" {
			t.Errorf("state: %q", got)
		}
	})
	t.Run("context's end interrupts", func(t *testing.T) {
		s := open(t, e, Setup{Limits: limits})
		ctx, cancel := context.WithCancel(t.Context())
		done := started(t, ctx, s, Python, "spin")
		cancel()
		if res := <-done; res.Killed != "" || res.Interrupted != "caller" {
			t.Errorf("%+v", res)
		}
	})
	for _, code := range []string{"deaf", "sleep 3600000", "copy"} {
		t.Run("kill ends "+code, func(t *testing.T) {
			s := open(t, e, Setup{Limits: limits})
			try(t, s, Python, "set a gone")
			done := started(t, t.Context(), s, Python, code)
			s.Kill()
			if res := <-done; res.Killed != "caller" || res.Exit != 137 {
				t.Errorf("%+v", res)
			}
			if got := try(t, s, Python, "get a").Stdout; got != "\n" {
				t.Errorf("state: %q", got)
			}
		})
		t.Run("close ends "+code, func(t *testing.T) {
			s := open(t, e, Setup{Limits: limits})
			done := started(t, t.Context(), s, Python, code)
			s.Close()
			if res := <-done; res.Killed != "closed" && res.Stderr != ErrClosed.Error() {
				t.Errorf("%+v", res)
			}
			if _, err := s.Exec(t.Context(), Program{Language: Python}); !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
	t.Run("stops mean nothing while idle", func(t *testing.T) {
		s := open(t, e, Setup{Limits: limits})
		try(t, s, Python, "set a kept")
		s.Interrupt()
		s.Kill()
		if got := try(t, s, Python, "get a").Stdout; got != "kept\n" {
			t.Errorf("state: %q", got)
		}
	})
}

func TestCallsQueue(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{Limits: Limits{Wall: ever, CPU: ever}})
	done := started(t, t.Context(), s, Python, "spin")
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if res, err := s.Exec(t.Context(), Program{Language: Shell, Code: "print x"}); err != nil || res.Stdout != "x\n" {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Exec(ctx, Program{Language: Shell, Code: "print x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context has ended: %v", err)
	}
	s.Interrupt()
	<-done
	wg.Wait()
}

// TestEverybodyStopsAtOnce closes, kills and interrupts from all sides while
// programs run. It asserts what must hold in every order: no call hangs, and a
// closed session has released its memory, which the race detector and the
// kernel would otherwise tell.
func TestEverybodyStopsAtOnce(t *testing.T) {
	e := load(t, engine.Options{})
	codes := []string{"spin", "deaf", "sleep 100000", "print x", "random", "copy", "calls", "alloc 5", "exit 1", "unlinked 100000"}
	var wg sync.WaitGroup
	for n := range 24 {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		wg.Go(func() {
			s, err := Open(e, Setup{Limits: Limits{
				Wall: time.Duration(1+r.IntN(40)) * time.Millisecond, Grace: time.Duration(1+r.IntN(10)) * time.Millisecond,
			}})
			if err != nil {
				t.Error(err)
				return
			}
			var in sync.WaitGroup
			for range 3 {
				language := []string{Python, SQL, Shell}[r.IntN(3)]
				code := codes[r.IntN(len(codes))]
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(60))*time.Millisecond)
				in.Go(func() {
					defer cancel()
					for range 3 {
						_, err := s.Exec(ctx, Program{Language: language, Code: code})
						if err != nil && !errors.Is(err, ErrClosed) && ctx.Err() == nil {
							t.Errorf("%s %s: %v", language, code, err)
						}
					}
				})
			}
			for _, f := range []func(){s.Interrupt, s.Kill, s.Close, s.Close, func() { s.ReadFile(t.Context(), "tmp/x") }} {
				wait := time.Duration(r.IntN(50)) * time.Millisecond
				in.Go(func() {
					time.Sleep(wait)
					f()
				})
			}
			in.Wait()
			select {
			case <-s.done:
			default:
				t.Error("Close returned and the session is still there")
			}
		})
	}
	wg.Wait()
	if err := unload(); err != nil {
		t.Error(err)
	}
	checkUnmapped(t)
}

func TestSleeperGivesBackItsLeave(t *testing.T) {
	e := load(t, engine.Options{})
	leave := make(chan struct{}, 1)
	admit := func(ctx context.Context) (func(), error) {
		select {
		case leave <- struct{}{}:
			return func() { <-leave }, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	setup := Setup{Admit: admit, Limits: Limits{Wall: ever, CPU: ever, Grace: ever}}
	a, b := open(t, e, setup), open(t, e, setup)
	done := started(t, t.Context(), a, Python, "sleep 3600000")
	if got := try(t, b, Python, "print x").Stdout; got != "x\n" { // would wait for ever
		t.Errorf("%q", got)
	}
	a.Interrupt()
	if res := <-done; res.Interrupted != "caller" {
		t.Errorf("%+v", res)
	}
	if len(leave) != 0 {
		t.Error("the leave was not given back at the end")
	}

	leave <- struct{}{} // somebody else's
	waiting := started(t, t.Context(), a, Python, "print x")
	a.Close() // must not wait for leave
	if res := <-waiting; res.Stderr != ErrClosed.Error() {
		t.Errorf("%+v", res)
	}
	<-leave
}

func TestFilesOfTheHost(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{Limits: Limits{Scratch: 8192}})
	ctx := t.Context()
	if err := s.WriteFile(ctx, "tmp/in", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := try(t, s, Python, "read /tmp/in\nfill /tmp/out bye").Stdout; got != "5 hello\n" {
		t.Errorf("guest reads %q", got)
	}
	if b, err := s.ReadFile(ctx, "tmp/out"); err != nil || string(b) != "bye" {
		t.Errorf("host reads %q, %v", b, err)
	}
	if err := s.WriteFile(ctx, "tmp/in", make([]byte, 8193)); err == nil {
		t.Error("a file beyond the quota was written")
	}
	if err := s.WriteFile(ctx, "lib/x", nil); err == nil {
		t.Error("a file outside tmp was written")
	}
	if _, err := s.ReadFile(ctx, "tmp/none"); err == nil {
		t.Error("a file that is not there was read")
	}
}

// TestStaleTimers: the clock of one program must not stop the next one.
func TestStaleTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t.Context(), Limits{Grace: time.Second})
		r.arm(time.Second)
		r.end()
		time.Sleep(time.Hour)
		if r.control.Killed() != engine.None {
			t.Error("the clock ran on after the end")
		}
		r = newRun(t.Context(), Limits{Grace: time.Second})
		r.arm(time.Second)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if r.control.Killed() != engine.None {
			t.Error("killed within the grace time")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if r.control.Killed() != engine.Time {
			t.Error("not killed after the grace time")
		}
		r.end()
	})
}
