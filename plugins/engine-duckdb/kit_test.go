//go:build cgo

package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

// The checks that every engine has to pass, behind gRPC.
func TestKit(t *testing.T) {
	plugintest.Engine(t, testEngine(t, config{}), plugintest.EngineOptions{Manifest: manifest, Slow: engine.Query{SQL: endless}})
}

// The program itself: it describes itself, and its children are its own.
func TestProgram(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "engine-duckdb")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out, err := exec.Command(bin, "describe").Output()
	if want := `{"kind":"engine","protocol":1,"manifest":` + string(mustJSON(t, manifest)) + "}\n"; err != nil || string(out) != want {
		t.Errorf("describe: %s, %v, want %s", out, err, want)
	}
	if out, err := exec.Command(bin, childArg).CombinedOutput(); err == nil {
		t.Errorf("a child started by hand: %s, want an error", out)
	}
	e := testEngine(t, config{Program: bin})
	rel := reviews(t, t.TempDir())
	for range 2 {
		got, err := all(t.Context(), e, engine.Query{SQL: "SELECT count(*) FROM main.sales.reviews", Relations: []engine.Relation{rel}})
		if err != nil || rows(got) != "[1000]" {
			t.Errorf("rows %s, %v, want [1000]", rows(got), err)
		}
	}
}
