package delta

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// faulty is a Storage in which writing some names fails.
type faulty struct {
	*Dir
	fails func(name string) bool
	err   error
}

func (f faulty) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if f.fails(name) {
		return f.explain(name, f.err)
	}
	return f.Dir.PutIfAbsent(ctx, name, data)
}

func (f faulty) Put(ctx context.Context, name string, r io.Reader) error {
	if f.fails(name) {
		r = io.MultiReader(io.LimitReader(r, 50), readerFunc(func([]byte) (int, error) { return 0, f.err }))
	}
	return f.Dir.Put(ctx, name, r)
}

func TestWritingFails(t *testing.T) {
	t.Parallel()
	isData := func(name string) bool { return strings.HasSuffix(name, ".parquet") && !strings.HasPrefix(name, logDir) }
	isCommit := func(name string) bool { return strings.HasSuffix(name, ".json") }
	isCheckpoint := func(name string) bool { return strings.Contains(name, "checkpoint") }
	tests := []struct {
		name  string
		fails func(string) bool
		err   error
		want  string
	}{
		{"disk full in a data file", isData, syscall.ENOSPC, "no space is left"},
		{"quota in a data file", isData, syscall.EDQUOT, "no space is left"},
		{"read-only in a data file", isData, syscall.EROFS, "give this user write access"},
		{"no permission for a commit", isCommit, syscall.EACCES, "give this user write access"},
		{"disk full in a commit", isCommit, syscall.ENOSPC, "no space is left"},
		{"disk full in a checkpoint", isCheckpoint, syscall.ENOSPC, "no space is left"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, d := testTable(t, Definition{Schema: small(), Properties: map[string]string{propCheckpointInterval: "1"}}, Options{})
			table := must(OpenTable(t.Context(), faulty{d, tt.fails, tt.err}, Options{}))(t)
			c, err := table.Append(t.Context(), Txn{"a", 1}, Rows(smallRow(0, nil)))
			checkpoint := tt.name == "disk full in a checkpoint"
			if checkpoint {
				if err != nil {
					t.Fatalf("the commit failed with its checkpoint: %v", err)
				}
				err = c.Upkeep
			}
			if err == nil || !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), d.Path()) {
				t.Errorf("got %v, want an error with %q and the directory", err, tt.want)
			}
			for e, err := range d.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(e.Name, tempPrefix) || strings.Contains(e.Name, "checkpoint") {
					t.Errorf("%s is left", e.Name)
				}
			}
			// When the disk has room again, the same Txn is made once.
			good := must(OpenTable(t.Context(), d, Options{}))(t)
			if c, err := good.Append(t.Context(), Txn{"a", 1}, Rows(smallRow(0, nil))); err != nil || c.Replayed != checkpoint {
				t.Errorf("again: %+v, %v", c, err)
			}
			if got := ids(t, d); !slices.Equal(got, upTo(1)) {
				t.Errorf("got %v, want the row once", got)
			}
		})
	}
}

// A Writer whose disk filled up says so again, and holds nothing.
func TestWriterAfterAFault(t *testing.T) {
	t.Parallel()
	_, d := testTable(t, Definition{Schema: small(), Partition: []string{"part"}}, Options{})
	table := must(OpenTable(t.Context(), faulty{d, func(string) bool { return true }, syscall.ENOSPC}, Options{}))(t)
	w := table.NewWriter()
	for i := range 10 * batchRows {
		if err := w.Write(t.Context(), smallRow(i, []any{"a", "b", nil}[i%3])); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			break
		}
	}
	for range 2 {
		if _, err := w.Commit(t.Context(), Txn{}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v, want the disk's error", err)
		}
	}
	if len(w.open) != 0 {
		t.Errorf("%d files are still open", len(w.open))
	}
}

func TestTableIsDeletedUnderneath(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small(), Partition: []string{"part"}}, Options{})
	appendN(t, table, 0, 2, "a")
	w := table.NewWriter()
	if err := w.Write(t.Context(), smallRow(3, "new")); err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; tries++ { // the Writer makes its file at the same time
		err := os.RemoveAll(d.Path())
		if err == nil {
			break
		}
		if tries == 100 {
			t.Fatal(err)
		}
	}
	// What it met may have been one of its directories, before the table's own
	// was gone; from now on it is the table's.
	if _, err := w.Commit(t.Context(), Txn{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Commit: got %v", err)
	}
	_, err := table.Append(t.Context(), Txn{}, Rows(smallRow(3, "a")))
	if err == nil || !strings.Contains(err.Error(), "was removed or replaced") || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Append: got %v", err)
	}
	if _, err := os.Stat(d.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is back: %v", err)
	}
	// Another table in its place is not written to.
	if err := os.MkdirAll(filepath.Join(d.Path(), logDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Append(t.Context(), Txn{}, Rows(smallRow(4, "a"))); err == nil {
		t.Error("a replaced table took an append")
	}
	if _, err := table.Compact(t.Context(), CompactOptions{}); err == nil {
		t.Error("a replaced table was compacted")
	}
	if left := matching(t, d, "*"); !slices.Equal(left, []string{logDir}) {
		t.Errorf("left %v in the new directory", left)
	}
}

func TestLogIsDeletedUnderneath(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	appendN(t, table, 0, 2, nil)
	if err := os.RemoveAll(filepath.Join(d.Path(), logDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Append(t.Context(), Txn{}, Rows(smallRow(4, nil))); !errors.Is(err, ErrNotDelta) {
		t.Errorf("got %v, want ErrNotDelta", err)
	}
	if _, err := os.Stat(filepath.Join(d.Path(), logDir)); err == nil {
		t.Error("the log came back")
	}
	if _, err := Create(t.Context(), d, Definition{Schema: small()}, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Append(t.Context(), Txn{}, Rows(smallRow(4, nil))); err == nil || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("a younger log: got %v", err)
	}
}

func TestDamagedLog(t *testing.T) {
	t.Parallel()
	tests := map[string]func(log string) error{
		"half a commit": func(log string) error {
			return os.WriteFile(filepath.Join(log, commitFile(2)), []byte(`{"add":{"pa`), 0o644)
		},
		"a gap": func(log string) error { return os.Remove(filepath.Join(log, commitFile(1))) },
		"damage checkpoint": func(log string) error {
			return os.WriteFile(filepath.Join(log, checkpointFile(2)), []byte("PAR1"), 0o644)
		},
	}
	for name, damage := range tests {
		table, d := testTable(t, Definition{Schema: small()}, Options{})
		appendN(t, table, 0, 3, nil)
		if err := damage(filepath.Join(d.Path(), logDir)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenTable(t.Context(), d, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// Statistics that make no sense only cost work.
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	appendN(t, table, 0, 1, nil)
	for _, a := range table.state.live {
		a.Stats = `{"numRecords":"many","minValues":7}`
	}
	if _, err := table.DeleteBefore(t.Context(), "at", parseTime(t, "2000-01-01T00:00:00Z")); err != nil || len(ids(t, d)) != 0 {
		t.Errorf("got %v", err)
	}
}
