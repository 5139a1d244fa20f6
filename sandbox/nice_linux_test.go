package sandbox

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The niceness of another process goes up and, where that is allowed, down.
func TestGiveWay(t *testing.T) {
	cmd := exec.Command("sleep", "3600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	proc := "/proc/" + strconv.Itoa(cmd.Process.Pid)
	ours, own, grouped := group("/proc/self")
	mine, err := unix.Getpriority(unix.PRIO_PROCESS, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, niceness := range []int{5, 15, 5} {
		for !giveWay(cmd.Process.Pid, niceness) {
			time.Sleep(paceEvery) // the kernel's bound of changes
		}
		if name, got, ok := group(proc); grouped && (!ok || name == ours || got != min(own+niceness, worst)) {
			t.Errorf("group %s has niceness %d, want %d more than the %d of %s", name, got, niceness, own, ours)
		}
		want := niceness
		if !mayLower() {
			want = paces[0].niceness
		}
		if got, err := unix.Getpriority(unix.PRIO_PROCESS, cmd.Process.Pid); err != nil || 20-got != min(20-mine+want, worst) {
			t.Errorf("niceness %d, %v; want %d more than %d", 20-got, err, want, 20-mine)
		}
	}
	if now, err := unix.Getpriority(unix.PRIO_PROCESS, os.Getpid()); err != nil || now != mine {
		t.Errorf("our own is %d, was %d", now, mine)
	}
}

func TestProcessorTime(t *testing.T) {
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		t.Fatal(err)
	}
	got, ok := processorTime(os.Getpid())
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		t.Fatal(err)
	}
	cpu := func(r unix.Rusage) time.Duration { return time.Duration(r.Utime.Nano() + r.Stime.Nano()) }
	const step = 20 * time.Millisecond // of both counters
	if !ok || got < cpu(before)-step || got > cpu(after)+step {
		t.Errorf("%s, %t; want between %s and %s", got, ok, cpu(before), cpu(after))
	}
	if d, ok := processorTime(1 << 30); ok {
		t.Errorf("of no process: %s", d)
	}
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"12 (a) S 1 2 3 4 5 6 7 8 9 10 100 50 0 0 20 0": 1500 * time.Millisecond,
		"12 (a) b (c) ) R 1 2 3 4 5 6 7 8 9 10 0 1 0":   10 * time.Millisecond,
		"12 (a) S 1 2 3 4 5 6 7 8 9 10 100":             -1,
		"12 (a) S 1 2 3 4 5 6 7 8 9 10 x 50 0":          -1,
		"12 (a) S 1 2 3 4 5 6 7 8 9 10 -1 50 0":         -1,
		"":                                              -1,
	} {
		if got, ok := parseStat([]byte(text)); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %s, %t; want %s", text, got, ok, want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) S 1 2 3 4 5 6 7 8 9 10 100 50 0 0 20 0"))
	f.Add([]byte("12 (a) S 1 2 3 4 5 6 7 8 9 10 9223372036854775807 9223372036854775807"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, ok := parseStat(b); ok && d < 0 {
			t.Errorf("%q: %s", b, d)
		}
	})
}
