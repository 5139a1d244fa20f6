package session

import (
	"fmt"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
)

// TestAllEnginesAgree runs one corpus compiled and interpreted, on mapped and on
// copied memory.
func TestAllEnginesAgree(t *testing.T) {
	corpus := []string{
		"print hello\nset a 1\nget a\nget born",
		"count 20000",
		"mkdir /tmp/d\nfill /tmp/d/a text\nread /tmp/d/a\nmv /tmp/d/a /tmp/b\nls /tmp\nls /tmp/d",
		"read /data/main.sales.reviews.csv\nread /lib/toy.txt\nls /",
		"dirty 300\nprint ok",
		"nonsense",
		"write /data/x 1",
		"socket",
		"get a\nls /tmp",
		"exit 7",
		"get a\nls /tmp",
		"alloc 100",
		"recurse",
		"print still here",
	}
	setup := Setup{
		Tables: []Table{{Name: "main.sales.reviews", CSV: []byte("a,b\n1,2\n")}},
		Limits: Limits{Memory: 32 << 20, Wall: ever, CPU: ever},
	}
	only := []string{Python}
	var want []string
	for _, o := range []engine.Options{
		{}, {Copy: true, Only: only}, {Interpret: true, Copy: true, Only: only},
	} {
		s := open(t, load(t, o), setup)
		for i, code := range corpus {
			res := try(t, s, Python, code)
			got := fmt.Sprintf("%q exit %d killed %q files %v", res.Stdout, res.Exit, res.Killed, res.Files)
			if res.Killed == "" {
				got += fmt.Sprintf(" stderr %q", res.Stderr) // a trap's report differs
			}
			if len(want) <= i {
				want = append(want, got)
			}
			if got != want[i] {
				t.Errorf("%+v: %q\n got %s\nwant %s", o, code, got, want[i])
			}
		}
	}
	for i, code := range corpus {
		t.Logf("%.40q: %.120s", code, want[i])
	}
}
