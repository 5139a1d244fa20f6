package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

func TestApart(t *testing.T) {
	t.Parallel()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(root, "p")
	err = errors.Join(os.MkdirAll(p+"/lib", 0o755), os.MkdirAll(root+"/data", 0o755), os.WriteFile(p+"/file", nil, 0o755),
		os.Symlink(p, root+"/link"), os.Symlink(p+"/lib", root+"/inside"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path, to string
		data     config.Data
		want     string // "" means fine
	}{
		"beside it":              {p, "", config.Data{Dir: root + "/data"}, ""},
		"a longer name":          {p, "", config.Data{Dir: root + "/p-data"}, ""},
		"two dots in a name":     {p, "", config.Data{Dir: root + "/..data"}, ""},
		"the plugin in the data": {root + "/data/plugins/x", "", config.Data{Dir: root + "/data"}, ""},
		"of one file":            {p + "/file", "", config.Data{Dir: p + "/sallyport-data"}, ""},
		"no configuration":       {p, root + "/plugins", config.Data{}, ""},
		"state elsewhere":        {p, "", config.Data{Dir: root + "/data", State: "postgres://x/p"}, ""},
		"in it":                  {p, "", config.Data{Dir: p + "/sallyport-data"}, "data directory " + p + "/sallyport-data lies in the plugin's directory " + p},
		"deep in it":             {p, "", config.Data{Dir: p + "/lib/a/b/c"}, "the gateway's data directory"},
		"it itself":              {p, "", config.Data{Dir: p}, "the gateway's data directory"},
		"above the data":         {root, "", config.Data{Dir: p + "/x"}, "the gateway's data directory"},
		"the plugin by a link":   {root + "/link", "", config.Data{Dir: p + "/x"}, "the gateway's data directory"},
		"the data by a link":     {p, "", config.Data{Dir: root + "/inside/new/data"}, "data directory " + p + "/lib/new/data"},
		"its log":                {p, "", config.Data{Dir: root + "/data", Log: p + "/log"}, "the gateway's log"},
		"its tables":             {p, "", config.Data{Dir: root + "/data", Tables: p + "/t"}, "the gateway's directory of tables"},
		"its database":           {p, "", config.Data{Dir: root + "/data", State: "sqlite:" + p + "/lib/state.db"}, "the gateway's database"},
		"where it is copied to":  {p, p + "/lib", config.Data{}, "the plugins directory " + p + "/lib lies in the plugin's own"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := os.MkdirAll(filepath.Join(root, "data", "plugins", "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			err := apart(tt.path, tt.to, &config.Config{Data: tt.data})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("apart: %v, want %q", err, tt.want)
			}
		})
	}
}

// The data of a gateway does not become part of a plugin, whatever
// configuration is named, and neither before nor after the gateway ran.
func TestPluginAddLeavesTheDataAlone(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	dir := filepath.Dir(s.script("weather/plugin", "tool", `{"type":"weather","version":"1"}`))
	inside := configIn(t, dir, "")
	refused := func(want string, args ...string) {
		t.Helper()
		code, out, errs := command(t, append([]string{"plugin", "add", "--yes", dir}, args...)...)
		if code != 1 || !strings.Contains(errs, want) {
			t.Errorf("add %v: exit code %d, want 1 and %q:\n%s%s", args, code, want, out, errs)
		}
	}
	data := filepath.Join(dir, "sallyport-data")
	refused("move "+inside+" to another directory", "-c", inside)
	if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused command has made the data directory: %v", err)
	}
	defer running(t, inside)()
	if err := os.WriteFile(filepath.Join(data, adminToken), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("the plugin could read all of it", "-c", inside)
	outside := s.config(t)
	refused(data+" is the data directory of a gateway", "-c", outside)
	refused(data+" is the data directory of a gateway", "--to", s.dir)
	if got := strings.Join(namesIn(t, s.dir), " "); got != "" && got != "plugins.lock" {
		t.Errorf("the plugins directory holds %q after refusals", got)
	}
}

// What is added is shown with what its author may have forgotten in it.
func TestPluginAddShowsTheContents(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	dir := filepath.Dir(s.script("weather/plugin", "tool", `{"type":"weather","version":"1"}`))
	for name, size := range map[string]int{".env": 10, ".idea/x": 1, "big/a": 4000, "big/b/c": 4000, "small": 2000} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	out := s.must("(6 files)", "add", "--yes", dir)
	for _, want := range []string{`largest       "big/ 8 KiB", "small 2 KiB", "plugin 1 KiB"`, `hidden        ".env", ".idea/"`} {
		if !regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(want), "  ", " +")).MatchString(out) {
			t.Errorf("what is accepted lacks %q:\n%s", want, out)
		}
	}
}

