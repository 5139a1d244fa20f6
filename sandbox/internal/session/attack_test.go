package session

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
)

// A minute is for ever: a test that reaches it has failed.
const ever = time.Minute

func TestEndlessProgramsEnd(t *testing.T) {
	e := load(t, engine.Options{})
	for _, tt := range []struct {
		code     string
		language string
		wall     time.Duration // of this program; the others have a minute
		limits   Limits
		killed   string
		stopped  string
		exit     int
	}{
		{code: "spin", language: Python, limits: Limits{Grace: ever}, wall: 50 * time.Millisecond, stopped: "time", exit: 1},
		{code: "spin", language: Python, limits: Limits{CPU: 200 * time.Millisecond, Grace: ever}, stopped: "cpu", exit: 1},
		{code: "deaf", language: Python, limits: Limits{Grace: 50 * time.Millisecond}, wall: 50 * time.Millisecond, killed: "time", stopped: "time", exit: 137},
		{code: "deaf", language: Python, limits: Limits{CPU: 200 * time.Millisecond, Grace: 50 * time.Millisecond}, killed: "cpu", stopped: "cpu", exit: 137},
		{code: "spin", language: Shell, wall: 50 * time.Millisecond, killed: "time", stopped: "time", exit: 137},
		{code: "copy", language: Python, limits: Limits{Grace: 50 * time.Millisecond}, wall: 50 * time.Millisecond, killed: "time", stopped: "time", exit: 137},
		{code: "random", language: Python, limits: Limits{Grace: 50 * time.Millisecond}, wall: 50 * time.Millisecond, killed: "time", stopped: "time", exit: 137},
		{code: "calls", language: Python, limits: Limits{Grace: 50 * time.Millisecond}, wall: 50 * time.Millisecond, killed: "time", stopped: "time", exit: 137},
		{code: "sleep 3600000", language: Python, limits: Limits{Grace: ever}, wall: 50 * time.Millisecond, stopped: "time", exit: 1},
		{code: "sleep 3600000", language: Shell, wall: 50 * time.Millisecond, killed: "time", stopped: "time", exit: 137},
		{code: "recurse", language: Python, limits: Limits{CPU: ever}, killed: "crash", exit: 137},
		{code: "alloc 300", language: Python, limits: Limits{CPU: ever}, killed: "memory", exit: 137},
		{code: "panic", language: Python, killed: "crash", exit: 137},
		{code: "exit 3", language: Python, killed: "exit", exit: 3},
		{code: "fault", language: Python, killed: "crash", exit: 137},
	} {
		t.Run(fmt.Sprint(tt.code, " in ", tt.language, ", ", tt.killed, tt.stopped), func(t *testing.T) {
			tt.limits.Wall = ever
			s := open(t, e, Setup{Limits: tt.limits})
			try(t, s, tt.language, "set a kept\nfill /tmp/f kept")
			res, err := s.Exec(context.Background(), Program{Language: tt.language, Code: tt.code, Wall: tt.wall})
			if err != nil {
				t.Fatal(err)
			}
			if res.Killed != tt.killed || res.Interrupted != tt.stopped || res.Exit != tt.exit {
				t.Errorf("killed %q, interrupted %q, exit %d; want %q, %q, %d\n%s", res.Killed, res.Interrupted, res.Exit, tt.killed, tt.stopped, tt.exit, res.Stderr)
			}
			want := "kept\n4 kept\n"
			if tt.killed != "" {
				want = "\n4 kept\n" // the variable is gone, the file is not
			}
			if res := try(t, s, tt.language, "get a\nread /tmp/f"); res.Stdout != want {
				t.Errorf("after it: %q, want %q", res.Stdout, want)
			}
		})
	}
}

func TestOutputIsCappedAndKeptApart(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{Limits: Limits{Output: 1000}})
	res := try(t, s, Python, "flood 2000000")
	if len(res.Stdout) != 1000 || len(res.Stderr) != 1000 || !res.Truncated || res.Exit != 0 {
		t.Errorf("stdout %d, stderr %d, truncated %v, exit %d", len(res.Stdout), len(res.Stderr), res.Truncated, res.Exit)
	}
	if res := try(t, s, Python, "print again"); res.Stdout != "again\n" || res.Truncated {
		t.Errorf("next program: %+v", res)
	}
}

