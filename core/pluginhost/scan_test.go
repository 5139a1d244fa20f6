package pluginhost

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What the lists do not have is not used, and is told how to be added.
func TestScanUsesWhatWasAdded(t *testing.T) {
	t.Parallel()
	dir := plugins(t, "provider-fine")
	for _, n := range []string{"tool-new", ".hidden"} {
		if err := os.Symlink(built, filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"README.md": 0o644, "notes": 0o644, "weather/plugin": 0o755, "other/readme": 0o755} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	h, logged := start(t, Config{Dirs: []string{dir}})
	want := map[string]string{
		"fine":     "",
		"tool-new": "not added: sallyport plugin add " + filepath.Join(dir, "tool-new") + " --to " + dir,
		"weather":  "not added: sallyport plugin add " + filepath.Join(dir, "weather") + " --to " + dir,
	}
	got := h.Plugins()
	if len(got) != len(want) {
		t.Errorf("%d plugins, want %d: %+v", len(got), len(want), got)
	}
	for _, i := range got {
		reason, known := want[i.Name]
		if !known || i.LastError != reason || (i.State == Unlisted) != (reason != "") {
			t.Errorf("%s: %s %q, want %q", i.Name, i.State, i.LastError, reason)
		}
	}
	if names := h.TranslatorNames(); !slices.Equal(names, []string{"fine"}) {
		t.Errorf("TranslatorNames() = %q, want the usable one", names)
	}
	if _, _, ok := h.Tool("new", ""); ok {
		t.Error("a tool that nobody added can be used")
	}
	logged.await(t, "level=WARN", "plugin is not used", "sallyport plugin add "+filepath.Join(dir, "tool-new"))
}

func TestTwoPluginsOfOneName(t *testing.T) {
	t.Parallel()
	a, b := plugins(t, "provider-echo"), plugins(t, "provider-echo", "tool-echo")
	h, _ := start(t, Config{Dirs: []string{a, b}})
	if _, _, ok := h.Translator("echo"); ok {
		t.Error("one of two plugins of the same name is used")
	}
	if _, _, ok := h.Tool("echo", ""); !ok {
		t.Error("a tool of the same name is refused too")
	}
	refused := 0
	for _, i := range h.Plugins() {
		if i.State == Refused {
			refused++
			if !strings.Contains(i.LastError, filepath.Join(a, "provider-echo")) || !strings.Contains(i.LastError, filepath.Join(b, "provider-echo")) {
				t.Errorf("%q does not name both files", i.LastError)
			}
		}
	}
	if refused != 2 {
		t.Errorf("%d refused, want 2", refused)
	}
}

func TestDirectoryThatOthersCanWrite(t *testing.T) {
	t.Parallel()
	tests := map[os.FileMode]string{0o777: "is writable by everybody", 0o757: "is writable by everybody", 0o755: "", 0o700: ""}
	for mode, want := range tests {
		dir := plugins(t, "provider-echo")
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		h, err := New(Config{Dirs: []string{dir}}, slog.New(slog.DiscardHandler))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("mode %04o: %v, want %q", mode, err, want)
		}
		if h != nil {
			h.Close(t.Context())
		}
	}
	if _, err := New(Config{Dirs: []string{"/does/not/exist"}}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("missing directory: %v", err)
	}
}

// Not parallel: it changes the working directory.
func TestRelativeDirectory(t *testing.T) {
	dir := plugins(t, "provider-echo")
	t.Chdir(filepath.Dir(dir))
	h, _ := start(t, Config{Dirs: []string{filepath.Base(dir)}})
	if got, err := ask(t.Context(), translator(t, h, "echo"), "m", "x"); got != "x" || err != nil {
		t.Errorf("exchange = %q, %v", got, err)
	}
}

func TestRunDirectoryMustSuitSockets(t *testing.T) {
	t.Parallel()
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 60))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{RunDir: long}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "too long for unix sockets") {
		t.Errorf("long run directory: %v", err)
	}
}

func TestRunDirectoryIsPrivate(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	ask(t.Context(), translator(t, h, "echo"), "m")
	sockets := 0
	err := filepath.WalkDir(h.run.path, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %04o, want 0700", path, info.Mode().Perm())
		}
		if info.Mode()&os.ModeSocket != 0 {
			sockets++
			if len(path) >= socketPath {
				t.Errorf("%s is longer than a socket's path may be", path)
			}
		}
		return nil
	})
	if err != nil || sockets != 2 {
		t.Errorf("%d sockets, %v, want the control and the data socket", sockets, err)
	}
}

// An ordinary log line is nobody's last words.
func TestReasonOfTheEnd(t *testing.T) {
	t.Parallel()
	const info, warn, fault = `{"@level":"info","@message":"confinement of queries"}`, `{"@level":"warn","@message":"low on memory"}`, `{"@level":"error","@message":"cannot go on"}`
	tests := []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{info}, ""},
		{[]string{`{"@level":"debug","@message":"x"}`, `{"@message":"no level"}`}, ""},
		{[]string{warn, info}, "low on memory"},
		{[]string{warn, fault, info}, "cannot go on"},
		{[]string{info, "out of luck", info}, "out of luck"},
		{[]string{"panic: boom", "goroutine 1 [running]:", fault}, "panic: boom"},
	}
	for _, tt := range tests {
		s := newStderrLog(slog.New(slog.DiscardHandler))
		for _, l := range tt.lines {
			s.line(l)
		}
		if got := s.reason(); got != tt.want || s.silent() != (len(tt.lines) == 0) {
			t.Errorf("reason of %q = %q, want %q", tt.lines, got, tt.want)
		}
	}
}

// Gateways and commands that start at once take no directory from each other.
func TestRunDirectoriesMadeAtOnce(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("", "run") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				d, err := newRunDir(base)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(d.path, ownerFile)); err != nil {
					t.Errorf("a directory that is in use: %v", err)
				}
				d.close()
			}
		})
	}
	wg.Wait()
}
