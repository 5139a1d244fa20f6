package delta

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// plainRow has a field of each plain type, by value, by pointer and with
// omitzero, and in structs and lists of structs.
type plainRow struct {
	ID     int64          `delta:"id"`
	Day    int32          `delta:"day"`
	S      string         `delta:"s"`
	SO     string         `delta:"so,omitzero"`
	SP     *string        `delta:"sp,omitzero"`
	N      int32          `delta:"n"`
	NO     int32          `delta:"no,omitzero"`
	NP     *int32         `delta:"np"`
	LO     int64          `delta:"lo,omitzero"`
	LP     *int64         `delta:"lp"`
	D      Unscaled       `delta:"d"`
	DP     *Unscaled      `delta:"dp"`
	Inner  *plainInner    `delta:"inner"`
	Inners []plainInner   `delta:"inners"`
	Words  []string       `delta:"words"`
	Tags   map[string]int `delta:"tags"`
}

type plainInner struct {
	X int64    `delta:"x,omitzero"`
	S string   `delta:"s"`
	L []string `delta:"l"`
}

func plainSchema() Schema {
	in := Struct{{Name: "x", Type: Long}, {Name: "gone", Type: Double}, {Name: "s", Type: String}, {Name: "l", Type: Array{Element: String}}}
	d := Decimal{18, 2}
	return Schema{{Name: "id", Type: Long}, {Name: "day", Type: Integer}, {Name: "s", Type: String}, {Name: "so", Type: String}, {Name: "sp", Type: String},
		{Name: "n", Type: Integer}, {Name: "no", Type: Integer}, {Name: "np", Type: Integer}, {Name: "lo", Type: Long}, {Name: "lp", Type: Timestamp},
		{Name: "d", Type: d}, {Name: "dp", Type: d}, {Name: "inner", Type: in}, {Name: "inners", Type: Array{Element: in}},
		{Name: "words", Type: Array{Element: String}}, {Name: "tags", Type: Map{Key: String, Value: Integer}}, {Name: "gone", Type: Array{Element: in}}}
}

// plainValue is a row whose every field is null, zero or empty now and then.
func plainValue(i int) *plainRow {
	s, n, l, d := fmt.Sprint("s", i%5), int32(-i), int64(i), Unscaled(i)
	r := &plainRow{ID: int64(i), Day: int32(i / 150), S: fmt.Sprint("unique ", i)}
	if i%2 == 0 {
		r.SO, r.N, r.NO, r.LO, r.D = s+"\xff", n, n, l, -d
	}
	if i%3 == 0 {
		r.SP, r.NP, r.LP, r.DP = &s, &n, &l, &d
	} else if i%3 == 1 {
		r.SP, r.NP, r.LP, r.DP = new(string), new(int32), new(int64), new(Unscaled)
	}
	if i%4 < 3 {
		r.Inner = &plainInner{X: int64(i % 4), S: s}
		r.Inners = make([]plainInner, i%4)
		r.Words = strings.Split(strings.Repeat("w ", i%4), " ")[:i%4]
		r.Tags = map[string]int{"a": i}
	}
	for j := range r.Inners {
		r.Inners[j] = plainInner{X: int64(j), S: s, L: make([]string, j)}
	}
	return r
}

// asRow is r without the help of its type.
func (r *plainRow) asRow() Row {
	orNull := func(v any) any {
		if rv := reflect.ValueOf(v); rv.IsZero() {
			return nil
		} else if rv.Kind() == reflect.Pointer {
			return rv.Elem().Interface()
		}
		return v
	}
	in := func(x plainInner) Row { return Row{orNull(x.X), nil, x.S, x.L} }
	row := Row{r.ID, r.Day, r.S, orNull(r.SO), orNull(r.SP), r.N, orNull(r.NO), orNull(r.NP), orNull(r.LO), orNull(r.LP), r.D, orNull(r.DP), nil, nil, r.Words, r.Tags, nil}
	if r.Inner != nil {
		row[12] = in(*r.Inner)
	}
	if r.Inners != nil {
		list := []any{}
		for _, x := range r.Inners {
			list = append(list, in(x))
		}
		row[13] = list
	}
	return row
}

