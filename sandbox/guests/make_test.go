package guests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/guest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
)

// fake puts a made guest into a directory, as the cache has it.
func fake(t *testing.T, language, module string) string {
	t.Helper()
	dir := t.TempDir()
	e := manifest.Entry{Language: language, Module: language + ".wasm", ModuleSHA256: sum([]byte(module)), Image: language + ".mem", ImageSHA256: sum([]byte("image")), Pages: 1}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{e.Module: module, e.Image: "image", noticeName: "\n## work 1\n", entryName: string(b)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	sql, shell := fake(t, "sql", "one"), fake(t, "shell", "two")
	if err := install(dir, map[string]string{"sql": sql, "shell": shell}); err != nil {
		t.Fatal(err)
	}
	var m manifest.Manifest
	if err := json.Unmarshal([]byte(read(t, dir, manifest.Name)), &m); err != nil || len(m.Guests) != 2 || m.Guests[0].Language != "shell" {
		t.Fatalf("%+v, %v", m, err)
	}
	if n := read(t, dir, noticeName); !strings.Contains(n, "# Guest sql") || !strings.Contains(n, "## work 1") {
		t.Errorf("notice %q", n)
	}

	// A file that somebody changed comes back; one that is right is not written again.
	before, err := os.Stat(filepath.Join(dir, "shell.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sql.wasm"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := install(dir, map[string]string{"sql": sql, "shell": shell}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "sql.wasm"); got != "one" {
		t.Errorf("sql.wasm is %q", got)
	}
	if after, err := os.Stat(filepath.Join(dir, "shell.wasm")); err != nil || !os.SameFile(before, after) {
		t.Errorf("shell.wasm was written again (%v)", err)
	}

	// What is not made any more goes.
	if err := install(dir, map[string]string{"sql": sql}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "shell.wasm")); err == nil {
		t.Error("shell.wasm is still there")
	}
}

func TestNotice(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"LICENSE": "Be kind.\n", "a.c": "/* Copyright\n * Somebody\n *   else\n */\nint x; /* more */\n", "b.h": "int y;\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts := func(names ...string) (list []string) {
		for _, n := range names {
			list = append(list, filepath.Join(dir, n))
		}
		return list
	}
	for _, tt := range []struct {
		s         guest.Source
		want, err string
	}{
		{guest.Source{Name: "work", Version: "1", Licence: "MIT", SHA256: "ab", Texts: texts("LICENSE", "a.c")}, "\n## work 1\n\nLicence: MIT\nHash: ab\n\nBe kind.\n\nCopyright\nSomebody\n  else\n", ""},
		{guest.Source{Name: "work", Version: "1", Licence: "MIT"}, "", "work has no text of its licence"},
		{guest.Source{Name: "work", Texts: texts("b.h")}, "", "has no comment"},
		{guest.Source{Name: "work", Texts: texts("none")}, "", "licence of work: open"},
	} {
		got, err := noticeOf(tt.s)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%+v: %q, %v", tt.s, got, err)
		}
	}
}

func TestInstallRefusesAChangedCache(t *testing.T) {
	made := fake(t, "sql", "one")
	if err := os.WriteFile(filepath.Join(made, "sql.wasm"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := install(t.TempDir(), map[string]string{"sql": made}); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("%v", err)
	}
}
