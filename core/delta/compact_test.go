package delta

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

func TestCompact(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: everything()}, Options{})
	for i := range 9 {
		if _, err := table.Append(t.Context(), Txn{}, everyRows(i*50, i*50+50)); err != nil {
			t.Fatal(err)
		}
	}
	before := readAll(t, d)
	c, err := table.Compact(t.Context(), CompactOptions{})
	if err != nil || c.Commits != 1 || c.Before != 9 || c.After != 1 || c.Rows != 450 || c.Upkeep != nil {
		t.Fatalf("got %+v, %v", c, err)
	}
	after := readAll(t, d)
	byID := func(a, b map[string]any) int { return int(a["id"].(int64) - b["id"].(int64)) }
	slices.SortFunc(before, byID)
	slices.SortFunc(after, byID)
	for i := range before {
		if fmt.Sprint(before[i]) != fmt.Sprint(after[i]) {
			t.Fatalf("row %d was %v and is %v", i, before[i], after[i])
		}
	}
	b := must(os.ReadFile(filepath.Join(d.Path(), logDir, commitFile(10))))(t)
	if bytes.Contains(b, []byte(`"dataChange":true`)) || strings.Count(string(b), `"remove"`) != 9 {
		t.Errorf("the commit is %s", b)
	}
	for _, a := range table.state.live {
		s := parseStats(a.Stats)
		if *s.NumRecords != 450 || fmt.Sprint(s.MinValues["id"]) != "0" || fmt.Sprint(s.MaxValues["id"]) != "449" {
			t.Errorf("statistics are %s", a.Stats)
		}
	}
	if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || c.Commits != 0 {
		t.Errorf("a second one: %+v, %v; want nothing to do", c, err)
	}
}

func TestCompactKeepsPartitions(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small(), Partition: []string{"part"}}, Options{})
	appendN(t, table, 0, 3, "a")
	appendN(t, table, 3, 6, nil)
	appendN(t, table, 6, 7, "alone")
	c, err := table.Compact(t.Context(), CompactOptions{})
	if err != nil || c.Before != 6 || c.After != 2 {
		t.Fatalf("got %+v, %v", c, err)
	}
	for _, r := range readAll(t, d) {
		want := any("a")
		if id := r["id"].(int64); id == 6 {
			want = "alone"
		} else if id >= 3 {
			want = nil
		}
		if r["part"] != want {
			t.Errorf("row %v is in partition %v", r["id"], r["part"])
		}
	}
}

func TestCompactLeavesWhatItCannotCarry(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	appendN(t, table, 0, 3, nil)
	type odd struct { // id is text
		ID string `parquet:"id"`
	}
	if err := parquet.WriteFile(filepath.Join(d.Path(), "odd.parquet"), []odd{{"x"}}); err != nil {
		t.Fatal(err)
	}
	if err := d.PutIfAbsent(t.Context(), logDir+"/"+commitFile(4), []byte(`{"add":{"path":"odd.parquet","partitionValues":{},"size":400,"modificationTime":1,"dataChange":true}}`)); err != nil {
		t.Fatal(err)
	}
	c, err := table.Compact(t.Context(), CompactOptions{})
	if err != nil || c.Before != 3 || len(c.Left) != 1 || !strings.Contains(c.Left[0], "odd.parquet") {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestWithoutLarge(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want []int64 }{
		{[]int64{1, 1, 1}, []int64{1, 1, 1}},
		{[]int64{100, 1, 1}, []int64{1, 1}},
		{[]int64{100, 40, 30, 29}, []int64{40, 30, 29}},
		{[]int64{100, 40, 30, 30}, []int64{100, 40, 30, 30}},
		{[]int64{9, 3, 1}, []int64{1}},
	}
	for _, tt := range tests {
		var in []*add
		for _, n := range tt.in {
			in = append(in, &add{Size: n})
		}
		var got []int64
		for _, a := range withoutLarge(in) {
			got = append(got, a.Size)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("withoutLarge(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}
