package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTxnIsCommittedOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	table, d := testTable(t, Definition{Schema: small(), Properties: map[string]string{propCheckpointInterval: "3", propLogRetention: "interval 1 day"}}, Options{Now: func() time.Time { return now }})
	for v := range int64(4) {
		for range 2 {
			c, err := table.Append(t.Context(), Txn{"app", v}, Rows(smallRow(int(v), "p")))
			if err != nil || c.Upkeep != nil {
				t.Fatal(c, err)
			}
		}
	}
	if got := ids(t, d); !slices.Equal(got, upTo(4)) {
		t.Fatalf("got %v, want 4 rows", got)
	}
	// A replay through a Writer, which has written its file already.
	w := table.NewWriter()
	if err := w.Write(t.Context(), smallRow(99, "p")); err != nil {
		t.Fatal(err)
	}
	if c, err := w.Commit(t.Context(), Txn{"app", 3}); err != nil || !c.Replayed {
		t.Errorf("got %+v, %v; want a replay", c, err)
	}
	// The log is cleaned up to the checkpoint, so only that knows the txn.
	now = now.Add(40 * 24 * time.Hour)
	if gone, err := table.CleanLog(t.Context()); err != nil || len(gone) == 0 {
		t.Fatal(gone, err)
	}
	other := must(OpenTable(t.Context(), d, Options{}))(t)
	if v, ok, err := other.LastTxn(t.Context(), "app"); v != 3 || !ok || err != nil {
		t.Errorf("LastTxn = %d, %v, %v; want 3", v, ok, err)
	}
	if _, ok, err := other.LastTxn(t.Context(), "nobody"); ok || err != nil {
		t.Errorf("LastTxn of nobody = %v, %v", ok, err)
	}
	if c, err := other.Append(t.Context(), Txn{"app", 2}, func(func(any, error) bool) { t.Error("a replay read its rows") }); err != nil || !c.Replayed {
		t.Errorf("got %+v, %v; want a replay", c, err)
	}
	if c, err := other.Append(t.Context(), Txn{"app", 4}, Rows[any]()); err != nil || c.Replayed || c.Files != 0 {
		t.Errorf("an empty batch with a txn: got %+v, %v", c, err)
	}
	if v, _, _ := other.LastTxn(t.Context(), "app"); v != 4 {
		t.Errorf("LastTxn after an empty batch = %d, want 4", v)
	}
	before := other.Version()
	if c, err := other.Append(t.Context(), Txn{}, Rows[any]()); err != nil || c.Version != before {
		t.Errorf("nothing and no txn: got %+v, %v; want no commit", c, err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(4)) {
		t.Errorf("got %v, want 4 rows", got)
	}
}

