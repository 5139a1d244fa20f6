//go:build e2e

// Tables of this package read by programs that are not ours, and the other
// way. The programs come from PyPI.
package delta

import (
	"fmt"
	"math/big"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta/readertest"
)

// module is the top directory of ours, from here.
const module = "../.."

// reader runs readertest's readers.py.
func reader(t *testing.T, args ...string) map[string]any {
	t.Helper()
	return readertest.Run(t, module, args...)
}

// expected is the figures of readers.py, from the rows as we read them.
func expected(rows []map[string]any) map[string]any {
	out := map[string]any{"count": float64(len(rows))}
	sum := func(name string, x float64) { v, _ := out[name].(float64); out[name] = v + x }
	d38 := new(big.Rat)
	distinct := map[string]map[any]bool{"word": {}, "part": {}}
	last := int64(-1)
	for _, r := range rows {
		sum("ids", float64(r["id"].(int64)))
		for name, seen := range distinct {
			if v := r[name]; v != nil {
				seen[v] = true
			}
		}
		if at, ok := r["at"].(time.Time); ok {
			last = max(last, at.UnixMicro())
		}
		if _, ok := r["d38"]; !ok {
			continue
		}
		if r["s"] == nil {
			sum("nulls", 1)
			continue
		}
		x, _ := new(big.Rat).SetString(r["d38"].(string))
		d38.Add(d38, x)
		sum("score", r["st"].(map[string]any)["y"].(map[string]any)["score"].(float64))
		sum("xs", float64(len(r["xs"].([]any))))
		sum("pairs", float64(len(r["m"].(map[any]any))))
		sum("points", float64(len(r["points"].([]any))))
	}
	if len(rows) > 0 {
		if _, ok := rows[0]["word"]; ok {
			out["words"] = float64(len(distinct["word"]))
		}
		if _, ok := rows[0]["part"]; ok {
			out["parts"] = float64(len(distinct["part"]))
		}
		if _, ok := rows[0]["d38"]; ok {
			f, _ := new(big.Rat).Mul(d38, big.NewRat(1, 1)).Float64()
			out["d38"] = round(f)
		}
	}
	out["last"] = float64(last)
	return out
}

func round(f float64) float64 {
	v, _ := new(big.Float).SetFloat64(f).Float64()
	var r float64
	fmt.Sscanf(fmt.Sprintf("%.6f", v), "%g", &r)
	return r
}

// everyone compares what all readers say of the table.
func everyone(t *testing.T, d *Dir, stage string) {
	t.Helper()
	want := expected(readAll(t, d))
	table := must(OpenTable(t.Context(), d, Options{}))(t)
	args := []string{"duckdb", d.Path()}
	for key := range table.state.live {
		args = append(args, filepath.Join(d.Path(), must(fileName(key.path))(t)))
	}
	results := map[string]map[string]any{"delta-rs": reader(t, "delta-rs", d.Path()), "chdb": reader(t, "chdb", d.Path()), "duckdb": reader(t, args...)}
	n, _ := table.Files()
	rs := results["delta-rs"]
	if rs["version"] != float64(table.Version()) || rs["files"] != float64(n) || rs["adds"] != float64(n) {
		t.Errorf("%s: delta-rs sees version %v, %v files, %v with statistics; we see %d and %d", stage, rs["version"], rs["files"], rs["adds"], table.Version(), n)
	}
	for name, got := range results {
		delete(got, "version")
		delete(got, "files")
		delete(got, "adds")
		for key, w := range want {
			if name == "duckdb" && key == "parts" && len(table.Partition()) > 0 {
				continue // it is given the files alone
			}
			if !reflect.DeepEqual(got[key], w) {
				t.Errorf("%s: %s says %s is %v, we say %v", stage, name, key, got[key], w)
			}
		}
	}
}

