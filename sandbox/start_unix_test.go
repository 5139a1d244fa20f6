//go:build unix

package sandbox

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// A worker that ends before it is ready is replaced at once; only when that
// fails too calls do.
func TestAWorkerThatEndsAsItStarts(t *testing.T) {
	for _, tt := range []struct {
		name string
		dead int32 // workers that end, from the first on
		fail bool
	}{{"once", 1, false}, {"twice", 2, true}} {
		t.Run(tt.name, func(t *testing.T) {
			var starts atomic.Int32
			b := box(t, func(c *Config, tune *tuning) {
				tune.backoff = time.Hour
				c.Start = func(ctx context.Context, f *os.File) (*exec.Cmd, error) {
					if starts.Add(1) <= tt.dead {
						return startAs("dead")(ctx, f)
					}
					return startAs("worker")(ctx, f)
				}
			})
			s := open(t, b, "alice")
			if !tt.fail {
				if r := run(t, s, "print well"); r.Stdout != "well\n" {
					t.Errorf("%+v", r)
				}
				return
			}
			for range 2 { // also who comes later
				if _, err := s.Exec(t.Context(), Program{Language: Shell}); !errors.Is(err, ErrWorker) {
					t.Errorf("%v, want ErrWorker", err)
				}
			}
			if n := starts.Load(); n != 2 {
				t.Errorf("%d workers were started, want 2 and then a pause", n)
			}
		})
	}
}

// A program that has no turn in time is not run, whatever it waits for, and
// leaves nothing behind.
func TestNoTurnInTime(t *testing.T) {
	refused := func(t *testing.T, s *Session) {
		t.Helper()
		if _, err := s.Exec(t.Context(), Program{Language: Shell, Code: "print"}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "did not come within 1ms") {
			t.Errorf("%v, want ErrBusy and the time", err)
		}
	}
	t.Run("a worker", func(t *testing.T) {
		b := box(t, func(c *Config, _ *tuning) { c.Start, c.Limits.Wait = startAs("silent"), time.Millisecond })
		refused(t, open(t, b, "alice"))
		if _, err := open(t, b, "bob").Exec(t.Context(), Program{Language: Shell}); !errors.Is(err, ErrPreparing) {
			t.Errorf("%v, want ErrPreparing", err)
		}
		if st := b.Stats(); st.Preparing <= 0 {
			t.Errorf("nothing is said to be on its way: %+v", st)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.waiting != 0 {
			t.Errorf("%d wait for a worker", b.waiting)
		}
	})
	b := box(t, func(c *Config, _ *tuning) { c.Workers = 1 })
	alice, bob := open(t, b, "alice"), open(t, b, "bob")
	run(t, alice, "set a 1")
	run(t, bob, "set a 1")
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() {
		if _, err := alice.Exec(ctx, Program{Language: Shell, Code: "loop"}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	until(t, b, "a program that runs", func() bool { return len(alice.at.calls) > 0 })
	alice.wait, bob.wait = time.Millisecond, time.Millisecond
	t.Run("another principal's program", func(t *testing.T) { refused(t, bob) })
	if _, err := bob.Exec(t.Context(), Program{Language: Shell}); errors.Is(err, ErrPreparing) || b.Stats().Preparing != 0 {
		t.Errorf("with workers that are ready: %v", err)
	}
	t.Run("the session's own program", func(t *testing.T) { refused(t, alice) })
	bob.wait = time.Hour
	cancel()
	loop.Wait()
	if r := run(t, bob, "get a"); r.Stdout != "1\n" || r.Lost != "" {
		t.Errorf("afterwards: %+v", r)
	}
	allLeft(t, b, 1)
}

// A second slow start in a row is told, one is not; a quick one ends it.
func TestSlowStarts(t *testing.T) {
	b := box(t, func(_ *Config, tune *tuning) { tune.slow = 0 })
	until(t, b, "a worker", func() bool { return b.slow > 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &proc{pid: os.Getpid()} // used some time
	began := b.slow
	b.timed(p)
	if b.slow != began+1 {
		t.Errorf("%d slow starts, want %d", b.slow, began+1)
	}
	b.tune.slow = time.Hour
	if b.timed(p); b.slow != 0 {
		t.Errorf("%d slow starts after a quick one", b.slow)
	}
}

// damage makes a copy of the guests in which that of python has a file of its
// own with other bytes than its hash says.
func damage(t *testing.T, guests string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(guests)); err != nil {
		t.Fatal(err)
	}
	err := rewriteManifest(dir, func(m map[string]any) {
		for _, g := range m["guests"].([]any) {
			if g := g.(map[string]any); g["language"] == string(Python) {
				g["module"] = "python.wasm"
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(dir + "/guest.wasm")
	if err != nil {
		t.Fatal(err)
	}
	module[len(module)/2] ^= 1
	if err := os.WriteFile(dir+"/python.wasm", module, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A damaged guest takes its language away and no other.
func TestOneGuestIsDamaged(t *testing.T) {
	guests, _ := testGuests(t)
	dir := damage(t, guests)
	whole, broken, err := Verify(dir)
	if err != nil || !slices.Equal(whole, []Language{SQL, Shell}) || len(broken) != 1 || !strings.Contains(broken[Python].Error(), `"python.wasm"`) {
		t.Errorf("Verify: %v, %v, %v", whole, broken, err)
	}
	if there, err := Installed(dir); err != nil || len(there) != 3 {
		t.Errorf("Installed: %v, %v", there, err)
	}
	b := box(t, func(c *Config, _ *tuning) { c.Guests = dir })
	if l := b.Languages(); !slices.Equal(l, whole) {
		t.Errorf("Languages: %v", l)
	}
	s := open(t, b, "alice")
	if _, err := s.Exec(t.Context(), Program{Language: Python, Code: "print"}); !errors.Is(err, ErrNoGuests) || !strings.Contains(err.Error(), `"python.wasm"`) {
		t.Errorf("its language: %v", err)
	}
	if r := run(t, s, "print well"); r.Stdout != "well\n" {
		t.Errorf("another language: %+v", r)
	}
	if got := b.Broken(); len(got) != 1 || got[Python] == nil {
		t.Errorf("Broken: %v", got)
	}
}

// What the newest worker could load is what there is.
func TestAWorkerLacksGuests(t *testing.T) {
	b := box(t, func(c *Config, tune *tuning) {
		allLanguages(c, tune)
		c.Start = startAs("rogue")
	})
	until(t, b, "a worker", func() bool { return len(b.broken) > 0 })
	if l := b.Languages(); !slices.Equal(l, []Language{Shell}) {
		t.Errorf("Languages: %v", l)
	}
	if broken := b.Broken(); broken[Python] == nil || broken[Python].Error() != "it is no module" || broken[SQL] == nil {
		t.Errorf("Broken: %v", broken)
	}
	s := open(t, b, "alice")
	if _, err := s.Exec(t.Context(), Program{Language: Python}); !errors.Is(err, ErrNoGuests) || !strings.Contains(err.Error(), "no module") {
		t.Errorf("Exec: %v", err)
	}
	if _, err := b.Image(t.Context(), "main.a.b", []Column{{"a", "INT"}}, each(), 1<<20); !errors.Is(err, ErrNoGuests) {
		t.Errorf("Image without SQL: %v", err)
	}
	b.mu.Lock()
	b.learn(wire.Ready{Languages: []string{"python", "sql", "shell"}})
	b.mu.Unlock()
	if l := b.Languages(); len(l) != 3 || len(b.Broken()) != 0 {
		t.Errorf("after a worker that has all: %v, broken %v", l, slices.Sorted(maps.Keys(b.Broken())))
	}
}
