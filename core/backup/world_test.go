package backup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/store"
)

// world is a data directory with something of everything in it.
type world struct {
	dir string
	Source
}

const (
	usageTable = "system/ai_gateway/usage"
	otherTable = "main/logs/claude_payload"
	records    = 120 // in the ledger, and one open call
	commits    = 11  // to each table, of two rows; a checkpoint is at the tenth
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newWorld copies a world that is made once: making one waits for the disk.
func newWorld(t *testing.T) world {
	t.Helper()
	first.Do(func() { makeWorld(t, os.Getenv(envWorld)) })
	w := in(filepath.Join(t.TempDir(), "data"))
	if err := os.CopyFS(w.dir, os.DirFS(os.Getenv(envWorld))); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{w.dir, w.Log} {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

var first sync.Once

func makeWorld(t *testing.T, dir string) {
	t.Helper()
	w, ctx := in(dir), t.Context()
	l := w.ledger(t)
	for i := range records {
		if _, err := l.Append(ctx, "usage", fmt.Appendf(nil, "row %d %s", i, strings.Repeat("x", 200))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Start(ctx, "open-call", []byte("started")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"log/instance": "0190\n", "log/dead/usage/1": "dead", "log/x.wal.corrupt": "c", "log/.hidden/h": "h", "log/spill/1": "s",
		"VERSION": "1\n", "admin-token": "secret", "samples/reviews.csv": "s"} {
		writeText(t, filepath.Join(dir, name), text)
	}
	for _, name := range []string{usageTable, otherTable} {
		d, err := delta.MakeDir(filepath.Join(w.Tables, name))
		if err != nil {
			t.Fatal(err)
		}
		table, err := delta.Create(ctx, d, delta.Definition{Schema: delta.Schema{{Name: "id", Type: delta.Long}, {Name: "day", Type: delta.String}}, Partition: []string{"day"}}, delta.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range commits {
			if _, err := table.Append(ctx, delta.Txn{AppID: "a", Version: int64(i)}, delta.Rows(delta.Row{int64(2 * i), "a b"}, delta.Row{int64(2*i + 1), "c"})); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
	}
	db, err := store.Open(ctx, w.State, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(ctx, func(tx *store.Tx) error { return tx.Bump(ctx, "kept") }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func (w world) ledger(t *testing.T) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Dir: w.Log, SegmentBytes: 8 << 10, MaxBytes: 1 << 20, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w world) target() Target {
	return Target{Dir: w.dir, Log: w.Log, Tables: w.Tables, State: w.State}
}

// in is the world of another data directory.
func in(dir string) world {
	return world{dir, Source{Dir: dir, Log: filepath.Join(dir, "log"), Tables: filepath.Join(dir, "tables"), State: "sqlite:" + filepath.Join(dir, "state.db"), Program: "test"}}
}

// whole fails the test unless w has all that makeWorld put into a world.
func (w world) whole(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, name := range []string{usageTable, otherTable} {
		snap, err := delta.Open(ctx, filepath.Join(w.Tables, name))
		if err != nil {
			t.Errorf("table %s: %v", name, err)
			continue
		}
		if snap.Version != commits || len(snap.Files) != 2*commits {
			t.Errorf("table %s has version %d and %d files, want %d and %d", name, snap.Version, len(snap.Files), commits, 2*commits)
		}
		d, err := delta.OpenDir(filepath.Join(w.Tables, name))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		table, err := delta.OpenTable(ctx, d, delta.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if last, ok, err := table.LastTxn(ctx, "a"); err != nil || !ok || last != commits-1 {
			t.Errorf("table %s: the last transaction is %d, %v, %v, want %d", name, last, ok, err, commits-1)
		}
	}
	l := w.ledger(t)
	defer l.Close()
	n := 0
	for rec, err := range l.Replay(1) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == ledger.Row {
			if want := fmt.Sprintf("row %d ", n); !strings.HasPrefix(string(rec.Payload), want) {
				t.Fatalf("record %d is %q, want %q…", rec.Seq, rec.Payload, want)
			}
			n++
		}
	}
	if st := l.Stats(); n != records || st.Open != 1 {
		t.Errorf("the ledger has %d rows and %d open calls, want %d and 1", n, st.Open, records)
	}
	for name, want := range map[string]string{"log/instance": "0190\n", "log/dead/usage/1": "dead"} {
		if b, err := os.ReadFile(filepath.Join(w.Log, strings.TrimPrefix(name, "log/"))); string(b) != want {
			t.Errorf("%s = %q, %v, want %q", name, b, err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(w.dir, "VERSION")); string(b) != "1\n" {
		t.Errorf("VERSION = %q, %v", b, err)
	}
	db, err := store.Open(ctx, w.State, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if v, err := db.Revision(ctx, "kept"); v != 1 || err != nil {
		t.Errorf("the revision is %d, %v, want 1", v, err)
	}
	for _, dir := range []string{w.Log, w.Tables, w.dir} {
		for _, name := range []string{pinName, Unfinished} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				t.Errorf("%s is left in %s", name, dir)
			}
		}
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree has a line for everything below dir: name, mode and what is in it.
// Left out is what SQLite makes beside a database when somebody reads it.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || strings.HasSuffix(path, "-shm") || strings.HasSuffix(path, "-wal") {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var text []byte
		if info.Mode().IsRegular() {
			if text, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(&b, "%s %v %x\n", path, info.Mode(), sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// create makes a backup of w in a new directory.
func (w world) create(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	if _, err := Create(context.Background(), w.Source, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
