//go:build spark

// Tables of this package read and written by Spark with Delta's own library,
// the protocol's reference. It needs Java 17 and downloads 400 MB, so it has a
// tag of its own: go test -tags e2e,spark -run Spark ./core/delta
package delta

import (
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta/readertest"
)

func TestSpark(t *testing.T) {
	table, d := testTable(t, Definition{Schema: everything()}, Options{})
	for i := range 12 {
		if _, err := table.Append(t.Context(), Txn{"e2e", int64(i)}, everyRows(i*30, i*30+30)); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || c.Commits != 1 {
		t.Fatal(c, err)
	}
	if err := table.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Vacuum(t.Context(), VacuumOptions{Retention: time.Nanosecond, AllowShort: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Append(t.Context(), Txn{"e2e", 12}, everyRows(360, 370)); err != nil {
		t.Fatal(err)
	}
	want := expected(readAll(t, d))
	got := readertest.Spark(t, module, "append", d.Path(), "50", "100000")
	if got["skipped"] != 20.0 {
		t.Errorf("Spark finds %v rows by statistics, want 20", got["skipped"])
	}
	for _, key := range []string{"count", "ids", "score", "points", "last"} {
		if got[key] != want[key] {
			t.Errorf("Spark says %s is %v, we say %v", key, got[key], want[key])
		}
	}
	if _, err := table.Append(t.Context(), Txn{"e2e", 13}, everyRows(370, 380)); err != nil { // beside Spark's
		t.Fatal(err)
	}
	everyone(t, d, "Spark appended")
	done, err := table.Compact(t.Context(), CompactOptions{})
	if err != nil || len(done.Left) != 0 || done.Commits == 0 {
		t.Errorf("files of Spark and ours: %+v, %v", done, err)
	}
	everyone(t, d, "compacted")
	if got := ids(t, d); len(got) != 380+50 || got[len(got)-1] != 100049 {
		t.Errorf("got %d rows, the last %d", len(got), got[len(got)-1])
	}
}
