package plugintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
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

// golden is a dialogue whose sections are JSON: some input, some expectation.
type golden struct{ *archive }

// goldens reads the dialogues of dir ("" means testdata). The first word of
// each section must be among the known ones.
func goldens(t testing.TB, dir string, known ...string) []golden {
	t.Helper()
	if dir == "" {
		dir = "testdata"
	}
	var gs []golden
	for _, a := range archives(t, dir) {
		if strings.TrimSpace(a.head) == "" {
			t.Errorf("%s: say above the first section what the dialogue shows and why it matters", a.path)
		}
		for _, s := range a.sections {
			first, _, _ := strings.Cut(s.name, " ")
			if !slices.Contains(known, first) {
				t.Errorf("%s: unknown section %q; known are %s", a.path, s.name, strings.Join(known, ", "))
			}
		}
		gs = append(gs, golden{a})
	}
	return gs
}

// read reads the JSON of section i into v. Unknown members are mistakes.
func (g golden) read(t testing.TB, i int, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(g.sections[i].text))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: section %s: %v", g.path, g.sections[i].name, err)
	}
}

// expect compares what happened with section i, as JSON. With -update it
// writes the section instead.
func (g golden) expect(t testing.TB, i int, got any) {
	t.Helper()
	text, err := pretty(got)
	if err != nil {
		t.Fatalf("%s: section %s: %v", g.path, g.sections[i].name, err)
	}
	if *update {
		g.sections[i].text = string(text)
		return
	}
	want, err := canonical([]byte(g.sections[i].text))
	if err != nil {
		t.Errorf("%s: section %s is no JSON: %v; got\n%s", g.path, g.sections[i].name, err, text)
		return
	}
	if c, err := canonical(text); err != nil || c != want {
		t.Errorf("%s: section %s: got\n%s\nwant\n%s", g.path, g.sections[i].name, text, g.sections[i].text)
	}
}

// finish writes the file when expectations were rewritten.
func (g golden) finish(t testing.TB) {
	t.Helper()
	if tt, ok := t.(*testing.T); ok {
		g.save(tt)
	}
}

// failure is how a golden file tells that a step ended in an error.
type failure struct {
	Error *apierror.Error `json:"error"`
}

// orError is v, or the failure that err is.
func orError(v any, err error) any {
	if err != nil {
		return failure{apierror.From(err)}
	}
	return v
}

// pretty writes v for people to review: indented, with < and > as they are.
func pretty(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return buf.Bytes(), err
}

// canonical gives JSON a form that equal values share; numbers stay exact.
func canonical(b []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	if d.More() {
		return "", fmt.Errorf("something follows the JSON value")
	}
	out, err := json.Marshal(v)
	return string(out), err
}
