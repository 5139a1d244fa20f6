package pluginhost

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestScanRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	dir := plugins(t, "provider-mute", "provider-garbage", "provider-loud", "provider-old", "provider-strange", "provider-badname", "provider-fine")
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("not a program"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fails"), []byte("#!/bin/sh\necho my reason >&2\nexit 4\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"silent": "exit 3", "speaks": "echo half a line; exit 3", "shot": "kill -9 $$",
		"informs": `echo '{"@level":"info","@message":"all is well"}' >&2; exit 3`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"provider-still", ".hidden", "gateway.lock", "notes.txt", "LICENSE", "provider-echo.sha256"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".provider-echo.swp"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	h, logged := start(t, Config{Dirs: []string{dir}})
	want := map[string]string{
		"provider-mute":    `describe did not print one line of JSON but ""`,
		"provider-garbage": `describe did not print one line of JSON but "hello there"`,
		"provider-loud":    `describe printed more than 1048576 bytes`,
		"provider-old":     `speaks protocol 7, this gateway speaks 1`,
		"provider-strange": `is of kind "oracle"; this gateway knows provider, tool and engine`,
		"provider-badname": `has the name "../x": use lower-case letters, digits, '-' and '_', at most 64`,
		"fails":            `describe ended with status 4: my reason`,
		"silent":           `describe ended with status 3 and printed nothing`,
		"speaks":           `describe ended with status 3 after it printed "half a line"`,
		"shot":             `describe was killed by signal 9 (killed) and printed nothing`,
		"informs":          `describe ended with status 3 and gave no reason`,
		"provider-still":   `provider-still is not executable: chmod +x it`,
		"fine":             "",
	}
	got := h.Plugins()
	if len(got) != len(want) {
		t.Errorf("%d plugins, want %d: %+v", len(got), len(want), got)
	}
	for _, i := range got {
		reason, known := want[i.Name]
		if !known || i.LastError != reason || (i.State == Refused) != (reason != "") {
			t.Errorf("%s: %s %q, want %q", i.Name, i.State, i.LastError, reason)
		}
	}
	if names := h.TranslatorNames(); !slices.Equal(names, []string{"fine"}) {
		t.Errorf("TranslatorNames() = %q, want the usable one", names)
	}
	logged.await(t, "level=ERROR", "plugin refused", "provider-garbage")
}

func TestScanGivesUpOnAProgramThatHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := "#!/bin/sh\nsleep 3600 &\nsleep 3600\n"
	if err := os.WriteFile(filepath.Join(dir, "slow"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	h, _ := start(t, Config{Dirs: []string{dir}})
	if i := info(t, h, "slow"); i.State != Refused || i.LastError != "describe did not end within 5s" {
		t.Errorf("info = %+v", i)
	}
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
	dir := t.TempDir()
	program, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "provider-echo")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o757); err != nil {
		t.Fatal(err)
	}
	h, _ := start(t, Config{Dirs: []string{dir}})
	if i := info(t, h, "provider-echo"); i.State != Refused || !strings.Contains(i.LastError, "the file is writable by everybody") {
		t.Errorf("a file that everybody can write: %+v", i)
	}
}

func TestLinkIntoADirectoryThatOthersCanWrite(t *testing.T) {
	t.Parallel()
	dir, open := t.TempDir(), plugins(t, "provider-echo")
	if err := os.Symlink(filepath.Join(open, "provider-echo"), filepath.Join(dir, "provider-echo")); err != nil {
		t.Fatal(err)
	}
	h, _ := start(t, Config{Dirs: []string{dir}})
	if got, err := ask(t.Context(), translator(t, h, "echo"), "m", "x"); got != "x" || err != nil {
		t.Errorf("a link = %q, %v", got, err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	h, _ = start(t, Config{Dirs: []string{dir}})
	if i := info(t, h, "provider-echo"); i.State != Refused || !strings.Contains(i.LastError, "is writable by everybody") {
		t.Errorf("a link into an open directory: %+v", i)
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
		s := &stderrLog{log: slog.New(slog.DiscardHandler)}
		for _, l := range tt.lines {
			s.line(l)
		}
		if got := s.reason(); got != tt.want || s.silent() != (len(tt.lines) == 0) {
			t.Errorf("reason of %q = %q, want %q", tt.lines, got, tt.want)
		}
	}
}
