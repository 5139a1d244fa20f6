//go:build e2e && linux

package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/delta/readertest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// The long form of TestCrashLoop. Then every table is read by programs that
// are not ours, as the crashes left it and compacted.
func TestCrashLoopLong(t *testing.T) {
	module := gatewaytest.Root(t)
	readertest.Ready(t, module)
	c := newCrashLoop(t, 4)
	c.run(t, 20)
	c.compare(t)

	root := filepath.Join(c.dir, "sallyport-data", "tables")
	dirs, err := filepath.Glob(filepath.Join(root, "*", "*", "*", "_delta_log"))
	if err != nil || len(dirs) < 2 {
		t.Fatalf("the tables: %v, %v", dirs, err)
	}
	for _, dir := range dirs {
		dir = filepath.Dir(dir)
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(rel, string(filepath.Separator), ".")
		everyReader(t, module, c.file, "as the crashes left it", name, dir)
		compact(t, dir)
		everyReader(t, module, c.file, "compacted", name, dir)
		if strings.HasSuffix(name, ".usage") {
			t.Log(spark(t, module, c.file, dir))
		}
	}
	c.compare(t) // by the gateway, started once more
}

// compact compacts the table in dir and removes what is no longer needed.
func compact(t *testing.T, dir string) {
	t.Helper()
	storage, err := delta.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer storage.Close()
	table, err := delta.OpenTable(t.Context(), storage, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := table.Files()
	done, err := table.Compact(t.Context(), delta.CompactOptions{})
	if err != nil || len(done.Left) > 0 {
		t.Fatalf("%s: compacted %+v, %v", dir, done, err)
	}
	if err := table.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, _ := table.Files()
	t.Logf("%s: compacted from %d files to %d at version %d", filepath.Base(dir), before, after, table.Version())
	if after > before || after > 5 {
		t.Errorf("%s: %d files before, %d after the compaction", dir, before, after)
	}
}

// everyReader compares what all readers say of a table.
func everyReader(t *testing.T, module, file, stage, name, dir string) {
	t.Helper()
	columns, wants := []string{"count(*)", "count(DISTINCT invocation_id)"}, []string{"count", "invocations"}
	if strings.HasSuffix(name, ".usage") {
		columns, wants = append(columns, "CAST(sum(cost_usd) AS VARCHAR)"), append(wants, "cost")
	}
	row := gatewaytest.SQL(t, file, "SELECT "+strings.Join(columns, ", ")+" FROM "+name)[0]
	want := map[string]any{}
	for i, key := range wants {
		switch v := row[i].(type) {
		case json.Number:
			want[key], _ = v.Float64()
		case string:
			want[key] = v
		}
	}
	if want["count"] == 0.0 || want["count"] != want["invocations"] {
		t.Errorf("%s, %s: over the gateway: %v", name, stage, want)
	}
	for _, reader := range []string{"delta-rs", "chdb"} {
		got := readertest.Run(t, module, reader, dir)
		for _, key := range wants {
			if a, b := got[key], want[key]; !reflect.DeepEqual(a, b) && !sameNumber(a, b) {
				t.Errorf("%s, %s: %s says %s is %v, the gateway %v", name, stage, reader, key, a, b)
			}
		}
		t.Logf("%s, %s: %s says %v", name, stage, reader, got)
	}
}

// sameNumber compares decimals, however they are written.
func sameNumber(a, b any) bool {
	x, okX := new(big.Rat).SetString(fmt.Sprint(a))
	y, okY := new(big.Rat).SetString(fmt.Sprint(b))
	return okX && okY && x.Cmp(y) == 0
}
