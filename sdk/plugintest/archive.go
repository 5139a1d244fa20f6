package plugintest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update makes the golden tests write what they got into their files instead
// of comparing: go test ./plugins/provider-openai -update. Review the diff.
var update = flag.Bool("update", false, "rewrite golden files with what the plugin gives")

// archive is a txtar file: a head in prose, then named sections.
type archive struct {
	path     string
	head     string
	sections []section
}

type section struct{ name, text string }

// archives reads every *.txtar in dir.
func archives(t testing.TB, dir string) []*archive {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no *.txtar in %s (%v)", dir, err)
	}
	var all []*archive
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		a := parseArchive(b)
		a.path = p
		all = append(all, a)
	}
	return all
}

func (a *archive) name() string { return strings.TrimSuffix(filepath.Base(a.path), ".txtar") }

func parseArchive(b []byte) *archive {
	a := new(archive)
	into := &a.head
	for line := range bytes.Lines(b) {
		if name, ok := marker(string(line)); ok {
			a.sections = append(a.sections, section{name: name})
			into = &a.sections[len(a.sections)-1].text
			continue
		}
		*into += string(line)
	}
	return a
}

// marker reads a line such as "-- request --".
func marker(line string) (string, bool) {
	name, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "-- ")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, " --")
	return strings.TrimSpace(name), ok && name != ""
}

// get returns the text of a section, and whether it is there.
func (a *archive) get(name string) (string, bool) {
	for _, s := range a.sections {
		if s.name == name {
			return s.text, true
		}
	}
	return "", false
}

// want compares got with a section, or writes it there under -update. An empty
// got wants no section.
func (a *archive) want(t *testing.T, name, got string) {
	t.Helper()
	want, ok := a.get(name)
	if got == want && (ok || got == "") {
		return
	}
	if *update {
		a.set(name, got)
		return
	}
	t.Errorf("%s: section %q is\n%s\nwant\n%s", a.path, name, got, want)
}

func (a *archive) set(name, text string) {
	for i := range a.sections {
		if a.sections[i].name == name {
			if text == "" {
				a.sections = append(a.sections[:i], a.sections[i+1:]...)
			} else {
				a.sections[i].text = text
			}
			return
		}
	}
	if text != "" {
		a.sections = append(a.sections, section{name, text})
	}
}

// save writes the archive back under -update.
func (a *archive) save(t *testing.T) {
	t.Helper()
	if !*update {
		return
	}
	var b strings.Builder
	b.WriteString(a.head)
	for _, s := range a.sections {
		b.WriteString("-- " + s.name + " --\n" + s.text)
	}
	if err := os.WriteFile(a.path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
