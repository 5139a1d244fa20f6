package pluginlock

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var sumA = strings.Repeat("a", 64)

func entry(main string, files ...string) Plugin {
	p := Plugin{Main: main, Files: map[string]string{main: sumA}, Description: []byte(`{"kind":"tool"}`), Added: time.Unix(1, 0).UTC()}
	for _, f := range files {
		p.Files[f] = sumA
	}
	return p
}

func TestParse(t *testing.T) {
	t.Parallel()
	one := func(members string) string {
		return `{"version":1,"plugins":[{"description":{},"added":"2026-01-02T03:04:05Z",` + members + `}]}`
	}
	file := `"files":{"tool-x":"` + sumA + `"}`
	many := make([]string, MaxFiles+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"d/%d":"%s"`, i, sumA)
	}
	reads := strings.TrimSuffix(strings.Repeat(`"/r",`, maxReads+1), ",")
	tests := []struct{ in, want string }{ // want "" means accepted
		{`{"version":1,"plugins":[]}`, ""},
		{`{"version":1,"plugins":null}`, ""},
		{one(`"main":"tool-x",` + file), ""},
		{one(`"main":"d/plugin","files":{"d/plugin":"` + sumA + `","d/a/b.py":"` + sumA + `"},"interpreter":["/usr/bin/python3","-u"],"read":["/opt/x"]`), ""},
		{`{"version":2,"plugins":[{"new":"rules"}]}`, "version 2, this program knows version 1"},
		{`{"version":0}`, "which there never was"},
		{`{"plugins":[]}`, "which there never was"},
		{``, "is no list of plugins"},
		{`[]`, "is no list of plugins"},
		{`{"version":1} {}`, "is no list of plugins"},
		{`{"version":1,"plugins":[],"signed":true}`, `unknown field "signed"`},
		{one(`"main":"tool-x","allow":"all",` + file), `unknown field "allow"`},
		{`{"version":1,"version":1}`, `"version" twice`},
		{one(`"main":"tool-x","files":{"tool-x":"` + sumA + `","tool-x":"` + sumA + `"}`), `"tool-x" twice`},
		{`{"version":1,"plugins":[` + strings.Repeat(`{"main":"tool-x","description":{},"added":"2026-01-02T03:04:05Z",`+file+`},`, 1) + `{"main":"tool-x","description":{},"added":"2026-01-02T03:04:05Z",` + file + `}]}`, "listed twice"},
		{one(`"main":"../x","files":{"../x":"` + sumA + `"}`), "neither . nor .. in it"},
		{one(`"main":"/x","files":{"/x":"` + sumA + `"}`), "neither . nor .. in it"},
		{one(`"main":"","files":{"":"` + sumA + `"}`), "neither . nor .. in it"},
		{one(`"main":"a/../b","files":{"a/../b":"` + sumA + `"}`), "neither . nor .. in it"},
		{one(`"main":".hidden","files":{".hidden":"` + sumA + `"}`), "hidden"},
		{one(`"main":"plugins.lock","files":{"plugins.lock":"` + sumA + `"}`), "the list itself"},
		{one(`"main":"d/run","files":{"d/run":"` + sumA + `"}`), "DIRECTORY/plugin"},
		{one(`"main":"d/e/plugin","files":{"d/e/plugin":"` + sumA + `"}`), "DIRECTORY/plugin"},
		{one(`"main":"tool-x","files":{}`), "is not among them"},
		{one(`"main":"tool-x"`), "is not among them"},
		{one(`"main":"tool-x","files":{"tool-x":"` + sumA + `","other":"` + sumA + `"}`), "does not belong"},
		{one(`"main":"d/plugin","files":{"d/plugin":"` + sumA + `","e/x":"` + sumA + `"}`), "does not belong"},
		{one(`"main":"d/plugin","files":{"d/plugin":"` + sumA + `","d/../../x":"` + sumA + `"}`), "neither . nor .. in it"},
		{one(`"main":"d/plugin","files":{"d/plugin":"` + sumA + `","d/plugin/x":"` + sumA + `"}`), "which is a file"},
		{one(`"main":"d/plugin","files":{"d/plugin":"` + sumA + `","d/a\\b":"` + sumA + `"}`), "character"},
		{one(`"main":"d/plugin","files":{"d/plugin":"` + sumA + `","d/a\nb":"` + sumA + `"}`), "character"},
		{one(`"main":"d/plugin","files":{"d/plugin":"` + sumA + `",` + strings.Join(many, ",") + `}`), "at most 10000"},
		{one(`"main":"tool-x","files":{"tool-x":"abc"}`), "no SHA-256"},
		{one(`"main":"tool-x","files":{"tool-x":"` + strings.Repeat("A", 64) + `"}`), "no SHA-256"},
		{one(`"main":"tool-x","interpreter":["python3"],` + file), "must be an absolute path"},
		{one(`"main":"tool-x","interpreter":["/a","\u0000"],` + file), "zero byte"},
		{one(`"main":"tool-x","read":["etc"],` + file), "must be an absolute path"},
		{one(`"main":"tool-x","read":["/etc/../"],` + file), "must be an absolute path"},
		{one(`"main":"tool-x","read":["/"],` + file), "everything"},
		{one(`"main":"tool-x","read":[` + reads + `],` + file), "at most 64"},
		{`{"version":1,"plugins":[{"main":"tool-x","added":"2026-01-02T03:04:05Z",` + file + `}]}`, "description"},
		{`{"version":1,"plugins":[{"main":"tool-x","description":{},"added":"yesterday",` + file + `}]}`, "yesterday"},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.in))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Parse(%.200s) = %v, want %q", tt.in, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"plugins":[{"main":"tool-x","files":{"tool-x":"` + sumA + `"},"description":{"a":[1,{"b":"<"}]},"added":"2026-01-02T03:04:05Z"}]}`))
	f.Add([]byte(`{"version":1,"plugins":[{"main":"d/plugin","files":{"d/plugin":"` + sumA + `"},"interpreter":["/x"],"read":["/y"],"description":{},"added":"2026-01-02T03:04:05Z"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			return
		}
		for _, p := range l.Plugins {
			for name := range p.Files {
				if !filepath.IsLocal(filepath.FromSlash(name)) {
					t.Errorf("the path %q leads out of the directory", name)
				}
			}
		}
		first, err := l.encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Parse(first)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, first)
		}
		if second, err := again.encode(); err != nil || string(second) != string(first) {
			t.Errorf("written again: %v\n%s\nwas\n%s", err, second, first)
		}
	})
}

func TestUpdateIsReadBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if l, err := Read(dir); err != nil || len(l.Plugins) != 0 {
		t.Errorf("Read without a list = %+v, %v", l, err)
	}
	want := entry("d/plugin", "d/lib/x.py")
	want.Interpreter, want.Read = []string{"/usr/bin/python3", "-u"}, []string{"/opt/env"}
	if err := Update(dir, func(l *Lock) error { l.Put(want); l.Put(entry("tool-a")); return nil }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the list has mode %v, %v, want 0644", info.Mode(), err)
	}
	l, err := Read(dir)
	if err != nil || len(l.Plugins) != 2 {
		t.Fatalf("Read = %+v, %v", l, err)
	}
	got := l.Find("d/plugin")
	if got == nil || len(got.Files) != 2 || got.Interpreter[1] != "-u" || got.Read[0] != "/opt/env" || !got.Added.Equal(want.Added) || got.Dir() != "d" {
		t.Errorf("Find = %+v", got)
	}
	if err := Update(dir, func(l *Lock) error { l.Put(entry("d")); return nil }); err != nil { // a file where a directory was
		t.Fatal(err)
	}
	if l, _ = Read(dir); len(l.Plugins) != 2 || l.Find("d/plugin") != nil || l.Find("d") == nil {
		t.Errorf("after Put of the same name: %+v", l)
	}
	if err := Update(dir, func(l *Lock) error { l.Put(entry("../x")); return nil }); err == nil {
		t.Error("an entry that Read would refuse was written")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left in the directory, want the list alone", len(entries))
	}
}

func TestUpdatesAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if err := Update(dir, func(l *Lock) error { l.Put(entry(fmt.Sprintf("tool-%d", i))); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	for range 100 { // and a reader never sees half of one
		if _, err := Read(dir); err != nil {
			t.Errorf("Read meanwhile: %v", err)
		}
	}
	wg.Wait()
	if l, err := Read(dir); err != nil || len(l.Plugins) != 40 {
		t.Errorf("%d plugins are listed, %v, want 40", len(l.Plugins), err)
	}
}

func TestListThatOthersCanWrite(t *testing.T) {
	t.Parallel()
	for mode, want := range map[os.FileMode]string{0o646: "is writable by everybody", 0o666: "is writable by everybody", 0o644: "", 0o600: ""} {
		dir := t.TempDir()
		if err := Update(dir, func(l *Lock) error { l.Put(entry("tool-a")); return nil }); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, FileName), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("mode %04o: %v, want %q", mode, err, want)
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Update(dir, func(*Lock) error { return nil }); err == nil || !strings.Contains(err.Error(), "writable by everybody") {
		t.Errorf("Update in a directory of everybody: %v", err)
	}
}