// Removing takes away what adding has put there, and nothing else.
func TestPluginRemove(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.script(filepath.Join(s.dir, "tool-bundled"), "tool", `{"type":"bundled","version":"1"}`)
	s.must("added tool bundled", "add", "--yes", filepath.Join(s.dir, "tool-bundled"))
	dir := filepath.Dir(s.script("weather/plugin", "tool", `{"type":"weather","version":"1"}`))
	file := s.config(t)
	own := filepath.Join(filepath.Dir(file), "sallyport-data", "plugins")
	do := func(code int, want string, args ...string) string {
		t.Helper()
		got, out, errs := command(t, slices.Concat([]string{"plugin"}, args)...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Errorf("%v: exit code %d, want %d and %q:\n%s%s", args, got, code, want, out, errs)
		}
		return out + errs
	}
	for _, version := range []string{"1", "2"} { // the author changes it between
		s.script("weather/plugin", "tool", `{"type":"weather","version":"`+version+`"}`)
		do(0, "added tool weather "+version, "add", "--yes", "-c", file, dir)
		out := do(0, "removed tool weather "+version+" and deleted its copy "+filepath.Join(own, "weather"), "remove", "weather", "-c", file)
		if !strings.Contains(out, "A gateway that runs uses it until `sallyport reload --config "+file+"`.") {
			t.Errorf("it does not say when a gateway ends it:\n%s", out)
		}
		if got := strings.Join(namesIn(t, own), " "); got != "plugins.lock" {
			t.Errorf("after the removal there is %q", got)
		}
	}
	do(0, "added tool weather 2", "add", "--yes", "-c", file, dir)
	if err := os.WriteFile(filepath.Join(own, "weather", "mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	do(0, "its files are still in "+filepath.Join(own, "weather")+", because "+filepath.Join(own, "weather", "mine")+" was not added", "remove", "weather", "-c", file)
	if _, err := os.Stat(filepath.Join(own, "weather", "mine")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "plugin")); err != nil {
		t.Errorf("the author's own directory: %v", err)
	}

	// What other gateways use too is removed only by the name of its directory;
	// the command that the refusal prints does it.
	out := do(1, "tool bundled 1 is not removed: it lies in "+s.dir+", which other gateways may use too", "remove", "bundled", "-c", file)
	do(1, "is not removed", "remove", "--delete", "bundled", "-c", file)
	if s.lock().Find("tool-bundled") == nil {
		t.Fatal("a refused command has removed it")
	}
	_, remedy, found := strings.Cut(strings.TrimSpace(out), "run: sallyport plugin ")
	if !found {
		t.Fatalf("no command in %q", out)
	}
	do(0, "removed tool bundled 1; its files are still in", strings.Fields(remedy)...)
	if s.lock().Find("tool-bundled") != nil {
		t.Error("the command of the refusal has not removed it")
	}
	if _, err := os.Stat(filepath.Join(s.dir, "tool-bundled")); err != nil {
		t.Errorf("what was not copied is deleted: %v", err)
	}
}

// The path that the README of a new plugin describes, twice: add, serve, change,
// add again, reload, remove, reload.
func TestPluginOfAWorkingGateway(t *testing.T) {
	t.Parallel()
	work, err := os.MkdirTemp("", "sp") // the control socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	s := newShelf(t)
	plugin := s.script(filepath.Join(work, "weather", "plugin"), "tool", `{"type":"weather","version":"1"}`)
	file := configIn(t, work, "listen: 127.0.0.1:0\n")
	copied := filepath.Join(work, "sallyport-data", "plugins", "weather", "plugin")
	do := func(args ...string) string {
		t.Helper()
		code, out, errs := command(t, append(args, "-c", file)...)
		if code != 0 {
			t.Errorf("%v: exit code %d\n%s%s", args, code, out, errs)
		}
		return out
	}
	want := func(out, part string, there bool) {
		t.Helper()
		if strings.Contains(out, part) != there {
			t.Errorf("%q is there: %t, want %t, in\n%s", part, !there, there, out)
		}
	}
	do("plugin", "add", "--yes", filepath.Dir(plugin))
	gatewaytest.Serve(t, file)
	want(do("plugin", "list"), copied[:len(copied)-len("/plugin")], true)
	for _, version := range []string{"2", "3"} {
		s.script(plugin, "tool", `{"type":"weather","version":"`+version+`"}`)
		want(do("plugin", "add", "--yes", filepath.Dir(plugin)), "added tool weather "+version, true)
		want(do("plugin", "list"), "weather: version "+version+" was added since", true)
		do("reload")
		want(do("plugin", "list"), "was added since", false)
	}

	// A file that somebody changes is told by list, reload and doctor alike.
	text, err := os.ReadFile(copied)
	if err := errors.Join(err, os.WriteFile(copied, append(text, "# more\n"...), 0o755)); err != nil {
		t.Fatal(err)
	}
	changed := copied + " was changed since it was added; compare it with what you added"
	then := "Then: sallyport reload --config " + file
	for _, args := range [][]string{{"plugin", "list"}, {"reload"}, {"doctor"}, {"plugin", "list"}} {
		out := do(args...)
		want(out, changed, true)
		want(out, then, true)
		if n := strings.Count(out, changed); n != 1 {
			t.Errorf("%v says it %d times:\n%s", args, n, out)
		}
	}
	want(do("plugin", "add", "--yes", filepath.Dir(plugin)), "added tool weather 3", true) // the original again
	want(do("reload"), "changed", false)

	want(do("plugin", "remove", "weather"), "deleted its copy", true)
	want(do("plugin", "list"), "weather: was removed since the gateway read its list", true)
	do("reload")
	want(do("plugin", "list"), "weather", false)
}
