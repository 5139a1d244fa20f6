package plugintest

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/conformance"
)

// BinaryOptions says what Binary checks a program with. The zero value is for a
// plugin without settings whose dialogues are in testdata.
type BinaryOptions struct {
	Args     []string                // before the gateway's, for a program that needs some
	Dir      string                  // of the golden dialogues; "" means testdata, when it is there
	Settings json.RawMessage         // the operator's
	Targets  map[string]http.Handler // answer what a tool fetches, by the target's name

	only []string // conformance.Config.Only, for tests of this package
}

// Binary checks a finished program, as a process of its own, the way
// `sallyport plugin test` does: see package conformance. It is not confined.
// What Tool and Golden check inside the test's own process is checked again,
// and beyond it what only a process can do wrong: its handshake, its stdout,
// its leaks, its end.
func Binary(t testing.TB, path string, o BinaryOptions) {
	t.Helper()
	if o.Dir == "" {
		if info, err := os.Stat("testdata"); err == nil && info.IsDir() {
			o.Dir = "testdata"
		}
	}
	r, err := conformance.Check(t.Context(), conformance.Config{
		Program: append([]string{path}, o.Args...), Dir: o.Dir, Settings: o.Settings, Targets: o.Targets, Only: o.only,
		Progress: func(check string) { t.Logf("checking: %s", check) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		t.Errorf("%s", f)
	}
	for _, s := range r.Skipped {
		t.Logf("not checked: %s: %s", s.Check, s.Why)
	}
}

// Build builds the program of the package in dir ("." is the test's own) and
// returns its path. It is removed with the test.
func Build(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return path
}
