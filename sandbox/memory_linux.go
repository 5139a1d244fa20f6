package sandbox

import (
	"bytes"
	"os"
	"strconv"
)

// privateMemory is what process pid has in memory and in swap for itself, in
// bytes. What it shares, such as the image of a guest and the tables, is not
// counted; pages of it that the process has written to are. 0 is unknown.
func privateMemory(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	var sum int64
	for line := range bytes.Lines(b) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "RssAnon", "VmSwap", "VmPTE":
			if fields := bytes.Fields(value); len(fields) == 2 { // a number and kB
				if n, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil {
					sum += n << 10
				}
			}
		}
	}
	return sum
}
