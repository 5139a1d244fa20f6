package pluginhost

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// threadsOf is the number of threads of process pid, 0 if unknown.
func threadsOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	rest := stat[bytes.LastIndexByte(stat, ')')+1:] // the name may hold anything
	const field = 17                                // of those after the name in parentheses
	fields := bytes.Fields(rest)
	if len(fields) <= field {
		return 0
	}
	n, _ := strconv.Atoi(string(fields[field]))
	return n
}
