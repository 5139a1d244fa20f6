package delta

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const rowsPerCommit = 5

// TestMain is also the process that the crash tests kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DELTA_CRASH_DIR"); dir != "" {
		at, _ := strconv.Atoi(os.Getenv("DELTA_CRASH_AT"))
		if app := os.Getenv("DELTA_APP"); app != "" {
			if err := appendChild(dir, app, at); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		if err := crashChild(dir, at, os.Getenv("DELTA_CRASH_PHASE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashChild goes on with the table where LastTxn says, as the ledger does,
// and prints the version of each Txn once it is committed. With at > 0 it
// kills itself at that storage operation.
func crashChild(dir string, at int, phase string) error {
	ctx := context.Background()
	d, err := OpenDir(dir)
	if err != nil {
		return err
	}
	table, err := OpenTable(ctx, &suicide{Dir: d, at: at, phase: phase}, Options{})
	if err != nil {
		return err
	}
	last, ok, err := table.LastTxn(ctx, "ledger")
	if err != nil {
		return err
	}
	if !ok {
		last = -1
	}
	fmt.Println("ready")
	for n := last + 1; ; n++ {
		c, err := table.Append(ctx, Txn{"ledger", n}, func(yield func(any, error) bool) {
			for i := range int64(rowsPerCommit) {
				if !yield(smallRow(int(n*rowsPerCommit+i), fmt.Sprint(n%2)), nil) {
					return
				}
			}
		})
		if err != nil || c.Upkeep != nil {
			return errors.Join(err, c.Upkeep)
		}
		fmt.Println(n)
		if n%4 == 3 {
			if _, err := table.Compact(ctx, CompactOptions{}); err != nil {
				return err
			}
		}
		if n%6 == 5 { // deletes nothing, and reads and rewrites as it would
			if _, err := table.Vacuum(ctx, VacuumOptions{}); err != nil {
				return err
			}
		}
	}
}

// appendChild makes the commits 0 to n-1 of an application, a row each.
func appendChild(dir, app string, n int) error {
	ctx := context.Background()
	d, err := OpenDir(dir)
	if err != nil {
		return err
	}
	table, err := OpenTable(ctx, d, Options{})
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(app)
	if err != nil {
		return err
	}
	for i := range n {
		c, err := table.Append(ctx, Txn{app, int64(i)}, Rows(smallRow(first*n+i, nil)))
		if err != nil || c.Replayed || c.Upkeep != nil {
			return fmt.Errorf("commit %d: %+v: %w", i, c, errors.Join(err, c.Upkeep))
		}
	}
	return nil
}

// processes has that many processes append to one table side by side.
func processes(t *testing.T, count, commits int) {
	_, d := testTable(t, Definition{Schema: small()}, Options{})
	self := must(os.Executable())(t)
	var all []*exec.Cmd
	for app := range count {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "DELTA_CRASH_DIR="+d.Path(), "DELTA_APP="+strconv.Itoa(app), "DELTA_CRASH_AT="+strconv.Itoa(commits))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	for app, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", app, err)
		}
	}
	if got := ids(t, d); !slices.Equal(got, upTo(count*commits)) {
		t.Errorf("got %d rows, want %d, each once", len(got), count*commits)
	}
	if v := must(Latest(d.Path()))(t); v != int64(count*commits) {
		t.Errorf("the table is at version %d, want %d", v, count*commits)
	}
}

func TestConcurrentProcesses(t *testing.T) {
	t.Parallel()
	processes(t, 4, 15)
}

// suicide is a Storage whose process dies by SIGKILL in the writing operation
// number at: "before", in the "middle" of, or "after" it.
type suicide struct {
	*Dir
	at, n int
	phase string
}

func (s *suicide) die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (s *suicide) step(phase string) {
	if s.n == s.at && s.phase == phase {
		s.die()
	}
}

func (s *suicide) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	s.n++
	s.step("before")
	if s.n == s.at && s.phase == "middle" {
		s.writeTemp(ctx, filepath.Dir(name)+"/"+tempPrefix+"killed", strings.NewReader(string(data[:len(data)/2])))
		s.die()
	}
	err := s.Dir.PutIfAbsent(ctx, name, data)
	s.step("after")
	return err
}

