package pluginhost

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestDescribeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, n := range []string{"mute", "garbage", "loud", "old", "strange", "badname", "silent", "fails", "speaks", "informs", "sleeps"} {
		if err := os.Symlink(built, filepath.Join(dir, "provider-"+n)); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"still": {"#!/bin/sh\n", 0o644}, "not-a-program": {"\x00\x01", 0o755}, "no-interpreter": {"#!/does/not/exist\n", 0o755},
		"env": {"#!/usr/bin/env FOO=bar python3\n", 0o755}, "open": {"#!/bin/sh\n", 0o757}, "nothing": {"#!\n", 0o755},
		"shot": {"#!/bin/sh\nkill -9 $$\n", 0o755},
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(f.text), 0o600), os.Chmod(path, f.mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"provider-mute":    `describe did not print one line of JSON but ""`,
		"provider-garbage": `describe did not print one line of JSON but "hello there"`,
		"provider-loud":    `describe printed more than 1048576 bytes`,
		"provider-old":     `speaks protocol 7, this gateway speaks 1`,
		"provider-strange": `is of kind "oracle"; this gateway knows provider, tool and engine`,
		"provider-badname": `has the name "../x": use lower-case letters, digits, '-' and '_', at most 64`,
		"provider-fails":   `describe ended with status 4: my reason`,
		"provider-silent":  `describe ended with status 3 and printed nothing`,
		"provider-speaks":  `describe ended with status 3 after it printed "half a line"`,
		"provider-informs": `describe ended with status 3 and gave no reason`,
		"provider-sleeps":  `describe did not end within 5s`,
		"shot":             `describe was killed by signal 9 (killed) and printed nothing`,
		"still":            `still is not executable: chmod +x it`,
		"not-a-program":    `is no program for this machine, and no script with #! in its first line`,
		"no-interpreter":   `its interpreter "/does/not/exist" is not there; install it, or name another one with --interpreter`,
		"env":              `name the interpreter with --interpreter`,
		"open":             `run chmod o-w`,
		"nothing":          `names no interpreter after the #! sign`,
		"empty":            `needs an executable called "plugin" in it`,
		"absent":           `no such file or directory`,
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Find(filepath.Join(dir, name), "")
			if err == nil {
				_, err = c.Describe(t.Context(), Config{Launcher: launcher}, slog.New(slog.DiscardHandler))
			}
			if err == nil || !strings.HasSuffix(err.Error(), want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%v, want …%s", err, want)
			}
		})
	}
}

