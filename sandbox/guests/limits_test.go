package guests_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

// small are limits at which a bomb ends soon.
func small() session.Limits {
	return session.Limits{Memory: 96 << 20, Scratch: 4 << 20, Inodes: 64, Output: 64 << 10, Wall: time.Minute, CPU: 150 * time.Millisecond, Grace: 50 * time.Millisecond}
}

// Programs that would take a machine down end by a limit, and the next program
// of the session runs.
func TestBombs(t *testing.T) {
	for _, tc := range []struct{ name, language, code string }{
		{"loop", session.Shell, `while true; do :; done`},
		{"doubling string", session.Shell, `a=x; while :; do a=$a$a; done`},
		{"doubling array", session.Shell, `a=(x); while :; do a=("${a[@]}" "${a[@]}"); done`},
		{"fork bomb", session.Shell, `f() { f | f & }; f; wait`},
		{"recursion", session.Shell, `f() { f; }; f`},
		{"recursion by script", session.Shell, `echo 'sh s' > s; sh s`},
		{"output flood", session.Shell, `yes | head -c 3000000`},
		{"file flood", session.Shell, `i=0; while true; do i=$((i+1)); echo x > f$i || break; done`},
		{"big file", session.Shell, `yes > big`},
		{"parentheses", session.Shell, strings.Repeat("(", 5000)},
		{"nested arithmetic", session.Shell, `echo $((` + strings.Repeat("(", 100000) + `1` + strings.Repeat(")", 100000) + `))`},
		{"sleep", session.Shell, `sleep 1000`},
		{"deadlock", session.Shell, `cat | cat | (sleep 1000; cat)`},
		{"sed loop", session.Shell, `echo x | sed ':a;s/x/xx/;ta'`},
		{"awk loop", session.Shell, `awk 'BEGIN { while (1) s = s "x" }'`},
		{"jq loop", session.Shell, `jq -n '[range(1;infinite)] | length'`},
		{"jq recursion", session.Shell, `jq -n 'def f: f + f; f'`},
		{"brace expansion", session.Shell, `echo {1..1000}{1..1000}{1..1000} | wc -c`},
		{"seq", session.Shell, `seq 1 1e18 | sort`},
		{"regular expression", session.Shell, `printf 'a%.0s' {1..30000} | grep -E '(a*)*b'`},
		{"background", session.Shell, `while :; do sleep 100 & done`},

		{"recursive query", session.SQL, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n`},
		{"product", session.SQL, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT count(*) FROM n a, n b, n c`},
		{"big value", session.SQL, `SELECT length(zeroblob(1000000000)), hex(randomblob(900000000))`},
		{"growing text", session.SQL, `WITH RECURSIVE n(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM n) SELECT max(length(s)) FROM n`},
		{"big table", session.SQL, `CREATE TABLE b AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, randomblob(1000) FROM n`},
		{"output", session.SQL, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, hex(zeroblob(1000)) FROM n`},
		{"printf", session.SQL, `SELECT printf('%.*c', 2000000000, 'x')`},
		{"like", session.SQL, `SELECT replace(hex(zeroblob(100000)), '0', 'a%') LIKE replace(hex(zeroblob(20000)), '0', '%a')`},
		{"trigger recursion", session.SQL, `PRAGMA recursive_triggers = 1; CREATE TABLE r (a); CREATE TRIGGER g AFTER INSERT ON r BEGIN INSERT INTO r VALUES (1); END; INSERT INTO r VALUES (1)`},
		{"deep expression", session.SQL, `SELECT ` + strings.Repeat("(", 100000) + `1` + strings.Repeat(")", 100000)},
		{"sort", session.SQL, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n ORDER BY random()`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, session.Setup{Limits: small()})
			r, err := s.Exec(context.Background(), session.Program{Language: tc.language, Code: tc.code, Wall: 400 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if r.Exit == 0 && !r.Truncated && r.Stderr == "" && tc.name != "fork bomb" { // whose jobs end with the program
				t.Errorf("exit 0, stdout %.200q, %d rows: nothing stopped it", r.Stdout, len(r.Rows))
			}
			if n := len(r.Stdout) + len(r.Stderr); n > 3*small().Output {
				t.Errorf("%d bytes of output", n)
			}
			t.Logf("exit %d, killed %q, interrupted %q, CPU %s, wall %s, stderr %.100q", r.Exit, r.Killed, r.Interrupted, r.CPU, r.Duration, r.Stderr)
			after := exec(t, s, tc.language, map[string]string{session.Shell: "echo alive", session.SQL: "SELECT 'alive'"}[tc.language])
			if after.Exit != 0 {
				t.Errorf("the next program: %+v", after)
			}
		})
	}
}

