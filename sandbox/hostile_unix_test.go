//go:build unix

package sandbox

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile are programs that want more than they may have. Each is a principal
// of its own and runs beside the others.
var hostile = []struct {
	language Language
	code     string
}{
	{Python, "while True: pass"},
	{Python, "while True:\n  try:\n    while True: pass\n  except BaseException: pass"},
	{Python, "from itertools import repeat\nsum(repeat(0))"},
	{Python, "import re\nre.match('(a+)+$', 'a'*60 + 'b')"},
	{Python, "x = 10**10**8"},
	{Python, "l = []\nwhile True: l.append(bytearray(1 << 20))"},
	{Python, "while True: print('x' * 100000)"},
	{Python, "n = 0\nwhile True:\n  open(f'/tmp/{n}', 'w').write('x'); n += 1"},
	{Python, "f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(1 << 20))"},
	{Python, "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()"},
	{Python, "import time\nwhile True: time.sleep(0.001)"},
	{Python, "import time\ntime.sleep(10**6)"},
	{Python, "import os\nos._exit(0)"},
	{Python, "import os\nwhile True: os.fork()"},
	{SQL, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"},
	{SQL, "SELECT length(randomblob(1000000000))"},
	{SQL, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x, hex(zeroblob(1000)) FROM c"},
	{Shell, "while true; do :; done"},
	{Shell, "a=x; while true; do a=$a$a; done"},
	{Shell, "f() { f | f & }; f; while true; do echo x >> /tmp/f; done"},
}

func TestHostileProgramsEndAtTheirLimits(t *testing.T) {
	b := box(t, func(c *Config, tune *tuning) {
		real()(t)(c, tune)
		c.Limits = Limits{Wall: 5 * time.Minute, CPU: 300 * time.Millisecond, Grace: 100 * time.Millisecond, Memory: 64 << 20, Scratch: 4 << 20, Inodes: 100, Output: 16 << 10, Queue: 100}
	})
	defer guard(t, b)()
	run := func(s *Session, l Language, code string, wall time.Duration) Result {
		r, err := s.Exec(t.Context(), Program{Language: l, Code: code, Wall: wall})
		if err != nil {
			t.Errorf("%s: %v", code, err)
		}
		return r
	}
	var all sync.WaitGroup
	for i, h := range hostile {
		s := open(t, b, fmt.Sprint("user", i))
		all.Go(func() {
			r := run(s, h.language, h.code, time.Second)
			t.Logf("%-6s %-60.60q exit %d, killed %q, interrupted %q, truncated %t, %s", h.language, h.code, r.Exit, r.Killed, r.Interrupted, r.Truncated, r.Duration.Round(time.Millisecond))
			if len(r.Stdout) > 16<<10 || len(r.Stderr) > 16<<10 || len(r.Files) > 100 {
				t.Errorf("%s: %d bytes, %d bytes, %d files", h.code, len(r.Stdout), len(r.Stderr), len(r.Files))
			}
			if r.Exit == 0 && r.Killed == "" && r.Interrupted == "" && !r.Truncated {
				t.Errorf("%s: it came to a good end: %+v", h.code, r)
			}
			// Whatever it did, its session goes on, with new state or the old one.
			if r := run(s, Shell, "echo $((6*7))", 0); strings.TrimSpace(r.Stdout) != "42" {
				t.Errorf("%s: afterwards: %+v", h.code, r)
			}
		})
	}
	friendly := open(t, b, "friendly")
	for range 5 {
		if r := run(friendly, Python, "sum(range(1000))", 0); r.Stdout != "499500\n" || r.Lost == "worker" {
			t.Errorf("a friendly program: %+v", r)
		}
	}
	all.Wait()
	if waiting, _ := b.queue.lengths(); waiting != 0 || b.Stats().Running != 0 {
		t.Errorf("%d wait at the end: %+v", waiting, b.Stats())
	}
}
