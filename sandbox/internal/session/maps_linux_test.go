package session

import (
	"os"
	"strings"
	"testing"
)

// checkUnmapped: when the engine is closed, no instance's memory may be left.
func checkUnmapped(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "memfd:sallyport-"); n != 0 {
		t.Errorf("%d mappings of closed sessions are left", n)
	}
}