// What lies in a plugins directory is run only as long as it is what the
// operator added.
func TestPluginThatIsNotWhatWasAdded(t *testing.T) {
	t.Parallel()
	evil := func(t *testing.T) []byte { return append(content(t), "evil"...) } // it would work
	tests := map[string]struct {
		do  func(t *testing.T, path string) error
		log string // "" when nothing is wrong with it
	}{
		"as it was": {func(*testing.T, string) error { return nil }, ""},
		"swapped": {func(t *testing.T, path string) error {
			next := filepath.Join(t.TempDir(), "next")
			return errors.Join(os.WriteFile(next, evil(t), 0o755), os.Rename(next, path))
		}, "was changed since it was added; compare it with what you added"},
		"rewritten": {func(t *testing.T, path string) error { return os.WriteFile(path, evil(t), 0o755) }, "was changed since it was added"},
		"rewritten, same size and time": {func(t *testing.T, path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			b := content(t)
			b[len(b)-1] ^= 1
			return errors.Join(os.WriteFile(path, b, 0o755), os.Chtimes(path, info.ModTime(), info.ModTime()))
		}, "was changed since it was added"},
		"made writable": {func(t *testing.T, path string) error { return os.Chmod(path, 0o757) }, "is writable by everybody"},
		"removed":       {func(t *testing.T, path string) error { return os.Remove(path) }, "is gone since it was added"},
		"made a link to an open place": {func(t *testing.T, path string) error {
			open := t.TempDir()
			return errors.Join(os.Chmod(open, 0o777), os.Rename(path, open+"/x"), os.Symlink(open+"/x", path))
		}, "is writable by everybody"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := write(t, dir, "provider-echo", content(t))
			h, logged := start(t, Config{Dirs: []string{dir}})
			h.verifying.Wait()
			tr := translator(t, h, "echo")
			if err := tt.do(t, path); err != nil {
				t.Fatal(err)
			}
			got, err := ask(t.Context(), tr, "m", "x")
			if tt.log == "" {
				if got != "x" || err != nil {
					t.Errorf("exchange = %q, %v", got, err)
				}
				return
			}
			const want = `The plugin "echo" is not run: its files are not the ones that were added; the gateway's log has more.`
			if !apierror.Is(err, apierror.Unavailable) || apierror.From(err).Message != want {
				t.Errorf("exchange: %v, want %s", err, want)
			}
			logged.await(t, "level=ERROR", tt.log)
			if i := info(t, h, "echo"); i.State != Refused || !strings.Contains(i.LastError, tt.log) {
				t.Errorf("info = %+v, want refused: %s", i, tt.log)
			}

			// A second gateway finds it out by itself.
			second, logged := start(t, Config{Dirs: []string{dir}})
			if p := second.Problems(); len(p) != 1 || !strings.Contains(p[0], "echo") {
				t.Errorf("Problems = %q, want the plugin", p)
			}
			logged.await(t, "level=ERROR", "plugin refused")
		})
	}
}

