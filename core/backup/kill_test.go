package backup

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
	"strconv"
	"syscall"
	"testing"
	"time"
)

// The test binary runs itself as another process, which makes a backup or
// restores one, and dies when it has told its progress so many times.
const (
	envRole = "BACKUP_TEST_ROLE" // create or restore
	envData = "BACKUP_TEST_DATA" // data directory
	envLog  = "BACKUP_TEST_LOG"  // of the ledger
	envDir  = "BACKUP_TEST_DIR"  // the backup
	envAt   = "BACKUP_TEST_AT"   // 0 is never

	envWorld = "BACKUP_TEST_WORLD" // of the tests themselves
)

func TestMain(m *testing.M) {
	role := os.Getenv(envRole)
	if role == "" {
		os.Exit(runTests(m))
	}
	w := in(os.Getenv(envData))
	w.Log = os.Getenv(envLog)
	at, _ := strconv.Atoi(os.Getenv(envAt))
	told := 0
	progress := func(Progress) {
		if told++; told == at {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // not another instruction
		}
	}
	fmt.Println("begin")
	var err error
	if role == "create" {
		w.Progress = progress
		_, err = Create(context.Background(), w.Source, os.Getenv(envDir))
	} else {
		to := w.target()
		to.Progress = progress
		_, err = Restore(context.Background(), os.Getenv(envDir), to)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(told)
}

// runTests gives the tests a directory for the world that they copy.
func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "backup-world-")
	if err == nil {
		err = os.Setenv(envWorld, filepath.Join(dir, "data"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

// die runs a child until it dies at progress at, or when wait has passed since
// it began. It returns how often the child told its progress, if it lived.
func die(t *testing.T, role string, w world, dir string, at int, wait time.Duration) (told int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+role, envData+"="+w.dir, envLog+"="+w.Log, envDir+"="+dir, envAt+"="+strconv.Itoa(at))
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); line != "begin\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	if wait > 0 {
		time.Sleep(wait)
		cmd.Process.Kill()
	}
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && (at > 0 || wait > 0) {
			return 0
		}
	}
	if err != nil || at > 0 {
		t.Fatalf("the child that was to die at %d ended with %v: %s", at, err, text)
	}
	fmt.Sscan(string(text), &told)
	return told
}

// moment is when a child dies.
type moment struct {
	at   int
	wait time.Duration
}

// moments are the last ones of all, when things are put into place, some
// before, and some that no progress is told at.
func moments(all, last int, seed uint64) []moment {
	random := rand.New(rand.NewPCG(seed, 1))
	var out []moment
	for i := range last {
		out = append(out, moment{at: all - i})
	}
	for _, i := range random.Perm(all)[:somewhere] {
		out = append(out, moment{at: 1 + i})
	}
	for range somewhere {
		out = append(out, moment{wait: time.Duration(1+random.IntN(150_000)) * time.Microsecond})
	}
	return out
}

func TestKilledWhileABackupIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent := t.TempDir()
	all := die(t, "create", w, filepath.Join(parent, "all"), 0, 0)
	if all < 20 {
		t.Fatalf("%d moments to die at", all)
	}
	for i, m := range moments(all, 2, 1) {
		dir := filepath.Join(parent, strconv.Itoa(i))
		die(t, "create", w, dir, m.at, m.wait)
		_, verr := Verify(t.Context(), dir, nil)
		if verr == nil && m.at > 0 {
			t.Errorf("%+v: the backup is whole", m)
		}
		if verr != nil && !errors.Is(verr, ErrUnfinished) && !errors.Is(verr, os.ErrNotExist) {
			t.Errorf("%+v: Verify error %v, want ErrUnfinished", m, verr)
		}
		to := in(filepath.Join(parent, "to-"+strconv.Itoa(i)))
		if _, err := Restore(t.Context(), dir, to.target()); (err == nil) != (verr == nil) {
			t.Errorf("%+v: Restore error %v, Verify error %v", m, err, verr)
		}
		if _, err := os.Lstat(to.dir); (err == nil) != (verr == nil) {
			t.Errorf("%+v: after the restore that was refused: %v", m, err)
		}
	}
	// The next one finds everything there, and sweeps up.
	dir := w.create(t)
	if _, err := Verify(t.Context(), dir, nil); err != nil {
		t.Error(err)
	}
	w.whole(t)
}

func TestKilledWhileABackupIsRestored(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []bool{false, true} {
		t.Run(fmt.Sprintf("elsewhere=%v", elsewhere), func(t *testing.T) {
			t.Parallel()
			dir := newWorld(t).create(t)
			parent := t.TempDir()
			place := func(name string) world {
				w := in(filepath.Join(parent, name))
				if elsewhere {
					w.Log = filepath.Join(parent, name+"-log")
				}
				return w
			}
			all := die(t, "restore", place("all"), dir, 0, 0)
			if all < 20 {
				t.Fatalf("%d moments to die at", all)
			}
			place("all").whole(t)
			ms := moments(all, 5, 2)
			for i, m := range ms {
				w := place(strconv.Itoa(i))
				die(t, "restore", w, dir, m.at, m.wait)
				if !Interrupted(w.dir) {
					_, data := os.Lstat(filepath.Join(w.dir, "tables"))
					_, version := os.Lstat(filepath.Join(w.dir, layoutFile))
					if (data == nil) != (version == nil) {
						t.Errorf("%+v: half of the data is there and nothing says so: %v, %v", m, data, version)
					}
					if version == nil {
						continue
					}
				}
				if i%4 == 0 { // the second attempt may die too
					die(t, "restore", w, dir, 1+i*all/(len(ms)+1), 0)
				}
				if _, err := Restore(t.Context(), dir, w.target()); err != nil {
					t.Errorf("%+v: %v", m, err)
					continue
				}
				w.whole(t)
			}
		})
	}
}
