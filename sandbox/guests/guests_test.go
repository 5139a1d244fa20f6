package guests_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/dialogue"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

// loaded is the engine with the guests under test.
var loaded *engine.Engine

func TestMain(m *testing.M) {
	os.Exit(guesttest.Run(m, &loaded))
}

func open(t *testing.T, s session.Setup) *session.Session {
	t.Helper()
	o, err := session.Open(loaded, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

func exec(t *testing.T, s *session.Session, language, code string) session.Result {
	t.Helper()
	r, err := s.Exec(context.Background(), session.Program{Language: language, Code: code})
	if err != nil {
		t.Fatalf("%s: %q: %v", language, code, err)
	}
	return r
}

// The shell in the guest says what the shell outside says.
func TestShell(t *testing.T) {
	for _, name := range []string{"testdata/shell.txtar", "testdata/guest.txtar"} {
		for _, d := range dialogue.Read(t, name) {
			t.Run(d.Name, func(t *testing.T) {
				s := open(t, session.Setup{Tables: tables(t)})
				d.Check(t, func(code string) dialogue.Answer {
					r := exec(t, s, session.Shell, code)
					if r.Killed != "" {
						t.Errorf("killed: %s\n%s", r.Killed, r.Stderr)
						s = open(t, session.Setup{Tables: tables(t)})
					}
					return dialogue.Answer{Stdout: r.Stdout, Stderr: r.Stderr, Exit: r.Exit}
				})
			})
		}
	}
}

func TestSQL(t *testing.T) {
	for _, d := range dialogue.Read(t, "testdata/sql.txtar") {
		t.Run(d.Name, func(t *testing.T) {
			s := open(t, session.Setup{Tables: tables(t)})
			d.Check(t, func(code string) dialogue.Answer {
				r := exec(t, s, session.SQL, code)
				if r.Killed != "" {
					t.Errorf("killed: %s\n%s", r.Killed, r.Stderr)
				}
				return dialogue.Answer{Stdout: grid(t, r), Stderr: r.Stderr, Exit: r.Exit}
			})
		})
	}
}

// grid writes a result with a line a row.
func grid(t *testing.T, r session.Result) string {
	t.Helper()
	if r.Columns == nil {
		return r.Stdout
	}
	var b strings.Builder
	b.WriteString(strings.Join(r.Columns, "|") + "\n")
	for _, row := range r.Rows {
		for i, v := range row {
			if i > 0 {
				b.WriteByte('|')
			}
			b.WriteString(cell(v))
		}
		b.WriteByte('\n')
	}
	if r.Truncated {
		b.WriteString("(cut)\n")
	}
	return b.String()
}

// The manifest and the notice tell the versions that the guests say they are.
func TestVersionsAreTold(t *testing.T) {
	dir, err := guesttest.Directory()
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	notice, err := os.ReadFile(filepath.Join(dir, "NOTICE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ work, language, code string }{
		{"SQLite", session.SQL, "SELECT sqlite_version() AS v"},
		{"SQLite", session.Python, "import sqlite3; print(sqlite3.sqlite_version)"},
		{"CPython", session.Python, "import platform; print(platform.python_version())"},
		{"zlib", session.Python, "import zlib; print(zlib.ZLIB_RUNTIME_VERSION)"},
	} {
		r := exec(t, open(t, session.Setup{}), tt.language, tt.code)
		says := strings.TrimSpace(r.Stdout)
		if len(r.Rows) == 1 {
			says, _ = r.Rows[0][0].(string)
		}
		g := m.Guests[slices.IndexFunc(m.Guests, func(e manifest.Entry) bool { return e.Language == tt.language })]
		i := slices.IndexFunc(g.Sources, func(s manifest.Source) bool { return s.Name == tt.work })
		if i < 0 || says == "" || strings.Fields(strings.ReplaceAll(g.Sources[i].Version, ",", " "))[0] != says {
			t.Errorf("%s in %s is %q, told are %+v", tt.work, tt.language, says, g.Sources)
		}
	}
	for _, g := range m.Guests {
		for _, s := range g.Sources {
			if !strings.Contains(string(notice), "\n## "+s.Name+" "+s.Version+"\n\nLicence: "+s.Licence+"\n") {
				t.Errorf("NOTICE has no section on %s %s", s.Name, s.Version)
			}
		}
	}
}
