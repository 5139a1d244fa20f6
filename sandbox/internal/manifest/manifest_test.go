package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, text string) (sum string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	sum := write(t, dir, "a", "text")
	for _, tt := range []struct{ name, sum, want string }{
		{"a", sum, ""},
		{"a", strings.ToUpper(sum), ""},
		{"a", strings.Repeat("0", 64), `file "a" is not what it was made as`},
		{"a", "", `the manifest's with ""`},
		{"a", "no hash", `the manifest's with "no hash"`},
		{"a", strings.Repeat("0", 64), sum[:12] + `, the manifest's with "000000000000"`},
		{"../a", sum, "is not inside the directory"},
		{"/etc/passwd", sum, "is not inside the directory"},
	} {
		b, readErr := ReadFile(dir, tt.name, tt.sum)
		for how, err := range map[string]error{"read": readErr, "check": Check(dir, tt.name, tt.sum)} {
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s %q with %q: %v, want %q", how, tt.name, tt.sum, err, tt.want)
			}
		}
		if tt.want == "" && string(b) != "text" {
			t.Errorf("%q: %q", tt.name, b)
		}
	}
}

// A file that is not there is told from one that was changed.
func TestMissingFile(t *testing.T) {
	dir := t.TempDir()
	sum := write(t, dir, "a", "text")
	_, readErr := ReadFile(dir, "b", sum)
	for how, err := range map[string]error{"read": readErr, "check": Check(dir, "b", sum)} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a file that is not there: %v", how, err)
		}
	}
	if err := Check(dir, "a", ""); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("check of a file that was changed: %v", err)
	}
	if err := Check(dir, "b", sum); err == nil || strings.Contains(err.Error(), dir) {
		t.Errorf("check: %v, want the name of the file alone", err)
	}
}

// What is wrong with a directory of machine code is told, whatever it is.
func TestCompiled(t *testing.T) {
	const code = "wazero-v1-amd64-linux/3fa4"
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, guests, dir string)
		want   error
	}{
		{"as made", func(*testing.T, string, string) {}, nil},
		{"one more file", func(t *testing.T, _, dir string) { write(t, dir, "wazero-v1-amd64-linux/77", "more") }, nil},
		{"other code", func(t *testing.T, _, dir string) { write(t, dir, code, "other") }, ErrStale},
		{"a file is gone", func(t *testing.T, _, dir string) { os.Remove(filepath.Join(dir, code)) }, ErrStale},
		{"other guests", func(t *testing.T, guests, _ string) { write(t, guests, Name, "{ }") }, ErrStale},
		{"a mark without files", func(t *testing.T, guests, dir string) {
			of, err := made(guests)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, markName, of)
		}, ErrStale},
		{"a mark that is none", func(t *testing.T, _, dir string) { write(t, dir, markName, "\n\n") }, ErrStale},
		{"by a gateway, without a mark", func(t *testing.T, _, dir string) { os.Remove(filepath.Join(dir, markName)) }, nil},
		{"nothing", func(t *testing.T, _, dir string) { os.RemoveAll(dir) }, ErrNotCompiled},
		{"no guests", func(t *testing.T, guests, _ string) { os.Remove(filepath.Join(guests, Name)) }, fs.ErrNotExist},
	} {
		guests := t.TempDir()
		dir := filepath.Join(guests, "compiled")
		write(t, guests, Name, "{}")
		write(t, dir, code, "code")
		if err := Mark(guests, dir); err != nil {
			t.Fatal(err)
		}
		tt.change(t, guests, dir)
		if err := Compiled(guests, dir); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// Whatever is in the file, what Read takes is a manifest that can be used.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"version": 1, "wazero": "v1.12.0", "guests": [{"language": "sql", "module": "a", "module_sha256": "", "image": "b", "image_sha256": "", "pages": 1, "interrupt": [1, 2, 3], "files": [{"path": "lib/a", "file": "a", "sha256": ""}]}]}`))
	f.Add([]byte(`{"version": 1, "wazero": "v1.12.0", "guests": [{"language": "sql", "pages": 65536, "interrupt": [4294967295, 0, 0]}]}`))
	f.Add([]byte(`{} {}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, Name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Read(dir)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, g := range m.Guests {
			if seen[g.Language] || g.Pages == 0 || g.Pages > 1<<16 {
				t.Errorf("guest %+v", g)
			}
			seen[g.Language] = true
			for _, a := range g.Interrupt {
				if uint64(a)+4 > uint64(g.Pages)*PageSize {
					t.Errorf("address %d of %d pages", a, g.Pages)
				}
			}
			for _, file := range g.Files {
				if !strings.HasPrefix(file.Path, "lib/") || strings.Contains(file.Path, "..") && !fs.ValidPath(file.Path) {
					t.Errorf("path %q", file.Path)
				}
			}
		}
	})
}
