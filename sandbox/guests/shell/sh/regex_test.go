package sh

import (
	"context"
	"io"
	"os"
	"regexp"
	"testing"
)

func TestTranslate(t *testing.T) {
	for _, tc := range []struct {
		pattern, want string
		ere           bool
	}{
		{`a\(b\)c`, `a(b)c`, false},
		{`a(b)c`, `a\(b\)c`, false},
		{`a+b?`, `a\+b\?`, false},
		{`a\+b\?`, `a+b?`, false},
		{`a\{2,3\}`, `a{2,3}`, false},
		{`a{2}`, `a\{2\}`, false},
		{`a\{,3\}`, `a{0,3}`, false},
		{`*a`, `\*a`, false},
		{`\(*a\)`, `(\*a)`, false},
		{`a^b$c`, `a\^b\$c`, false},
		{`^a$`, `^a$`, false},
		{`a\|b`, `a|b`, false},
		{`\<w\>`, `\bw\b`, false},
		{`a\.b`, `a\.b`, false},
		{`a\/b`, `a/b`, false},
		{`[a-z]`, `[a-z]`, false},
		{`[]a]`, `[\]a]`, false},
		{`[^]a]`, `[^\]a]`, false},
		{`[[:alpha:]_]`, `[[:alpha:]_]`, false},
		{`[.]`, `[.]`, false},
		{`[a\]`, `[a\\]`, false},
		{`[\t]`, `[\t]`, false},
		{`[[]`, `[\[]`, false},
		{`(a|b)+`, `(a|b)+`, true},
		{`a{2,}`, `a{2,}`, true},
		{`a{`, `a\{`, true},
		{`{a}`, `\{a\}`, true},
		{`\$5`, `\$5`, true},
		{`\w\d`, `\w\d`, true},
	} {
		got, err := translate(tc.pattern, tc.ere)
		if err != nil {
			t.Errorf("%q: %v", tc.pattern, err)
			continue
		}
		if _, err := regexp.Compile(got); err != nil {
			t.Errorf("%q: %v", tc.pattern, err)
		}
		if got != tc.want {
			t.Errorf("translate(%q) = %q, want %q", tc.pattern, got, tc.want)
		}
	}
	for _, bad := range []string{`\(a\)\1`, `a\`, `[a`, `[[:alpha]`, `a\{2`} {
		if got, err := translate(bad, false); err == nil {
			t.Errorf("translate(%q) = %q, want an error", bad, got)
		}
	}
}

// A pattern is refused or compiles; nothing panics.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{`a\(b\)*`, `[[:alpha:]]`, `x{2,3}`, `\<`, `[^]]`, `a\{1,`, "\\é"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, pattern string, ere bool) {
		kind := basic
		if ere {
			kind = extended
		}
		if re, err := compile(pattern, kind, ""); err == nil {
			re.MatchString(pattern)
		}
	})
}

// A script of sed is refused or runs to its end on a line of input.
func FuzzSed(f *testing.F) {
	for _, s := range []string{`s/a/b/g`, `2,4{s/x/\U&/;p}`, `/a/,/b/!d`, `y/ab/ba/`, `$!N;P;D`, `a\`, `1~2q5`, `0,/x/s//&&/`, "i\\\ntext", `:a;s/x//;ta`} {
		f.Add(s, "a x b")
	}
	f.Fuzz(func(t *testing.T, script, input string) {
		prog, labels, err := parseSed(script, false)
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // a loop ends at its first look at the context
		c := newCall(ctx, "sed", nil, nil, io.Discard, io.Discard)
		c.dir = t.TempDir()
		e := &editor{c: c, prog: prog, labels: labels, out: io.Discard, files: map[string]*os.File{}, active: make([]bool, len(prog)), until: make([]int, len(prog))}
		defer func() {
			for _, f := range e.files {
				f.Close()
			}
		}()
		for _, p := range prog {
			if p.name == 'w' || p.name == 'r' || p.text != "" && p.name == 's' {
				return // names of files outside the test's directory
			}
		}
		e.run(func(yield func([]byte) bool) {
			for range 3 {
				if !yield([]byte(input)) {
					return
				}
			}
		})
	})
}
