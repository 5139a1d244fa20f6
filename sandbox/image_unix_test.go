//go:build unix

package sandbox

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
)

// real has real guests, of those languages.
func real(languages ...string) func(testing.TB) func(*Config, *tuning) {
	return func(t testing.TB) func(*Config, *tuning) {
		dir := guesttest.Dir(t, languages...)
		cache, err := guesttest.Compiled()
		if err != nil {
			t.Fatal(err)
		}
		return func(c *Config, _ *tuning) {
			c.Guests, c.Cache = dir, cache
		}
	}
}

func each(rows ...[]any) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func read(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestImage(t *testing.T) {
	b := box(t, real("sql")(t))
	cols := []Column{
		{"id", "BIGINT"}, {"Price", "DECIMAL(10,2)"}, {"ratio", "DOUBLE"}, {"ok", "BOOLEAN"}, {"name", "STRING"},
		{"at", "TIMESTAMP"}, {"day", "DATE"}, {"raw", "BINARY"}, {"tags", "ARRAY<STRING>"}, {"price", "INT"}, {`odd "name`, "VARCHAR"},
	}
	at := time.Date(2026, 1, 31, 10, 0, 0, 500e6, time.FixedZone("", 3600))
	table, err := b.Image(t.Context(), "main.sales.odd", cols, each(
		[]any{json.Number("9007199254740993"), json.Number("1234567890.12"), 0.5, true, "it's \"quoted\", 50%", at, at, []byte{0, 255}, []any{"a", 1.5}, 7, "x\x00y"},
		[]any{int64(-1), "0.10", "NaN", false, "", "2026-01-31T10:00:00+01:00", "2026-01-31", "AP8=", map[string]any{"k": nil}, nil, "\xff"},
		[]any{nil, nil, math.Inf(1), nil, nil, nil, nil, nil, nil, nil, nil},
	), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if table.Rows != 3 || table.Cut {
		t.Errorf("%+v", table)
	}
	if got := read(t, table.Database); !strings.HasPrefix(got, "SQLite format 3\x00") {
		t.Errorf("database begins %.20q", got)
	}
	got, err := csv.NewReader(strings.NewReader(read(t, table.CSV))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"id", "Price", "ratio", "ok", "name", "at", "day", "raw", "tags", "price", `odd "name`},
		{"9007199254740993", "1234567890.12", "0.5", "true", `it's "quoted", 50%`, "2026-01-31 09:00:00.5", "2026-01-31", "AP8=", `["a",1.5]`, "7", "x\x00y"},
		{"-1", "0.10", "NaN", "false", "", "2026-01-31 09:00:00", "2026-01-31", "AP8=", `{"k":null}`, "", "\uFFFD"},
		{"", "", "inf", "", "", "", "", "", "", "", ""},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("csv:\n%q, want\n%q", got, want)
	}

	s := open(t, b, "alice", table)
	r, err := s.Exec(t.Context(), Program{Language: SQL, Code: `SELECT id, "Price", ratio, ok, name, at, day, hex(raw), tags, price_2, hex("odd ""name") FROM main.sales.odd`})
	if err != nil || r.Exit != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	rows := [][]any{
		{json.Number("9007199254740993"), json.Number("1234567890.12"), json.Number("0.5"), json.Number("1"), `it's "quoted", 50%`, "2026-01-31 09:00:00.5", "2026-01-31", "00FF", `["a",1.5]`, json.Number("7"), "780079"},
		{json.Number("-1"), json.Number("0.1"), nil, json.Number("0"), "", "2026-01-31 09:00:00", "2026-01-31", "00FF", `{"k":null}`, nil, "EFBFBD"},
		{nil, nil, nil, nil, nil, nil, nil, "", nil, nil, ""},
	}
	if !reflect.DeepEqual(r.Rows, rows) {
		t.Errorf("rows:\n%v, want\n%v", r.Rows, rows)
	}
	if r, err := s.Exec(t.Context(), Program{Language: SQL, Code: `SELECT typeof(id), typeof("Price"), typeof(ratio), typeof(raw) FROM main.sales.odd LIMIT 1`}); err != nil || len(r.Rows) != 1 || !reflect.DeepEqual(r.Rows[0], []any{"integer", "real", "real", "blob"}) {
		t.Errorf("types: %+v, %v", r, err)
	}
	if r, err := s.Exec(t.Context(), Program{Language: SQL, Code: `DELETE FROM main.sales.odd`}); err != nil || r.Exit == 0 {
		t.Errorf("a table was written to: %+v, %v", r, err)
	}
	for _, p := range []*proc{workerOf(s)} {
		if p.trusted {
			t.Error("a model's program ran where tables are made")
		}
	}
}

func TestImageIsCut(t *testing.T) {
	b := box(t, real("sql")(t))
	rows := func(yield func([]any, error) bool) {
		for i := 0; yield([]any{i, strings.Repeat("'", 100)}, nil); i++ {
		}
	}
	const limit = 2 << 20
	table, err := b.Image(t.Context(), "main.a.endless", []Column{{"i", "INT"}, {"s", "STRING"}}, rows, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if !table.Cut || table.Rows == 0 {
		t.Errorf("%+v", table)
	}
	for _, f := range []*os.File{table.Database, table.CSV} {
		if size := len(read(t, f)); size > limit*5/4 || size < limit/4 {
			t.Errorf("%s has %d bytes", f.Name(), size)
		}
	}
	if n := strings.Count(read(t, table.CSV), "\n"); int64(n) != table.Rows+1 {
		t.Errorf("%d lines of CSV for %d rows", n, table.Rows)
	}
	s := open(t, b, "alice", table)
	r, err := s.Exec(t.Context(), Program{Language: SQL, Code: "SELECT count(*), min(length(s)), max(i) FROM endless"})
	if want := []any{json.Number(itoa(table.Rows)), json.Number("100"), json.Number(itoa(table.Rows - 1))}; err != nil || len(r.Rows) != 1 || !reflect.DeepEqual(r.Rows[0], want) {
		t.Errorf("%+v, %v, want %v", r, err, want)
	}
}

func itoa(n int64) string { b, _ := json.Marshal(n); return string(b) }

func TestImageFails(t *testing.T) {
	b := box(t, real("sql")(t))
	broken := errors.New("the engine is gone")
	one := []Column{{"a", "INT"}}
	for name, tt := range map[string]struct {
		cols []Column
		rows iter.Seq2[[]any, error]
		says string
	}{
		"no columns":    {nil, each(), "no columns"},
		"error of rows": {one, func(yield func([]any, error) bool) { yield(nil, broken) }, broken.Error()},
		"short row":     {one, each([]any{}), "0 values, want 1"},
		"wrong base64":  {[]Column{{"b", "BINARY"}}, each([]any{"???"}), `column "b"`},
		"huge row":      {[]Column{{"s", "STRING"}}, each([]any{strings.Repeat("x", maxRow)}), "row 1"},
	} {
		if table, err := b.Image(t.Context(), "main.a.b", tt.cols, tt.rows, 1<<30); err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "main.a.b") {
			t.Errorf("%s: %+v, %v", name, table, err)
		}
	}
	table, err := b.Image(t.Context(), "main.a.empty", one, each(), 1<<20)
	if err != nil || table.Rows != 0 {
		t.Fatalf("no rows: %+v, %v", table, err)
	}
	defer table.Close()
	r, err := open(t, b, "alice", table).Exec(t.Context(), Program{Language: SQL, Code: "SELECT * FROM main.a.empty"})
	if err != nil || r.Exit != 0 || len(r.Rows) != 0 || !reflect.DeepEqual(r.Columns, []string{"a"}) {
		t.Errorf("%+v, %v", r, err)
	}
}
