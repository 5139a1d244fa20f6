package delta

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

// foreign writes a Parquet file as another writer would, names it in the log,
// has Compact bring it and a file of ours into one, and returns the rows.
func foreign[T any](t *testing.T, s Schema, rows []T, ours Row) ([]map[string]any, Compaction) {
	t.Helper()
	table, d := testTable(t, Definition{Schema: s}, Options{})
	if err := parquet.WriteFile(filepath.Join(d.Path(), "foreign.parquet"), rows); err != nil {
		t.Fatal(err)
	}
	line := `{"add":{"path":"foreign.parquet","partitionValues":{},"size":500,"modificationTime":1,"dataChange":true}}`
	if err := d.PutIfAbsent(t.Context(), logDir+"/"+commitFile(1), []byte(line)); err != nil {
		t.Fatal(err)
	}
	c, err := table.Append(t.Context(), Txn{}, Rows(ours))
	if err != nil {
		t.Fatal(err)
	}
	for key, a := range table.state.live { // of one size, so that neither is too large for the other
		_ = key
		a.Size = 500
	}
	done, err := table.Compact(t.Context(), CompactOptions{})
	if err != nil || c.Files != 1 {
		t.Fatal(done, err)
	}
	return readAll(t, d), done
}

func TestCarryScalars(t *testing.T) {
	t.Parallel()
	type row struct { // required fields, other units, another order, a column more
		Z     float64          `parquet:"z"`
		Milli time.Time        `parquet:"milli,timestamp(millisecond)"`
		Nano  time.Time        `parquet:"nano,timestamp(nanosecond),optional"`
		I96   deprecated.Int96 `parquet:"i96"`
		Dec   [13]byte         `parquet:"dec,decimal(2:30)"`
		Small int64            `parquet:"small,decimal(2:12)"`
		Day   int32            `parquet:"day,date"`
		ID    int64            `parquet:"id"`
		Word  string           `parquet:"word"`
	}
	schema := Schema{{Name: "id", Type: Long}, {Name: "word", Type: String}, {Name: "milli", Type: Timestamp}, {Name: "nano", Type: Timestamp}, {Name: "i96", Type: Timestamp},
		{Name: "dec", Type: Decimal{30, 2}}, {Name: "small", Type: Decimal{20, 2}}, {Name: "day", Type: Date}, {Name: "z", Type: Double}, {Name: "missing", Type: Long}}
	at := time.Date(2026, 11, 21, 1, 2, 3, 456000000, time.UTC)
	const nanos = (1*3600 + 2*60 + 3) * 1_000_000_000
	in := row{Z: 1.5, Milli: at, Nano: at.Add(789), I96: deprecated.Int96{nanos % (1 << 32), nanos >> 32, 2440588 + 20778}, Small: -150, Day: 20778, ID: 7, Word: "w"}
	for i := range in.Dec { // -2
		in.Dec[i] = 0xff
	}
	in.Dec[12] = 0xfe
	got, done := foreign(t, schema, []row{in}, Row{8, nil, nil, nil, nil, nil, nil, nil, nil, 5})
	if done.Before != 2 || len(done.Left) != 0 {
		t.Fatalf("got %+v", done)
	}
	want := map[string]any{"id": int64(7), "word": "w", "milli": at, "nano": at, "i96": time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC),
		"dec": "-0.02", "small": "-1.50", "day": "2026-11-21", "z": 1.5, "missing": nil}
	for _, r := range got {
		if r["id"] == int64(7) && !reflect.DeepEqual(r, want) {
			t.Errorf("got  %v\nwant %v", r, want)
		}
	}
	if len(got) != 2 {
		t.Errorf("got %d rows", len(got))
	}
}

