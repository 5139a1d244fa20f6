package delta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// readAll reads the live rows of the table as maps, by the files alone, with
// "part" columns from the log.
func readAll(t testing.TB, d *Dir) []map[string]any {
	t.Helper()
	s, err := OpenTable(t.Context(), d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	for _, key := range slices.SortedFunc(maps.Keys(s.state.live), func(a, b fileKey) int { return strings.Compare(a.path, b.path) }) {
		a := s.state.live[key]
		var values [][]parquet.Value
		n := fileValues(t, s, a, &values)
		if want := parseStats(a.Stats).NumRecords; want != nil && *want != n {
			t.Fatalf("%s has %d rows and its statistics say %d", a.Path, n, *want)
		}
		for range n {
			row := map[string]any{}
			for _, c := range s.form.layout.columns {
				row[c.name] = assemble(c, values)
			}
			for name, v := range a.PartitionValues {
				if row[name] = nil; v != nil {
					row[name] = *v
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// fileValues reads a file's values by leaf.
func fileValues(t testing.TB, s *Table, a *add, values *[][]parquet.Value) int64 {
	t.Helper()
	*values = make([][]parquet.Value, len(s.form.layout.leaves))
	n, _, err := copyRows(t.Context(), s.storage, s.form.layout, a, nil, func(one [][]parquet.Value) bool {
		for i, vs := range one {
			for _, v := range vs {
				(*values)[i] = append((*values)[i], v.Clone())
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// assemble takes the next value of a column off its leaves.
func assemble(c *column, values [][]parquet.Value) any {
	next := func() parquet.Value { return values[c.first.index][0] }
	skip := func() {
		for _, l := range c.leaves {
			values[l.index] = values[l.index][1:]
		}
	}
	if next().DefinitionLevel() < c.def {
		skip()
		return nil
	}
	more := func() bool { vs := values[c.first.index]; return len(vs) > 0 && vs[0].RepetitionLevel() == c.rep+1 }
	switch typ := c.typ.(type) {
	case Struct:
		m := map[string]any{}
		for _, child := range c.children {
			m[child.name] = assemble(child, values)
		}
		return m
	case Array:
		if next().DefinitionLevel() == c.def {
			skip()
			return []any{}
		}
		list := []any{assemble(c.children[0], values)}
		for more() {
			list = append(list, assemble(c.children[0], values))
		}
		return list
	case Map:
		m := map[any]any{}
		if next().DefinitionLevel() == c.def {
			skip()
			return m
		}
		for ok := true; ok; ok = more() {
			k := assemble(c.children[0], values)
			m[k] = assemble(c.children[1], values)
		}
		return m
	case Decimal:
		v := next()
		skip()
		return decimalText(typ, unscaled(v))
	}
	v := next()
	skip()
	switch c.typ {
	case String:
		return string(v.ByteArray())
	case Binary:
		return slices.Clone(v.ByteArray())
	case Long:
		return v.Int64()
	case Timestamp:
		return time.UnixMicro(v.Int64()).UTC()
	case Double:
		return v.Double()
	case Float:
		return v.Float()
	case Boolean:
		return v.Boolean()
	case Date:
		return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
	}
	return int64(v.Int32())
}

// ids is the sorted "id" column of the live rows.
func ids(t testing.TB, d *Dir) []int64 {
	t.Helper()
	var out []int64
	for _, r := range readAll(t, d) {
		out = append(out, r["id"].(int64))
	}
	slices.Sort(out)
	return out
}

func upTo(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

func TestTypesRoundTrip(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: everything()}, Options{})
	if _, err := table.Append(t.Context(), Txn{}, everyRows(0, 3000)); err != nil { // more than a batch
		t.Fatal(err)
	}
	rows := readAll(t, d)
	if len(rows) != 3000 {
		t.Fatalf("got %d rows, want 3000", len(rows))
	}
	want := map[string]any{
		"id": int64(2), "s": "text 2", "i": int64(-2), "h": int64(2), "b": int64(2), "d": 0.5, "f": float32(1), "t": true, "bin": []byte{0, 1, 2},
		"day": "2026-11-21", "at": time.Date(2026, 11, 21, 15, 14, 15, 123456000, time.UTC), "d9": "2.25", "d18": "-2.000001", "d38": "2.0000000001",
		"st": map[string]any{"x": int64(2), "y": map[string]any{"name": "nested 2", "score": 3.0}}, "xs": []any{int64(2), int64(3)},
		"ss": []any{[]any{"p", "q"}, []any{}, nil, []any{"2"}}, "m": map[any]any{"k": "2", "l": "ü"},
		"ms":     map[any]any{"one": map[string]any{"n": int64(1), "tags": []any{"a", nil, "2"}}, "none": nil},
		"points": []any{map[string]any{"x": 2.0, "attrs": map[any]any{"a": int64(2)}}, nil, map[string]any{"x": nil, "attrs": nil}},
	}
	if !reflect.DeepEqual(rows[2], want) {
		t.Errorf("got  %v\nwant %v", rows[2], want)
	}
	for name, v := range rows[3] {
		if (v == nil) != (name != "id") {
			t.Errorf("row of nulls: %s = %v", name, v)
		}
	}
	for i, r := range rows {
		if r["id"] != int64(i) {
			t.Fatalf("row %d has id %v", i, r["id"])
		}
	}
}

type thing struct {
	ID     int               `delta:"id"`
	Word   name              `delta:"s"`
	Opt    *string           `delta:"m1"`
	Zero   string            `delta:"m2,omitzero"`
	At     time.Time         `delta:"at"`
	Nested *inner            `delta:"st"`
	List   []inner           `delta:"list"`
	Map    map[name]*float32 `delta:"map"`
	Any    any               `delta:"any"`
	Not    chan int          `delta:"-"`
	Price  *big.Rat          `delta:"price"`
}

type name string

type inner struct {
	X int8 `delta:"x"`
}

func thingSchema() Schema {
	in := Struct{{Name: "x", Type: Long}, {Name: "unset", Type: String}}
	return Schema{{Name: "id", Type: Long}, {Name: "s", Type: String}, {Name: "m1", Type: String}, {Name: "m2", Type: String}, {Name: "at", Type: Timestamp},
		{Name: "st", Type: in}, {Name: "list", Type: Array{Element: in}}, {Name: "map", Type: Map{Key: String, Value: Float}}, {Name: "any", Type: Double},
		{Name: "price", Type: Decimal{20, 2}}, {Name: "unset", Type: Binary}}
}

func TestStructRows(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: thingSchema()}, Options{})
	f := float32(1.5)
	at := time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC)
	c, err := table.Append(t.Context(), Txn{}, Rows[any](
		thing{ID: 1, Word: "w", At: at, Nested: &inner{3}, List: []inner{{1}, {2}}, Map: map[name]*float32{"a": &f, "b": nil}, Any: 7, Price: big.NewRat(-5, 4)},
		&thing{ID: 2},
		map[string]any{"id": 3, "st": map[string]any{"x": 9}, "list": []map[string]any{{"unset": "u"}}, "map": map[string]float64{}},
	))
	if err != nil || c.Rows != 3 {
		t.Fatal(c, err)
	}
	got := readAll(t, d)
	in := func(x int64) map[string]any { return map[string]any{"x": x, "unset": nil} }
	epoch := time.Time{}.UTC()
	want := []map[string]any{
		{"id": int64(1), "s": "w", "m1": nil, "m2": nil, "at": at, "st": in(3), "list": []any{in(1), in(2)}, "map": map[any]any{"a": f, "b": nil}, "any": 7.0, "price": "-1.25", "unset": nil},
		{"id": int64(2), "s": "", "m1": nil, "m2": nil, "at": epoch, "st": nil, "list": nil, "map": nil, "any": nil, "price": nil, "unset": nil},
		{"id": int64(3), "s": nil, "m1": nil, "m2": nil, "at": nil, "st": in(9), "list": []any{map[string]any{"x": nil, "unset": "u"}}, "map": map[any]any{}, "any": nil, "price": nil, "unset": nil},
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("row %d: got %v\nwant %v", i, got[i], want[i])
		}
	}
}

func TestRowsThatDoNotFit(t *testing.T) {
	t.Parallel()
	schema := Schema{{Name: "id", Type: Long, NotNull: true}, {Name: "b", Type: Byte}, {Name: "p", Type: Decimal{4, 2}}, {Name: "day", Type: Date},
		{Name: "st", Type: Struct{{Name: "x", Type: Integer, NotNull: true}}}, {Name: "xs", Type: Array{Element: Long, NotNull: true}}, {Name: "m", Type: Map{Key: String, Value: String}}}
	tests := []struct {
		name string
		row  any
		want string
	}{
		{"null key column", Row{nil, nil, nil, nil, nil, nil, nil}, `column "id": null`},
		{"too few values", Row{1}, "1 values for 7 columns"},
		{"not a row", 5, "a int is no row"},
		{"nil", nil, "is no row"},
		{"range", Row{1, 300, nil, nil, nil, nil, nil}, `column "b": 300 is outside the range of type byte`},
		{"uint64", Row{uint64(math.MaxUint64), nil, nil, nil, nil, nil, nil}, `column "id"`},
		{"decimal digits", Row{1, nil, "123.45", nil, nil, nil, nil}, "more digits than decimal(4,2)"},
		{"decimal scale", Row{1, nil, "1.234", nil, nil, nil, nil}, "more than 2 digits behind the point"},
		{"unscaled digits", Row{1, nil, Unscaled(10000), nil, nil, nil, nil}, "100.00 has more digits than decimal(4,2)"},
		{"unscaled for a number", Row{Unscaled(1), nil, nil, nil, nil, nil, nil}, `column "id": a delta.Unscaled is no value of type long`},
		{"decimal text", Row{1, nil, "1e999999999", nil, nil, nil, nil}, "no decimal number"},
		{"decimal fraction", Row{1, nil, "1/3", nil, nil, nil, nil}, "no decimal number"},
		{"decimal NaN", Row{1, nil, math.NaN(), nil, nil, nil, nil}, "no decimal number"},
		{"date", Row{1, nil, nil, "21.11.2026", nil, nil, nil}, "is no date"},
		{"type", Row{"one", nil, nil, nil, nil, nil, nil}, `column "id": a string is no value of type long`},
		{"nested null", Row{1, nil, nil, nil, Row{nil}, nil, nil}, `column "st.x": null`},
		{"element null", Row{1, nil, nil, nil, nil, []any{1, nil}, nil}, `column "xs.element": null`},
		{"key null", Row{1, nil, nil, nil, nil, nil, Pairs{{nil, "v"}}}, `column "m.key": null`},
		{"struct length", Row{1, nil, nil, nil, Row{1, 2}, nil, nil}, `column "st": 2 values for 1 fields`},
		{"unknown column", map[string]any{"id": 1, "idd": 2}, `column "idd": there is no such column`},
		{"unknown field", map[string]any{"id": 1, "st": map[string]any{"x": 1, "y": 2}}, `column "st.y": there is no such column`},
		{"unknown struct field", struct{ Nope int }{1}, `column "Nope" does not exist`},
		{"bad tag", struct {
			A int `delta:"id,omitempty"`
		}{1}, `unknown option "omitempty"`},
		{"channel", map[string]any{"id": make(chan int)}, `a chan int is no value of type long`},
		{"array for map", Row{1, nil, nil, nil, nil, nil, []int{1}}, `a []int is no value of type map`},
	}
	table, d := testTable(t, Definition{Schema: schema}, Options{})
	w := table.NewWriter()
	defer w.Abort()
	good := 0
	for _, tt := range tests {
		var bad *RowError
		if err := w.Write(t.Context(), tt.row); !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want a RowError with %q", tt.name, err, tt.want)
		}
		if err := w.Write(t.Context(), Row{good, 1, "1.5", "2026-11-21", Row{5}, []int{1, 2}, map[string]string{"a": "b"}}); err != nil {
			t.Fatalf("a good row after %s: %v", tt.name, err)
		}
		good++
	}
	if _, err := w.Commit(t.Context(), Txn{}); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(good)) {
		t.Errorf("got ids %v, want the %d good rows", got, good)
	}
	if _, err := w.Commit(t.Context(), Txn{}); err == nil {
		t.Error("a second Commit of one Writer did not fail")
	}
}

func TestUnscaled(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: Schema{{Name: "a", Type: Decimal{9, 2}}, {Name: "b", Type: Decimal{18, 12}}, {Name: "c", Type: Decimal{30, 2}}}}, Options{})
	type row struct {
		A Unscaled  `delta:"a"`
		B *Unscaled `delta:"b"`
		C Unscaled  `delta:"c"`
	}
	most := Unscaled(999_999_999_999_999_999)
	if _, err := table.Append(t.Context(), Txn{}, Rows[any](&row{A: 1250, B: &most, C: -1}, &row{}, Row{Unscaled(-5), -most, Unscaled(math.MaxInt64)})); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{
		{"a": "12.50", "b": "999999.999999999999", "c": "-0.01"},
		{"a": "0.00", "b": nil, "c": "0.00"},
		{"a": "-0.05", "b": "-999999.999999999999", "c": "92233720368547758.07"},
	}
	if got := readAll(t, d); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Rows of megabytes pass through the memory one by one, and not by the
// thousand.
func TestLargeRowsTakeLittleMemory(t *testing.T) {
	def := Definition{Schema: small(), Properties: map[string]string{propStatsNames: "id,at"}}
	noise := make([]byte, 2<<20)
	for i := range noise {
		noise[i] = byte('a' + i*i%23)
	}
	memory := func() runtime.MemStats {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m
	}
	held := func() int64 { runtime.GC(); return int64(memory().HeapAlloc) }
	before, most := held(), int64(0)
	write := func(table *Table, from, to int) {
		t.Helper()
		_, err := table.Append(t.Context(), Txn{}, func(yield func(any, error) bool) {
			for i := from; i < to && yield(Row{i, nil, fmt.Sprint(i) + string(noise), nil}, nil); i++ {
				if i%20 == 19 {
					most = max(most, held())
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	table, _ := testTable(t, def, Options{})
	write(table, 0, 60)
	if most -= before; most > 90<<20 {
		t.Errorf("writing 120 MiB of rows held %d MiB", most>>20)
	}
	if _, bytes := table.Files(); bytes > 20<<20 {
		t.Errorf("the file has %d bytes: statistics hold whole texts", bytes)
	}
	table, d := testTable(t, def, Options{})
	for i := range 4 {
		write(table, 12*i, 12*i+12)
	}
	size := memory().HeapSys
	c, err := table.Compact(t.Context(), CompactOptions{})
	if err != nil || c.Rows != 48 {
		t.Fatal(c, err)
	}
	if grown := int64(memory().HeapSys) - int64(size); grown > 60<<20 {
		t.Errorf("compacting 96 MiB of rows grew the heap by %d MiB", grown>>20)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(48)) {
		t.Errorf("%d rows", len(got))
	}
}

func TestStringsAreUTF8(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	if _, err := table.Append(context.Background(), Txn{}, Rows(Row{1, nil, "a\xffb", "\xc3("})); err != nil {
		t.Fatal(err)
	}
	if r := readAll(t, d)[0]; r["word"] != "a\uFFFDb" || r["part"] != "\uFFFD(" {
		t.Errorf("got %q and %q", r["word"], r["part"])
	}
}
