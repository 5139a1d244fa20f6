package fetch

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A Pin names one Python package and the hash of its wheel for each platform.
type Pin struct {
	Name, Version string
	SHA256        map[string]string // by GOOS/GOARCH; "any" is a wheel for all
}

// Wheel returns the directory with the unpacked wheel of p for this machine.
// It asks pip for it, by its hash.
func Wheel(ctx context.Context, p Pin) (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	sum, ok := p.SHA256[platform]
	if !ok {
		sum, ok = p.SHA256["any"]
	}
	if !ok {
		return "", &Missing{What: fmt.Sprintf("there is no pinned %s for %s", p.Name, platform)}
	}
	return Once(ctx, fmt.Sprintf("wheel-%s-%s-%s", p.Name, p.Version, sum[:16]), func(dir string) error {
		pip, err := pip()
		if err != nil {
			return err
		}
		down, err := os.MkdirTemp(filepath.Dir(dir), "pip-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(down)
		list := filepath.Join(down, "guest.txt")
		if err := os.WriteFile(list, []byte(fmt.Sprintf("%s==%s --hash=sha256:%s\n", p.Name, p.Version, sum)), 0o600); err != nil {
			return err
		}
		args := append(slices.Clone(pip[1:]), "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes", "-d", down, "-r", list)
		cmd := exec.CommandContext(ctx, pip[0], args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return &Missing{What: fmt.Sprintf("pip cannot download %s %s: %s", p.Name, p.Version, lastLine(out, err)), Install: "check the network and pip's settings"}
		}
		wheels, err := filepath.Glob(filepath.Join(down, "*.whl"))
		if err != nil || len(wheels) != 1 {
			return fmt.Errorf("pip download %s: %d wheels", p.Name, len(wheels))
		}
		if err := verify(wheels[0], sum); err != nil {
			return err
		}
		return unzip(wheels[0], dir)
	})
}

// pip finds pip as a command or as a module of Python.
func pip() ([]string, error) {
	for _, c := range [][]string{{"pip3"}, {"pip"}, {"python3", "-m", "pip"}} {
		path, err := exec.LookPath(c[0])
		if err != nil {
			continue
		}
		c[0] = path
		if exec.Command(c[0], append(slices.Clone(c[1:]), "--version")...).Run() == nil {
			return c, nil
		}
	}
	return nil, &Missing{What: "pip is not installed", Install: "install it: apt-get install python3-pip"}
}

func lastLine(out []byte, err error) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return err.Error()
}

// verify compares the SHA-256 of a file with the pinned one.
func verify(name, want string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has the hash %s, not the pinned %s", filepath.Base(name), got, want)
	}
	return nil
}

// unzip unpacks an archive below dir and keeps the execute bits.
func unzip(name, dir string) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%s: the path %q leaves the archive", filepath.Base(name), f.Name)
		}
		to := filepath.Join(dir, filepath.FromSlash(f.Name))
		if f.FileInfo().IsDir() {
			if err := os.MkdirAll(to, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := extract(f, to); err != nil {
			return fmt.Errorf("%s: %s: %w", filepath.Base(name), f.Name, err)
		}
	}
	return nil
}

func extract(f *zip.File, to string) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600|f.Mode().Perm()&0o100)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// Module returns the directory of a Go module, fetched by the go command. h1 is
// its hash as go.sum has it.
func Module(ctx context.Context, path, version, h1 string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", path+"@"+version)
	cmd.Dir = os.TempDir() // no module's go.mod has a say in it
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	var m struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &m); jsonErr != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("go mod download %s@%s: %s", path, version, lastLine(exit.Stderr, err))
		}
		return "", fmt.Errorf("go mod download %s@%s: %w", path, version, errors.Join(err, jsonErr))
	}
	if m.Error != "" {
		return "", &Missing{What: fmt.Sprintf("the module %s %s cannot be had: %s", path, version, m.Error), Install: "check the network and GOPROXY"}
	}
	if m.Sum != h1 {
		return "", fmt.Errorf("module %s %s has the hash %s, not the pinned %s", path, version, m.Sum, h1)
	}
	return m.Dir, nil
}

// zig is the C compiler with linker and C library for WebAssembly.
func zig() Pin {
	return Pin{Name: "ziglang", Version: "0.17.1", SHA256: map[string]string{
		"darwin/arm64": "09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23",
		"linux/arm64":  "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",
		"linux/amd64":  "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
	}}
}

// ZigVersion is the version of the compiler, for the keys of what it builds.
func ZigVersion() string { return zig().Version }

// Zig returns the path of the zig command. Run it as ZigCommand does.
func Zig(ctx context.Context) (string, error) {
	dir, err := Wheel(ctx, zig())
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "ziglang", "zig"), nil
}

// ZigCommand is `zig args…` with its caches inside ours. The local cache is in
// dir, so that it goes when dir goes.
func ZigCommand(ctx context.Context, zig, dir string, args ...string) (*exec.Cmd, error) {
	cache, err := Cache()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, zig, args...)
	cmd.Env = append(os.Environ(), "ZIG_GLOBAL_CACHE_DIR="+filepath.Join(cache, "zig"), "ZIG_LOCAL_CACHE_DIR="+filepath.Join(dir, ".zig-cache"))
	return cmd, nil
}
