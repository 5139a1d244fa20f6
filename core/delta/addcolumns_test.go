package delta

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// wider is small with a column more, and a struct.
func wider() Schema {
	return append(small(), Field{Name: "extra", Type: Long, Comment: "added"}, Field{Name: "more", Type: Struct{{Name: "a", Type: String}}})
}

func TestAddColumns(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small(), Partition: []string{"part"}, Properties: map[string]string{"app.version": "1", "delta.checkpointInterval": "4"}}, Options{})
	add := func(r Row) {
		t.Helper()
		if _, err := table.Append(t.Context(), Txn{}, Rows(r)); err != nil {
			t.Fatal(err)
		}
	}
	add(smallRow(0, "x"))
	c := must(table.AddColumns(t.Context(), wider(), map[string]string{"app.version": "2"}))(t)
	if c.Version != 2 || table.Properties()["app.version"] != "2" || table.Schema().String() != wider().String() || table.Properties()["delta.checkpointInterval"] != "4" {
		t.Errorf("%+v: schema %s, properties %v", c, table.Schema(), table.Properties())
	}
	if c := must(table.AddColumns(t.Context(), wider(), map[string]string{"app.version": "2"}))(t); c.Version != 2 {
		t.Errorf("nothing to do made version %d", c.Version)
	}
	if c := must(table.AddColumns(t.Context(), small(), nil))(t); c.Version != 2 { // what it has more stays
		t.Errorf("nothing to do made version %d", c.Version)
	}
	add(append(smallRow(1, "x"), int64(7), Row{"a"}))
	deeper := wider()
	deeper[5].Type = Struct{{Name: "a", Type: String}, {Name: "b", Type: Array{Element: Struct{{Name: "c", Type: Long}}}}}
	must(table.AddColumns(t.Context(), deeper, nil))(t)
	deeper[5].Type = Struct{{Name: "a", Type: String}, {Name: "b", Type: Array{Element: Struct{{Name: "c", Type: Long}, {Name: "d", Type: Long}}}}}
	must(table.AddColumns(t.Context(), deeper, nil))(t)
	add(append(smallRow(2, "x"), nil, Row{"b", []any{Row{int64(1), int64(2)}}}))

	check := func() {
		t.Helper()
		rows := readAll(t, d)
		if len(rows) != 3 {
			t.Fatalf("%d rows, want 3", len(rows))
		}
		for _, r := range rows {
			switch id := r["id"].(int64); {
			case id == 0 && (r["extra"] != nil || r["more"] != nil), id == 1 && (r["extra"] != int64(7) || r["more"] == nil), id == 2 && (r["extra"] != nil || r["more"] == nil):
				t.Errorf("row %v", r)
			}
		}
	}
	checkNew := func(d *Dir) {
		t.Helper()
		again := must(OpenTable(t.Context(), d, Options{}))(t)
		if got := again.Schema().String(); got != deeper.String() {
			t.Errorf("opened again the schema is %s", got)
		}
	}
	checkNew(d)
	must(table.Compact(t.Context(), CompactOptions{}))(t)
	check() // null in the rows that had no such column
	checkNew(d)
}

func TestAddColumnsRefuses(t *testing.T) {
	t.Parallel()
	for want, add := range map[string]Schema{
		`column "word" is of type VARCHAR in the table and not BIGINT`: {{Name: "word", Type: Long}},
		`column "x" cannot be added: it must not be null`:              {{Name: "x", Type: Long, NotNull: true}},
		`column "WORD": the table calls it "word"`:                     {{Name: "WORD", Type: String}},
		`column "at" is of type TIMESTAMP WITH TIME ZONE in the table`: {{Name: "at", Type: Struct{{Name: "a", Type: Long}}}},
		`nested deeper`: {{Name: "deep", Type: deepType(maxDepth + 1)}},
	} {
		table, d := testTable(t, Definition{Schema: small()}, Options{})
		if _, err := table.AddColumns(t.Context(), add, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("AddColumns = %v, want %q", err, want)
		}
		if v := must(Latest(d.Path()))(t); v != 0 {
			t.Errorf("the table is at version %d", v)
		}
	}
	table, _ := testTable(t, Definition{Schema: small()}, Options{})
	if _, err := table.AddColumns(t.Context(), small(), map[string]string{"delta.appendOnly": "true"}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a property of the protocol: %v", err)
	}
}

func deepType(n int) Type {
	var typ Type = Long
	for range n {
		typ = Array{Element: typ}
	}
	return typ
}

// Rows that were begun for the old schema do not become part of the new one,
// and of two changes at once one is refused or finds nothing left to do.
func TestAddColumnsConflicts(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	w := table.NewWriter()
	if err := w.Write(t.Context(), smallRow(0, nil)); err != nil {
		t.Fatal(err)
	}
	other := must(OpenTable(t.Context(), d, Options{}))(t)
	must(other.AddColumns(t.Context(), wider(), nil))(t)
	if _, err := w.Commit(t.Context(), Txn{}); !errors.Is(err, ErrConflict) {
		t.Errorf("Commit = %v, want ErrConflict", err)
	}
	if got := matching(t, d, "*.parquet"); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	p := &plan{form: table.current(), operation: "SET TBLPROPERTIES", metadata: table.current().metadata}
	must(other.AddColumns(t.Context(), wider(), map[string]string{"a": "b"}))(t)
	if _, err := table.commit(t.Context(), p); !errors.Is(err, ErrConflict) {
		t.Errorf("a change made from an old version = %v, want ErrConflict", err)
	}
	if _, err := table.Append(t.Context(), Txn{}, Rows(append(smallRow(1, nil), nil, nil))); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, d); !slices.Equal(got, []int64{1}) {
		t.Errorf("rows %v", got)
	}
	if s := table.Stats(); s.Version != 3 || s.Files != 1 || s.Rows != 1 || s.Bytes == 0 || s.Changed.IsZero() {
		t.Errorf("Stats = %+v", s)
	}
}
