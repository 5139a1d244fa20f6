package sandbox

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// niceness is that of workers: beside this process, which everybody waits for,
// they get a quarter of a core that both want.
const niceness = 5

// giveWay has all threads of process pid give way to those of others. Priority
// belongs to a thread, and new ones have that of the thread that made them. It
// is no harm when the system does not allow it.
func giveWay(pid int) {
	// Where the kernel shares time out by session, only the niceness of the
	// whole group counts. It is set unless the group is ours too.
	group := "/proc/" + strconv.Itoa(pid) + "/autogroup"
	theirs, err := os.ReadFile(group)
	ours, ownErr := os.ReadFile("/proc/self/autogroup")
	if err == nil && ownErr == nil && groupName(theirs) != groupName(ours) {
		_ = os.WriteFile(group, []byte(strconv.Itoa(niceness)), 0)
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	for changed := true; changed; {
		changed = false
		threads, err := os.ReadDir(dir)
		if err != nil {
			return
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			// The system call gives 20 less the niceness.
			if now, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || 20-now >= niceness {
				continue
			}
			if unix.Setpriority(unix.PRIO_PROCESS, tid, niceness) == nil {
				changed = true
			}
		}
	}
}

// groupName is the first word of "/autogroup-12 nice 0".
func groupName(b []byte) string {
	name, _, _ := strings.Cut(string(b), " ")
	return name
}
