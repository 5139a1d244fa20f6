// Package toy makes a small guest for tests: a Go reactor whose programs try
// one thing a line. It stands for Python, SQL and shell, so that the tests of
// the sandbox's own parts need nothing but the Go toolchain.
package toy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
)

// dir is where the guests are, made once for each state of their sources.
var dir = sync.OnceValues(func() (string, error) {
	root, err := fetch.Root()
	if err != nil {
		return "", err
	}
	own, err := fetch.Sources(root, "sandbox/internal/toy/guest", "sandbox/internal/toy/make",
		"sandbox/internal/engine", "sandbox/internal/module", "sandbox/internal/wasi")
	if err != nil {
		return "", err
	}
	versions, err := fetch.Versions(root, wazero)
	if err != nil {
		return "", err
	}
	key := "toy-" + fetch.Digest(own, versions, runtime.Version(), runtime.GOOS, runtime.GOARCH)[:32]
	return fetch.Once(context.Background(), key, build)
})

// Dir returns a directory with the manifest of three toy guests, "python",
// "shell" and "sql". They are made where the user's cache lacks them.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := dir()
	if err != nil {
		tb.Fatalf("make the toy guest: %v", err)
	}
	return dir
}

// Cache returns the directory of the guests' compiled form.
func Cache(tb testing.TB) string { return filepath.Join(Dir(tb), "cache") }

// Wasm returns the guest as the Go toolchain made it.
func Wasm(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(tb), "raw.wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Make makes the guests in a directory of the test.
func Make(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := run(dir); err != nil {
		tb.Fatalf("make the toy guest: %v", err)
	}
	return dir
}

const wazero = "github.com/tetratelabs/wazero"

// build fills dir. The compiled form is there twice: a test does not know the
// versions of its modules, unless it is told by the linker, so wazero calls
// itself "dev" in it.
func build(dir string) error {
	if err := run(dir); err != nil {
		return err
	}
	return run(dir, "-ldflags=-X="+wazero+"/internal/version.version=dev")
}

func run(dir string, flags ...string) error {
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", append(append([]string{"run"}, flags...), "./make", "-out", dir)...)
	cmd.Dir = filepath.Dir(file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
