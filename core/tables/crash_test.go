package tables

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	envCrashDir   = "TABLES_CRASH_DIR"
	envCrashRound = "TABLES_CRASH_ROUND"
)

// TestMain is also the process that the crash tests kill.
func TestMain(m *testing.M) {
	if os.Getenv(envCrashDir) != "" {
		if err := crashChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// crashWorld is the world that the child works in: everything happens often.
func crashWorld(t testing.TB, dir string) *world {
	w := newWorld(t)
	w.dirs = Dirs{Log: dir + "/log", Tables: dir + "/tables"}
	w.cfg = Config{FlushAfter: 10 * time.Millisecond, LogBytes: minLogBytes}
	w.defs[0].Retention = 100 * 365 * 24 * time.Hour
	return w
}

// crashChild writes rows until it is killed, and says which were acknowledged.
func crashChild() error {
	ctx := context.Background()
	w := &world{dirs: Dirs{Log: os.Getenv(envCrashDir) + "/log", Tables: os.Getenv(envCrashDir) + "/tables"}}
	round, err := strconv.ParseInt(os.Getenv(envCrashRound), 10, 64)
	if err != nil {
		return err
	}
	k := eventKind()
	s, err := Open(ctx, w.dirs, Config{FlushAfter: 10 * time.Millisecond, LogBytes: minLogBytes}, []Definition{{Name: tableA, Kind: k, Retention: 100 * 365 * 24 * time.Hour}, {Name: tableB, Kind: k}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for rec, err := range s.Log().Unsettled() {
		if err != nil {
			return err
		}
		id, err := strconv.ParseInt(rec.ID, 10, 64)
		if err != nil {
			return err
		}
		if _, err := s.Log().Settle(ctx, rec.ID, append(Header(nil, tableB), body(id)...)); err != nil {
			return err
		}
		say(id)
	}
	fmt.Println("ready")
	failed := make(chan error)
	var all sync.WaitGroup
	work := func(f func(i int64) error) {
		all.Go(func() {
			for i := int64(0); ; i++ {
				if err := f(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for p := range int64(4) {
		rng := rand.New(rand.NewPCG(uint64(round), uint64(p)))
		work(func(i int64) error {
			id := round*1e6 + p*1e5 + i
			at := day.Add(time.Duration(rng.IntN(3)*24) * time.Hour)
			if i%3 == 2 { // a call
				if _, err := s.Log().Start(ctx, fmt.Sprint(id), append(Header(nil, tableB), body(id)...)); err != nil {
					return err
				}
				if i%9 == 8 {
					return nil // an open one
				}
				if _, err := s.Log().Settle(ctx, fmt.Sprint(id), append(Header(nil, tableB), bodyAt(id, at)...)); err != nil {
					return err
				}
				say(id)
				return nil
			}
			if _, err := s.Append(ctx, []string{tableA, tableB}[i%3], bodyAt(id, at)); err != nil {
				return err
			}
			say(id)
			if i%50 == 49 {
				return s.Fresh(ctx, tableA)
			}
			return nil
		})
	}
	work(func(int64) error { return s.Housekeep(ctx) })
	return <-failed
}

func say(id int64) { os.Stdout.Write(fmt.Appendf(nil, "%d\n", id)) }

// TestKill kills the process again and again, and then every row that was
// acknowledged is in its table once, and no other one twice.
func TestKill(t *testing.T) {
	t.Parallel()
	killLoop(t, 12)
}

func killLoop(t *testing.T, rounds int) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(2026, 11))
	acknowledged := map[int64]bool{}
	for round := range rounds {
		for _, id := range crash(t, dir, round, time.Duration(rng.IntN(200))*time.Millisecond, round%4 == 3) {
			acknowledged[id] = true
		}
	}
	w := crashWorld(t, dir)
	s := w.open()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	times := map[int64]int{}
	for _, table := range []string{tableA, tableB} {
		for _, id := range ids(t, w.dir(table)) {
			times[id]++
		}
	}
	lost, doubled := 0, 0
	for id := range acknowledged {
		if times[id] == 0 {
			lost++
		}
	}
	for _, n := range times {
		if n > 1 {
			doubled++
		}
	}
	if lost > 0 || doubled > 0 || len(acknowledged) == 0 {
		t.Errorf("of %d acknowledged rows %d are lost; of %d rows %d are there more than once", len(acknowledged), lost, len(times), doubled)
	}
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
	t.Logf("%d rows acknowledged, %d in the tables, %d rounds", len(acknowledged), len(times), rounds)
}

// crash runs the child and kills it after the delay: since it is ready, or
// early, since it began to open the tables. It returns what was acknowledged.
func crash(t *testing.T, dir string, round int, delay time.Duration, early bool) (acknowledged []int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envCrashDir+"="+dir, envCrashRound+"="+strconv.Itoa(round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { time.AfterFunc(delay, func() { cmd.Process.Kill() }) }
	if early {
		kill()
	}
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if sc.Text() == "ready" {
			if !early {
				kill()
			}
		} else if id, err := strconv.ParseInt(sc.Text(), 10, 64); err == nil {
			acknowledged = append(acknowledged, id)
		}
	}
	cmd.Wait()
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v and not by SIGKILL", cmd.ProcessState)
	}
	return acknowledged
}