func TestNothingOfTheHostIsThere(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{Tables: []Table{{Name: "main.sales.reviews", CSV: []byte("a\n1\n")}}})
	for _, tt := range []struct{ code, stdout, stderr string }{
		{code: "env", stdout: "0 0\n"},
		{code: "stdin", stdout: "0 EOF\n"},
		{code: "ls /", stdout: "data\nlib\ntmp\n"},
		{code: "ls /lib", stdout: "toy.txt\n"},
		{code: "ls /data", stdout: "main.sales.reviews.csv\n"},
		{code: "ls /tmp", stdout: ""},
		{code: "read /../../../lib/toy.txt", stdout: "3 toy\n"},
		{code: "read /etc/passwd", stderr: "No such file"},
		{code: "read /tmp/../../../../etc/passwd", stderr: "No such file"},
		{code: "read /proc/self/environ", stderr: "No such file"},
		{code: "read /dev/mem", stderr: "No such file"},
		{code: "write /data/x 1", stderr: "Read-only"},
		{code: "write /data/main.sales.reviews.csv 1", stderr: "Read-only"},
		{code: "write /lib/toy.txt 1", stderr: "Read-only"},
		{code: "write /x 1", stderr: "Read-only"},
		{code: "mkdir /x", stderr: "Read-only"},
		{code: "rm /data/main.sales.reviews.csv", stderr: "Read-only"},
		{code: "rm /tmp", stderr: ""},
		{code: "mv /data/main.sales.reviews.csv /tmp/x", stderr: "Read-only"},
		{code: "mv /data /tmp/x", stderr: "Read-only"},
		{code: "symlink /etc/passwd /tmp/x", stderr: "not implemented"},
		{code: "ln /lib/toy.txt /tmp/x", stderr: "not implemented"},
		{code: "socket", stderr: "not implemented"},
		{code: "ask for something", stderr: "refused"},
	} {
		res := try(t, s, Python, tt.code)
		if tt.stdout != "" && (res.Stdout != tt.stdout || res.Exit != 0) {
			t.Errorf("%s: %q %q, want %q", tt.code, res.Stdout, res.Stderr, tt.stdout)
		}
		if tt.stderr != "" && (!strings.Contains(strings.ToLower(res.Stderr), strings.ToLower(tt.stderr)) || res.Exit != 1) {
			t.Errorf("%s: %q %q, want an error with %q", tt.code, res.Stdout, res.Stderr, tt.stderr)
		}
	}
	if got := try(t, s, Python, "ls /tmp").Stdout; got != "" {
		t.Errorf("tmp holds %q", got)
	}
}

func TestScratchIsBounded(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{Limits: Limits{Scratch: 1 << 20, Inodes: 20, Files: 10}})
	for _, tt := range []struct{ code, stderr string }{
		{"write /tmp/big 2000000", "No space left"},
		{"rm /tmp/big", ""},
		{"files 1000", "file 20: open /tmp/f20: No space left"},
		{strings.Repeat("rm /tmp/f0\nwrite /tmp/f0 0\n", 50), ""},
		{strings.Repeat("rm /tmp/f0\nmv /tmp/f1 /tmp/f1\nwrite /tmp/f0 0\n", 50), ""},
		{"rm /tmp/f0\nrm /tmp/f1\nopen 1000", "file 10: open /tmp/open: Too many open files"},
		{"closeall", ""},
		{strings.Join(removals(2, 20), "\n"), ""},
		{"write /tmp/big 1000000\nrm /tmp/big\nunlinked 400000", "file 2: write /tmp/gone: No space left"},
		{"write /tmp/big 400000", "No space left"},
		{"closeall\nrm /tmp/gone\nwrite /tmp/big 1000000", ""},
	} {
		res := try(t, s, Python, tt.code)
		if !strings.Contains(res.Stderr, tt.stderr) || (tt.stderr == "") != (res.Exit == 0) {
			t.Errorf("%.40q: exit %d, stderr %q, want %q", tt.code, res.Exit, res.Stderr, tt.stderr)
		}
	}
}

func removals(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("rm /tmp/f%d", i))
	}
	return out
}

