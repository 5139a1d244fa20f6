//go:build cgo

package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

func TestRelations(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }

	csv := writeFile(t, at("a.csv"), "id,name,when\n1,\"x, y\",2024-01-02\n2,,2024-01-03\n")
	csvLate := writeFile(t, at("late.csv"), "v\n1\n2\nthree\n")
	json1 := writeFile(t, at("a.json"), `{"id": 9007199254740993, "tags": ["a","b"]}`+"\n"+`{"id": 2, "extra": {"k": 1.5}}`+"\n")
	old := parquet(t, at("old.parquet"), "SELECT 1::INTEGER AS id, 'old' AS name")
	new := parquet(t, at("new.parquet"), "SELECT 2::BIGINT AS id, 'new' AS name, 1.25::DOUBLE AS price")
	odd := parquet(t, at("we'ird $ é{a,b}\\ .parquet"), `SELECT 1 AS "a.b", 2 AS "sel ect", 3 AS "q""uote"`)
	columns := func(nameType ...string) []engine.Column {
		var cs []engine.Column
		for i := 0; i < len(nameType); i += 2 {
			cs = append(cs, engine.Column{Name: nameType[i], Type: nameType[i+1]})
		}
		return cs
	}
	with := func(r engine.Relation, cs []engine.Column) engine.Relation { r.Columns = cs; return r }

	tests := []struct {
		rule string
		rel  engine.Relation
		sql  string
		want string
	}{
		{"csv as the file says", table("m.s.t", "csv", csv), "SELECT * FROM m.s.t", `[1,"x, y","2024-01-02"]` + "\n" + `[2,null,"2024-01-03"]`},
		{"csv by declared columns", with(table("m.s.t", "csv", csv), columns("when", "TIMESTAMP", "absent", "DECIMAL(4,1)", "ID", "VARCHAR")),
			"SELECT * FROM m.s.t", `["2024-01-02T00:00:00",null,"1"]` + "\n" + `["2024-01-03T00:00:00",null,"2"]`},
		{"csv whose last row decides", table("m.s.t", "csv", csvLate), "SELECT max(v) FROM m.s.t", `["three"]`},
		{"json as the file says", table("m.s.t", "json", json1), "SELECT id, tags, extra.k FROM m.s.t ORDER BY id DESC", `[9007199254740993,["a","b"],null]` + "\n" + `[2,null,1.5]`},
		{"json by declared columns", with(table("m.s.t", "json", json1), columns("tags", "VARCHAR[]", "id", "HUGEINT", "none", "STRUCT(a INTEGER)")),
			"SELECT * FROM m.s.t", `[["a","b"],9007199254740993,null]` + "\n" + `[null,2,null]`},
		{"parquet with another schema in each file", table("m.s.t", "parquet", old, new), "SELECT * FROM m.s.t ORDER BY id", `[1,"old",null]` + "\n" + `[2,"new",1.25]`},
		{"parquet by declared columns", with(table("m.s.t", "parquet", old, new), columns("price", "DECIMAL(6,2)", "id", "BIGINT", "since", "DATE")),
			"SELECT * FROM m.s.t ORDER BY id", `[null,1,null]` + "\n" + `[1.25,2,null]`},
		{"no files", with(table("m.s.t", "parquet"), columns("id", "BIGINT", "s", "STRUCT(a INTEGER, b VARCHAR[])")), "SELECT count(*), sum(id) FROM m.s.t", `[0,null]`},
		{"odd letters in a path and in columns", table("m.s.t", "parquet", odd), `SELECT "a.b", "sel ect", "q""uote" FROM m.s.t`, `[1,2,3]`},
		{"constants of each file", engine.Relation{Name: "m.s.t", Format: "parquet", Columns: columns("day", "DATE", "id", "BIGINT", "n", "INTEGER"), Files: []engine.File{
			{Path: old, Constants: map[string]string{"day": "2024-01-01", "n": "7"}},
			{Path: new, Constants: map[string]string{"day": "2024-01-02"}},
		}}, "SELECT * FROM m.s.t WHERE day >= DATE '2024-01-01' ORDER BY id", `["2024-01-01",1,7]` + "\n" + `["2024-01-02",2,null]`},
		{"constants without declared columns", engine.Relation{Name: "m.s.t", Format: "parquet", Files: []engine.File{
			{Path: old, Constants: map[string]string{"o'clock": "it's"}}, {Path: new, Constants: map[string]string{"name": "over"}},
		}}, `SELECT id, name, "o'clock" FROM m.s.t ORDER BY id`, `[1,"old","it's"]` + "\n" + `[2,"over",null]`},
		{"one part", table("t", "parquet", old), "SELECT t.id FROM t", "[1]"},
		{"two parts", table("s.t", "parquet", old), "SELECT s.t.id, t.id FROM s.t", "[1,1]"},
		{"two parts, default schema", table("main.t", "parquet", old), "SELECT id FROM main.t", "[1]"},
		{"catalog main", table("main.default.t", "parquet", old), `SELECT main."default".t.id, t.* FROM main."default".t`, `[1,1,"old"]`},
		{"catalog system", table("system.billing.usage", "parquet", old), "SELECT system.billing.usage.id FROM System.Billing.USAGE", "[1]"},
		{"catalog temp", table("temp.temp.temp", "parquet", old), "SELECT temp.id FROM temp.temp.temp", "[1]"},
		{"catalog memory", table("memory.main.t", "parquet", old), "SELECT id FROM memory.main.t", "[1]"},
		{"names that must be quoted", table(`"my cat"."sch.ema"."ta""ble"`, "parquet", old), `SELECT x.id FROM "my cat" . /* . */ "sch.ema" . -- .` + "\n" + ` "ta""ble" AS x`, "[1]"},
		{"letters beyond ASCII before the name", table("m.s.täble", "parquet", old), `SELECT 'é🙂' || id FROM m.s.täble`, `["é🙂1"]`},
		{"the name twice", table("m.s.t", "parquet", old), "SELECT a.id, b.id FROM m.s.t a, m.s.t b", "[1,1]"},
	}
	// More groups than a union takes: the same rules in another form.
	for format, content := range map[string]string{"parquet": "", "csv": "id,name\n%d,in the file\n", "json": `{"id": %d, "name": "in the file"}`} {
		declared := format != "parquet"
		many := engine.Relation{Name: "m.s.t", Format: format}
		if declared {
			many.Columns = columns("day", "DATE", "id", "BIGINT", "n", "INTEGER", "name", "VARCHAR")
		}
		for i := range maxUnion + 1 {
			path := at("part" + strconv.Itoa(i) + "." + format)
			if format == "parquet" {
				parquet(t, path, "SELECT "+strconv.Itoa(i)+" AS id, 'in the file' AS name")
			} else {
				writeFile(t, path, fmt.Sprintf(content, i))
			}
			c := map[string]string{"day": "2024-01-" + fmt.Sprintf("%02d", i%28+1), "name": "it's"}
			if i%2 == 0 {
				c["N"] = strconv.Itoa(i)
			}
			many.Files = append(many.Files, engine.File{Path: path, Constants: c})
		}
		tests = append(tests, struct {
			rule string
			rel  engine.Relation
			sql  string
			want string
		}{"many groups of " + format, many, "SELECT count(*), count(n), sum(n::INTEGER), min(day)::DATE, max(name), min(id) FROM m.s.t WHERE id > 1", `[31,16,272,"2024-01-01","it's",2]`})
	}
	for _, tt := range tests {
		got, err := all(t.Context(), e, engine.Query{SQL: tt.sql, Relations: []engine.Relation{tt.rel}})
		if err != nil {
			t.Errorf("%s: %v", tt.rule, err)
			continue
		}
		if rows(got) != tt.want {
			t.Errorf("%s: rows\n%s\nwant\n%s", tt.rule, rows(got), tt.want)
		}
	}
}

