package python

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-4, of "abc"
	if err := check(file, sum); err != nil {
		t.Error(err)
	}
	if err := check(file, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "a.tar has the hash ba78") {
		t.Errorf("another hash: %v", err)
	}
	if err := check(file+"x", sum); err == nil {
		t.Error("no file: no error")
	}
}

// Without apt the error says what to do instead.
func TestDownloadWithoutApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := download(context.Background(), t.TempDir(), []tarball{cpython, zlib})
	if err == nil || !strings.Contains(err.Error(), SourcesVar) || !strings.Contains(err.Error(), cpython.file) {
		t.Errorf("%v", err)
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"json/__init__.py", "json/notes.txt", "test/a.py", "json/tests/b.py", "multiprocessing/dummy/x.py", "multiprocessing/pool.py", "turtle.py", "zone/UTC"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for ext, want := range map[string]string{".py": "json/__init__.py multiprocessing/pool.py", "": "zone/UTC"} {
		list, err := sources(dir, ".", ext)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range list {
			names = append(names, s.name)
			if string(s.text) != s.name {
				t.Errorf("%s holds %q", s.name, s.text)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("sources %q: %s, want %s", ext, got, want)
		}
	}
}

func TestMagic(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "Lib/importlib/_bootstrap_external.py")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("# x\nMAGIC_NUMBER = (3571).to_bytes(2, 'little') + b'\\r\\n'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := magic(dir); err != nil || n != 0x0a0d0df3 {
		t.Errorf("magic %#x, %v", n, err)
	}
	if err := os.WriteFile(file, []byte("MAGIC_NUMBER = new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := magic(dir); err == nil {
		t.Error("a number that is not there: no error")
	}
}

// Objects of different units must not overwrite each other.
func TestObjects(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"Objects/a.c", "Parser/a.c", "Parser/lexer/a.c", "Parser/tokenizer/a.c", "Python/a.c", "Python/frozen.c"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, p)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tr := trees{own: "x/guest", cpython: dir, zlib: "x/zlib", sqlite: "x/sqlite"}
	list, err := tr.both()
	if err != nil {
		t.Fatal(err)
	}
	list = append(append(append(list, tr.first()...), tr.second("frozen")...), tr.driver())
	seen := map[string]string{}
	for _, u := range list {
		o := u.object("out")
		if seen[o] != "" {
			t.Errorf("%s and %s both make %s", seen[o], u.path, o)
		}
		seen[o] = u.path
	}
	for _, p := range []string{"Parser/lexer/a.c", "Modules/_json.c", "driver.c", "inflate.c"} {
		found := false
		for _, u := range list {
			found = found || u.path == p
		}
		if !found {
			t.Errorf("no unit %s", p)
		}
	}
	for _, u := range list {
		if u.path == "Python/frozen.c" {
			t.Error("CPython's frozen.c is compiled, and ours")
		}
	}
	if _, err := (trees{cpython: t.TempDir()}).both(); err == nil {
		t.Error("an empty tree: no error")
	}
}
