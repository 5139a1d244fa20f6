// Package toy makes a small guest for tests: a Go reactor whose programs try
// one thing a line. It stands for Python, SQL and shell, so that the tests of
// the sandbox's own parts need nothing but the Go toolchain.
package toy

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var made struct {
	sync.Once
	dir string
	err error
}

// Dir returns a directory with the manifest of three toy guests, "python",
// "shell" and "sql". It is made once a process; Remove deletes it.
func Dir(tb testing.TB) string {
	tb.Helper()
	made.Do(func() { made.dir, made.err = build() })
	if made.err != nil {
		tb.Fatalf("make the toy guest: %v", made.err)
	}
	return made.dir
}

// Cache returns the directory of the guests' compiled form.
func Cache(tb testing.TB) string { return filepath.Join(Dir(tb), "cache") }

// Wasm returns the guest as the Go toolchain made it.
func Wasm(tb testing.TB) []byte {
	b, err := os.ReadFile(filepath.Join(Dir(tb), "raw.wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Remove deletes what Dir made, for the end of TestMain.
func Remove() {
	if made.dir != "" {
		os.RemoveAll(made.dir)
	}
}

func build() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir, err := os.MkdirTemp("", "toy")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "run", "./make", "-out", dir)
	cmd.Dir = filepath.Dir(file)
	cmd.Stderr = os.Stderr
	return dir, cmd.Run()
}
