// Package golden is the format of the kit's dialogues: what a plugin is asked
// and what it should answer, in *.txtar files that people write, review and
// record. The rules that hold for any dialogue live here too, so that the kit
// in a plugin's own tests (sdk/plugintest), the kit for finished programs
// (sdk/conformance) and the recorder agree.
//
// Dialogues with a provider are files of testdata, those with a front's clients
// files of testdata/front; their sections are listed at plugintest.Golden and
// plugintest.FrontGolden:
//
//	a client's request  →  asked, request              Front, sections client and body
//	request             →  upstream, lost              Turn, sections turn and request
//	reply               →  events                      Turn
//	events              →  reply, byte for byte        Front; what varies is masked
package golden

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Archive is a txtar file: a head in prose, then named sections.
type Archive struct {
	Path     string // "" when it is no file yet
	Head     string
	Sections []Section
}

// Section is a part of an Archive.
type Section struct{ Name, Text string }

// ErrNone is the error of ReadDir for a directory without dialogues.
var ErrNone = errors.New("no *.txtar")

// ReadDir reads every *.txtar in dir. A directory without any gives ErrNone.
func ReadDir(dir string) ([]*Archive, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, fmt.Errorf("dialogues in %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("dialogues in %s: %w", dir, ErrNone)
	}
	var all []*Archive
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("dialogue: %w", err)
		}
		a := Parse(b)
		a.Path = p
		all = append(all, a)
	}
	return all, nil
}

// Parse reads an archive.
func Parse(b []byte) *Archive {
	a := new(Archive)
	into := &a.Head
	for line := range bytes.Lines(b) {
		if name, ok := marker(string(line)); ok {
			a.Sections = append(a.Sections, Section{Name: name})
			into = &a.Sections[len(a.Sections)-1].Text
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

// Name is the file's name without directory and ending.
func (a *Archive) Name() string { return strings.TrimSuffix(filepath.Base(a.Path), ".txtar") }

// Get returns the text of a section, and whether it is there.
func (a *Archive) Get(name string) (string, bool) {
	for _, s := range a.Sections {
		if s.Name == name {
			return s.Text, true
		}
	}
	return "", false
}

// Set gives a section its text, and adds it at the end when it is new. An
// empty text removes it.
func (a *Archive) Set(name, text string) {
	for i := range a.Sections {
		if a.Sections[i].Name == name {
			if text == "" {
				a.Sections = slices.Delete(a.Sections, i, i+1)
			} else {
				a.Sections[i].Text = text
			}
			return
		}
	}
	if text != "" {
		a.Sections = append(a.Sections, Section{name, text})
	}
}

// Arrange puts the sections into an order by their names; others come last.
func (a *Archive) Arrange(order ...string) {
	place := func(s Section) int {
		if i := slices.Index(order, s.Name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(a.Sections, func(x, y Section) int { return place(x) - place(y) })
}

// Bytes is the archive as a file.
func (a *Archive) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(a.Head)
	for _, s := range a.Sections {
		b.WriteString("-- " + s.Name + " --\n" + s.Text)
		if s.Text != "" && !strings.HasSuffix(s.Text, "\n") {
			b.WriteByte('\n') // or the next marker would not begin a line
		}
	}
	return b.Bytes()
}

// Check says what is wrong with an archive whose sections should be among the
// known ones, by their first word.
func (a *Archive) Check(known ...string) []string {
	var wrong []string
	if strings.TrimSpace(a.Head) == "" {
		wrong = append(wrong, "say above the first section what the dialogue shows and why it matters")
	}
	for _, s := range a.Sections {
		first, _, _ := strings.Cut(s.Name, " ")
		if !slices.Contains(known, first) {
			wrong = append(wrong, fmt.Sprintf("unknown section %q; known are %s", s.Name, strings.Join(known, ", ")))
		}
	}
	return wrong
}

// ReadJSON reads the JSON of section i into v. Unknown members are mistakes.
func (a *Archive) ReadJSON(i int, v any) error {
	d := json.NewDecoder(strings.NewReader(a.Sections[i].Text))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: section %s: %w", a.Path, a.Sections[i].Name, err)
	}
	return nil
}

// Failure is how a dialogue tells that a step ended in an error.
type Failure struct {
	Error *apierror.Error `json:"error"`
}

// OrError is v, or the Failure that err is.
func OrError(v any, err error) any {
	if err != nil {
		return Failure{apierror.From(err)}
	}
	return v
}

// Pretty writes v for people to review: indented, with < and > as they are.
func Pretty(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return buf.Bytes(), err
}

// Canonical gives JSON a form that equal values share; numbers stay exact.
func Canonical(b []byte) (string, error) {
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

// Same reports whether v is what section i says, as JSON, and gives v as text.
func (a *Archive) Same(i int, v any) (same bool, got string, err error) {
	text, err := Pretty(v)
	if err != nil {
		return false, "", fmt.Errorf("%s: section %s: %w", a.Path, a.Sections[i].Name, err)
	}
	want, err := Canonical([]byte(a.Sections[i].Text))
	if err != nil {
		return false, string(text), fmt.Errorf("%s: section %s is no JSON: %w", a.Path, a.Sections[i].Name, err)
	}
	c, err := Canonical(text)
	return err == nil && c == want, string(text), err
}
