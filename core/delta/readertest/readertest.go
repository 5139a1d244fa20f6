// Package readertest reads Delta tables with programs that are not ours, for
// tests: delta-rs, ClickHouse with Delta's kernel, DuckDB, and Spark with
// Delta's own library. It keeps one rule: what they say is compared as they
// say it, with nothing of ours between them and the files.
//
// The programs come from PyPI and Maven Central and are kept in .cache below
// the module.
package readertest

import (
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed readers.py
var readersPy []byte

//go:embed spark.py
var sparkPy []byte

//go:embed requirements.txt
var requirements []byte

// uv installs packages; pip's own resolver needs minutes where it needs seconds.
const uv = "uv==0.13.8"

var installing sync.Mutex

// environment makes a virtual environment with the packages, once, and returns
// its directory. module is the top directory of ours.
func environment(t testing.TB, module, name string, packages []byte) string {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	venv, err := filepath.Abs(filepath.Join(module, ".cache", name))
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(venv, "requirements.txt")
	if have, _ := os.ReadFile(stamp); string(have) == string(packages) {
		return venv
	}
	run := func(name string, args ...string) {
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	if err := os.MkdirAll(filepath.Dir(venv), 0o755); err != nil {
		t.Fatal(err)
	}
	run("python3", "-m", "venv", "--clear", venv)
	list := filepath.Join(venv, "wanted.txt")
	if err := os.WriteFile(list, packages, 0o644); err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(venv, "bin", "python")
	run(python, "-m", "pip", "install", "--quiet", uv)
	run(filepath.Join(venv, "bin", "uv"), "pip", "install", "--quiet", "--python", python, "-r", list)
	if err := os.Rename(list, stamp); err != nil {
		t.Fatal(err)
	}
	return venv
}

// Ready installs the readers, so that tests side by side need not wait for it
// within their limits.
func Ready(t testing.TB, module string) { t.Helper(); environment(t, module, "delta", requirements) }

// Run runs readers.py with arguments, which that file explains, and returns
// the figures that it prints.
func Run(t testing.TB, module string, args ...string) map[string]any {
	t.Helper()
	return script(t, filepath.Join(environment(t, module, "delta", requirements), "bin", "python"), readersPy, args, 2*time.Minute)
}

// Spark runs spark.py with arguments, the directory for what it downloads
// added. It needs Java 17 and some 400 MB.
func Spark(t testing.TB, module string, args ...string) map[string]any {
	t.Helper()
	venv := environment(t, module, "delta-spark", []byte("pyspark==3.5.3\n"))
	return script(t, filepath.Join(venv, "bin", "python"), sparkPy, append(args, filepath.Join(venv, "ivy")), 15*time.Minute)
}

// script runs a program that prints one line of JSON last.
func script(t testing.TB, python string, program []byte, args []string, limit time.Duration) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, append([]string{"-c", string(program)}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var figures map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &figures); err != nil {
		t.Fatalf("%s: %v in %s", args[0], err, out)
	}
	return figures
}
