package plugintest

import (
	"testing"
)

// run makes f a subtest where there are subtests. Elsewhere a Fatal in f ends
// f and nothing more, as it would a subtest.
func run(t testing.TB, name string, f func(t testing.TB)) {
	t.Helper()
	if tt, ok := t.(*testing.T); ok {
		tt.Run(name, func(t *testing.T) { f(t) })
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(t)
	}()
	<-done
}

// goldens reads the dialogues of dir ("" means testdata). The first word of
// each section must be among the known ones.
func goldens(t testing.TB, dir string, known ...string) []archive {
	t.Helper()
	if dir == "" {
		dir = "testdata"
	}
	all := archives(t, dir)
	for _, a := range all {
		for _, wrong := range a.Check(known...) {
			t.Errorf("%s: %s", a.Path, wrong)
		}
	}
	return all
}

// read reads the JSON of section i into v. Unknown members are mistakes.
func (a archive) read(t testing.TB, i int, v any) {
	t.Helper()
	if err := a.ReadJSON(i, v); err != nil {
		t.Fatal(err)
	}
}

// expect compares what happened with section i, as JSON. With -update it
// writes the section instead.
func (a archive) expect(t testing.TB, i int, got any) {
	t.Helper()
	same, text, err := a.Same(i, got)
	switch {
	case *update && text != "":
		a.Sections[i].Text = text
	case err != nil:
		t.Errorf("%v; got\n%s", err, text)
	case !same:
		t.Errorf("%s: section %s: got\n%s\nwant\n%s", a.Path, a.Sections[i].Name, text, a.Sections[i].Text)
	}
}

// finish writes the file when expectations were rewritten.
func (a archive) finish(t testing.TB) {
	t.Helper()
	if tt, ok := t.(*testing.T); ok {
		a.save(tt)
	}
}
