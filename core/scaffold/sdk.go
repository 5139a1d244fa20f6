package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

// module is the path of the module that holds the sdk.
const module = "github.com/sallyport-gateway/sallyport"

// ErrNoSDK is in the chain of FindSDK's error.
var ErrNoSDK = errors.New("the sources of the sdk were not found")

// FindSDK is the directory of the sdk's module, as an absolute path: the one
// that was named, the one above the running program, or the one above the
// working directory.
func FindSDK(named string) (string, error) {
	if named != "" {
		dir, err := filepath.Abs(named)
		if err != nil {
			return "", err
		}
		if !isSDK(dir) {
			return "", fmt.Errorf("%s is not a directory of Sallyport's sources: it has no go.mod of the module %s", dir, module)
		}
		return dir, nil
	}
	for _, above := range []func() (string, error){os.Executable, os.Getwd} {
		dir, err := above()
		if err != nil {
			continue
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if isSDK(dir) {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("%w: name a directory of Sallyport's sources with --sdk or SALLYPORT_SDK", ErrNoSDK)
}

func isSDK(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && modfile.ModulePath(text) == module
}

// goModule adds go.mod and go.sum. They take over the lines of the sdk's own,
// so that whatever built the sdk builds the plugin, without a network.
func goModule(files map[string][]byte, sdk, name string) error {
	path := filepath.Join(sdk, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	ours, err := modfile.Parse(path, text, nil)
	if err != nil {
		return err
	}
	m := new(modfile.File)
	errs := []error{m.AddModuleStmt(name), m.AddRequire(module, "v0.0.0"), m.AddReplace(module, "", sdk, "")}
	if ours.Go != nil {
		errs = append(errs, m.AddGoStmt(ours.Go.Version))
	}
	for _, r := range ours.Require {
		m.AddNewRequire(r.Mod.Path, r.Mod.Version, true)
	}
	for _, r := range ours.Replace {
		if r.New.Version != "" { // one with a path is the clone's own affair
			errs = append(errs, m.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("go.mod: %w", err)
	}
	m.SetRequireSeparateIndirect(m.Require)
	m.Cleanup()
	if files["go.mod"], err = m.Format(); err != nil {
		return fmt.Errorf("go.mod: %w", err)
	}
	files["go.sum"], err = os.ReadFile(filepath.Join(sdk, "go.sum"))
	return err
}

// nodeLibrary adds what hides handshake and frames in Node, which has no
// package of its own: the files of the example, and the protocol's.
func nodeLibrary(files map[string][]byte, sdk, kind string) error {
	example := filepath.Join(sdk, "examples", "provider-echo-node")
	copies := map[string]string{
		"lib/boot.js":        filepath.Join(example, "lib", "boot.js"),
		"lib/log.js":         filepath.Join(example, "lib", "log.js"),
		"proto/plugin.proto": filepath.Join(example, "proto", "plugin.proto"),
		"proto/health.proto": filepath.Join(example, "proto", "health.proto"),
	}
	if kind == "provider" {
		copies["lib/data.js"] = filepath.Join(example, "lib", "data.js")
		copies["lib/frames.js"] = filepath.Join(example, "lib", "frames.js")
	}
	protos := map[string][]string{"provider": {"provider"}, "tool": {"tool", "engine", "base"}}
	for _, p := range protos[kind] {
		name := p + "/v1/" + p + ".proto"
		copies["proto/sallyport/"+name] = filepath.Join(sdk, "sdk", "proto", filepath.FromSlash(name))
	}
	for to, from := range copies {
		text, err := os.ReadFile(from)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is missing; the directory %s is not a whole copy of Sallyport's sources", strings.TrimPrefix(from, sdk+"/"), sdk)
		}
		if err != nil {
			return err
		}
		files[to] = text
	}
	return nil
}
