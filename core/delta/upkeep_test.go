package delta

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// clock is a clock that tests set.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// age sets the times of all files of the table back.
func age(t testing.TB, d *Dir, by time.Duration) {
	t.Helper()
	err := filepath.Walk(d.Path(), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			at := info.ModTime().Add(-by)
			err = os.Chtimes(path, at, at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func matching(t testing.TB, d *Dir, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(d.Path(), pattern))
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return all
}

func appendN(t testing.TB, table *Table, from, to int, part any) {
	t.Helper()
	for i := from; i < to; i++ {
		c, err := table.Append(t.Context(), Txn{}, Rows(smallRow(i, part)))
		if err != nil || c.Upkeep != nil {
			t.Fatal(c, err)
		}
	}
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	clk := &clock{time.Now()}
	table, d := testTable(t, Definition{Name: "n", Description: "d", Schema: small(), Partition: []string{"part"}, Properties: map[string]string{propCheckpointInterval: "5", "k": "v"}}, Options{Now: clk.Now})
	appendN(t, table, 0, 3, "p")
	appendN(t, table, 3, 4, nil)
	if _, err := table.Append(t.Context(), Txn{"app", 7}, Rows(smallRow(4, "p"))); err != nil {
		t.Fatal(err)
	}
	if got := matching(t, d, "_delta_log/*.checkpoint.parquet"); !slices.Equal(got, []string{checkpointFile(5)}) {
		t.Fatalf("got checkpoints %v, want one at 5", got)
	}
	last := must(os.ReadFile(filepath.Join(d.Path(), logDir, lastCheckpoint)))(t)
	var m map[string]int64
	if err := json.Unmarshal(last, &m); err != nil || m["version"] != 5 || m["size"] != 8 || m["numOfAddFiles"] != 5 {
		t.Errorf("_last_checkpoint is %s, %v", last, err)
	}
	// Read back without any commit, everything is there.
	for v := range 6 {
		if err := os.Remove(filepath.Join(d.Path(), logDir, commitFile(int64(v)))); err != nil {
			t.Fatal(err)
		}
	}
	other := must(OpenTable(t.Context(), d, Options{Now: clk.Now}))(t)
	if other.Version() != 5 || jsonText(other.state.metadata) != jsonText(table.state.metadata) || *other.state.txns["app"] != *table.state.txns["app"] {
		t.Errorf("got version %d, %+v, %+v", other.Version(), other.state.metadata, other.state.txns["app"])
	}
	for key, a := range table.state.live {
		b := other.state.live[key]
		if b == nil || a.Stats != b.Stats || a.Size != b.Size || a.ModificationTime != b.ModificationTime || partitionKey(a.PartitionValues) != partitionKey(b.PartitionValues) {
			t.Errorf("got %+v, want %+v", b, a)
		}
	}
	if got := ids(t, d); !slices.Equal(got, upTo(5)) {
		t.Errorf("got %v", got)
	}
	// Tombstones are in the next one until they expire.
	if c, err := other.Compact(t.Context(), CompactOptions{}); err != nil || c.Commits != 1 {
		t.Fatal(c, err)
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{6 * 24 * time.Hour, 4}, {8 * 24 * time.Hour, 0}} {
		clk.now = time.Now().Add(tt.after)
		if err := other.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := newWriterState()
		if err := st.loadCheckpoint(t.Context(), d, checkpointFile(6)); err != nil || len(st.tombs) != tt.want {
			t.Errorf("%v later: %d tombstones, %v; want %d", tt.after, len(st.tombs), err, tt.want)
		}
	}
}

// A checkpoint's add has its maps present even when they are empty: readers
// take a missing one for damage.
func TestCheckpointHasEmptyMaps(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	appendN(t, table, 0, 1, nil)
	if err := table.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := must(os.ReadFile(filepath.Join(d.Path(), logDir, checkpointFile(1))))(t)
	rows, err := parquet.Read[action](bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, r := range rows {
		if r.Add != nil && r.Add.PartitionValues != nil || r.MetaData != nil && r.MetaData.Configuration != nil && r.MetaData.Format.Options != nil && r.MetaData.PartitionColumns != nil {
			found++
		}
	}
	if found != 2 || len(rows) != 3 {
		t.Errorf("got %d rows, %d with their maps; want 3 and 2", len(rows), found)
	}
}

func TestCleanLog(t *testing.T) {
	t.Parallel()
	clk := &clock{time.Now()}
	table, d := testTable(t, Definition{Schema: small(), Properties: map[string]string{propLogRetention: "interval 2 days"}}, Options{Now: clk.Now})
	appendN(t, table, 0, 25, nil)
	if gone := must(table.CleanLog(t.Context()))(t); len(gone) != 0 {
		t.Errorf("deleted %v from a young log", gone)
	}
	age(t, d, 3*24*time.Hour)
	write(t, filepath.Join(d.Path(), logDir, tempPrefix+"x"), "young")
	appendN(t, table, 25, 28, nil) // young commits after the old ones
	gone := must(table.CleanLog(t.Context()))(t)
	if len(gone) != 21 { // commits 0 to 19, and the checkpoint of 10
		t.Errorf("deleted %v", gone)
	}
	if got := matching(t, d, "_delta_log/*.json"); len(got) != 9 || got[0] != commitFile(20) {
		t.Errorf("left %v", got)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(28)) {
		t.Errorf("got %d rows, want 28", len(got))
	}
	if v := must(Latest(d.Path()))(t); v != 28 {
		t.Errorf("Latest = %d", v)
	}
	// A handle that slept through it goes on from the checkpoint.
	if _, err := table.Append(t.Context(), Txn{}, Rows(smallRow(28, nil))); err != nil {
		t.Error(err)
	}
	clk.now = clk.now.Add(3 * 24 * time.Hour)
	if gone := must(table.CleanLog(t.Context()))(t); !slices.Contains(gone, logDir+"/"+tempPrefix+"x") {
		t.Errorf("an old temporary file was left: %v", gone)
	}
}

func TestStaleWriterMissesTheCleanedLog(t *testing.T) {
	t.Parallel()
	clk := &clock{time.Now()}
	table, d := testTable(t, Definition{Schema: small(), Properties: map[string]string{propCheckpointInterval: "4", propLogRetention: "1 day"}}, Options{Now: clk.Now})
	stale := must(OpenTable(t.Context(), d, Options{}))(t) // at version 0
	appendN(t, table, 0, 12, nil)
	clk.now = clk.now.Add(48 * time.Hour)
	if gone := must(table.CleanLog(t.Context()))(t); len(gone) == 0 {
		t.Fatal("nothing was cleaned")
	}
	c, err := stale.Append(t.Context(), Txn{}, Rows(smallRow(12, nil)))
	if err != nil || c.Version != 13 {
		t.Errorf("got %+v, %v; want version 13", c, err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(13)) {
		t.Errorf("got %v", got)
	}
}

func TestClockThatJumpsBack(t *testing.T) {
	t.Parallel()
	clk := &clock{time.Now()}
	table, d := testTable(t, Definition{Schema: small()}, Options{Now: clk.Now})
	appendN(t, table, 0, 3, nil)
	clk.now = time.Unix(1000, 0) // as after a boot without a battery
	if _, err := table.Compact(t.Context(), CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	appendN(t, table, 3, 15, nil) // with a checkpoint and a cleaning
	clk.now = time.Now()
	for _, r := range table.state.tombs {
		if table.expired(r) {
			t.Errorf("a file removed a moment ago counts as removed at %v", time.UnixMilli(r.DeletionTimestamp))
		}
	}
	age(t, d, 30*24*time.Hour) // so that only the log protects them
	if gone := must(table.Vacuum(t.Context(), VacuumOptions{}))(t); len(gone) != 0 {
		t.Errorf("Vacuum deleted %v", gone)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(15)) {
		t.Errorf("got %v", got)
	}
}

func TestVacuum(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	clk := &clock{time.Now()}
	table, d := testTable(t, Definition{Schema: small(), Partition: []string{"part"}}, Options{Now: clk.Now})
	appendN(t, table, 0, 4, "p")
	if _, err := table.Compact(t.Context(), CompactOptions{}); err != nil { // four files become removed
		t.Fatal(err)
	}
	for _, name := range []string{"orphan.parquet", "part=p/orphan.parquet", "part=p/" + tempPrefix + "x", "_hidden/x", ".hidden", "_delta_log/note"} {
		write(t, filepath.Join(d.Path(), name), "x")
	}
	vacuum := func(o VacuumOptions) []string { t.Helper(); return must(table.Vacuum(t.Context(), o))(t) }
	if got := vacuum(VacuumOptions{}); len(got) != 0 {
		t.Errorf("young files: deleted %v", got)
	}
	if _, err := table.Vacuum(t.Context(), VacuumOptions{Retention: time.Hour}); err == nil || !strings.Contains(err.Error(), "AllowShort") {
		t.Errorf("short retention: got %v", err)
	}
	// Old files, young tombstones: only the orphans go.
	age(t, d, 8*day)
	want := []string{"orphan.parquet", "part=p/" + tempPrefix + "x", "part=p/orphan.parquet"}
	if got := vacuum(VacuumOptions{DryRun: true}); !slices.Equal(got, want) {
		t.Errorf("dry run: got %v, want %v", got, want)
	}
	if got := vacuum(VacuumOptions{}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := matching(t, d, "part=p/*.parquet"); len(got) != 5 {
		t.Errorf("left %v, want 4 removed and 1 live", got)
	}
	// Old tombstones.
	clk.now = clk.now.Add(8 * day)
	if got := vacuum(VacuumOptions{}); len(got) != 4 {
		t.Errorf("got %v, want the four removed files", got)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(4)) {
		t.Errorf("got %v", got)
	}
	for _, name := range []string{"_hidden/x", ".hidden", "_delta_log/note"} {
		if _, err := os.Stat(filepath.Join(d.Path(), name)); err != nil {
			t.Error(err)
		}
	}
}

func TestVacuumThenCommitOfAForgottenWriter(t *testing.T) {
	t.Parallel()
	clk := &clock{time.Now()}
	table, d := testTable(t, Definition{Schema: small()}, Options{Now: clk.Now})
	w := table.NewWriter()
	if err := w.Write(t.Context(), smallRow(0, nil)); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(w.open[""]); err != nil {
		t.Fatal(err)
	}
	age(t, d, 8*24*time.Hour)
	if got := must(table.Vacuum(t.Context(), VacuumOptions{}))(t); len(got) != 1 {
		t.Fatalf("deleted %v, want the file of the open Writer", got)
	}
	if _, err := w.Commit(t.Context(), Txn{}); err == nil {
		t.Error("a commit named a file that does not exist")
	}
	if got := ids(t, d); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestDeleteBefore(t *testing.T) {
	t.Parallel()
	schema := Schema{{Name: "id", Type: Long}, {Name: "at", Type: Timestamp}, {Name: "day", Type: Date}, {Name: "st", Type: Struct{{Name: "at", Type: Timestamp}}}, {Name: "xs", Type: Array{Element: Timestamp}}}
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	row := func(i int) Row {
		at := base.Add(time.Duration(i) * 24 * time.Hour)
		return Row{i, at, at, Row{at}, nil}
	}
	tests := []struct {
		name, column string
		partition    []string
		cutoff       time.Time
		kept         []int64
		removed      int // files
		added        int
	}{
		{"timestamp", "at", nil, base.Add(5 * 24 * time.Hour), []int64{5, 6, 7, 8, 9, 99}, 2, 1}, // 0 to 3 whole, 4 to 7 anew
		{"microsecond", "at", nil, base.Add(4*24*time.Hour + time.Microsecond), []int64{5, 6, 7, 8, 9, 99}, 2, 1},
		{"whole files only", "at", nil, base.Add(4 * 24 * time.Hour), []int64{4, 5, 6, 7, 8, 9, 99}, 1, 0},
		{"date", "day", nil, base.Add(5*24*time.Hour + time.Hour), []int64{5, 6, 7, 8, 9, 99}, 2, 1},
		{"nested", "st.at", nil, base.Add(5 * 24 * time.Hour), []int64{5, 6, 7, 8, 9, 99}, 2, 1},
		{"partition", "day", []string{"day"}, base.Add(5 * 24 * time.Hour), []int64{5, 6, 7, 8, 9, 99}, 5, 0},
		{"nothing", "at", nil, base, append(upTo(10), 99), 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table, d := testTable(t, Definition{Schema: schema, Partition: tt.partition}, Options{})
			for _, files := range [][]Row{{row(0), row(1), row(2), row(3)}, {row(4), row(5), row(6), row(7)}, {row(8), row(9), {99, nil, nil, nil, nil}}} {
				if _, err := table.Append(t.Context(), Txn{}, Rows(files...)); err != nil {
					t.Fatal(err)
				}
			}
			version := table.Version()
			c, err := table.DeleteBefore(t.Context(), tt.column, tt.cutoff)
			if err != nil {
				t.Fatal(err)
			}
			if got := ids(t, d); !slices.Equal(got, tt.kept) {
				t.Errorf("got %v, want %v", got, tt.kept)
			}
			if c.Removed != tt.removed || c.Files != tt.added || (c.Version == version) != (tt.removed == 0) {
				t.Errorf("got %+v, want %d files removed, %d added", c, tt.removed, tt.added)
			}
		})
	}
	table, _ := testTable(t, Definition{Schema: schema, Properties: map[string]string{propAppendOnly: "true"}}, Options{})
	if _, err := table.DeleteBefore(t.Context(), "at", base); err == nil || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("append-only: got %v", err)
	}
	table, _ = testTable(t, Definition{Schema: schema}, Options{})
	for column, want := range map[string]string{"id": "date or timestamp", "nope": "does not exist", "xs": "of type array", "xs.element": "does not exist", "st": "of type struct", "st.nope": "does not exist"} {
		if _, err := table.DeleteBefore(t.Context(), column, base); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", column, err, want)
		}
	}
}

func TestDeleteBeforeKeepsNulls(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	if _, err := table.Append(t.Context(), Txn{}, Rows(smallRow(1, nil), Row{0, nil, nil, nil})); err != nil {
		t.Fatal(err)
	}
	c, err := table.DeleteBefore(t.Context(), "at", time.Now()) // the bounds alone would take the file out
	if err != nil || c.Removed != 1 || c.Files != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(1)) {
		t.Errorf("got %v, want the row with null alone", got)
	}
}

func TestDeleteBeforeConflicts(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	appendN(t, table, 0, 4, nil)
	other := must(OpenTable(t.Context(), d, Options{}))(t)
	var from []*add
	for _, a := range other.state.live {
		from = append(from, a)
	}
	if _, err := table.Compact(t.Context(), CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.commit(t.Context(), &plan{form: other.form, operation: "DELETE", removes: from}); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(4)) {
		t.Errorf("got %v", got)
	}
}
