package ledger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary runs itself as another process: a writer under load that is
// killed, or one whose files may not grow.
const (
	envRole = "LEDGER_TEST_ROLE"
	envDir  = "LEDGER_TEST_DIR"
	envRun  = "LEDGER_TEST_RUN"
)

var ctx = context.Background() // of the processes, which have no test

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "writer":
		writer()
	case "limited":
		limited()
	default:
		os.Exit(m.Run())
	}
}

func child(t *testing.T, role, dir, run string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+role, envDir+"="+dir, envRun+"="+run)
	cmd.Stderr = os.Stderr
	return cmd
}

func crashConfig(dir string) Config {
	return Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 64 << 20, Log: slog.New(slog.DiscardHandler)}
}

// writer settles what an earlier run left, then appends from eight goroutines
// until it is killed, and says on stdout what was acknowledged:
//
//	started|settled|row SEQ ID CRC
//	trim SEQ, before that trim begins
func writer() {
	l, err := Open(crashConfig(os.Getenv(envDir)))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	say := func(format string, args ...any) { os.Stdout.Write(fmt.Appendf(nil, format+"\n", args...)) }
	die := func(err error) {
		say("error %v", err)
		os.Exit(1)
	}
	var out sync.WaitGroup
	for rec, err := range l.Unsettled() {
		if err != nil {
			die(err)
		}
		seq, err := l.Settle(ctx, rec.ID, []byte("interrupted"))
		if err != nil {
			die(err)
		}
		say("settled %d %s %d", seq, rec.ID, crc32.ChecksumIEEE([]byte("interrupted")))
	}
	for p := range 8 {
		out.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(p)))
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", os.Getenv(envRun), p, i)
				payload := make([]byte, rng.IntN(3000))
				for j := range payload {
					payload[j] = byte(rng.Uint32())
				}
				sum := crc32.ChecksumIEEE(payload)
				switch i % 3 {
				case 0:
					seq, err := l.AppendSync(ctx, id, payload)
					if err != nil {
						die(err)
					}
					say("row %d %s %d", seq, id, sum)
				case 1:
					seq, err := l.Append(ctx, id, payload)
					if err != nil {
						die(err)
					}
					say("row %d %s %d", seq, id, sum)
				default:
					seq, err := l.Start(ctx, id, payload)
					if err != nil {
						die(err)
					}
					say("started %d %s %d", seq, id, sum)
					if i%5 == 0 {
						continue // a long call
					}
					if seq, err = l.Settle(ctx, id, payload); err != nil {
						die(err)
					}
					say("settled %d %s %d", seq, id, sum)
				}
			}
		})
	}
	for {
		time.Sleep(3 * time.Millisecond)
		if st := l.Stats(); st.Synced > 400 {
			say("trim %d", st.Synced-400)
			if err := l.Trim(ctx, st.Synced-400); err != nil {
				die(err)
			}
		}
	}
}

type ack struct {
	kind, id string
	sum      uint32
}