func TestRelationErrors(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	dir := t.TempDir()
	broken := writeFile(t, filepath.Join(dir, "broken.parquet"), "no parquet")
	text := writeFile(t, filepath.Join(dir, "a.csv"), "v\none\n")
	typed := table("t", "csv", text)
	typed.Columns = []engine.Column{{Name: "v", Type: "INTEGER"}}
	sly := table("t", "csv", text)
	sly.Columns = []engine.Column{{Name: "v", Type: "INTEGER) FROM read_text('/etc/passwd'); --"}}
	tests := []struct {
		rule string
		rels []engine.Relation
		code string
		text string
	}{
		{"absent file", []engine.Relation{table("t", "parquet", filepath.Join(dir, "absent"))}, "unavailable", "Table t cannot be read"},
		{"directory", []engine.Relation{table("t", "parquet", dir)}, "unavailable", "Table t cannot be read"},
		{"broken file", []engine.Relation{table("t", "parquet", broken)}, "unavailable", "Table t cannot be read"},
		{"relative path", []engine.Relation{table("t", "csv", "a.csv")}, "invalid", "not absolute"},
		{"pattern in a path", []engine.Relation{table("t", "csv", filepath.Join(dir, "a*"))}, "invalid", "pattern"},
		{"unknown format", []engine.Relation{table("t", "xml", text)}, "invalid", `format "xml"`},
		{"four parts", []engine.Relation{table("a.b.c.d", "csv", text)}, "invalid", "at most three"},
		{"empty part", []engine.Relation{table("a..c", "csv", text)}, "invalid", "is empty"},
		{"twice", []engine.Relation{table("T", "csv", text), table("t", "csv", text)}, "invalid", "given twice"},
		{"neither files nor columns", []engine.Relation{table("t", "csv")}, "invalid", "no files and no declared columns"},
		{"type that is more than a type", []engine.Relation{sly}, "invalid", "no type of this engine"},
		{"value that does not fit", []engine.Relation{typed}, "invalid", "Could not convert"},
	}
	for _, tt := range tests {
		_, err := all(t.Context(), e, engine.Query{SQL: "SELECT * FROM t", Relations: tt.rels})
		wantCode(t, err, codeOf(tt.code), tt.text)
		if err != nil && containsPath(err.Error(), dir) {
			t.Errorf("%s: the message tells a path: %v", tt.rule, err)
		}
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want name
	}{
		{"a", name{"", "", "a"}},
		{"a.b", name{"", "a", "b"}},
		{"a.b.c", name{"a", "b", "c"}},
		{"`a.b`.\"c\"\"d\".e", name{"a.b", `c"d`, "e"}},
		{"tï.b c", name{"", "tï", "b c"}},
	}
	for _, tt := range tests {
		got, err := parseName(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("parseName(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
		if back, err := parseName(got.String()); err != nil || back != tt.want {
			t.Errorf("parseName(%q) = %+v, %v, want %+v again", got.String(), back, err, tt.want)
		}
	}
	for _, in := range []string{"", ".", "a.", ".a", "a.b.c.d", `"a`, `"a"b`, "a\x00", "a" + mark, "\xff"} {
		if got, err := parseName(in); err == nil {
			t.Errorf("parseName(%q) = %+v, want an error", in, got)
		}
	}
}
