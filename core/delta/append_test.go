package delta

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

func TestPartitions(t *testing.T) {
	t.Parallel()
	schema := Schema{{Name: "id", Type: Long}, {Name: "day", Type: Date}, {Name: "word", Type: String}, {Name: "n", Type: Integer}}
	table, d := testTable(t, Definition{Schema: schema, Partition: []string{"day", "word", "n"}}, Options{})
	odd := "a/b ü=%.."
	day := time.Date(2026, 11, 21, 23, 0, 0, 0, time.FixedZone("", 5*3600))
	c, err := table.Append(t.Context(), Txn{}, Rows[any](
		Row{0, day, odd, 5}, Row{1, "2026-11-21", odd, int64(5)}, Row{2, nil, nil, nil}, Row{3, day, "", -1},
		struct {
			ID   int64     `delta:"id"`
			Day  time.Time `delta:"day"`
			Word *string   `delta:"word"`
			N    int8      `delta:"n,omitzero"`
		}{4, day, &odd, 0},
	))
	if err != nil || c.Files != 4 || c.Rows != 5 {
		t.Fatal(c, err)
	}
	got := map[int64][3]any{}
	for _, r := range readAll(t, d) {
		got[r["id"].(int64)] = [3]any{r["day"], r["word"], r["n"]}
	}
	want := map[int64][3]any{0: {"2026-11-21", odd, "5"}, 1: {"2026-11-21", odd, "5"}, 2: {nil, nil, nil}, 3: {"2026-11-21", nil, "-1"}, 4: {"2026-11-21", odd, nil}}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("row %d: got %v, want %v", id, got[id], w)
		}
	}
	strict, _ := testTable(t, Definition{Schema: Schema{{Name: "id", Type: Long}, {Name: "p", Type: String, NotNull: true}}, Partition: []string{"p"}}, Options{})
	for _, p := range []any{nil, ""} {
		if _, err := strict.Append(t.Context(), Txn{}, Rows(Row{1, p})); err == nil || !strings.Contains(err.Error(), `column "p"`) {
			t.Errorf("partition value %#v of a column that is not nullable: got %v", p, err)
		}
	}
	days, at := testTable(t, Definition{Schema: Schema{{Name: "id", Type: Long}, {Name: "p", Type: Date}, {Name: "q", Type: Long, NotNull: true}}, Partition: []string{"p", "q"}}, Options{})
	if _, err := days.Append(t.Context(), Txn{}, Rows(Row{1, []byte(nil), 1})); err != nil {
		t.Errorf("nil of a slice as a partition value: got %v", err)
	} else if r := readAll(t, at)[0]; r["p"] != nil {
		t.Errorf("nil of a slice as a partition value: got %v, want null", r["p"])
	}
	if _, err := days.Append(t.Context(), Txn{}, Rows(Row{1, nil, []byte(nil)})); err == nil || !strings.Contains(err.Error(), `column "q"`) {
		t.Errorf("nil of a slice as the value of a column that is not nullable: got %v", err)
	}
	s, err := Open(t.Context(), d.Path()) // the reader finds the files by their paths
	if err != nil || len(s.Files) != 4 {
		t.Errorf("Open: %v, %v", s, err)
	}
	if _, err := table.Append(t.Context(), Txn{}, func(yield func(any, error) bool) { // more than may be open
		for i := range 3 * maxOpenFiles {
			if !yield(Row{100 + i, nil, fmt.Sprint(i), i}, nil) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, d); len(got) != 5+3*maxOpenFiles {
		t.Errorf("got %d rows", len(got))
	}
}

// Rows that are refused leave no files.
func TestPartitionsOfRefusedRows(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: Schema{{Name: "id", Type: Long}, {Name: "p", Type: Long}}, Partition: []string{"p"}}, Options{})
	w := table.NewWriter()
	for i := range 3 * maxOpenFiles {
		if err := w.Write(t.Context(), Row{"no number", i}); err == nil {
			t.Fatal("a text was taken for a number")
		}
	}
	if err := w.Write(t.Context(), Row{0, 0}); err != nil {
		t.Fatal(err)
	}
	if c, err := w.Commit(t.Context(), Txn{}); err != nil || c.Files != 1 || c.Rows != 1 {
		t.Errorf("got %+v, %v; want one file", c, err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(1)) {
		t.Errorf("got rows %v", got)
	}
}

func TestFilesAreSplitAtTheTargetSize(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small(), Properties: map[string]string{propTargetFileSize: "20kb"}}, Options{})
	c, err := table.Append(t.Context(), Txn{}, func(yield func(any, error) bool) {
		for i := range 20_000 {
			if !yield(Row{i, nil, fmt.Sprintf("%x", uint64(i)*0x9E3779B97F4A7C15), nil}, nil) {
				return
			}
		}
	})
	if err != nil || c.Files < 3 || c.Rows != 20_000 {
		t.Errorf("got %+v, %v; want several files", c, err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(20_000)) {
		t.Errorf("got %d rows", len(got))
	}
}

// Readers hold many rows of a row group at once, so it may not have many large
// texts, however well they compress.
func TestRowGroupsOfLargeTexts(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small(), Properties: map[string]string{"delta.dataSkippingStatsColumns": "id"}}, Options{})
	const most = groupText + 1<<20 // with what is not text
	check := func(rows, large int64) {
		t.Helper()
		for _, a := range table.state.live {
			b := must(os.ReadFile(filepath.Join(d.Path(), a.Path)))(t)
			f := must(parquet.OpenFile(bytes.NewReader(b), int64(len(b))))(t)
			for i, g := range f.Metadata().RowGroups {
				rows -= g.NumRows
				if g.TotalByteSize > most {
					if large--; g.NumRows > 1 {
						t.Errorf("row group %d has %d rows of %d bytes", i, g.NumRows, g.TotalByteSize)
					}
				}
			}
		}
		if rows != 0 || large != 0 {
			t.Errorf("%d rows and %d that are larger than a row group are missing", rows, large)
		}
	}
	long := strings.Repeat("compresses well, ", 4<<20/17)
	for i := range int64(3) {
		w := table.NewWriter()
		for j := range int64(300) {
			row := Row{i*300 + j, nil, "short", nil}
			if j%60 == 0 { // 40 MiB in all
				row[2], row[3] = long, long[1:]
			}
			if err := w.Write(t.Context(), row); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Commit(t.Context(), Txn{}); err != nil {
			t.Fatal(err)
		}
	}
	check(900, 0)
	if _, err := table.Append(t.Context(), Txn{}, Rows(Row{int64(900), nil, strings.Repeat(long, 9), nil}, Row{int64(901), nil, "short", nil})); err != nil {
		t.Fatal(err)
	}
	check(902, 1)
	if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || c.After != 1 || c.Rows < 900 {
		t.Fatalf("got %+v, %v", c, err)
	}
	check(902, 1)
}