// After a statement of SQL that had all of the memory, what it had is there for
// blocks of any size.
func TestMemoryOfAFailedStatement(t *testing.T) {
	for _, tc := range []struct{ name, code string }{
		{"sort", "SELECT a.value FROM generate_series(1, 100000) a, generate_series(1, 100000) b ORDER BY 1 DESC"},
		{"table", "CREATE TABLE b AS SELECT value, printf('%.*c', 1000, 'x') AS x FROM generate_series(1, 10000000)"},
		{"pattern", "SELECT 'x' REGEXP '((((a?){40}){8}){8})'"},
		{"value", "SELECT group_concat(value) FROM generate_series(1, 100000000)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, session.Setup{Limits: session.Limits{Memory: 64 << 20}})
			for range 2 {
				if r := exec(t, s, session.SQL, tc.code); r.Killed != "" || r.Exit != 7 || !strings.Contains(r.Stderr, "out of memory") {
					t.Fatalf("it had memory enough: %+v", r)
				}
				for _, size := range []string{"30", "30000", "8000000"} {
					if r := exec(t, s, session.SQL, "SELECT length(printf('%.*c', "+size+", 'a')) AS n"); r.Exit != 0 || cell(r.Rows[0][0]) != size {
						t.Errorf("%s bytes: %+v", size, r)
					}
				}
			}
		})
	}
}

// A soft stop leaves what a program of SQL had made.
func TestInterruptedSQLKeepsItsState(t *testing.T) {
	s := open(t, session.Setup{Limits: session.Limits{Grace: 20 * time.Second}})
	exec(t, s, session.SQL, "CREATE TABLE kept (a); INSERT INTO kept VALUES (7)")
	r, err := s.Exec(context.Background(), session.Program{Language: session.SQL, Wall: 200 * time.Millisecond,
		Code: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Interrupted != "time" || r.Killed != "" || !strings.Contains(r.Stderr, "interrupted") {
		t.Fatalf("not interrupted: %+v", r)
	}
	r = exec(t, s, session.SQL, "SELECT a FROM kept")
	if len(r.Rows) != 1 || cell(r.Rows[0][0]) != "7" {
		t.Fatalf("the table is gone: %+v", r)
	}
}

// More rows than fit are cut with a mark.
func TestRowsAreCut(t *testing.T) {
	s := open(t, session.Setup{Limits: session.Limits{Output: 8 << 20}})
	r := exec(t, s, session.SQL, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i FROM n")
	if len(r.Rows) != 10000 || !r.Truncated {
		t.Fatalf("%d rows, truncated %v", len(r.Rows), r.Truncated)
	}
}

// Sessions of two principals never see each other's files or variables.
func TestSessionsAreApart(t *testing.T) {
	a, b := open(t, session.Setup{}), open(t, session.Setup{})
	exec(t, a, session.Shell, "secret=1; echo s > /tmp/f")
	exec(t, a, session.SQL, "CREATE TABLE secret (a)")
	if r := exec(t, b, session.Shell, "echo [$secret] $(ls -A /tmp)"); r.Stdout != "[]\n" {
		t.Errorf("shell sees %q", r.Stdout)
	}
	if r := exec(t, b, session.SQL, "SELECT * FROM secret"); r.Exit == 0 {
		t.Error("SQL sees the other session's table")
	}
}

// The query of the bench of tables: 100,000 rows, five aggregates by a column.
func BenchmarkGroupBy(b *testing.B) {
	s, err := session.Open(loaded, session.Setup{Trusted: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	run := func(code string, rows int) {
		r, err := s.Exec(context.Background(), session.Program{Language: session.SQL, Code: code})
		if err != nil || r.Exit != 0 || len(r.Rows) != rows {
			b.Fatal(r, err)
		}
		b.ReportMetric(float64(r.CPU.Microseconds())/1000, "cpu-ms")
	}
	run(`CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
		SELECT i AS id, i % 20 AS g, i * 0.5 AS x, i % 7 AS y, 'text ' || i AS s FROM n`, 0)
	for b.Loop() {
		run("SELECT g, count(*), sum(x), avg(y), max(s) FROM t GROUP BY g", 20)
	}
}

func BenchmarkFresh(b *testing.B) {
	for _, bc := range []struct{ language, code string }{{session.Shell, "echo hi"}, {session.Shell, "seq 1000 | sort -rn | head -3"}, {session.SQL, "SELECT 1"}} {
		b.Run(bc.language+" "+bc.code, func(b *testing.B) {
			for b.Loop() {
				s, err := session.Open(loaded, session.Setup{})
				if err != nil {
					b.Fatal(err)
				}
				if r, err := s.Exec(context.Background(), session.Program{Language: bc.language, Code: bc.code}); err != nil || r.Exit != 0 {
					b.Fatal(r, err)
				}
				s.Close()
			}
		})
	}
}
