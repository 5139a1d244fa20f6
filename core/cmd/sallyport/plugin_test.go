package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/pluginlock"
)

func TestPluginList(t *testing.T) {
	t.Parallel()
	_, out, _ := command(t, "plugin", "list", "-c", configFile(t, ""))
	for _, want := range []string{"openai", "anthropic", "gemini", "demo", "table", "duckdb"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
}

func TestPluginListOfARunningGateway(t *testing.T) {
	t.Parallel()
	live := []pluginhost.Info{
		{Kind: "tool", Name: "weather", Version: "1", Path: "/p/weather", State: pluginhost.Running, Dev: true, Calls: 7, P50: time.Millisecond, P99: 2 * time.Millisecond, Memory: 14 << 20},
		{Kind: "tool", Name: "news", Version: "1", Path: "/p/news", State: pluginhost.Broken, LastError: "exited with status 3"},
		{Name: "late", Path: "/p/late", State: pluginhost.Unlisted, LastError: "not added: sallyport plugin add /p/late"},
		{Kind: "tool", Name: "gone", Version: "1", Path: "/p/gone", State: pluginhost.Running},
		{Kind: "tool", Name: "left", Version: "1", Path: "/p/left", State: pluginhost.Running},
		{Kind: "tool", Name: "forged", Version: "1", Path: "/p/forged", State: pluginhost.Running},
		{Kind: "tool", Name: "known", Version: "1", Path: "/p/known", State: pluginhost.Running, LastError: "was changed (it still runs)"},
	}
	next := []pluginhost.Info{
		{Kind: "tool", Name: "weather", Version: "2", Path: "/p/weather"},
		{Kind: "tool", Name: "news", Version: "2", Path: "/p/news"},
		{Kind: "tool", Name: "late", Version: "1", Path: "/p/late"},
		{Kind: "tool", Name: "new", Version: "1", Path: "/p/new"},
		{Name: "other", Path: "/p/other", State: pluginhost.Unlisted},
		{Name: "left", Path: "/p/left", State: pluginhost.Unlisted},
		{Kind: "tool", Name: "forged", Version: "1", Path: "/p/forged", State: pluginhost.Refused, LastError: "forged was changed since it was added. Then: sallyport reload"},
		{Kind: "tool", Name: "known", Version: "1", Path: "/p/known", State: pluginhost.Refused, LastError: "was changed"},
	}
	var out bytes.Buffer
	if err := listRunning(&out, "", live, next); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"running (dev: NOT PINNED)", "1ms  2ms", "14 MiB", "news: exited with status 3",
		"news: version 2 was added since the gateway read its list, which goes on with 1 until `sallyport reload`",
		"late: was added since", "new: was added since the gateway read its list; `sallyport reload` has it used",
		"gone: was removed since the gateway read its list, which goes on with it until `sallyport reload`\n", "left: was removed since",
		"forged: forged was changed since it was added. Then: sallyport reload\n", "known: was changed (it still runs)\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the list lacks %q:\n%s", want, out.String())
		}
	}
	for _, wrong := range []string{"weather: ", "other", "known: was changed\n", "forged: was removed"} {
		if strings.Contains(out.String(), wrong) {
			t.Errorf("the list has %q:\n%s", wrong, out.String())
		}
	}
}

// shelf is a plugins directory with a script for a plugin beside it.
type shelf struct {
	t    *testing.T
	dir  string
	from string // where authors keep theirs
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	gatewaytest.Plugins(t) // builds the launcher
	s := &shelf{t, filepath.Join(t.TempDir(), "plugins"), t.TempDir()}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// script writes a plugin that is a script and says what is given.
func (s *shelf) script(path, kind, manifest string) string {
	s.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.from, path)
	}
	text := "#!/bin/sh\necho '" + `{"kind":"` + kind + `","protocol":1,"manifest":` + manifest + "}'\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// run runs a plugin command on the shelf.
func (s *shelf) run(args ...string) (int, string) {
	s.t.Helper()
	code, out, errs := command(s.t, slices.Concat([]string{"plugin"}, args, []string{"--to", s.dir})...)
	return code, out + errs
}

