package scaffold

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/conformance"
)

// sdk is the directory of this module.
func sdk(t *testing.T) string {
	t.Helper()
	dir, err := FindSDK("")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// offline runs a command in dir without a network, with nothing but the module
// cache.
func offline(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// conforms runs the kit on a program.
func conforms(t *testing.T, dir string, program ...string) {
	t.Helper()
	r, err := conformance.Check(t.Context(), conformance.Config{Program: program, Dir: filepath.Join(dir, "testdata")})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		t.Error(f)
	}
	if len(r.Passed) == 0 {
		t.Error("the kit checked nothing")
	}
}

// TestGo begins a plugin in Go outside the module, builds it offline, and lets
// the kit look at it. Its own tests run in `make e2e`.
func TestGo(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "acme")
			if _, _, err := Write(Plugin{Kind: kind, Name: "acme", Lang: "go", Dir: dir, SDK: sdk(t)}); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("gofmt", "-l", dir).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("gofmt: %v: %s", err, out)
			}
			program := filepath.Join(dir, kind+"-acme")
			offline(t, dir, "go", "build", "-o", program, ".")
			offline(t, dir, "go", "vet", "./...")
			conforms(t, dir, program)
		})
	}
}

// TestFiles checks what can be known without the languages' packages.
func TestFiles(t *testing.T) {
	t.Parallel()
	for _, lang := range Languages {
		for _, kind := range Kinds {
			t.Run(lang+"/"+kind, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "x")
				_, files, err := Write(Plugin{Kind: kind, Name: "acme", Lang: lang, Dir: dir, SDK: sdk(t)})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					b, err := os.ReadFile(filepath.Join(dir, f))
					if err != nil {
						t.Fatal(err)
					}
					if bytes.Contains(b, []byte("{%")) || bytes.Contains(b, []byte("%}")) {
						t.Errorf("%s has a place that was not filled in", f)
					}
				}
				readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
				if err != nil {
					t.Fatal(err)
				}
				// The gateway's data lies beside its file, and the plugin is the directory.
				for _, line := range strings.Split(string(readme), "\n") {
					if strings.Contains(line, "--config") && !strings.Contains(line, "--config ../gateway.yaml") {
						t.Errorf("the README has the configuration in the plugin's directory: %s", line)
					}
				}
				for _, want := range []string{"sallyport plugin add", "sallyport serve --config ../gateway.yaml &", "`sallyport reload --config ../gateway.yaml`"} {
					if !bytes.Contains(readme, []byte(want)) {
						t.Errorf("the README lacks %q", want)
					}
				}
				if lang == "go" {
					return
				}
				if info, err := os.Stat(filepath.Join(dir, "plugin")); err != nil || info.Mode().Perm() != 0o755 {
					t.Errorf("plugin: %v, %v, want an executable", info, err)
				}
				if lang == "python" {
					py, err := filepath.Glob(filepath.Join(dir, "*.py"))
					if err != nil || len(py) == 0 {
						t.Fatalf("no Python files: %v", err)
					}
					offline(t, dir, "python3", append([]string{"-m", "py_compile", "plugin"}, py...)...)
				}
			})
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		p    Plugin
		want string
	}{
		{Plugin{Kind: "engine", Name: "x", Lang: "go"}, "is no kind of plugin that can be begun; there is tool, provider"},
		{Plugin{Kind: "tool", Name: "x", Lang: "rust"}, `--lang "rust": there is go, python, node`},
		{Plugin{Kind: "tool", Name: "my-tool", Lang: "go"}, "small letters, digits and '_'"},
		{Plugin{Kind: "tool", Name: "../x", Lang: "go"}, "small letters"},
		{Plugin{Kind: "tool", Name: "x", Lang: "go", Dir: full}, "is not empty; name another one with --dir"},
		{Plugin{Kind: "tool", Name: "x", Lang: "node", Dir: "x", SDK: full}, "is not a whole copy"},
	}
	for _, tt := range tests {
		if tt.p.SDK == "" {
			tt.p.SDK = sdk(t)
		}
		if _, _, err := Write(tt.p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Write(%+v): %v, want %q", tt.p, err, tt.want)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a refused Write left a directory")
	}
	if _, err := FindSDK(full); err == nil || !strings.Contains(err.Error(), "no go.mod of the module") {
		t.Errorf("FindSDK of another directory: %v", err)
	}
}
