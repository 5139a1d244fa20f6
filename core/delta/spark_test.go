//go:build spark

// Tables of this package read and written by Spark with Delta's own library,
// the protocol's reference. It needs Java 17 and downloads 400 MB, so it has a
// tag of its own: go test -tags e2e,spark -run Spark ./core/delta
package delta

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpark(t *testing.T) {
	cache := must(filepath.Abs("../../.cache/delta-spark"))(t)
	bin := filepath.Join(cache, "bin", "python")
	if _, err := os.Stat(filepath.Join(cache, "ready")); err != nil {
		for _, c := range [][]string{{"python3", "-m", "venv", "--clear", cache}, {bin, "-m", "pip", "install", "--quiet", "uv==0.13.8"},
			{filepath.Join(cache, "bin", "uv"), "pip", "install", "--quiet", "--python", bin, "pyspark==3.5.3"}} {
			if out, err := exec.CommandContext(t.Context(), c[0], c[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", c, err, out)
			}
		}
		if err := os.WriteFile(filepath.Join(cache, "ready"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
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
	cmd := exec.CommandContext(t.Context(), bin, "testdata/spark.py", d.Path(), "50", "100000", filepath.Join(cache, "ivy"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
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
