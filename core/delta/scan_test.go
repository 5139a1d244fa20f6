package delta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// scanSchema has a column of each type that can be scanned.
func scanSchema() Schema {
	return Schema{
		{Name: "id", Type: Long, NotNull: true}, {Name: "s", Type: String}, {Name: "i", Type: Integer}, {Name: "day", Type: Date}, {Name: "at", Type: Timestamp},
		{Name: "d9", Type: Decimal{9, 2}}, {Name: "d18", Type: Decimal{18, 6}},
		{Name: "st", Type: Struct{{Name: "x", Type: Long}, {Name: "y", Type: Struct{{Name: "name", Type: String}}}}},
		{Name: "l", Type: Array{Element: String}}, {Name: "m", Type: Map{Key: String, Value: String}},
		{Name: "part", Type: String},
	}
}

func scanRow(i int) Row {
	part := fmt.Sprint("p", i%3)
	switch i % 5 {
	case 3: // all null
		r := make(Row, 11)
		r[0], r[10] = int64(i), part
		return r
	case 4: // empty
		return Row{int64(i), "", int32(0), int32(0), int64(0), Unscaled(0), Unscaled(0), Row{nil, Row{nil}}, []string{}, map[string]string{}, part}
	}
	list := []any{"a", nil, fmt.Sprint(i % 4)}[:i%4]
	m := Pairs{{"k", fmt.Sprint(i)}, {"n", nil}, {"", "empty"}}[:i%4]
	return Row{int64(i), fmt.Sprintf("text %d", i), int32(-i), int32(i), int64(i) * 1e6, Unscaled(i), Unscaled(-i), Row{int64(i), Row{fmt.Sprint("n", i)}}, list, m, part}
}

var scanPaths = []string{"id", "s", "i", "day", "at", "d9", "d18", "st.x", "st.y.name", "l", "m"}

// scanned is row i as Scan gives it.
func scanned(i int) []any {
	if i%5 >= 3 {
		return []any{int64(i), "", int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), "", []string(nil), map[string]string(nil)}
	}
	list := [][]string{nil, {"a"}, {"a"}, {"a", fmt.Sprint(i % 4)}}[i%4]
	m := []map[string]string{nil, {"k": fmt.Sprint(i)}, {"k": fmt.Sprint(i), "n": ""}, {"k": fmt.Sprint(i), "n": "", "": "empty"}}[i%4]
	n := int64(i)
	return []any{n, fmt.Sprintf("text %d", i), -n, n, n * 1e6, n, -n, n, fmt.Sprint("n", i), list, m}
}

func (v *Values) any(i int) any {
	switch {
	case v.Ints != nil:
		return v.Int(i)
	case v.Texts != nil:
		return v.Text(i)
	case v.Lists != nil:
		return v.List(i)
	}
	return v.Map(i)
}

func scanTable(t *testing.T, n int) (*Table, *Dir) {
	t.Helper()
	table, d := testTable(t, Definition{Schema: scanSchema(), Partition: []string{"part"}}, Options{})
	must(table.Append(t.Context(), Txn{}, func(yield func(any, error) bool) {
		for i := range n {
			if !yield(scanRow(i), nil) {
				return
			}
		}
	}))(t)
	return table, d
}

// TestScan: every value of every type comes back, over batches and pages, of the
// files that are asked for.
func TestScan(t *testing.T) {
	t.Parallel()
	const n = 3 * (scanRows + scanRows/4) // more than a batch of each part
	_, d := scanTable(t, n)
	s, err := Open(t.Context(), d.Path())
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, n)
	for b, err := range s.Scan(t.Context(), Selection{Columns: scanPaths, Files: func(f File) bool { return f.Partition["part"] != "p1" }}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Rows > scanRows || len(b.Columns) != len(scanPaths) {
			t.Fatalf("%d rows of %d columns", b.Rows, len(b.Columns))
		}
		for i := range b.Rows {
			id := int(b.Columns[0].Int(i))
			var got []any
			for j := range b.Columns {
				got = append(got, b.Columns[j].any(i))
			}
			if want := scanned(id); !reflect.DeepEqual(got, want) {
				t.Fatalf("row %d: %#v, want %#v", id, got, want)
			}
			if seen[id] {
				t.Fatalf("row %d twice", id)
			}
			seen[id] = true
		}
	}
	for id, ok := range seen {
		if ok != (id%3 != 1) {
			t.Fatalf("row %d: seen %v", id, ok)
		}
	}
	for range s.Scan(t.Context(), Selection{Columns: scanPaths}) {
		break
	}
}

