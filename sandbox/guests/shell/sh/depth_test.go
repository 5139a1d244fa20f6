package sh

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// Programs that are nested within reason run; deeper ones end with one line.
func TestNesting(t *testing.T) {
	repeat := func(head, open string, n int, middle, end string) string {
		return head + strings.Repeat(open, n) + middle + strings.Repeat(end, n)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chdir(wd) }) // which awk changes
	for _, tt := range []struct {
		name string
		code func(n int) string
		fine int // levels that run
	}{
		{"subshells", func(n int) string { return repeat("", "( ", n, "echo in", ")") }, 100},
		{"substitutions", func(n int) string { return repeat("echo ", "$(echo ", n, "in", ")") }, 100},
		{"quoted substitutions", func(n int) string { return repeat("echo ", `"$(echo `, n, "in", `)"`) }, 100},
		{"blocks", func(n int) string { return repeat("", "{ ", n, "echo in;", " };") }, 200},
		{"conditions", func(n int) string { return repeat("", "if :; then ", n, "echo in;", " fi;") }, 200},
		{"expansions", func(n int) string { return repeat("echo ", "${a:-", n, "in", "}") }, 200},
		{"arithmetic", func(n int) string { return "echo in " + repeat("$((", "(", n, "1", ")") + ")) >&2" }, 0},
		{"endless function", func(int) string { return "f() { f; }; f" }, 0},
		{"endless subshells", func(int) string { return "f() { (f); }; f" }, 0},
		{"endless substitutions", func(int) string { return "f() { echo $(f); }; f" }, 0},
		{"eval", func(n int) string { return repeat("eval '", "( ", n, "echo in", ")") + "'" }, 100},
		{"script", func(n int) string { return repeat("bash -c '", "( ", n, "echo in", ")") + "'" }, 100},
		{"sourced", func(n int) string { return repeat("echo '", "( ", n, "echo in", ")") + "' > s; . ./s" }, 100},
		{"trap", func(n int) string { return repeat("trap '", "( ", n, "echo in", ")") + "' EXIT" }, 100},
		{"awk", func(n int) string { return repeat("awk 'BEGIN { print ", "(", n, `"in"`, ")") + " }'" }, 100},
		{"jq", func(n int) string { return repeat("jq -rn '", "(", n, `"in"`, ")") + "'" }, 100},
		{"expr", func(n int) string { return repeat("expr ", `\( `, n, "in", ` \)`) }, 100},
		{"find", func(n int) string { return "echo in > in; find in " + repeat("", `\( `, n, "-type f", ` \)`) }, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			s, err := New(t.TempDir(), &out, &errs)
			if err != nil {
				t.Fatal(err)
			}
			if tt.fine > 0 {
				if st := s.Run(context.Background(), tt.code(tt.fine)); st != 0 || out.String() != "in\n" || errs.Len() > 0 {
					t.Errorf("%d levels: exit %d, %q, %.200s", tt.fine, st, out.String(), errs.String())
				}
			}
			out.Reset()
			errs.Reset()
			st := s.Run(context.Background(), tt.code(5000))
			if st == 0 || out.Len() > 0 || !strings.Contains(errs.String(), "nested too deeply") || strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("5000 levels: exit %d, %.100q, %.200q", st, out.String(), errs.String())
			}
			errs.Reset()
			if st := s.Run(context.Background(), "trap - EXIT; echo next"); st != 0 || !strings.HasSuffix(out.String(), "next\n") {
				t.Errorf("the next program: exit %d, %q, %q", st, out.String(), errs.String())
			}
		})
	}
}

// Text is nested only by what is open, whatever else is in it.
func FuzzNested(f *testing.F) {
	f.Add("({[", 400)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = n & 0x7ff
		c := newCall(context.Background(), "x", nil, nil, &bytes.Buffer{}, &bytes.Buffer{})
		open, most := 0, 0
		for _, b := range []byte(strings.Repeat(text, n)) {
			switch {
			case strings.IndexByte("([{", b) >= 0:
				open++
			case strings.IndexByte(")]}", b) >= 0 && open > 0:
				open--
			}
			most = max(most, open)
		}
		if got := nested(c, strings.Repeat(text, n)); got != (most > 1000) {
			t.Errorf("%q %d times: %v, %d open", text, n, got, most)
		}
	})
}
