// Package dialogue reads what a test says to a guest and what it expects back.
//
// A txtar archive holds one dialogue a file, and each dialogue is one session:
//
//	-- name --
//	$ a program
//	> its second line
//	what it writes to stdout
//	!what it writes to stderr contains this text
//	[3]
//
// The last line is the exit status when it is not 0. A line that ends in ⏎ has
// no newline at its end.
package dialogue

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// A Dialogue is the programs of one session.
type Dialogue struct {
	Name  string
	Steps []Step
}

// A Step is one program and what is expected of it.
type Step struct {
	Code string
	Want Answer
}

// An Answer is what a program wrote and its exit status. In an expected one
// Stderr is a part of it, and "" means that there is none.
type Answer struct {
	Stdout, Stderr string
	Exit           int
}

// open marks the end of an output that does not end with a newline.
const open = "⏎"

// Read reads the archive of that name.
func Read(tb testing.TB, name string) []Dialogue {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	var all []Dialogue
	for _, f := range txtar.Parse(b).Files {
		d := Dialogue{Name: f.Name}
		program := false // the last line was one of a program
		for l := range strings.Lines(string(f.Data)) {
			text := strings.TrimSuffix(l, "\n")
			if code, ok := strings.CutPrefix(text, "$ "); ok {
				d.Steps = append(d.Steps, Step{Code: code})
				program = true
				continue
			}
			if len(d.Steps) == 0 {
				tb.Fatalf("%s: %s: %q stands before the first program", name, f.Name, text)
			}
			s := &d.Steps[len(d.Steps)-1]
			if more, ok := strings.CutPrefix(text, ">"); ok && program {
				s.Code += "\n" + strings.TrimPrefix(more, " ")
				continue
			}
			program = false
			if err := s.Want.line(text); err != nil {
				tb.Fatalf("%s: %s: %v", name, f.Name, err)
			}
		}
		all = append(all, d)
	}
	return all
}

func (a *Answer) line(text string) error {
	if s, ok := strings.CutPrefix(text, "!"); ok {
		if a.Stderr = s; s == "" {
			return fmt.Errorf("%q says nothing", text)
		}
		return nil
	}
	if n, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(n, "]") {
		if status, err := strconv.Atoi(strings.TrimSuffix(n, "]")); err == nil {
			a.Exit = status
			return nil
		}
	}
	if s, ok := strings.CutSuffix(text, open); ok {
		a.Stdout += s
	} else {
		a.Stdout += text + "\n"
	}
	return nil
}

// Check runs the steps of d with run, in order.
func (d Dialogue) Check(t *testing.T, run func(code string) Answer) {
	t.Helper()
	for _, s := range d.Steps {
		got := run(s.Code)
		if got.Stdout != s.Want.Stdout || got.Exit != s.Want.Exit || !strings.Contains(got.Stderr, s.Want.Stderr) || (s.Want.Stderr == "" && got.Stderr != "") {
			t.Errorf("$ %s\ngot  stdout %q\nwant stdout %q\ngot  stderr %q exit %d\nwant stderr %q exit %d", s.Code, got.Stdout, s.Want.Stdout, got.Stderr, got.Exit, s.Want.Stderr, s.Want.Exit)
		}
	}
}
