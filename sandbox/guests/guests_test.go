package guests_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/dialogue"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

// loaded is the engine with the guests under test.
var loaded *engine.Engine

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := guesttest.Directory()
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	cache, err := guesttest.Compiled()
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	ctx := context.Background()
	if loaded, err = engine.Load(ctx, dir, engine.Options{Cache: cache}); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	defer loaded.Close(ctx)
	return m.Run()
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
