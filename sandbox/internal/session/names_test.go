package session

import (
	"strings"
	"testing"
)

func TestRewriteNames(t *testing.T) {
	tables := []Table{
		{Name: "main.sales.reviews"}, {Name: "main.sales.orders"}, {Name: "main.hr.people"}, {Name: "dev.hr.people"}, {Name: `main.sales.we"ird`},
		{Name: "main.sales.sqlite_log"}, {Name: "SQLite_main.s.t"},
	}
	for _, tt := range []struct{ in, want string }{
		{"SELECT 1", "SELECT 1"},
		{"", ""},
		{"SELECT * FROM main.sales.reviews", `SELECT * FROM "main.sales.reviews" AS "reviews"`},
		{"select * from MAIN.Sales.REVIEWS;", `select * from "main.sales.reviews" AS "reviews";`},
		{"SELECT * FROM sales.reviews", `SELECT * FROM "main.sales.reviews" AS "reviews"`},
		{"SELECT * FROM reviews", "SELECT * FROM reviews"},
		{"SELECT * FROM main.sales.reviews r", `SELECT * FROM "main.sales.reviews" r`},
		{"SELECT * FROM main.sales.reviews AS r", `SELECT * FROM "main.sales.reviews" AS r`},
		{`SELECT * FROM main.sales.reviews "r s"`, `SELECT * FROM "main.sales.reviews" "r s"`},
		{"SELECT * FROM main.sales.reviews WHERE x", `SELECT * FROM "main.sales.reviews" AS "reviews" WHERE x`},
		{"SELECT * FROM `main`.`sales`.`reviews`", `SELECT * FROM "main.sales.reviews" AS "reviews"`},
		{`SELECT * FROM "main".[sales] . reviews`, `SELECT * FROM "main.sales.reviews" AS "reviews"`},
		{"SELECT * FROM main /* c */ .\n sales.reviews -- x", "SELECT * FROM \"main.sales.reviews\" AS \"reviews\" -- x"},
		{"SELECT reviews.stars FROM main.sales.reviews", `SELECT reviews.stars FROM "main.sales.reviews" AS "reviews"`},
		{"SELECT main.sales.reviews.stars FROM main.sales.reviews", `SELECT "reviews".stars FROM "main.sales.reviews" AS "reviews"`},
		{"SELECT sales.reviews.stars, main.sales.reviews.* FROM sales.reviews", `SELECT "reviews".stars, "reviews".* FROM "main.sales.reviews" AS "reviews"`},
		{"SELECT sales.reviews FROM (SELECT 1 AS reviews) AS sales", "SELECT sales.reviews FROM (SELECT 1 AS reviews) AS sales"},
		{"SELECT 'main.sales.reviews', \"main.sales.reviews\"", "SELECT 'main.sales.reviews', \"main.sales.reviews\""},
		{"SELECT 'it''s main.sales.reviews' FROM reviews", "SELECT 'it''s main.sales.reviews' FROM reviews"},
		{"-- FROM main.sales.reviews\nSELECT 1", "-- FROM main.sales.reviews\nSELECT 1"},
		{"/* FROM main.sales.reviews", "/* FROM main.sales.reviews"},
		{"SELECT * FROM main.sales.reviews, main.sales.orders o", `SELECT * FROM "main.sales.reviews" AS "reviews", "main.sales.orders" o`},
		{"SELECT a, sales.orders FROM sales.reviews, sales.orders", `SELECT a, sales.orders FROM "main.sales.reviews" AS "reviews", "main.sales.orders" AS "orders"`},
		{"SELECT * FROM sales.reviews JOIN sales.orders ON sales.reviews.id = sales.orders.id", `SELECT * FROM "main.sales.reviews" AS "reviews" JOIN "main.sales.orders" AS "orders" ON "reviews".id = "orders".id`},
		{"SELECT * FROM (sales.reviews LEFT JOIN sales.orders USING (id))", `SELECT * FROM ("main.sales.reviews" AS "reviews" LEFT JOIN "main.sales.orders" AS "orders" USING (id))`},
		{"SELECT (SELECT max(x) FROM sales.orders), sales.x FROM y AS sales", `SELECT (SELECT max(x) FROM "main.sales.orders" AS "orders"), sales.x FROM y AS sales`},
		{"WITH reviews AS (SELECT * FROM main.sales.reviews) SELECT * FROM reviews", `WITH reviews AS (SELECT * FROM "main.sales.reviews" AS "reviews") SELECT * FROM reviews`},
		{"SELECT x IN (1, sales.orders) FROM t", "SELECT x IN (1, sales.orders) FROM t"},
		{"SELECT * FROM hr.people", "SELECT * FROM hr.people"}, // of two catalogs
		{"SELECT * FROM main.hr.people", `SELECT * FROM "main.hr.people"`},
		{"SELECT main.hr.people.id FROM main.hr.people, dev.hr.people", `SELECT "main.hr.people".id FROM "main.hr.people", "dev.hr.people"`},
		{"SELECT * FROM main.sales.none", `SELECT * FROM "main.sales.none"`},
		{"SELECT * FROM other.sales.reviews", `SELECT * FROM "other.sales.reviews"`},
		{`SELECT * FROM main.sales."we""ird"`, `SELECT * FROM "main.sales.we""ird" AS "we""ird"`},
		{"SELECT 1.5, x'0f', 1.e5 FROM sales.reviews", `SELECT 1.5, x'0f', 1.e5 FROM "main.sales.reviews" AS "reviews"`},
		{"SELECT 1 FROM sales.reviews UNION SELECT 2 FROM sales.reviews", `SELECT 1 FROM "main.sales.reviews" AS "reviews" UNION SELECT 2 FROM "main.sales.reviews" AS "reviews"`},
		{"SELECT 1 FROM sales.reviews GROUP BY a, sales.orders", `SELECT 1 FROM "main.sales.reviews" AS "reviews" GROUP BY a, sales.orders`},
		{"SELECT 1 FROM sales.reviews;SELECT a, sales.orders", `SELECT 1 FROM "main.sales.reviews" AS "reviews";SELECT a, sales.orders`},
		{"SELECT * FROM sales.reviews)) FROM sales.orders", `SELECT * FROM "main.sales.reviews" AS "reviews")) FROM "main.sales.orders" AS "orders"`},
		{"CREATE VIEW v AS SELECT * FROM main.sales.reviews", `CREATE TEMP VIEW v AS SELECT * FROM "main.sales.reviews" AS "reviews"`},
		{"create /* c */ view if not exists v as select 1", "create TEMP /* c */ view if not exists v as select 1"},
		{"CREATE TEMP VIEW v AS SELECT 1; CREATE TABLE view (x); SELECT 'create view'", "CREATE TEMP VIEW v AS SELECT 1; CREATE TABLE view (x); SELECT 'create view'"},
		{"SELECT * FROM main.sales.", "SELECT * FROM main.sales."},
		{"SELECT sqlite_log.x FROM sales.sqlite_log", `SELECT sqlite_log.x FROM "main.sales.sqlite_log" AS "sqlite_log"`},
		{"SELECT sqlite_main.s.t.x FROM sqlite_main.s.t", `SELECT "t".x FROM "/SQLite_main.s.t" AS "t"`}, // SQLite keeps names that begin so for itself
	} {
		if got := rewriteNames(tt.in, tables); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

// FuzzRewriteNames: the tokens are the text, and without the tables' names and
// names of three parts nothing changes.
func FuzzRewriteNames(f *testing.F) {
	f.Add("SELECT a.b FROM main.sales.reviews, (x) -- y\n 'it''s' \"q\" [z] `k` /* c */ x'00'")
	f.Fuzz(func(t *testing.T, sql string) {
		var b strings.Builder
		for _, tok := range tokenize(sql) {
			b.WriteString(tok.text)
		}
		if b.String() != sql {
			t.Errorf("the tokens of %q are %q", sql, b.String())
		}
		if got := rewriteNames(sql, []Table{{Name: "q0.q1.q2"}}); !strings.Contains(strings.ToLower(sql), "q2") && strings.Count(sql, ".") < 2 && !strings.Contains(strings.ToLower(sql), "create") && got != sql {
			t.Errorf("%q became %q", sql, got)
		}
		rewriteNames(sql, []Table{{Name: "a.b.c"}, {Name: "main.sales.reviews"}})
	})
}

func TestTablesAreChecked(t *testing.T) {
	for _, names := range [][]string{{""}, {"a/b"}, {"a\x00"}, {strings.Repeat("x", 241)}, {"a.b.c", "A.b.C"}} {
		var tables []Table
		for _, n := range names {
			tables = append(tables, Table{Name: n})
		}
		if err := checkTables(tables); err == nil {
			t.Errorf("%q is accepted", names)
		}
	}
}