func (s *suicide) Put(ctx context.Context, name string, r io.Reader) error {
	s.n++
	s.step("before")
	if s.n == s.at && s.phase == "middle" {
		r = io.MultiReader(io.LimitReader(r, 100), readerFunc(func([]byte) (int, error) { s.die(); return 0, io.EOF }))
	}
	err := s.Dir.Put(ctx, name, r)
	s.step("after")
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// crash runs the child until it dies, or kills it after the delay, and returns
// the last Txn it said was committed, -1 if none.
func crash(t testing.TB, dir string, at int, phase string, delay time.Duration) int64 {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "DELTA_CRASH_DIR="+dir, "DELTA_CRASH_AT="+strconv.Itoa(at), "DELTA_CRASH_PHASE="+phase)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := int64(-1)
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if sc.Text() == "ready" && at == 0 {
			time.AfterFunc(delay, func() { cmd.Process.Kill() })
		}
		if n, err := strconv.ParseInt(sc.Text(), 10, 64); err == nil {
			last = n
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v and not by SIGKILL", err)
	}
	return last
}

// whole checks that the table has every acknowledged row once, and no part of
// a commit.
func whole(t testing.TB, d *Dir, acknowledged int64) {
	t.Helper()
	if _, err := Open(t.Context(), d.Path()); err != nil {
		t.Fatalf("the table cannot be read: %v", err)
	}
	table, err := OpenTable(t.Context(), d, Options{})
	if err != nil {
		t.Fatalf("the table cannot be opened: %v", err)
	}
	last, ok, err := table.LastTxn(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		last = -1
	}
	if last < acknowledged {
		t.Fatalf("Txn %d was acknowledged and the table has %d", acknowledged, last)
	}
	if got, want := ids(t, d), upTo(int(last+1)*rowsPerCommit); !slices.Equal(got, want) {
		t.Fatalf("after Txn %d the table has %d rows, want %d, each once", last, len(got), len(want))
	}
}

// onlyOrphans checks that what crashes left is what Vacuum removes, and that
// the table is the same afterwards.
func onlyOrphans(t testing.TB, d *Dir) {
	t.Helper()
	before := ids(t, d)
	table := must(OpenTable(t.Context(), d, Options{Now: func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }}))(t)
	if _, err := table.Vacuum(t.Context(), VacuumOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := table.CleanLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, _ := table.Files()
	left := 0
	for e, err := range d.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(e.Name, tempPrefix) {
			t.Errorf("%s is left", e.Name)
		}
		if !strings.HasPrefix(e.Name, logDir) {
			left++
		}
	}
	if left != n {
		t.Errorf("%d data files are left and %d are live", left, n)
	}
	if got := ids(t, d); !slices.Equal(got, before) {
		t.Errorf("Vacuum changed the rows")
	}
}

func crashTable(t testing.TB) *Dir {
	_, d := testTable(t, Definition{Schema: small(), Partition: []string{"part"}, Properties: map[string]string{propCheckpointInterval: "3"}}, Options{})
	return d
}

// killAtSteps kills a process at every step of its work, in turn, on one
// table: in the middle of Parquet files, before and after commits, in
// checkpoints and compactions.
func killAtSteps(t *testing.T, steps []int) {
	d := crashTable(t)
	for _, at := range steps {
		for _, phase := range []string{"before", "middle", "after"} {
			last := crash(t, d.Path(), at, phase, 0)
			whole(t, d, last)
		}
	}
	onlyOrphans(t, d)
}

// killAtRandom kills a process at random moments, times over.
func killAtRandom(t *testing.T, times int) {
	d := crashTable(t)
	r := rand.New(rand.NewPCG(7, 7))
	for range times {
		last := crash(t, d.Path(), 0, "", time.Duration(r.IntN(60_000))*time.Microsecond)
		whole(t, d, last)
	}
	onlyOrphans(t, d)
}

func TestKilledAtAStep(t *testing.T) {
	t.Parallel()
	killAtSteps(t, []int{1, 3, 7, 11, 12})
}

func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	killAtRandom(t, 8)
}
