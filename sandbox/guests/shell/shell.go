// Package shell builds the shell guest from Go modules alone: the interpreter
// and the tools of package sh, compiled for wasip1. Nothing of a third party is
// kept in the tree: the few lines in which the interpreter is to differ are
// changed in a copy while it is built, and the build fails if upstream has
// changed there.
package shell

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guest"
)

// interpreter is the module that is changed while it is built.
const interpreter = "mvdan.cc/sh/v3"

// modules are those that the guest holds, with their licences.
var modules = []struct{ path, licence string }{
	{interpreter, "BSD-3-Clause"},
	{"github.com/itchyny/gojq", "MIT"},
	{"github.com/itchyny/timefmt-go", "MIT"},
	{"github.com/benhoyt/goawk", "MIT"},
	{"github.com/spf13/pflag", "BSD-3-Clause"},
	{"golang.org/x/term", "BSD-3-Clause"},
}

// changes make the interpreter use its pipes inside the process on wasip1, too,
// where it knows them for js only (see RATIONALE.md), and count the values of an
// associative array. The second file gets a name that does not end in _js, which
// the go command reads as a platform.
var changes = []struct{ from, to, old, new string }{
	{"interp/stdin_os.go", "interp/stdin_os.go", "//go:build !js\n", "//go:build !js && !wasip1\n"},
	{"interp/stdin_js.go", "interp/stdin_inside.go", "//go:build js\n", "//go:build js || wasip1\n"},
	{"expand/param.go", "expand/param.go", "\t\tn := len(elems)\n", "\t\tn := len(elems)\n\t\tif vr.Kind == Associative {\n\t\t\tn = len(vr.Map)\n\t\t}\n"},
}

// Inputs is all that the built guest depends on.
func Inputs() (string, error) {
	root, err := fetch.Root()
	if err != nil {
		return "", err
	}
	src, err := fetch.Sources(root, "sandbox/guests/shell", "sandbox/guests/shell/args", "sandbox/guests/shell/guest", "sandbox/guests/shell/sh")
	if err != nil {
		return "", err
	}
	names := make([]string, len(modules))
	for i, m := range modules {
		names[i] = m.path
	}
	versions, err := fetch.Versions(root, names...)
	return fetch.Digest(src, versions, runtime.Version()), err
}

// Build builds the guest into dir.
func Build(ctx context.Context, dir string) (guest.Guest, error) {
	root, err := fetch.Root()
	if err != nil {
		return guest.Guest{}, err
	}
	sources, dirs, err := list(ctx, root)
	if err != nil {
		return guest.Guest{}, err
	}
	// Its path is in the guest, so it is the same in every build.
	key := "shell-interpreter-" + fetch.Digest(filepath.Base(dirs[interpreter]), fmt.Sprint(changes))[:32]
	changed, err := fetch.Once(ctx, key, func(dir string) error { return altered(dirs[interpreter], dir) })
	if err != nil {
		return guest.Guest{}, fmt.Errorf("change %s: %w", interpreter, err)
	}
	mod, err := replaced(root, dir, changed)
	if err != nil {
		return guest.Guest{}, err
	}
	g := guest.Guest{Language: "shell", Wasm: filepath.Join(dir, "shell.wasm"), Sources: sources,
		Features: []string{"bash syntax", "awk", "jq", "grep", "sed", "sort", "find", "xargs"}}
	cmd := exec.CommandContext(ctx, "go", "build", "-modfile", mod, "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", g.Wasm, "./sandbox/guests/shell/guest")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return guest.Guest{}, fmt.Errorf("go build for wasip1: %w\n%s", err, out)
	}
	return g, nil
}

// list returns the modules as sources and where their files are.
func list(ctx context.Context, root string) ([]guest.Source, map[string]string, error) {
	args := []string{"list", "-m", "-json"}
	licences := map[string]string{}
	for _, m := range modules {
		args = append(args, m.path)
		licences[m.path] = m.licence
	}
	download := exec.CommandContext(ctx, "go", "mod", "download")
	download.Args = append(download.Args, args[3:]...)
	download.Dir = root
	if out, err := download.CombinedOutput(); err != nil {
		return nil, nil, &fetch.Missing{What: "the Go modules of the shell cannot be had: " + strings.TrimSpace(string(out)), Install: "check the network and GOPROXY"}
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list -m: %w", err)
	}
	var sources []guest.Source
	dirs := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var m struct{ Path, Version, Dir, Sum string }
		if err := dec.Decode(&m); err != nil {
			return nil, nil, fmt.Errorf("go list -m: %w", err)
		}
		dirs[m.Path] = m.Dir
		sources = append(sources, guest.Source{Name: m.Path, Version: m.Version, SHA256: m.Sum, Licence: licences[m.Path], Texts: []string{fetch.Licence(m.Dir)}})
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	sources = append(sources, guest.Source{Name: "Go standard library", Version: runtime.Version(), Licence: "BSD-3-Clause", Texts: []string{fetch.Licence(strings.TrimSpace(string(goroot)))}})
	return sources, dirs, nil
}

// altered copies the module from into to and makes the changes.
func altered(from, to string) error {
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		return err
	}
	for _, r := range changes {
		b, err := os.ReadFile(filepath.Join(to, r.from))
		if err != nil {
			return err
		}
		if !bytes.Contains(b, []byte(r.old)) {
			return fmt.Errorf("%s has no line %q: upstream has changed", r.from, strings.TrimSpace(r.old))
		}
		if err := errors.Join(os.Remove(filepath.Join(to, r.from)), os.WriteFile(filepath.Join(to, r.to), bytes.Replace(b, []byte(r.old), []byte(r.new), 1), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// replaced writes a go.mod beside which the guest is built: ours, with the
// changed module in place of the interpreter.
func replaced(root, dir, changed string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	f, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		return "", err
	}
	if err := f.AddReplace(interpreter, "", changed, ""); err != nil {
		return "", err
	}
	if b, err = f.Format(); err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "shell.mod")
	return name, errors.Join(os.WriteFile(name, b, 0o600), os.WriteFile(filepath.Join(dir, "shell.sum"), sums, 0o600))
}