// Every record that a killed process said it had written is there once and in
// order; others are there at most once; every call is open or settled.
func TestKill9(t *testing.T) {
	t.Parallel()
	kills := 12
	if testing.Short() {
		kills = 3
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(20, 26))
	acked := map[uint64]ack{}
	calls := map[string]bool{} // started and acknowledged; true once settled
	var trimmed uint64
	extra, total := 0, 0
	for run := range kills {
		cmd := child(t, "writer", dir, fmt.Sprint(run))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(30+rng.IntN(250))*time.Millisecond, func() { cmd.Process.Kill() })
		for in := bufio.NewScanner(out); in.Scan(); {
			line := in.Text()
			var seq uint64
			var a ack
			if _, err := fmt.Sscanf(line, "trim %d", &seq); err == nil {
				trimmed = max(trimmed, seq)
				continue
			}
			if _, err := fmt.Sscanf(line, "%s %d %s %d", &a.kind, &seq, &a.id, &a.sum); err != nil {
				t.Fatalf("run %d: %q", run, line)
			}
			if old, ok := acked[seq]; ok {
				t.Errorf("run %d: sequence %d was given to %v and %v", run, seq, old, a)
			}
			acked[seq] = a
			total++
			switch a.kind {
			case "started":
				calls[a.id] = calls[a.id] || false
			case "settled":
				calls[a.id] = true
			}
		}
		kill.Stop()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("run %d: %v", run, err)
		}

		files := segmentFiles(t, dir)
		if len(files) == 0 && len(acked) == 0 { // killed before it wrote anything
			continue
		}
		garbage := make([]byte, rng.IntN(300))
		for i := range garbage {
			garbage[i] = byte(rng.Uint32())
		}
		edit(t, files[len(files)-1], func(b []byte) []byte { return append(b, garbage...) })

		l := mustOpen(t, crashConfig(dir))
		var last uint64
		found := map[uint64]bool{}
		for rec, err := range l.Replay(0) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Seq <= last {
				t.Errorf("run %d: record %d after %d", run, rec.Seq, last)
			}
			last = rec.Seq
			found[rec.Seq] = true
			if rec.Kind == Settled {
				calls[rec.ID] = true // maybe without having said so
			}
			a, ok := acked[rec.Seq]
			switch {
			case !ok && rec.Kind != Carried:
				extra++
				acked[rec.Seq] = ack{rec.Kind.String(), rec.ID, crc32.ChecksumIEEE(rec.Payload)}
				if rec.Kind == Started {
					calls[rec.ID] = calls[rec.ID] || false
				}
			case ok && a != (ack{rec.Kind.String(), rec.ID, crc32.ChecksumIEEE(rec.Payload)}):
				t.Errorf("run %d: record %d is %s %s, acknowledged was %v", run, rec.Seq, rec.Kind, rec.ID, a)
			}
		}
		missing := 0
		for seq := range acked {
			if seq > trimmed && !found[seq] {
				missing++
			}
			if seq <= trimmed {
				delete(acked, seq)
			}
		}
		if missing > 0 {
			t.Errorf("run %d: %d acknowledged records are missing", run, missing)
		}
		open := map[string]bool{}
		for rec, err := range l.Unsettled() {
			if err != nil || open[rec.ID] {
				t.Fatalf("unsettled %q: %v", rec.ID, err)
			}
			open[rec.ID] = true
			if settled, known := calls[rec.ID]; settled || !known {
				t.Errorf("run %d: call %s is unsettled, settled %v, known %v", run, rec.ID, settled, known)
			}
		}
		for id, settled := range calls {
			if !settled && !open[id] {
				t.Errorf("run %d: call %s is neither settled nor open", run, id)
			}
			if settled {
				delete(calls, id)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if total < kills*5 { // a busy machine writes few before each kill
		t.Errorf("only %d records in %d runs", total, kills)
	}
	t.Logf("%d kills, %d acknowledged records, %d others present", kills, total, extra)
}

func TestAnotherProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := child(t, "writer", dir, "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	in := bufio.NewReader(out)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, in)
	_, err = Open(crashConfig(dir))
	var le *LockedError
	want := fmt.Sprintf("ledger: directory %q is in use by process %d (ledger.test)", dir, cmd.Process.Pid)
	if !errors.As(err, &le) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Open: %v, want %s…", err, want)
	}
}

// limited runs out of room by a limit on the size of its files.
func limited() {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 3000, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println("limit:", err)
		os.Exit(1)
	}
	cfg := crashConfig(os.Getenv(envDir))
	l, err := Open(cfg)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	n := 0
	for ; err == nil; n++ {
		_, err = l.Append(ctx, "t", row(n+1))
	}
	n--
	if !errors.Is(err, syscall.EFBIG) || !errors.Is(l.Health(), syscall.EFBIG) || !strings.Contains(err.Error(), "ulimit") {
		fmt.Println("refused:", err, l.Health())
		os.Exit(1)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println("limit:", err)
		os.Exit(1)
	}
	for range 100 {
		n++
		if _, err := l.Append(ctx, "t", row(n)); err != nil {
			fmt.Println("then:", err)
			os.Exit(1)
		}
	}
	l.Close()
	fmt.Println("rows", n)
	os.Exit(0)
}

func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := child(t, "limited", dir, "").Output()
	var n int
	if _, serr := fmt.Fscanf(bytes.NewReader(out), "rows %d", &n); err != nil || serr != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l := mustOpen(t, crashConfig(dir))
	got := replay(t, l, 0)
	if len(got) != n || n <= 100 {
		t.Errorf("%d records, %d were acknowledged", len(got), n)
	}
	for i, g := range got {
		if g != fmt.Sprintf("%d row t %d", i+1, i+1) {
			t.Errorf("record %d is %q", i+1, g)
		}
	}
}