func TestCarryNested(t *testing.T) {
	t.Parallel()
	type point struct {
		X    int64    `parquet:"x"`
		Tags []string `parquet:"tags,optional,list"`
	}
	type row struct {
		ID     int64            `parquet:"id"`
		Points []point          `parquet:"points,list"` // required list of required elements
		M      map[string]point `parquet:"m,optional"`
		St     *point           `parquet:"st,optional"`
	}
	// The table's structs have the fields in another order, and one more.
	full := Struct{{Name: "extra", Type: Array{Element: Long}}, {Name: "tags", Type: Array{Element: String}}, {Name: "x", Type: Long}, {Name: "more", Type: Struct{{Name: "y", Type: String}}}}
	schema := Schema{{Name: "st", Type: full}, {Name: "id", Type: Long}, {Name: "points", Type: Array{Element: full}}, {Name: "m", Type: Map{Key: String, Value: full}}}
	rows := []row{
		{ID: 1, Points: []point{{1, []string{"a", "b"}}, {2, nil}}, M: map[string]point{"k": {3, []string{"c"}}}, St: &point{4, nil}},
		{ID: 2},
		{ID: 3, Points: []point{{5, nil}}, M: map[string]point{}},
	}
	got, done := foreign(t, schema, rows, Row{Row{[]int{9}, nil, 10, Row{"y"}}, 4, []any{Row{nil, []string{"t"}, 11, nil}}, nil})
	if done.Before != 2 || len(done.Left) != 0 {
		t.Fatalf("got %+v", done)
	}
	p := func(x int64, tags any) map[string]any {
		return map[string]any{"x": x, "tags": tags, "extra": nil, "more": nil}
	}
	byID := map[int64]map[string]any{}
	for _, r := range got {
		byID[r["id"].(int64)] = r
	}
	want := map[int64]map[string]any{
		1: {"id": int64(1), "points": []any{p(1, []any{"a", "b"}), p(2, nil)}, "m": map[any]any{"k": p(3, []any{"c"})}, "st": p(4, nil)},
		4: {"id": int64(4), "points": []any{map[string]any{"x": int64(11), "tags": []any{"t"}, "extra": nil, "more": nil}}, "m": nil,
			"st": map[string]any{"x": int64(10), "tags": nil, "extra": []any{int64(9)}, "more": map[string]any{"y": "y"}}},
	}
	for id, w := range want {
		if !reflect.DeepEqual(byID[id], w) {
			t.Errorf("got  %v\nwant %v", byID[id], w)
		}
	}
	if got := byID[2]; !reflect.DeepEqual(got["points"], []any{}) || got["st"] != nil {
		t.Errorf("got %v", got)
	}
	if got := byID[3]["points"]; !reflect.DeepEqual(got, []any{p(5, nil)}) {
		t.Errorf("got %v", got)
	}
}

func TestCarryRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		typ  Type
		file parquet.Node
	}{
		{"text for a number", Long, parquet.String()},
		{"a narrower number", Long, parquet.Int(32)},
		{"a plain number for a timestamp", Timestamp, parquet.Int(64)},
		{"a decimal for a number", Long, parquet.Decimal(2, 10, parquet.Int64Type)},
		{"another scale", Decimal{10, 2}, parquet.Decimal(3, 10, parquet.Int64Type)},
		{"more digits", Decimal{9, 2}, parquet.Decimal(2, 10, parquet.Int64Type)},
		{"a leaf for a struct", Struct{{Name: "x", Type: Long}}, parquet.Int(64)},
		{"a group for a leaf", Long, parquet.Group{"x": parquet.Int(64)}},
		{"a leaf for a list", Array{Element: Long}, parquet.Int(64)},
		{"a repeated field for a list", Array{Element: Long}, parquet.Repeated(parquet.Int(64))},
		{"a list of the old form", Array{Element: Long}, parquet.Optional(parquet.Group{"bag": parquet.Repeated(parquet.Int(64))})},
		{"a list for a map", Map{Key: String, Value: Long}, parquet.List(parquet.Int(64))},
	}
	for _, tt := range tests {
		l := newLayout(Schema{{Name: "v", Type: tt.typ}}, func(string) bool { return false })
		if _, err := newCarrier(l, parquet.Group{"v": tt.file}); !errors.Is(err, errShape) || !strings.Contains(err.Error(), `"v"`) {
			t.Errorf("%s: got %v, want errShape", tt.name, err)
		}
	}
}
