package sandbox

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// worst is the highest niceness there is.
const worst = 19

// giveWay has process pid give way to this one by a niceness. It is no harm
// when the system does not allow it. It reports false when it may do so later.
//
// Where the kernel shares time out by session ("autogroup"), only the niceness
// of the whole group counts, and whoever may write to it may lower it again.
// Elsewhere that of each thread counts; not everybody may lower it.
func giveWay(pid, niceness int) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	theirs, _, ok := group(proc)
	ours, own, ownOK := group("/proc/self")
	if ok && ownOK && theirs != ours {
		err := os.WriteFile(proc+"/autogroup", []byte(strconv.Itoa(min(own+niceness, worst))), 0)
		if errors.Is(err, unix.EAGAIN) { // ten a second, of all who are not root
			return false
		}
	}
	if !mayLower() {
		niceness = paces[0].niceness
	}
	// The system call gives 20 less the niceness.
	mine, err := unix.Getpriority(unix.PRIO_PROCESS, os.Getpid())
	if err != nil {
		return true
	}
	want := min(20-mine+niceness, worst)
	// Priority belongs to a thread, and new ones have that of the thread that
	// made them.
	for changed := true; changed; {
		changed = false
		threads, err := os.ReadDir(proc + "/task")
		if err != nil {
			break
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			if now, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || 20-now == want {
				continue
			}
			if unix.Setpriority(unix.PRIO_PROCESS, tid, want) == nil {
				changed = true
			}
		}
	}
	return true
}

// group reads the scheduling group of a process and its niceness:
// "/autogroup-12 nice 0".
func group(proc string) (name string, niceness int, ok bool) {
	b, err := os.ReadFile(proc + "/autogroup")
	f := strings.Fields(string(b))
	if err != nil || len(f) != 3 || f[1] != "nice" {
		return "", 0, false
	}
	niceness, err = strconv.Atoi(f[2])
	return f[0], niceness, err == nil
}

// mayLower reports whether this process may lower a niceness that it raised. It
// tries it with a thread that ends if it cannot.
var mayLower = sync.OnceValue(func() bool {
	may := make(chan bool)
	go func() {
		runtime.LockOSThread()
		now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		niceness := 20 - now
		ok := err == nil && niceness < worst &&
			unix.Setpriority(unix.PRIO_PROCESS, 0, niceness+1) == nil && unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) == nil
		if ok {
			runtime.UnlockOSThread()
		}
		may <- ok
	}()
	return <-may
})

// processorTime is what process pid has used, in steps of 10 ms.
func processorTime(pid int) (time.Duration, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	return parseStat(b)
}

// parseStat reads a process's stat, see proc_pid_stat(5): utime and stime, its
// 14th and 15th field, are in hundredths of a second. The second is its name in
// parentheses, which may have any bytes.
func parseStat(b []byte) (time.Duration, bool) {
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, false
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(string(f), 10, 32) // a year and more
		if err != nil {
			return 0, false
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum, true
}
