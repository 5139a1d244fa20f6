package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// Root returns the directory of the module whose go command runs this program.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("the guests are built inside the source tree: run this from there")
	}
	return filepath.Dir(mod), nil
}

// Sources hashes the Go and C files of directories below root, tests excepted.
func Sources(root string, dirs ...string) (string, error) {
	h := sha256.New()
	for _, d := range dirs {
		entries, err := os.ReadDir(filepath.Join(root, d))
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if e.IsDir() || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(root, d, e.Name()))
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s/%s %d\n", d, e.Name(), len(b))
			h.Write(b)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Versions returns the lines of root's go.mod that require or replace the named
// modules, in their order there.
func Versions(root string, modules ...string) (string, error) {
	name := filepath.Join(root, "go.mod")
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	f, err := modfile.Parse(name, b, nil)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	for _, r := range f.Require {
		if slices.Contains(modules, r.Mod.Path) {
			fmt.Fprintln(&s, r.Mod)
		}
	}
	for _, r := range f.Replace {
		if slices.Contains(modules, r.Old.Path) {
			fmt.Fprintln(&s, r.Old, r.New)
		}
	}
	return s.String(), nil
}

// Licence returns the file with the licence in a module's directory; without one,
// the name it would have.
func Licence(dir string) string {
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"} {
		if p := filepath.Join(dir, name); present(p) {
			return p
		}
	}
	return filepath.Join(dir, "LICENSE")
}

// Digest is the SHA-256 of parts, each with its length before it.
func Digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		io.WriteString(h, p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
