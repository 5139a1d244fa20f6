package pluginhost

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// usageOf is what process pid has, nothing if unknown.
func usageOf(pid int) usage {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}
	}
	var u usage
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(value)
		if len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseInt(string(fields[0]), 10, 64)
		if err != nil {
			continue
		}
		switch string(key) {
		case "Threads":
			u.threads = int(n)
		case "RssAnon", "RssShmem", "VmPTE", "VmSwap": // in KiB
			u.memory += n << 10
		}
	}
	return u
}

// filesOf is the number of descriptors of process pid, 0 if unknown.
func filesOf(pid int) int {
	path := fmt.Sprintf("/proc/%d/fd", pid)
	if info, err := os.Stat(path); err == nil && info.Size() > 0 { // since Linux 6.2
		return int(info.Size())
	}
	dir, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return len(names)
}

// groupOf are the processes of the group of process pid, which none of them can
// leave.
func groupOf(pid int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var group []int
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if g, err := unix.Getpgid(n); err == nil && g == pid {
			group = append(group, n)
		}
	}
	return group
}
