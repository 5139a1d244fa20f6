//go:build cgo

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// hostile statements and the words that the refusal must have. In SQL, DIR is
// a directory with another table's file other.csv, and OWN the own file.
var hostile = []struct{ sql, text string }{
	{"COPY (SELECT 1) TO 'DIR/out.csv'", "COPY is not available"},
	{"COPY main.sales.reviews TO 'DIR/out.csv'", "COPY is not available"},
	{"ATTACH 'DIR/new.db' AS x", "ATTACH is not available"},
	{"INSTALL httpfs", "INSTALL is not available"},
	{"LOAD 'DIR/x.duckdb_extension'", "LOAD is not available"},
	{"PRAGMA version", "PRAGMA is not available"},
	{"PRAGMA enable_profiling", "PRAGMA is not available"},
	{"SET memory_limit = '10GB'", "SET is not available"},
	{"RESET memory_limit", "RESET is not available"},
	{"EXPORT DATABASE 'DIR/dump'", "EXPORT is not available"},
	{"IMPORT DATABASE 'DIR/dump'", "IMPORT is not available"},
	{"CREATE TABLE x AS SELECT 1", "CREATE is not available"},
	{"CREATE SECRET s (TYPE s3)", "CREATE is not available"},
	{"DROP VIEW main.sales.reviews", "DROP is not available"},
	{"INSERT INTO main.sales.reviews VALUES (1, 2, 'x')", "INSERT is not available"},
	{"UPDATE main.sales.reviews SET stars = 5", "UPDATE is not available"},
	{"DELETE FROM main.sales.reviews", "DELETE is not available"},
	{"EXPLAIN SELECT 1", "EXPLAIN is not available"},
	{"EXPLAIN ANALYZE COPY (SELECT 1) TO 'DIR/out.csv'", "EXPLAIN is not available"},
	{"SHOW TABLES", "SHOW is not available"},
	{"DESCRIBE main.sales.reviews", "DESCRIBE is not available"},
	{"SUMMARIZE main.sales.reviews", "SUMMARIZE is not available"},
	{"SELECT * FROM (DESCRIBE main.sales.reviews)", "is not available"},
	{"CALL pragma_version()", "CALL is not available"},
	{"PREPARE p AS SELECT 1", "PREPARE is not available"},
	{"EXECUTE p", "EXECUTE is not available"},
	{"VACUUM", "VACUUM is not available"},
	{"CHECKPOINT", "is not available"},
	{"BEGIN", "is not available"},
	{"USE system", "USE is not available"},
	{"SELECT 1; SELECT 2", "Only one statement"},
	{"SELECT 1; COPY (SELECT 1) TO 'DIR/out.csv'", "Only SELECT"},
	{"SELECT 1 /* ; */ ; -- ;\n SELECT 2", "Only one statement"},
	{"", "empty"},
	{" -- nothing\n/* at /* all */ */ ;", "empty"},
	{"SELECT * FROM read_text('/etc/passwd')", "Function read_text is not available"},
	{"SELECT * FROM READ_TEXT('/etc/passwd')", "is not available"},
	{"SELECT * FROM read_csv('DIR/other.csv')", "Function read_csv is not available"},
	{"SELECT * FROM read_parquet('OWN')", "Function read_parquet is not available"},
	{"SELECT * FROM main.read_csv('DIR/other.csv')", "is not available"},
	{"SELECT * FROM glob('/*')", "Function glob is not available"},
	{"SELECT * FROM query('SELECT 1')", "Function query is not available"},
	{"SELECT * FROM query_table('x')", "Function query_table is not available"},
	{"SELECT * FROM json_execute_serialized_sql('{}')", "is not available"},
	{"SELECT * FROM duckdb_settings()", "Function duckdb_settings is not available"},
	{"SELECT * FROM duckdb_views()", "Function duckdb_views is not available"},
	{"SELECT * FROM pragma_database_list()", "is not available"},
	{"SELECT * FROM sniff_csv('/etc/passwd')", "Function sniff_csv is not available"},
	{"SELECT * FROM parquet_metadata('OWN')", "Function parquet_metadata is not available"},
	{"SELECT * FROM 'DIR/other.csv'", "does not exist here"},
	{`SELECT * FROM "DIR/other.csv"`, "does not exist here"},
	{"FROM '/etc/passwd'", "does not exist here"},
	{"TABLE 'OWN'", "does not exist here"},
	{"SELECT * FROM 'https://example.com/x.parquet'", "does not exist here"},
	{"SELECT * FROM duckdb_views", "Available: main.sales.reviews"},
	{"SELECT * FROM sqlite_master", "does not exist here"},
	{"SELECT * FROM information_schema.tables", "does not exist here"},
	{"SELECT * FROM pg_catalog.pg_views", "does not exist here"},
	{"SELECT * FROM system.main.duckdb_views", "does not exist here"},
	{`SELECT * FROM "main.sales.reviews"`, "does not exist here"},
	{`SELECT * FROM "main` + mark + `".sales.reviews`, "does not exist here"},
	{"SELECT * FROM sales.reviews", "Available: main.sales.reviews"},
	{"WITH duckdb_views AS (SELECT * FROM duckdb_views) SELECT * FROM duckdb_views", "does not exist here"},
	{"WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", "Table b does not exist"},
	{"SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x), x", "Table x does not exist"},
	{"WITH x AS (SELECT 1) SELECT * FROM main.x", "Table main.x does not exist"},
	{"WITH RECURSIVE sqlite_master AS (SELECT * FROM sqlite_master UNION SELECT 1) SELECT * FROM sqlite_master", "does not exist here"},
	{"SELECT (SELECT count(*) FROM duckdb_tables)", "does not exist here"},
	{"SELECT 1 WHERE EXISTS (SELECT * FROM '/etc/passwd')", "does not exist here"},
	{"SELECT * FROM main.sales.reviews JOIN LATERAL (SELECT * FROM '/etc/passwd') x ON true", "does not exist here"},
	{"SELECT * FROM main.sales.reviews ORDER BY (SELECT max(content) FROM read_text('/etc/passwd'))", "is not available"},
	{"SELECT * FROM main.sales.reviews LIMIT (SELECT count(*) FROM glob('/*'))", "is not available"},
	{"PIVOT (FROM '/etc/passwd') ON a USING sum(b)", "PIVOT"},
	{"FROM (FROM '/etc/passwd') PIVOT (sum(b) FOR a IN (1))", "does not exist here"},
	{"SELECT 1 UNION SELECT * FROM '/etc/passwd'", "does not exist here"},
	{"SELECT list_transform([1], x -> (SELECT content FROM read_text('/etc/passwd')))", "is not available"},
	{"SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM '/etc/passwd'))", "does not exist here"},
	{"SELECT getenv('HOME')", "Function getenv is not available"},
	{"SELECT current_setting('memory_limit')", "Function current_setting is not available"},
	{"SELECT getvariable('x')", "Function getvariable is not available"},
	{"SELECT current_setting('memory_limit') OVER ()", "is not available"},
	{"SELECT pg_sleep(1)", "Function pg_sleep is not available"},
	{"SELECT system.main.upper('x')", "is not available"},
	{"SELECT nextval('s')", "Function nextval is not available"},
	{"SELECT write_log('x')", "Function write_log is not available"},
	{"SELECT * FROM main.sales.reviews AT (VERSION => 1)", "only the newest version"},
	{"SELECT nosuch FROM main.sales.reviews", `"nosuch" not found`},
	{"SELECT FROM WHERE", "cannot be read"},
	{"SELECT $$unfinished", "cannot be read"},
	{"SELECT '\x00'", "zero byte"},
	{"SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000), ""},
	{"SELECT " + strings.Repeat("-", 3000) + "1", ""},
	{"SELECT " + strings.Repeat("NOT ", 20000) + "true", ""},
	{"SELECT " + strings.Repeat("x", maxSQL), "bytes long"},
}

func fill(sql, dir, own string) string {
	return strings.NewReplacer("DIR", dir, "OWN", own).Replace(sql)
}

func TestHostileStatements(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "other.csv"), "secret\n1\n")
	rel := reviews(t, dir)
	before := listing(t, dir)
	many := newSeries(t)
	for i, tt := range hostile {
		sql := fill(tt.sql, dir, rel.Files[0].Path)
		q := engine.Query{SQL: sql, Relations: []engine.Relation{rel}, Wall: 20 * time.Second}
		ask := func() (engine.Batch, error) { return many.ask(q, false) }
		if tt.text == "" || i%8 == 0 { // those that may end their process, and some of the others, go the whole way
			ask = func() (engine.Batch, error) { return all(t.Context(), e, q) }
		}
		got, err := ask()
		short := sql[:min(len(sql), 80)]
		if tt.text == "" && err == nil { // deep, and yet understood
			continue
		}
		if err == nil || !apierror.Is(err, apierror.Invalid) && !(tt.text == "" && apierror.Is(err, apierror.Unavailable)) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, rows %s, want apierror.Invalid with %q", short, err, rows(got), tt.text)
		}
		if err != nil && containsPath(strings.ReplaceAll(err.Error(), sql, ""), dir) && !strings.Contains(sql, dir) {
			t.Errorf("%s: the message tells a path: %v", short, err)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory holds %s, want %s", after, before)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			b.WriteString(p + " " + strconv.FormatInt(fi.Size(), 10) + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Statements that look suspicious and are not.
func TestFriendlyStatements(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	rel := reviews(t, t.TempDir())
	tests := []struct{ sql, want string }{
		{"select count(*) from main.sales.reviews;", "[1000]"},
		{"/* COPY */ -- ;\n (SELECT ';' || count(*) FROM MAIN.Sales.\"reviews\")", `[";1000"]`},
		{"VALUES (1), (2)", "[1]\n[2]"},
		{"FROM main.sales.reviews SELECT max(id)", "[999]"},
		{"WITH reviews AS (SELECT 1 AS x) SELECT * FROM reviews", "[1]"},
		{"WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT * FROM b, (WITH b AS (SELECT 9 AS y) SELECT y FROM b)", "[2,9]"},
		{"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r", "[15]"},
		{"SELECT main.sales.reviews.id FROM main.sales.reviews ORDER BY main.sales.reviews.id LIMIT 1", "[0]"},
		{"SELECT sales.reviews.id, reviews.id FROM main.sales.reviews WHERE reviews.id = 7", "[7,7]"},
		{"SELECT 'main.sales.reviews' AS \"main.sales.reviews\" FROM main.sales.reviews LIMIT 1", `["main.sales.reviews"]`},
		{"SELECT stars, sum(id) OVER (PARTITION BY stars ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM main.sales.reviews ORDER BY id LIMIT 2", "[1,0]\n[2,1]"},
		{"SELECT row_number() OVER (ORDER BY id DESC), lag(id) OVER (ORDER BY id) FROM main.sales.reviews ORDER BY id LIMIT 1", "[1000,null]"},
		{"SELECT * FROM range(3) r(i), unnest([10, 20]) u(x) WHERE i = 1 ORDER BY x", "[1,10]\n[1,20]"},
		{"SELECT generate_series FROM generate_series(1, 2)", "[1]\n[2]"},
		{"FROM main.sales.reviews PIVOT (count(*) FOR stars IN (1, 2)) SELECT sum(\"1\")", "[200]"},
		{"SELECT * FROM (SELECT stars AS a, id AS b FROM main.sales.reviews LIMIT 1) UNPIVOT (v FOR n IN (a, b)) ORDER BY n", `["a",1]` + "\n" + `["b",0]`},
		{"SELECT stars, count(*) FROM main.sales.reviews GROUP BY stars HAVING count(*) > 1 QUALIFY row_number() OVER (ORDER BY stars) = 1", "[1,200]"},
		{"SELECT DISTINCT ON (stars) stars FROM main.sales.reviews ORDER BY stars LIMIT 1", "[1]"},
		{"SELECT * EXCLUDE (text) REPLACE (stars * 2 AS stars) FROM main.sales.reviews WHERE id = 4", "[4,10]"},
		{"SELECT COLUMNS('st.*') FROM main.sales.reviews WHERE id = 4", "[5]"},
		{"SELECT list_transform([1, 2], lambda x: x + 1), [x * 2 FOR x IN [1, 2] IF x > 1], {'a': 1}.a, MAP {'k': 1}['k']", "[[2,3],[4],1,1]"},
		{"SELECT CASE WHEN text LIKE 'text 1%' THEN 'y' ELSE 'n' END, coalesce(NULL, 1), ifnull(NULL, 2), nullif(1, 1), try_cast('x' AS INTEGER), 5 BETWEEN 1 AND 9, id IN (1, 2), id IS NULL FROM main.sales.reviews WHERE id = 1", `["y",1,2,null,null,true,true,false]`},
		{"SELECT text ~ 'text [0-9]+', regexp_extract(text, '[0-9]+'), text COLLATE NOCASE = 'TEXT 3', string_agg(text, ',' ORDER BY id), extract(year FROM DATE '2024-05-06'), strftime(DATE '2024-05-06', '%Y/%m') FROM main.sales.reviews WHERE id = 3 GROUP BY text", `[true,"3",true,"text 3",2024,"2024/05"]`},
		{"SELECT quantile_cont(id, 0.5), median(stars), stddev(stars)::DECIMAL(6,3), count(DISTINCT stars), count(*) FILTER (stars > 4), grouping(stars) FROM main.sales.reviews GROUP BY ROLLUP (stars) ORDER BY ALL DESC LIMIT 1", ""},
		{"SELECT a.id FROM main.sales.reviews a ASOF JOIN main.sales.reviews b ON a.id >= b.id POSITIONAL JOIN range(1) LIMIT 1", "[0]"},
		{"SELECT * FROM main.sales.reviews USING SAMPLE reservoir(3 ROWS) REPEATABLE (1)", ""},
		{"SELECT json_extract('{\"a\": 5}', '$.a'), ('{\"a\": [1]}'::JSON)->'a'->>0, to_json({'x': 1})", `[5,"1",{"x":1}]`},
		{"SELECT id FROM main.sales.reviews WHERE stars = ANY (SELECT 5) AND id NOT IN (SELECT id FROM main.sales.reviews WHERE id > 4)", "[4]"},
	}
	many := newSeries(t)
	for i, tt := range tests {
		q := engine.Query{SQL: tt.sql, Relations: []engine.Relation{rel}}
		got, err := many.ask(q, false)
		if i%8 == 0 { // some go the whole way
			got, err = all(t.Context(), e, q)
		}
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if tt.want != "" && rows(got) != tt.want {
			t.Errorf("%s: rows\n%s\nwant\n%s", tt.sql, rows(got), tt.want)
		}
	}
}

// unchecked runs sql in a child without looking at the statement first, as if
// the check had a hole. What it cannot do then, the kernel forbids, not we. A
// child that is not as it was afterwards takes no further statement.
func (s *series) unchecked(sql string, rel engine.Relation) (string, error) {
	s.t.Helper()
	b, err := s.ask(engine.Query{SQL: sql, Relations: []engine.Relation{rel}}, true)
	if s.p != nil {
		if own, err := s.ask(engine.Query{SQL: "SELECT v FROM own", Relations: []engine.Relation{rel}}, true); err != nil || rows(own) != `["mine"]` {
			s.end()
		}
	}
	return rows(b), err
}

func TestBoundaryWithoutTheChecks(t *testing.T) {
	t.Parallel()
	many := newSeries(t)
	dir := t.TempDir()
	other := writeFile(t, filepath.Join(dir, "other.csv"), "secret\nhidden\n")
	own := writeFile(t, filepath.Join(dir, "own.csv"), "v\nmine\n")
	rel := table("own", "csv", own)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	if got, err := many.unchecked("SELECT v FROM own", rel); err != nil || got != `["mine"]` {
		t.Fatalf("own file: %s, %v: the child does not work", got, err)
	}
	before := listing(t, dir)
	for _, tt := range hostile {
		if tt.text == "" || len(tt.sql) > 1000 || strings.Contains(tt.sql, "pg_sleep") {
			continue
		}
		got, err := many.unchecked(fill(tt.sql, dir, own), rel)
		if strings.Contains(got, "hidden") || strings.Contains(got, "root:") {
			t.Errorf("%s read %s, %v", tt.sql, got, err)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory holds %s, want %s", after, before)
	}
	for _, sql := range []string{
		"SELECT content FROM read_text('/etc/passwd')",
		"SELECT * FROM read_csv('" + other + "')",
		"SELECT * FROM '" + other + "'",
		"SELECT * FROM read_blob('/proc/self/environ')",
		"SELECT * FROM glob('" + dir + "/*')",
		"COPY (SELECT 1) TO '" + dir + "/out.csv'",
		"COPY (SELECT 1) TO '" + own + "'",
		"ATTACH '" + dir + "/new.db' AS x",
		"EXPORT DATABASE '" + dir + "/dump'",
		"INSTALL httpfs",
		"SELECT * FROM 'http://" + l.Addr().String() + "/x.parquet'",
		"SET lock_configuration = false",
	} {
		if got, err := many.unchecked(sql, rel); err == nil && got != "" {
			t.Errorf("%s gave %s, want an error", sql, got)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory holds %s, want %s", after, before)
	}
}

// The same without DuckDB's own bars: they are set after the child is
// narrowed, so a statement in place of a view's type runs before them.
func TestBoundaryWithoutDuckDBsBars(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := writeFile(t, filepath.Join(dir, "other.csv"), "secret\nhidden\n")
	own := writeFile(t, filepath.Join(dir, "own.csv"), "v\nmine\n")
	for _, sql := range []string{
		"SELECT content FROM read_text('/etc/passwd')",
		"SELECT content FROM read_text('" + other + "')",
		"SELECT content FROM read_text('/proc/1/environ')",
		"COPY (SELECT 1) TO '" + dir + "/out.csv'",
		"COPY (SELECT 1) TO '" + own + "'",
		"ATTACH '" + dir + "/new.db' AS x",
	} {
		out := bare(t, own, sql)
		if !strings.HasPrefix(out, "error: ") || !strings.Contains(out, "IO Error") && !strings.Contains(out, "Permission") {
			t.Errorf("%s: %s, want a refusal by the kernel", sql, out)
		}
	}
	if out := bare(t, own, "SELECT content FROM read_text('"+own+"')"); out != "v\nmine\n" {
		t.Errorf("own file: %q", out)
	}
	if got := listing(t, dir); strings.Count(got, "\n") != 2 {
		t.Errorf("the directory holds %s, want two files", got)
	}
	if b, err := os.ReadFile(own); err != nil || string(b) != "v\nmine\n" {
		t.Errorf("own file is %q, %v", b, err)
	}
}

func TestLinesOfAChild(t *testing.T) {
	t.Parallel()
	if _, err := lines([]byte("[1]\n[2")); err == nil {
		t.Error("lines took a row without an end")
	}
	if _, err := lines([]byte("{}\n")); err == nil {
		t.Error("lines took an object for a row")
	}
	if got, err := lines([]byte("[1]\n[2]\n")); err != nil || len(got) != 2 || string(got[1]) != "[2]" {
		t.Errorf("lines gave %s, %v", got, err)
	}
}

// The whole of it works for an ordinary user, and inside a plugin that its
// launcher has narrowed already.
func TestInsideALauncher(t *testing.T) {
	t.Parallel()
	uids := []int{os.Getuid()}
	if uids[0] == 0 {
		uids = append(uids, 65534)
	}
	bin, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids {
		for _, arg := range []string{queryArg, launchArg} {
			t.Run(arg+" as "+strconv.Itoa(uid), func(t *testing.T) {
				t.Parallel()
				// Not t.TempDir: a directory above it is closed to other users.
				dir, err := os.MkdirTemp("", "engine-test-")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll(dir) })
				own, prog := writeFile(t, filepath.Join(dir, "own.csv"), "v\n1\n2\n"), filepath.Join(dir, "program")
				syscall.ForkLock.RLock() // a process that starts meanwhile would have it open for writing, and nobody could run it
				err = os.WriteFile(prog, bin, 0o700)
				syscall.ForkLock.RUnlock()
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
					t.Fatal(err)
				}
				for _, p := range []string{dir, own, prog, filepath.Join(dir, "run")} {
					if err := os.Chown(p, uid, -1); err != nil {
						t.Fatal(err)
					}
				}
				cmd := exec.Command(prog, arg, own)
				if uid != os.Getuid() {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: 65534}}
				}
				out, err := cmd.Output()
				if err != nil || string(out) != "[2,2]" {
					t.Errorf("%q, %v, want [2,2]", out, err)
				}
			})
		}
	}
}