// The moment between the check and the start belongs to nobody else.
func TestPluginChangedWhileItStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := write(t, dir, "provider-echo", content(t))
	h, _ := start(t, Config{Dirs: []string{dir}})
	i := func() *image {
		_, p, _ := h.find("provider", "echo")
		return p.image
	}()

	t.Run("swapped", func(t *testing.T) {
		l, err := i.load()
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		next := filepath.Join(t.TempDir(), "next")
		if err := errors.Join(os.WriteFile(next, []byte("#!/bin/sh\necho evil\n"), 0o755), os.Rename(path, path+".old"), os.Rename(next, path)); err != nil {
			t.Fatal(err)
		}
		cmd, err := h.command(l.launch(Launch{Args: []string{"describe"}, Dir: t.TempDir()}))
		if err != nil {
			t.Fatal(err)
		}
		out, err := describe(t.Context(), h.starter, cmd, h.log)
		if d, perr := ParseDescription(out); err != nil || perr != nil || d.Name != "echo" {
			t.Errorf("what was executed said %q, %v; want the checked program", out, err)
		}
		if err := l.check(); err != nil {
			t.Errorf("the program that was executed is the checked one, but: %v", err)
		}
		if err := os.Rename(path+".old", path); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("rewritten", func(t *testing.T) {
		l, err := i.load()
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		if err := os.WriteFile(path, append(content(t), 0), 0o755); err != nil {
			t.Fatal(err)
		}
		err = l.check()
		if _, ok := errors.AsType[*trustError](err); !ok || !strings.Contains(err.Error(), "was changed while it was started") {
			t.Errorf("check after the file was rewritten: %v", err)
		}
	})
}

// A process whose program was rewritten before it was executed is killed.
func TestProcessOfARewrittenProgramIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := write(t, dir, "provider-echo", content(t))
	h, _ := start(t, Config{Dirs: []string{dir}})
	_, p, _ := h.find("provider", "echo")
	p.image.open()                                                           // its digest is known
	if err := os.WriteFile(path, append(content(t), 0), 0o755); err != nil { // what the start would find too
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, stamp, err := pluginlock.Sum(f)
	if err != nil {
		t.Fatal(err)
	}
	stamp.MTime-- // as if it had been rewritten since
	_, err = h.startLoaded(p, "", &loaded{image: p.image, path: path, file: f, stamp: stamp})
	if err == nil || !strings.Contains(err.Error(), `plugin "echo" is not run: `+path+" was changed while it was started") {
		t.Errorf("start: %v", err)
	}
	if left, _ := os.ReadDir(h.run.path); len(left) != 1 { // the owner file
		t.Errorf("%d things are left in the run directory", len(left))
	}
}

func TestListThatWasEdited(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit func(text string) string
		mode os.FileMode
		new  string // error of New
		why  string // of the plugin
	}{
		"another digest":     {swapDigest, 0o644, "", "was changed since it was added"},
		"another version":    {func(s string) string { return strings.Replace(s, `"version": 1`, `"version": 9`, 1) }, 0o644, "version 9, this program knows version 1", ""},
		"not JSON":           {func(s string) string { return s[:len(s)/2] }, 0o644, "is no list of plugins", ""},
		"written by anybody": {func(s string) string { return s }, 0o666, "is writable by everybody", ""},
		"another kind":       {func(s string) string { return strings.Replace(s, `"kind": "provider"`, `"kind": "oracle"`, 1) }, 0o644, "", `is of kind "oracle"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := plugins(t, "provider-echo")
			list := filepath.Join(dir, pluginlock.FileName)
			b, err := os.ReadFile(list)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.WriteFile(list, []byte(tt.edit(string(b))), 0o644), os.Chmod(list, tt.mode)); err != nil {
				t.Fatal(err)
			}
			h, err := New(Config{Dirs: []string{dir}, Launcher: launcher}, slog.New(slog.DiscardHandler))
			if tt.new != "" {
				if err == nil || !strings.Contains(err.Error(), tt.new) || !strings.Contains(err.Error(), list) {
					t.Errorf("New: %v, want %q and the list's name", err, tt.new)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close(t.Context())
			if p := h.Problems(); len(p) != 1 || !strings.Contains(p[0], tt.why) {
				t.Errorf("Problems = %q, want %q", p, tt.why)
			}
		})
	}
}

// swapDigest changes the first digit of the first digest of a list.
func swapDigest(list string) string {
	i := strings.Index(list, `"provider-echo": "`) + len(`"provider-echo": "`)
	d := "0"
	if list[i] == '0' {
		d = "1"
	}
	return list[:i] + d + list[i+1:]
}

// A program that is another one than it said is what it was added as: the
// gateway asks nothing of what it says later.
func TestManifestIsTheOneThatWasAccepted(t *testing.T) {
	t.Parallel()
	dir := plugins(t, "provider-echo")
	if err := os.Rename(filepath.Join(dir, "provider-echo"), filepath.Join(dir, "tool-table")); err != nil { // it says what its name says
		t.Fatal(err)
	}
	h, _ := start(t, Config{Dirs: []string{dir}})
	if _, _, ok := h.Tool("table", ""); ok {
		t.Error("a program that was added as a provider serves a tool type")
	}
	if _, _, ok := h.Translator("echo"); ok {
		t.Error("a program that is gone serves")
	}
}

func TestScriptsAndDirectoriesRunFromACopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main := filepath.Join(dir, "provider-echo", "plugin")
	if err := errors.Join(os.Mkdir(filepath.Dir(main), 0o755), os.WriteFile(main, content(t), 0o755), os.WriteFile(filepath.Dir(main)+"/data", []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	c, err := Find(filepath.Dir(main), "")
	if err != nil {
		t.Fatal(err)
	}
	// The test plugin is told by its name what it is, so it is added as itself.
	c.Entry.Description = []byte(`{"kind":"provider","protocol":1,"manifest":{"name":"echo","version":"1.2.3"}}`)
	if err := pluginlock.Update(dir, func(l *pluginlock.Lock) error { l.Put(c.Entry); return nil }); err != nil {
		t.Fatal(err)
	}
	h, _ := start(t, Config{Dirs: []string{dir}})
	_, p, ok := h.find("provider", "echo")
	if !ok {
		t.Fatalf("no plugin: %+v", h.Plugins())
	}
	load := func() *loaded {
		t.Helper()
		l, err := p.image.load()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := load()
	if !strings.HasPrefix(first.path, h.run.path) || first.files == "" || first.file != nil {
		t.Errorf("runs from %s, want a copy in %s", first.path, h.run.path)
	}
	if err := os.WriteFile(filepath.Dir(main)+"/extra", []byte("import me"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := load()
	if second.path != first.path {
		t.Error("a second start has another copy")
	}
	if _, err := os.Stat(filepath.Dir(second.path) + "/extra"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was not added is in the copy: %v", err)
	}
	if b, err := os.ReadFile(filepath.Dir(second.path) + "/data"); string(b) != "x" || err != nil {
		t.Errorf("data in the copy = %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Dir(main)+"/data", []byte("y"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.image.load(); err == nil || !strings.Contains(err.Error(), "data was changed since it was added") {
		t.Errorf("start with a changed file: %v", err)
	}
	copied := first.files
	p.image.drop()
	first.close()
	if _, err := os.Stat(copied); err != nil {
		t.Errorf("the copy is gone while a process uses it: %v", err)
	}
	second.close()
	if _, err := os.Stat(copied); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is left behind: %v", err)
	}
}

func TestInterpreterOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := filepath.Join(dir, "env", ".venv")
	if err := os.MkdirAll(filepath.Join(env, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"bin/python3": "\x7fELF", "pyvenv.cfg": ""} {
		if err := os.WriteFile(filepath.Join(env, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	installedPython := filepath.Join(dir, "opt", "bin", "python3")
	linked, evil := filepath.Join(dir, "linked", ".venv"), filepath.Join(dir, "evil", ".venv")
	ran := filepath.Join(dir, "ran")
	for path, text := range map[string]string{installedPython: "\x7fELF of another", filepath.Join(evil, "bin/python3"): "#!/bin/sh\ntouch " + ran + "\necho /bin/sh\n"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(linked+"/bin", 0o755), os.Symlink(installedPython, linked+"/bin/python3")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ in, dir, named, want, wrong string }{
		{in: "\x7fELF", want: ""},
		{in: "\x7fELF", named: "/bin/sh", wrong: "needs no interpreter"},
		{in: "#!/bin/sh\n", want: "/bin/sh"},
		{in: "#! /bin/sh -e\nx", want: "/bin/sh -e"},
		{in: "#!/usr/bin/env sh\n", want: "sh"},
		{in: "#!/usr/bin/env -S sh -e\n", want: "sh -e"},
		{in: "#!/usr/bin/env -i sh\n", wrong: "not understood"},
		{in: "#!/usr/bin/env\n", wrong: "not understood"},
		{in: "#!/usr/bin/env no-such-program-here\n", wrong: `interpreter "no-such-program-here" is not there`},
		{in: "#!/usr/bin/env python3\n", dir: "env", want: filepath.Join(env, "bin/python3")},
		{in: "#!/bin/sh -u\n", dir: "env", want: "/bin/sh -u"},
		{in: "#!" + installedPython + " -u\n", dir: "env", want: installedPython + " -u"},
		{in: "#!" + installedPython + " -u\n", dir: "linked", want: filepath.Join(linked, "bin/python3") + " -u"},
		{in: "#!/usr/bin/env python3\n", dir: "evil", wrong: "is a script itself"},
		{in: "#!" + filepath.Join(evil, "bin/python3") + "\n", wrong: "is a script itself"},
		{in: "#!/usr/bin/env node\n", dir: "env", named: "/bin/sh", want: "/bin/sh"},
		{in: "#!/bin/sh", want: "/bin/sh"},
	}
	for _, tt := range tests {
		program := filepath.Join(dir, tt.dir, "plugin")
		if err := os.WriteFile(program, []byte(tt.in), 0o755); err != nil {
			t.Fatal(err)
		}
		got, err := interpreterOf(program, tt.named)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("interpreterOf(%q) = %q, %v, want %q", tt.in, got, err, tt.wrong)
			}
			continue
		}
		if err != nil || !strings.HasSuffix(strings.Join(got, " "), tt.want) || (len(got) > 0) != (tt.want != "") {
			t.Errorf("interpreterOf(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a script that the author calls python3 was run, unconfined")
	}
	if root := environmentRoot(filepath.Join(env, "bin/python3")); root != env {
		t.Errorf("environmentRoot = %q, want %q", root, env)
	}
}

func TestFloodOfLines(t *testing.T) {
	t.Parallel()
	logged := new(records)
	s := newStderrLog(slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	begin := time.Now()
	for range 50_000 {
		s.line("all work and no play")
	}
	s.line("the last word")
	s.end()
	most := linesAtOnce + int(time.Since(begin).Seconds()*linesPerSecond) + 2 + int(time.Since(begin)/dropsTold)
	if n := strings.Count(logged.String(), "\n"); n > most {
		t.Errorf("%d lines were logged, want at most %d", n, most)
	}
	if !strings.Contains(logged.String(), "lines dropped") {
		t.Error("nothing tells that lines were dropped")
	}
	if got := s.reason(); got != "the last word" {
		t.Errorf("reason = %q, want the last line though it was not logged", got)
	}
}

// A plugin that logs without end is read to the end, and does not fill the log.
func TestPluginThatFloodsItsLog(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	begin := time.Now()
	if _, err := translator(t, h, "echo").Begin(t.Context(), turn("flood")); err != nil {
		t.Fatalf("Begin of a plugin that logs much: %v", err)
	}
	took := time.Since(begin)
	if got, err := ask(t.Context(), translator(t, h, "echo"), "m", "x"); got != "x" || err != nil {
		t.Errorf("exchange after that = %q, %v", got, err)
	}
	syscall.Kill(info(t, h, "echo").PID, syscall.SIGKILL)
	logged.await(t, "level=WARN", "lines dropped")
	lines, most := strings.Count(logged.String(), "more than anybody"), linesAtOnce+int((took.Seconds()+1)*linesPerSecond)
	if lines > most {
		t.Errorf("%d of 200000 lines are in the log after %s, want at most %d", lines, took, most)
	}
}

// A plugin that runs goes on, and what was changed behind it is told at the next
// reload, until it is put back.
func TestRunningPluginThatWasChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := write(t, dir, "provider-echo", content(t))
	h, _ := start(t, Config{Dirs: []string{dir}})
	tr := translator(t, h, "echo")
	for _, text := range []string{"", "evil", ""} {
		next := filepath.Join(t.TempDir(), "next")
		if err := errors.Join(os.WriteFile(next, append(content(t), text...), 0o755), os.Rename(next, path)); err != nil {
			t.Fatal(err)
		}
		if err := h.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		problems := h.Problems()
		if got, err := ask(t.Context(), tr, "m", "x"); got != "x" || err != nil {
			t.Errorf("exchange = %q, %v", got, err)
		}
		i := info(t, h, "echo")
		if i.State != Running {
			t.Errorf("info = %+v, want running", i)
		}
		if text == "" {
			if len(problems) != 0 || i.LastError != "" {
				t.Errorf("Problems = %q, info = %+v, want nothing", problems, i)
			}
			continue
		}
		const want = "provider-echo was changed since it was added"
		if len(problems) != 1 || !strings.Contains(problems[0], want) || !strings.Contains(i.LastError, want) || !strings.HasSuffix(i.LastError, stillRuns) {
			t.Errorf("Problems = %q, info = %+v, want %q", problems, i, want)
		}
	}
}
