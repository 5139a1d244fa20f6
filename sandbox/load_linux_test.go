package sandbox

import (
	"fmt"
	"os"
	"testing"
)

// workerDescriptors are those that a worker has open.
func workerDescriptors(t testing.TB, pid int) (list []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			list = append(list, target)
		}
	}
	return list
}