func TestKilledGuestsFilesAreClosed(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{Limits: Limits{Scratch: 1 << 20}})
	if res := try(t, s, Python, "unlinked 500000"); !strings.Contains(res.Stderr, "No space left") {
		t.Fatalf("%+v", res)
	}
	try(t, s, Python, "exit 1")
	if res := try(t, s, Python, "write /tmp/x 1000000"); res.Exit != 0 {
		t.Errorf("what the dead guest had open is still charged: %s", res.Stderr)
	}
}

func TestTwoSessionsShareNothing(t *testing.T) {
	e := load(t, engine.Options{})
	a, b := open(t, e, Setup{}), open(t, e, Setup{})
	try(t, a, Python, "set secret x\nfill /tmp/secret x")
	if res := try(t, b, Python, "get secret\nls /tmp"); res.Stdout != "\n" {
		t.Errorf("the other session sees %q", res.Stdout)
	}
	if x, y := try(t, a, Python, "rand").Stdout, try(t, b, Python, "rand").Stdout; x == y {
		t.Errorf("both got the random number %q", x)
	}
}

func TestTableMayBeHiddenFromAProgram(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{Tables: []Table{
		{Name: "main.a.x", CSV: []byte("1")}, {Name: "main.a.y", CSV: []byte("2"), Database: []byte("db")},
	}})
	ls := func(tables []string) string {
		t.Helper()
		res, err := s.Exec(context.Background(), Program{Language: Python, Code: "ls /data", Tables: tables})
		if err != nil {
			t.Fatal(err)
		}
		return res.Stdout
	}
	if got := ls([]string{"main.a.y"}); got != "main.a.y.csv\nmain.a.y.db\n" {
		t.Errorf("one table: %q", got)
	}
	if got := ls([]string{}); got != "" {
		t.Errorf("no table: %q", got)
	}
	if got := ls(nil); got != "main.a.x.csv\nmain.a.y.csv\nmain.a.y.db\n" {
		t.Errorf("all tables: %q", got)
	}
	if _, err := s.Exec(context.Background(), Program{Language: Python, Tables: []string{"main.a.z"}}); err == nil {
		t.Error("a table that is not the session's was accepted")
	}
}

func TestSQLGuestIsLockedAfterItsTablesAreAttached(t *testing.T) {
	e := load(t, engine.Options{})
	s := open(t, e, Setup{Tables: []Table{{Name: "main.a.x", Database: []byte("db")}}})
	if got := try(t, s, Shell, "trusted").Stdout; got != "9\n" {
		t.Errorf("shell: trust is %q", got)
	}
	res := try(t, s, SQL, `sql {"columns":["a","b"],"rows":[[1,"x"],[null,2.5]],"cut":true}`)
	if got := fmt.Sprint(res.Columns, res.Rows, res.Truncated); got != "[a b] [[1 x] [<nil> 2.5]] true" || res.Stdout != "" {
		t.Errorf("rows: %+v", res)
	}
	if res := try(t, s, SQL, "trusted\nnonsense"); res.Stdout != "0\n" {
		t.Errorf("sql: trust is %q", res.Stdout)
	}
	s = open(t, e, Setup{Trusted: true})
	if res := try(t, s, SQL, "trusted\nnonsense"); res.Stdout != "1\n" {
		t.Errorf("trusted sql: trust is %q", res.Stdout)
	}
}

func TestOrdersOfTheHostAreNotForPrograms(t *testing.T) {
	e := load(t, engine.Options{})
	s := open(t, e, Setup{})
	for _, code := range []string{"\x01", "print a\x00b"} {
		if _, err := s.Exec(context.Background(), Program{Language: SQL, Code: code}); err == nil {
			t.Errorf("%q was accepted", code)
		}
	}
}

func TestRowsAreCut(t *testing.T) {
	row := "[" + strings.Repeat(`"0123456789",`, 9) + `"x"]`
	s := open(t, load(t, engine.Options{}), Setup{Limits: Limits{Output: 10_000}})
	answer := `sql {"columns":["a"],"rows":[` + strings.Repeat(row+",", 3000) + row + `]}`
	res := try(t, s, SQL, answer)
	if n := len(res.Rows); !res.Truncated || n < 50 || n > 100 {
		t.Errorf("%d rows, truncated %v: %s", n, res.Truncated, res.Stderr)
	}
}
