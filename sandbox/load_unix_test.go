//go:build unix

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// Many sessions keep their state at once, and leave nothing behind.
func TestManySessions(t *testing.T) {
	const sessions = 300
	before := descriptors(t)
	b := box(t, func(c *Config, _ *tuning) { c.Workers, c.Limits.Worker = 1, 64<<30 })
	table := memoryTable(t, "main.a.b")
	var open []*Session
	for i := range sessions {
		s, err := b.Open(t.Context(), "alice", []Table{table})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s, fmt.Sprint("set n ", i))
		open = append(open, s)
	}
	if st := b.Stats(); st.Sessions != sessions {
		t.Errorf("%+v", st)
	}
	for i, s := range open {
		if r := run(t, s, "get n\ncat data/main.a.b.csv"); r.Stdout != fmt.Sprint(i, "\ncsv of main.a.b") || r.Lost != "" {
			t.Errorf("session %d: %+v", i, r)
		}
	}
	at := workerOf(open[0])
	for _, s := range open {
		s.Close()
	}
	until(t, b, "an empty worker", func() bool { return len(at.owners) == 0 })
	if n := len(workerDescriptors(t, at.pid)); n > 16 {
		t.Errorf("the worker has %d descriptors open:\n%s", n, strings.Join(workerDescriptors(t, at.pid), "\n"))
	}
	b.Close()
	table.Close()
	if after := descriptors(t); len(after) > len(before) {
		t.Errorf("descriptors before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// Sessions are used, closed, cancelled and killed from all sides at once.
func TestFromAllSides(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers, c.Limits.Queue, c.Limits.Sessions = 1, 1000, 5 })
	defer guard(t, b)()
	programs := []string{"set a 1\nprint a", "loop", "sleep 3600000", "sleep 25\nprint b", "crash", "exit 1", "flood 300", "write tmp/x y\ncat tmp/x"}
	var all sync.WaitGroup
	for i := range 6 {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		all.Go(func() {
			for range 6 {
				s, err := b.Open(t.Context(), fmt.Sprint("user", i%3), nil)
				if err != nil {
					t.Error(err)
					return
				}
				var users sync.WaitGroup
				for range 4 {
					program, cancels, closes := programs[random.IntN(len(programs))], random.IntN(3) == 0, random.IntN(4) == 0
					endless := program == "loop" || strings.HasSuffix(program, "3600000")
					users.Go(func() {
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						if endless || cancels {
							go func() {
								until(t, b, "its turn", func() bool { return s.closed || s.at != nil && len(s.at.calls) > 0 })
								if closes {
									s.Close()
								}
								cancel()
							}()
						}
						_, err := s.Exec(ctx, Program{Language: Shell, Code: program})
						if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrBusy) {
							t.Errorf("%s: %v", program, err)
						}
					})
				}
				users.Wait()
				s.Close()
			}
		})
	}
	all.Wait()
	until(t, b, "empty workers", func() bool {
		for p := range b.procs {
			if len(p.owners) > 0 || len(p.calls) > 0 {
				return false
			}
		}
		return len(b.stateful) == 0
	})
	allLeft(t, b, 1)
}