// The three ways of a row give the same table, over several batches and with
// rows among them that are refused half-way.
func TestPlainFields(t *testing.T) {
	t.Parallel()
	write := func(way func(r *plainRow) any) []map[string]any {
		table, d := testTable(t, Definition{Schema: plainSchema(), Partition: []string{"day"}}, Options{})
		w := table.NewWriter()
		for i := range 3*batchRows + 7 {
			r := plainValue(i)
			if err := w.Write(t.Context(), way(r)); err != nil {
				t.Fatal(err)
			}
			tooMuch := Unscaled(1e18)
			if i%4 == 1 {
				r.DP = &tooMuch
			} else {
				r.D = -tooMuch
			}
			var bad *RowError
			if err := w.Write(t.Context(), way(r)); !errors.As(err, &bad) || !strings.Contains(err.Error(), "has more digits than decimal(18,2)") {
				t.Fatalf("row %d with too many digits: %v", i, err)
			}
		}
		if _, err := w.Commit(t.Context(), Txn{}); err != nil {
			t.Fatal(err)
		}
		all := make([]map[string]any, 3*batchRows+7)
		for _, row := range readAll(t, d) {
			all[row["id"].(int64)] = row
		}
		return all
	}
	want := write(func(r *plainRow) any { return r.asRow() })
	for name, way := range map[string]func(r *plainRow) any{
		"pointer": func(r *plainRow) any { return r },
		"value":   func(r *plainRow) any { return *r },
		"mixed": func(r *plainRow) any {
			if r.ID%3 == 0 {
				return r.asRow()
			}
			return r
		},
	} {
		got := write(way)
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%s, row %d: got %v\nwant %v", name, i, got[i], want[i])
			}
		}
	}
	if want[1]["so"] != nil || want[1]["sp"] != "" || want[2]["so"] != "s2\uFFFD" || want[2]["sp"] != nil || want[1]["lp"] == nil || want[150]["day"] != "1" {
		t.Errorf("got %v\nand %v", want[1], want[2])
	}
}

// What a partition column holds is remembered from row to row, but not past
// another kind of row or one that was refused.
func TestPartitionOfStructs(t *testing.T) {
	t.Parallel()
	type row struct {
		ID  int64  `delta:"id"`
		N   int32  `delta:"n"`
		Opt int64  `delta:"opt,omitzero"`
		S   string `delta:"s"`
	}
	type other struct {
		ID int64    `delta:"id"`
		N  Unscaled `delta:"n"`
		S  string   `delta:"s"`
	}
	table, d := testTable(t, Definition{Schema: Schema{{Name: "id", Type: Long}, {Name: "n", Type: Short}, {Name: "opt", Type: Long}, {Name: "s", Type: String}}, Partition: []string{"n", "opt", "s"}}, Options{})
	w := table.NewWriter()
	for _, tt := range []struct {
		row     any
		refused bool
	}{
		{&row{0, 1, 5, "a"}, false}, {&row{1, 1, 0, "a"}, false}, {&row{2, 2, 5, "b"}, false}, {&row{9, math.MaxInt32, 5, "b"}, true},
		{&row{3, 2, 5, "b"}, false}, {Row{4, 3, nil, "b"}, false}, {&row{5, 2, 5, "b"}, false}, {&other{9, 2, "b"}, true}, {&row{6, 2, 0, ""}, false},
	} {
		if err := w.Write(t.Context(), tt.row); (err != nil) != tt.refused {
			t.Errorf("%+v: got %v", tt.row, err)
		}
	}
	if c, err := w.Commit(t.Context(), Txn{}); err != nil || c.Files != 5 {
		t.Fatal(c, err)
	}
	want := map[int64][3]any{0: {"1", "5", "a"}, 1: {"1", nil, "a"}, 2: {"2", "5", "b"}, 3: {"2", "5", "b"}, 4: {"3", nil, "b"}, 5: {"2", "5", "b"}, 6: {"2", nil, nil}}
	got := map[int64][3]any{}
	for _, r := range readAll(t, d) {
		got[r["id"].(int64)] = [3]any{r["n"], r["opt"], r["s"]}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