// TestScanLeast: what the statistics say is below is passed over, and nothing
// else; other orders of columns, and the same one twice, do no harm.
func TestScanLeast(t *testing.T) {
	t.Parallel()
	table, d := scanTable(t, 100)
	for from := 100; from < 500; from += 100 {
		must(table.Append(t.Context(), Txn{}, func(yield func(any, error) bool) {
			for i := from; i < from+100; i++ {
				if !yield(scanRow(i), nil) {
					return
				}
			}
		}))(t)
	}
	s, err := Open(t.Context(), d.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		least string
		min   int64
		first int // id from which on rows may come
	}{{"", 1 << 60, 0}, {"id", 0, 0}, {"id", 250, 200}, {"id", 1000, 500}, {"at", 350e6, 300}, {"st.x", 250, 200}, {"s", 5, 0}, {"l", 5, 0}} {
		got := map[int]bool{}
		for b, err := range s.Scan(t.Context(), Selection{Columns: []string{"l", "id", "id"}, Least: tt.least, Min: tt.min}) {
			if err != nil {
				t.Fatalf("%s: %v", tt.least, err)
			}
			for i := range b.Rows {
				if b.Columns[1].Int(i) != b.Columns[2].Int(i) {
					t.Fatal("the same column twice differs")
				}
				got[int(b.Columns[1].Int(i))] = true
			}
		}
		for id := range 500 {
			if got[id] != (id >= tt.first) {
				t.Fatalf("%s from %d: row %d came: %v", tt.least, tt.min, id, got[id])
			}
		}
	}
}

// TestScanOlder: columns that came after a file, and fields of structs, are
// nothing in its rows.
func TestScanOlder(t *testing.T) {
	t.Parallel()
	table, d := scanTable(t, 30)
	wide := append(slices.Clone(scanSchema()), Field{Name: "new", Type: String}, Field{Name: "news", Type: Array{Element: String}}, Field{Name: "tags", Type: Map{Key: String, Value: String}}, Field{Name: "n", Type: Long})
	must(table.AddColumns(t.Context(), wide, nil))(t)
	must(table.Append(t.Context(), Txn{}, Rows(append(scanRow(30), "x", []string{"y"}, map[string]string{"k": "v"}, int64(7)))))(t)
	s, err := Open(t.Context(), d.Path())
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for b, err := range s.Scan(t.Context(), Selection{Columns: []string{"id", "new", "news", "tags", "n"}, Least: "n", Min: 5}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Rows {
			c := b.Columns
			got, want := fmt.Sprint(c[1].Text(i), c[2].List(i), c[3].Map(i), c[4].Int(i)), "[] map[] 0"
			if c[0].Int(i) == 30 {
				want = "x[y] map[k:v] 7"
			}
			if got != want {
				t.Errorf("row %d: %s, want %s", c[0].Int(i), got, want)
			}
			rows++
		}
	}
	if rows != 31 {
		t.Errorf("%d rows", rows)
	}
}

func TestScanErrors(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: append(everything(), Field{Name: "long", Type: Decimal{20, 0}})}, Options{})
	must(table.Append(t.Context(), Txn{}, Rows(append(everyRow(1), "5"))))(t)
	s, err := Open(t.Context(), d.Path())
	if err != nil {
		t.Fatal(err)
	}
	scan := func(ctx context.Context, column string) error {
		for _, err := range s.Scan(ctx, Selection{Columns: []string{"id", column}}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	for column, want := range map[string]string{
		"nothing": `column "nothing": there is no such column`, "st.z": `column "st.z": there is no such column`, "id.x": `column "id.x": there is no such column`, "": `column ""`,
		"st": `column "st": a struct cannot be scanned`, "xs": "cannot be scanned", "ss": "cannot be scanned", "ms": "cannot be scanned", "points": "cannot be scanned",
		"d": `column "d": a double cannot be scanned`, "t": "cannot be scanned", "bin": "cannot be scanned", "h": "cannot be scanned", "long": "cannot be scanned",
	} {
		if err := scan(t.Context(), column); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), d.Path()) {
			t.Errorf("%q: %v, want %s", column, err, want)
		}
	}
	if err := scan(t.Context(), "m"); err != nil {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := scan(gone, "s"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	whole, err := os.ReadFile(s.Files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 17 { // a byte that is wrong is an error or a value, and never a panic
		broken := slices.Clone(whole)
		broken[at] ^= 0x55
		if err := os.WriteFile(s.Files[0].Path, broken, 0o644); err != nil {
			t.Fatal(err)
		}
		scan(t.Context(), "m")
	}
	if err := os.Truncate(s.Files[0].Path, int64(len(whole))/2); err != nil {
		t.Fatal(err)
	}
	if err := scan(t.Context(), "s"); err == nil {
		t.Error("half a file is read")
	}
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the consumer's panic is not its own")
			}
		}()
		os.WriteFile(s.Files[0].Path, whole, 0o644)
		for range s.Scan(t.Context(), Selection{Columns: []string{"id"}}) {
			panic("mine")
		}
	}()
}
