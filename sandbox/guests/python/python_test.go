package python_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/dialogue"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

// loaded is the engine with the guest under test.
var loaded *engine.Engine

func TestMain(m *testing.M) {
	os.Exit(guesttest.Run(m, &loaded, "python"))
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

func exec(t *testing.T, s *session.Session, code string, wall time.Duration) session.Result {
	t.Helper()
	r, err := s.Exec(context.Background(), session.Program{Language: session.Python, Code: code, Wall: wall})
	if err != nil {
		t.Fatalf("%q: %v", code, err)
	}
	return r
}

// reviews is a declared table, made by a session of its own.
func reviews(t *testing.T) session.Table {
	t.Helper()
	s := open(t, session.Setup{})
	r := exec(t, s, `
import sqlite3
with sqlite3.connect("t.db") as c:
    c.execute("CREATE TABLE t (id INTEGER, text TEXT)")
    c.executemany("INSERT INTO t VALUES (?, ?)", [(1, "good"), (2, "bad"), (3, None)])
c.close()`, 0)
	if r.Exit != 0 {
		t.Fatalf("make a table: %s", r.Stderr)
	}
	b, err := s.ReadFile(context.Background(), "tmp/t.db")
	if err != nil {
		t.Fatal(err)
	}
	return session.Table{
		Name: "main.sales.reviews", Columns: []session.Column{{Name: "id", Type: "BIGINT"}, {Name: "text", Type: "STRING"}},
		Rows: 3, Database: b, CSV: []byte("id,text\n1,good\n"),
	}
}

func TestDialogues(t *testing.T) {
	for _, d := range dialogue.Read(t, "testdata/python.txtar") {
		t.Run(d.Name, func(t *testing.T) {
			s := open(t, session.Setup{Tables: []session.Table{reviews(t)}})
			d.Check(t, func(code string) dialogue.Answer {
				r := exec(t, s, code, 0)
				return dialogue.Answer{Stdout: r.Stdout, Stderr: r.Stderr, Exit: r.Exit}
			})
		})
	}
}

// A traceback shows the program's own lines and nothing of the driver.
func TestTraceback(t *testing.T) {
	tests := []struct{ name, code, want string }{
		{"raised", "def f():\n    raise ValueError('no')\nf()", `Traceback (most recent call last):
  File "<cell 1>", line 3, in <module>
    f()
    ~^^
  File "<cell 1>", line 2, in f
    raise ValueError('no')
ValueError: no
`},
		{"last expression", "x = 0\n1 / x", `Traceback (most recent call last):
  File "<cell 1>", line 2, in <module>
    1 / x
    ~~^~~
ZeroDivisionError: division by zero
`},
		{"syntax", "1 +* 2", `  File "<cell 1>", line 1
    1 +* 2
       ^
SyntaxError: invalid syntax
`},
		{"awaited", "async def f():\n    raise ValueError\nawait f()", `Traceback (most recent call last):
  File "<cell 1>", line 3, in <module>
    await f()
  File "<cell 1>", line 2, in f
    raise ValueError
ValueError
`},
		{"table", "tables['x']", `Traceback (most recent call last):
  File "<cell 1>", line 1, in <module>
    tables['x']
    ~~~~~~^^^^^
KeyError: "no table 'x'; the declared tables are none: the request declares no table"
`},
		{"cause", "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('b') from e", `Traceback (most recent call last):
  File "<cell 1>", line 2, in <module>
    1 / 0
    ~~^~~
ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "<cell 1>", line 4, in <module>
    raise ValueError('b') from e
ValueError: b
`},
		{"no text", "class E(Exception):\n    def __str__(self):\n        raise TypeError\nraise E", `Traceback (most recent call last):
  File "<cell 1>", line 4, in <module>
    raise E
E: <exception str() failed>
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := exec(t, open(t, session.Setup{}), tt.code, 0)
			if r.Stderr != tt.want || r.Exit != 1 {
				t.Errorf("exit %d, stderr:\n%s\nwant:\n%s", r.Exit, r.Stderr, tt.want)
			}
		})
	}
}

// What runs for too long is asked to stop first, and then the variables stay.
func TestInterrupt(t *testing.T) {
	programs := map[string]string{
		"loop":        "while True: pass",
		"expression":  "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
		"big integer": "3 ** 10 ** 8",
		"sleep":       "import time\ntime.sleep(1000)",
		"asyncio":     "import asyncio\nawait asyncio.sleep(1000)",
	}
	for name, code := range programs {
		t.Run(name, func(t *testing.T) {
			s := open(t, session.Setup{Limits: session.Limits{Grace: time.Minute}})
			exec(t, s, "kept = 1", 0)
			r := exec(t, s, code, 100*time.Millisecond)
			if r.Interrupted != "time" || r.Exit == 0 {
				t.Fatalf("interrupted %q, killed %q, exit %d, stderr %s", r.Interrupted, r.Killed, r.Exit, r.Stderr)
			}
			if r.Killed != "" {
				t.Fatalf("killed: %s", r.Killed)
			}
			if !strings.HasSuffix(r.Stderr, "KeyboardInterrupt\n") {
				t.Errorf("stderr %s", r.Stderr)
			}
			if r := exec(t, s, "kept", 0); r.Stdout != "1\n" {
				t.Errorf("after it: %q, %s", r.Stdout, r.Stderr)
			}
		})
	}
}

// What does not let itself be interrupted is killed, and the next program
// starts afresh.
func TestKill(t *testing.T) {
	programs := map[string]string{
		"swallows the interrupt": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
		"loop in C":              "from itertools import repeat\nsum(repeat(0))",
	}
	for name, code := range programs {
		t.Run(name, func(t *testing.T) {
			s := open(t, session.Setup{Limits: session.Limits{Grace: 10 * time.Millisecond}})
			r := exec(t, s, "gone = 1\n"+code, 50*time.Millisecond)
			if r.Killed != "time" || r.Exit != 137 {
				t.Errorf("killed %q, exit %d, stderr %s", r.Killed, r.Exit, r.Stderr)
			}
			if r := exec(t, s, "gone", 0); !strings.Contains(r.Stderr, "NameError") {
				t.Errorf("after it: %q, %s", r.Stdout, r.Stderr)
			}
		})
	}
}

// What the snapshot froze must not be the same for all sessions.
func TestSessionsDiffer(t *testing.T) {
	const code = "import random, uuid, secrets, tempfile\n(random.random(), uuid.uuid4(), secrets.token_hex(), tempfile.mktemp())"
	a, b := exec(t, open(t, session.Setup{}), code, 0), exec(t, open(t, session.Setup{}), code, 0)
	if a.Exit != 0 || b.Exit != 0 {
		t.Fatalf("stderr %s, %s", a.Stderr, b.Stderr)
	}
	one, two := strings.Split(a.Stdout, ","), strings.Split(b.Stdout, ",")
	for i := range one {
		if one[i] == two[i] {
			t.Errorf("two sessions both have %s", one[i])
		}
	}
}

// Errors of memory and depth are errors of the program.
func TestExhaustion(t *testing.T) {
	tests := []struct{ name, code, want string }{
		{"one object", "bytearray(300 << 20)", "MemoryError"},
		{"many objects", "a = []\nwhile True: a.append(bytearray(1 << 20))", "MemoryError"},
		{"recursion", "def f(): f()\nf()", "RecursionError"},
		{"recursion without a limit", "import sys\nsys.setrecursionlimit(10**9)\nassert sys.getrecursionlimit() == 100_000\ndef f(n): f(n + 1)\nf(0)", "RecursionError: maximum recursion depth exceeded"},
		{"repr", "a = []\nfor _ in range(200000): a = [a]\nrepr(a)", "RecursionError"},
		{"json", "import json\njson.loads('[' * 200000)", "RecursionError"},
		{"parser", "eval('(' * 100000)", "Error"},
		{"attribute", "class A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\nA().b", "RecursionError"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, session.Setup{})
			r := exec(t, s, tt.code, 0)
			if r.Killed != "" || r.Exit != 1 || !strings.Contains(r.Stderr, tt.want) {
				t.Fatalf("killed %q, exit %d, stderr %s", r.Killed, r.Exit, r.Stderr)
			}
			if r := exec(t, s, "a = None; 'still here'", 0); r.Stdout != "'still here'\n" {
				t.Errorf("after it: %q, %s", r.Stdout, r.Stderr)
			}
		})
	}
}