func TestAppendStopsAtAnError(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	bad := errors.New("source broke")
	_, err := table.Append(t.Context(), Txn{}, func(yield func(any, error) bool) {
		_ = yield(smallRow(1, nil), nil) && yield(nil, bad)
	})
	if !errors.Is(err, bad) {
		t.Errorf("got %v, want the source's error", err)
	}
	if _, err = table.Append(t.Context(), Txn{}, Rows[any](smallRow(1, nil), Row{})); err == nil {
		t.Error("a bad row was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = table.Append(ctx, Txn{}, Rows(smallRow(1, nil))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	entries, err := os.ReadDir(d.Path())
	if err != nil || len(entries) != 1 || table.Version() != 0 {
		t.Errorf("got %v at version %d, want the log alone at 0", entries, table.Version())
	}
}

func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	const writers, commits = 4, 15
	_, d := testTable(t, Definition{Schema: small()}, Options{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			table, err := OpenTable(t.Context(), d, Options{}) // each as another process would
			if err != nil {
				t.Error(err)
				return
			}
			for i := range commits {
				c, err := table.Append(t.Context(), Txn{fmt.Sprint(w), int64(i)}, Rows(smallRow(w*commits+i, "p")))
				if err != nil || c.Replayed || c.Upkeep != nil {
					t.Errorf("writer %d: %+v, %v", w, c, err)
				}
			}
		})
	}
	wg.Go(func() { // and one that tidies up beside them
		table := must(OpenTable(t.Context(), d, Options{}))(t)
		for range 5 {
			if _, err := table.Compact(t.Context(), CompactOptions{}); err != nil && !errors.Is(err, ErrConflict) {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if got := ids(t, d); !slices.Equal(got, upTo(writers*commits)) {
		t.Errorf("got %d rows, want %d, each once", len(got), writers*commits)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	for i := range 4 {
		if _, err := table.Append(t.Context(), Txn{}, Rows(smallRow(i, nil))); err != nil {
			t.Fatal(err)
		}
	}
	// Two compactions of the same files: the second must not double the rows.
	files := func(s *Table) (all []*add) {
		for _, a := range s.state.live {
			all = append(all, a)
		}
		return all
	}
	other := must(OpenTable(t.Context(), d, Options{}))(t)
	bin := files(other)
	if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || c.Before != 4 || c.After != 1 {
		t.Fatal(c, err)
	}
	var done Compaction
	if err := other.merge(t.Context(), other.form, bin, CompactOptions{MinFiles: 2}, &done); !errors.Is(err, ErrConflict) {
		t.Errorf("compaction of removed files: got %v, want ErrConflict", err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(4)) {
		t.Errorf("got %v, want 4 rows", got)
	}
	// The schema changes between the rows and their commit.
	w := table.NewWriter()
	if err := w.Write(t.Context(), smallRow(9, nil)); err != nil {
		t.Fatal(err)
	}
	m := *table.state.metadata
	m.SchemaString = append(small(), Field{Name: "new", Type: Long}).String()
	data := must(encodeActions([]action{{MetaData: &m}}))(t)
	if err := d.PutIfAbsent(t.Context(), logDir+"/"+commitFile(table.Version()+1), data); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context(), Txn{}); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "schema") {
		t.Errorf("after a change of schema: got %v, want ErrConflict", err)
	}
	// Begun again, the rows have the new column; old files read as null there.
	for i := 4; i < 6; i++ {
		if _, err := table.Append(t.Context(), Txn{}, Rows(append(smallRow(i, nil), 7))); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || c.Before != 3 {
		t.Errorf("got %+v, %v; want old and new shape in one file", c, err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(6)) {
		t.Errorf("got %v, want 6 rows", got)
	}
	// The protocol is raised.
	data = must(encodeActions([]action{{Protocol: &protocol{MinReaderVersion: 1, MinWriterVersion: 4}}}))(t)
	if err := d.PutIfAbsent(t.Context(), logDir+"/"+commitFile(table.Version()+1), data); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := table.Append(t.Context(), Txn{}, Rows(append(smallRow(4, nil), 7))); !errors.Is(err, ErrUnsupported) {
			t.Errorf("after a raise of the protocol: got %v, want ErrUnsupported", err)
		}
	}
}

// slow is a Storage in which another writer is always faster.
type slow struct{ *Dir }

func (s slow) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := s.Dir.PutIfAbsent(ctx, name, []byte(`{"commitInfo":{"timestamp":5}}`+"\n")); err != nil {
		return err
	}
	return s.Dir.PutIfAbsent(ctx, name, data)
}

func TestBusy(t *testing.T) {
	t.Parallel()
	_, d := testTable(t, Definition{Schema: small()}, Options{})
	table := must(OpenTable(t.Context(), slow{d}, Options{Attempts: 4}))(t)
	if _, err := table.Append(t.Context(), Txn{}, Rows(smallRow(1, nil))); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if left, _ := filepath.Glob(filepath.Join(d.Path(), "*.parquet")); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

// echo is a Storage that makes the file and then says it was there already,
// as one whose answer got lost and that asked again.
type echo struct{ *Dir }

func (s echo) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := s.Dir.PutIfAbsent(ctx, name, data); err != nil {
		return err
	}
	return fs.ErrExist
}

func TestOwnCommitIsKnownAgain(t *testing.T) {
	t.Parallel()
	_, d := testTable(t, Definition{Schema: small()}, Options{})
	table := must(OpenTable(t.Context(), echo{d}, Options{Attempts: 3}))(t)
	c, err := table.Append(t.Context(), Txn{}, Rows(smallRow(0, nil)))
	if err != nil || c.Version != 1 {
		t.Errorf("got %+v, %v; want version 1", c, err)
	}
	if got := ids(t, d); !slices.Equal(got, upTo(1)) {
		t.Errorf("got %v, want the row once", got)
	}
}

func TestUnknownActionsAreIgnored(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{Schema: small()}, Options{})
	line := `{"somethingNew":{"a":1}}` + "\n" + `{"domainMetadata":{"domain":"x","configuration":"","removed":false}}` + "\n" + `{"commitInfo":"odd"}` + "\n"
	if err := d.PutIfAbsent(t.Context(), logDir+"/"+commitFile(1), []byte(line)); err != nil {
		t.Fatal(err)
	}
	if c, err := table.Append(t.Context(), Txn{}, Rows(smallRow(0, nil))); err != nil || c.Version != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
}