func TestOtherReaders(t *testing.T) {
	readertest.Ready(t, module) // once, before the tables ask for it side by side
	odd := "a b/ü=%+&"
	tests := map[string]struct {
		def Definition
		row func(i int) Row
	}{
		"every type":           {Definition{Name: "every type", Schema: everything(), Properties: map[string]string{"otel.schemaVersion": "v1"}}, everyRow},
		"partitioned by text":  {Definition{Schema: small(), Partition: []string{"part"}}, func(i int) Row { return smallRow(i, []any{odd, nil, "plain", "2026-11-21"}[i%4]) }},
		"partitioned by a day": {Definition{Schema: append(small(), Field{Name: "day", Type: Date}, Field{Name: "n", Type: Integer}), Partition: []string{"day", "n"}}, func(i int) Row { return append(smallRow(i, "p"), 20000+i%3, i%2) }},
		"long texts and odd numbers": {Definition{Schema: append(small(), Field{Name: "f", Type: Double})}, func(i int) Row {
			return append(Row{i, time.Unix(int64(i), int64(i)*1001000-5000), strings.Repeat("é", 40) + fmt.Sprint(i), strings.Repeat("\U0010FFFF", 33)}, []any{inf, -inf, nil, 0.5}[i%4])
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, d := testTable(t, tt.def, Options{})
			next := 0
			appendRows := func(commits int) {
				t.Helper()
				for range commits {
					c, err := table.Append(t.Context(), Txn{"e2e", int64(next)}, func(yield func(any, error) bool) {
						for range 30 {
							if !yield(tt.row(next), nil) {
								return
							}
							next++
						}
					})
					if err != nil || c.Upkeep != nil {
						t.Fatal(c, err)
					}
				}
			}
			appendRows(3)
			everyone(t, d, "commits alone")
			appendRows(9)
			everyone(t, d, "with a checkpoint")
			if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || c.Commits == 0 || len(c.Left) > 0 {
				t.Fatal(c, err)
			}
			if err := table.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			everyone(t, d, "compacted")
			if got := must(table.Vacuum(t.Context(), VacuumOptions{Retention: time.Nanosecond, AllowShort: true}))(t); len(got) == 0 {
				t.Error("Vacuum found nothing")
			}
			age(t, d, 40*24*time.Hour)
			if got := must(table.CleanLog(t.Context()))(t); len(got) == 0 {
				t.Error("CleanLog found nothing")
			}
			everyone(t, d, "vacuumed, its log cleaned")

			// delta-rs appends, and we go on.
			if got := reader(t, "append", d.Path(), "50", "100000"); got["rows"] != 50.0 {
				t.Fatalf("delta-rs appended %v", got)
			}
			everyone(t, d, "delta-rs appended")
			next += 1000
			appendRows(2)
			if v, _, err := table.LastTxn(t.Context(), "e2e"); err != nil || v != int64(next-30) {
				t.Errorf("LastTxn = %d, %v", v, err)
			}
			everyone(t, d, "and we went on")
			if _, err := table.DeleteBefore(t.Context(), "at", time.Unix(20, 0)); err != nil {
				t.Fatal(err)
			}
			if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || len(c.Left) > 0 {
				t.Fatal(c, err)
			}
			if err := table.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			everyone(t, d, "rows deleted, its files and ours compacted")
		})
	}
}

// The long form of tests that are short elsewhere.
func TestLong(t *testing.T) {
	t.Run("killed at steps", func(t *testing.T) {
		t.Parallel()
		var steps []int
		for i := range 30 {
			steps = append(steps, i+1)
		}
		killAtSteps(t, steps)
	})
	t.Run("processes", func(t *testing.T) { t.Parallel(); processes(t, 4, 150) })
	t.Run("killed at random", func(t *testing.T) { t.Parallel(); killAtRandom(t, 100) })
}

// Files that were written before a column was added have it as null.
func TestReadersAfterColumnsWereAdded(t *testing.T) {
	table, d := testTable(t, Definition{Schema: small(), Partition: []string{"part"}}, Options{})
	write := func(r Row) {
		t.Helper()
		if _, err := table.Append(t.Context(), Txn{}, Rows(r)); err != nil {
			t.Fatal(err)
		}
	}
	write(smallRow(1, "a"))
	must(table.AddColumns(t.Context(), wider(), map[string]string{"sallyport.schemaVersion": "2"}))(t)
	write(append(smallRow(2, "a"), int64(7), Row{"x"}))
	deeper := wider()
	deeper[5].Type = Struct{{Name: "a", Type: String}, {Name: "b", Type: Array{Element: Struct{{Name: "c", Type: Long}}}}}
	must(table.AddColumns(t.Context(), deeper, nil))(t)
	write(append(smallRow(3, "b"), nil, Row{"y", []any{Row{int64(1)}}}))
	everyone(t, d, "columns added")
	must(table.Compact(t.Context(), CompactOptions{}))(t)
	everyone(t, d, "columns added and compacted")
}