// must runs a command that succeeds and says what is given.
func (s *shelf) must(want string, args ...string) string {
	s.t.Helper()
	code, out := s.run(args...)
	if code != 0 || !strings.Contains(out, want) {
		s.t.Errorf("%v: exit code %d, want 0 and %q:\n%s", args, code, want, out)
	}
	return out
}

// refused runs a command that fails and says what is given.
func (s *shelf) refused(want string, args ...string) {
	s.t.Helper()
	code, out := s.run(args...)
	if code == 0 || !strings.Contains(out, want) {
		s.t.Errorf("%v: exit code %d, want a failure and %q:\n%s", args, code, want, out)
	}
}

func (s *shelf) lock() *pluginlock.Lock {
	s.t.Helper()
	l, err := pluginlock.Read(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func TestPluginAdd(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	weather := s.script("weather/plugin", "tool", `{"type":"weather","version":"1.0","targets":["weather"],"config":{"type":"object","properties":{"units":{}}},"requires":{"read":["/etc"],"memory":1073741824}}`)
	for name, text := range map[string]string{"lib/x.txt": "x", ".venv/y": "y", "__pycache__/z": "z"} {
		path := filepath.Join(filepath.Dir(weather), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Dir(weather)
	s.refused("add --yes", "add", dir) // nobody is there to be asked
	if len(s.lock().Plugins) != 0 {
		t.Error("a plugin was added that nobody accepted")
	}
	out := s.must("added tool weather 1.0", "add", "--yes", "--read", "/usr/share", dir)
	for _, want := range []string{`tools of the type "weather"`, "USE TOOL on tool weather", "\"weather\" (bind them under tools.weather.targets)", `"units"`,
		`may read      "/usr/share"`, `may read      "/etc"`, "up to 1024 MiB", "/bin/sh", "(2 files)"} {
		if !strings.Contains(out, want) {
			t.Errorf("what is accepted lacks %q:\n%s", want, out)
		}
	}
	e := s.lock().Find("weather/plugin")
	if e == nil || len(e.Files) != 2 || len(e.Interpreter) != 1 || !slices.Equal(e.Read, []string{"/usr/share"}) || e.Added.IsZero() {
		t.Errorf("the list has %+v", e)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "weather", ".venv")); !os.IsNotExist(err) {
		t.Errorf("the virtual environment was copied: %v", err)
	}
	s.must("nothing has changed", "add", dir, "--read", "/usr/share")
	s.must("1.0", "describe", "weather")
	s.must(`"type":"weather"`, "describe", "--json", dir)

	// The author's next version takes the place of the last one.
	s.script("weather/plugin", "tool", `{"type":"weather","version":"2.0"}`)
	if err := os.Remove(filepath.Join(dir, "lib", "x.txt")); err != nil {
		t.Fatal(err)
	}
	s.must("added tool weather 2.0", "add", "--yes", dir)
	if _, err := os.Stat(filepath.Join(s.dir, "weather", "lib", "x.txt")); !os.IsNotExist(err) {
		t.Errorf("a file of the old version is left: %v", err)
	}
	if err := s.lock().Find("weather/plugin").Verify(s.dir); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d things are in the plugins directory, %v, want the plugin and the list", len(entries), err)
	}

	s.refused(`there is weather`, "remove", "wether")
	s.must("its files are still in", "remove", "weather")
	s.must("added tool weather", "add", "--yes", dir) // its very copy is there
	s.must("A gateway that runs uses it until `sallyport reload`.", "remove", "weather")
	s.script("weather/plugin", "tool", `{"type":"weather","version":"3.0"}`)
	s.refused("the directory "+filepath.Join(s.dir, "weather")+" is there already, is in no list, and is not what you add", "add", "--yes", dir)
	s.must("added tool weather 2.0", "add", "--yes", filepath.Join(s.dir, "weather"))
	s.must("deleted", "remove", "--delete", "weather")
	if entries, _ := os.ReadDir(s.dir); len(entries) != 1 {
		t.Errorf("%d things are in the plugins directory, want the list", len(entries))
	}
}

func TestPluginAddRefuses(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	first := s.script("tool-a", "tool", `{"type":"a","version":"1"}`)
	s.must("added tool a", "add", "--yes", first)

	// A program that says it is another one's type.
	forged := s.script("tool-b", "tool", `{"type":"a","version":"1"}`)
	s.refused("two plugins for one tool: "+forged+` offers "a", and so does `+filepath.Join(s.dir, "tool-a"), "add", "--yes", forged)
	if _, err := os.Stat(filepath.Join(s.dir, "tool-b")); !os.IsNotExist(err) {
		t.Errorf("a plugin that was refused was copied: %v", err)
	}
	// One that becomes another type when it is added again is a new one: the
	// operator sees what it says now.
	s.must("added tool b", "add", "--yes", s.script("tool-a", "tool", `{"type":"b","version":"1"}`))

	open := s.script("open", "tool", `{"type":"open","version":"1"}`)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	s.refused("is writable by everybody", "add", "--yes", open)
	s.refused("no such file", "add", "--yes", filepath.Join(s.from, "absent"))
	s.refused("needs the path of a plugin", "add")
	s.refused("no such file", "add", "--yes", "--read", "/does/not/exist", forged)
	s.refused(`is everything`, "add", "--yes", "--read", "/", forged)
	s.refused("is not there", "add", "--yes", "--interpreter", "/does/not/exist", forged)
	s.refused(`has the version "1\x1b[2J"`, "add", "--yes", s.script("tool-esc", "tool", `{"type":"esc","version":"1\u001b[2J"}`))
	s.refused(`is of kind "oracle"`, "add", "--yes", s.script("strange", "oracle", `{}`))

	if err := os.Chmod(s.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s.refused("is writable by everybody", "add", "--yes", s.script("tool-c", "tool", `{"type":"c","version":"1"}`))
}

// A link in a plugin's directory does not fetch what is the operator's.
func TestPluginAddOfLinks(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	secret := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(secret, []byte("canary-of-the-operator"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{s.from, s.dir} { // elsewhere, and in the plugins directory already
		plugin := s.script(filepath.Join(from, "tool-x", "plugin"), "tool", `{"type":"x","version":"1"}`)
		if err := os.Symlink(secret, filepath.Join(filepath.Dir(plugin), "data.txt")); err != nil {
			t.Fatal(err)
		}
		s.refused("data.txt is a symbolic link that does not stay in the plugin's directory", "add", "--yes", filepath.Dir(plugin))
	}
	if len(s.lock().Plugins) != 0 {
		t.Error("a plugin with a link out of it is listed")
	}
	inside := s.script("tool-y/plugin", "tool", `{"type":"y","version":"1"}`)
	bin := filepath.Join(filepath.Dir(inside), "node_modules", ".bin")
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.Symlink("../../plugin", filepath.Join(bin, "y"))); err != nil {
		t.Fatal(err)
	}
	s.must("added tool y", "add", "--yes", filepath.Dir(inside))
}

// The operator sees what is not pinned, and each directory that is opened.
func TestPluginAddWithAnEnvironment(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	plugin := s.script("tool-x/plugin", "tool", `{"type":"x","version":"1"}`)
	env := filepath.Join(filepath.Dir(plugin), ".venv")
	text, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	// The interpreter is a shell that only bears the name.
	text = bytes.Replace(text, []byte("#!/bin/sh"), []byte("#!/usr/bin/env python3"), 1)
	if err := errors.Join(os.WriteFile(plugin, text, 0o755), os.MkdirAll(filepath.Join(env, "bin"), 0o755), os.Symlink("/bin/sh", filepath.Join(env, "bin", "python3"))); err != nil {
		t.Fatal(err)
	}
	cfg := filepath.Join(env, "pyvenv.cfg")
	if err := os.WriteFile(cfg, []byte("home = "+s.dir+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.refused("names the home", "add", "--yes", filepath.Dir(plugin))
	if err := os.WriteFile(cfg, []byte("home = /usr/bin\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := s.must("added tool x 1", "add", "--yes", filepath.Dir(plugin))
	for _, want := range []string{"(the virtual environment is trusted, not pinned)", "\nnot pinned: its virtual environment", `may read      "` + env + `"`} {
		if !strings.Contains(out, want) {
			t.Errorf("what is accepted lacks %q:\n%s", want, out)
		}
	}
	if err := os.WriteFile(cfg, []byte("home = "+s.dir+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.lock().Find("tool-x/plugin").Read; !slices.Equal(got, []string{env}) {
		t.Errorf("the list lets it read %q, want %q", got, env)
	}
	if err := errors.Join(os.WriteFile(cfg, nil, 0o644), os.Chmod(cfg, 0o666)); err != nil {
		t.Fatal(err)
	}
	s.script("tool-x/more", "tool", "{}")
	s.refused("pyvenv.cfg\" is writable by everybody", "add", "--yes", filepath.Dir(plugin))
}

// One bad plugin does not keep the others out, and those that are gone leave the
// list: so `make build` uses it.
func TestPluginAddOfAWholeDirectory(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	for _, n := range []string{"a", "b"} {
		s.script(filepath.Join(s.dir, "tool-"+n), "tool", `{"type":"`+n+`","version":"1"}`)
	}
	all := func() []string {
		paths, err := filepath.Glob(filepath.Join(s.dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return append([]string{"add", "--yes", "--quiet"}, paths...)
	}
	if out := s.must("added tool a", all()...); strings.Contains(out, "serves") || !strings.Contains(out, "added tool b") {
		t.Errorf("--quiet shows more than what changed:\n%s", out)
	}
	before, err := os.ReadFile(filepath.Join(s.dir, pluginlock.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if out := s.must("", all()...); out != "" {
		t.Errorf("a second time it says %q, want nothing", out)
	}
	after, _ := os.ReadFile(filepath.Join(s.dir, pluginlock.FileName))
	if !bytes.Equal(before, after) {
		t.Error("a second time the list is another one")
	}
	if err := os.Remove(filepath.Join(s.dir, "tool-a")); err != nil {
		t.Fatal(err)
	}
	s.script(filepath.Join(s.dir, "bad"), "oracle", `{}`)
	s.script(filepath.Join(s.dir, "tool-c"), "tool", `{"type":"c","version":"1"}`)
	code, out := s.run(all()...)
	if code != 1 || !strings.Contains(out, "removed tool-a from the list: it is gone") || !strings.Contains(out, "added tool c") || !strings.Contains(out, "oracle") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	out = s.listOf(t)
	for _, want := range []string{"bad", "not added: sallyport plugin add " + filepath.Join(s.dir, "bad") + " --to " + s.dir} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "tool-c"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out := s.listOf(t); !strings.Contains(out, "tool-c was changed since it was added; compare it with what you added, and add the original again to put it back. Only if the change is yours: sallyport plugin add "+filepath.Join(s.dir, "tool-c")+" --to "+s.dir+". Then: sallyport reload --config ") {
		t.Errorf("the list does not say that a plugin was changed:\n%s", out)
	}
}

// One type in two directories of one gateway is refused too.
func TestPluginAddLooksIntoAllDirectories(t *testing.T) {
	t.Parallel()
	first, second := newShelf(t), newShelf(t)
	path := first.script("tool-a", "tool", `{"type":"a","version":"1"}`)
	first.must("added tool a", "add", "--yes", path)
	file := second.config(t, first.dir)
	code, _, errs := command(t, "plugin", "add", "--yes", "-c", file, path)
	if code != 1 || !strings.Contains(errs, "two plugins for one tool") || !strings.Contains(errs, filepath.Join(first.dir, "tool-a")) {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

// Plugins of others go below the data directory of the configuration, which is
// theirs alone: the directories that it names are left as they are, and other
// configurations with these see nothing.
func TestPluginAddHasAPlaceOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	bundled := s.script(filepath.Join(s.dir, "tool-bundled"), "tool", `{"type":"bundled","version":"1"}`)
	path := s.script("tool-a", "tool", `{"type":"a","version":"1"}`)
	file := s.config(t)
	data := filepath.Join(filepath.Dir(file), "sallyport-data")
	own := filepath.Join(data, "plugins")
	ok := func(want string, args ...string) string {
		t.Helper()
		code, out, errs := command(t, slices.Concat([]string{"plugin"}, args, []string{"-c", file})...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, want 0 and %q:\n%s%s", args, code, want, out, errs)
		}
		return out
	}
	if code, _, errs := command(t, "plugin", "add", "--yes", "-c", file, filepath.Join(s.from, "gone")); code != 1 || !strings.Contains(errs, "no such file") {
		t.Errorf("a plugin that is not there: exit code %d, %s", code, errs)
	}
	if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused command has made the data directory: %v", err)
	}
	if out := ok("added tool a 1", "add", "--yes", path); !strings.Contains(out, "after `sallyport reload --config "+file+"`") {
		t.Errorf("it does not say when a gateway uses it:\n%s", out)
	}
	ok("added tool bundled 1", "add", "--yes", bundled)
	ok("nothing has changed", "add", "--yes", bundled)
	ok("nothing has changed", "add", "--yes", path)
	for dir, want := range map[string]string{own: "plugins.lock tool-a", s.dir: "plugins.lock tool-bundled"} {
		if got := strings.Join(namesIn(t, dir), " "); got != want {
			t.Errorf("%s holds %q, want %q", dir, got, want)
		}
	}
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v", info, err)
	}
	out := ok(filepath.Join(own, "tool-a"), "list")
	if !strings.Contains(out, bundled) || strings.Contains(out, "not added") {
		t.Errorf("the list:\n%s", out)
	}
	ok(filepath.Join(own, "tool-a"), "describe", "a")
	if out := s.listOf(t); strings.Contains(out, "tool-a") || !strings.Contains(out, "bundled") {
		t.Errorf("another configuration has the list\n%s", out)
	}
	named := s.config(t, own) // which names it by itself
	if err := os.Rename(named, file); err != nil {
		t.Fatal(err)
	}
	if out := ok(filepath.Join(own, "tool-a"), "list"); strings.Contains(out, "2 plugins") {
		t.Errorf("the directory counts twice:\n%s", out)
	}
	ok("removed tool a 1 and deleted "+filepath.Join(own, "tool-a"), "remove", "--delete", "a")
	if got := strings.Join(namesIn(t, own), " "); got != "plugins.lock" {
		t.Errorf("after the removal: %q", got)
	}
	// --to says another one.
	code, _, errs := command(t, "plugin", "add", "--yes", "--to", s.dir, path)
	if code != 0 || !slices.Contains(namesIn(t, s.dir), "tool-a") {
		t.Errorf("--to: exit code %d, %s", code, errs)
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// config is a configuration with the shelf's plugins, and more directories.
func (s *shelf) config(t *testing.T, more ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	text := "version: 1\nplugins: [" + strings.Join(append([]string{s.dir}, more...), ", ") + "]\nproviders: {demo: {translator: demo}}\nmodels: {m: {destinations: [{provider: demo, model: demo}]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *shelf) listOf(t *testing.T) string {
	t.Helper()
	code, out, errs := command(t, "plugin", "list", "-c", s.config(t))
	if code != 0 {
		t.Fatalf("plugin list: exit code %d, %s", code, errs)
	}
	return out
}

func TestPluginsAddedAtOnce(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	var wg sync.WaitGroup
	names := strings.Split("abcdefgh", "")
	for _, n := range names {
		path := s.script("tool-"+n, "tool", `{"type":"`+n+`","version":"1"}`)
		wg.Go(func() { s.must("added tool "+n, "add", "--yes", path) })
	}
	wg.Wait()
	if got := len(s.lock().Plugins); got != len(names) {
		t.Errorf("%d plugins are listed, want %d", got, len(names))
	}
}

func TestDeveloped(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, d := range []string{"weather", "tool-news", "provider-acme", "tool-empty"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if d != "tool-empty" {
			if err := os.WriteFile(filepath.Join(d, "main.go"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct{ in, dir, wrong string }{
		{"weather", "weather", ""},
		{"news", "tool-news", ""},
		{"acme", "provider-acme", ""},
		{"empty", ".", ""},
		{"x=weather/main.go", "weather/main.go", ""},
		{"x=", "", "write NAME or NAME=DIR"},
		{"=weather", "", "write NAME or NAME=DIR"},
		{"x=absent", "", "no such file"},
	}
	for _, tt := range tests {
		got, err := developed([]string{tt.in})
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("developed(%q) = %v, %v, want %q", tt.in, got, err, tt.wrong)
			}
		} else if err != nil || len(got) != 1 || got[0].Dir != tt.dir {
			t.Errorf("developed(%q) = %v, %v, want %q", tt.in, got, err, tt.dir)
		}
	}
	if _, err := developed([]string{"weather", "weather=."}); err == nil {
		t.Error("one name twice: no error")
	}
}
