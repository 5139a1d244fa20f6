package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

func TestABackupIsRestoredWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := tree(t, w.dir)
	dir := filepath.Join(t.TempDir(), "a", "b", "backup")
	made, err := Create(t.Context(), w.Source, dir)
	if err != nil {
		t.Fatal(err)
	}
	if after := tree(t, w.dir); after != before {
		t.Errorf("the data directory changed:\n%s\nwas\n%s", after, before)
	}
	if made.Log.Records != records+1 || made.Log.Open != 1 || made.State.Engine != "sqlite" || made.State.Schema < 1 || len(made.Tables) != 2 {
		t.Errorf("the report is %+v", made)
	}
	files, _, err := listing(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		part, _, _ := strings.Cut(name, "/")
		if !slices.Contains([]string{"log", "tables", "state.db", "VERSION", "manifest.json"}, part) || strings.Contains(name, ".corrupt") || strings.Contains(name, "hidden") || strings.Contains(name, "spill") || strings.HasSuffix(name, "/lock") {
			t.Errorf("%s is in the backup", name)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v, want 0600", name, info.Mode(), err)
		}
	}
	// Commits that the checkpoint holds are history, and not needed.
	if slices.Contains(files, "tables/"+usageTable+"/_delta_log/00000000000000000009.json") {
		t.Error("a commit before the checkpoint is in the backup")
	}
	if !slices.Contains(files, "tables/"+usageTable+"/_delta_log/_last_checkpoint") {
		t.Error("_last_checkpoint is not in the backup")
	}

	backup := tree(t, dir)
	checked, err := Verify(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if checked.Files != made.Files || checked.Bytes != made.Bytes || checked.Files != len(files)-1 {
		t.Errorf("Verify counts %d files, %d bytes; Create %d, %d; there are %d and the manifest", checked.Files, checked.Bytes, made.Files, made.Bytes, len(files)-1)
	}
	to := in(filepath.Join(t.TempDir(), "new", "data"))
	if _, err := Restore(t.Context(), dir, to.target()); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); after != backup {
		t.Errorf("the backup changed:\n%s\nwas\n%s", after, backup)
	}
	for _, name := range files {
		if name == manifestName {
			continue
		}
		a, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.Stat(filepath.Join(to.dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if name != stateFile && name != layoutFile {
			orig, err := os.Stat(filepath.Join(w.dir, name))
			if err != nil || !orig.ModTime().Equal(a.ModTime()) || !a.ModTime().Equal(b.ModTime()) {
				t.Errorf("%s: its time of change is not kept (%v)", name, err)
			}
		}
	}
	for _, d := range []string{to.dir, to.Log, to.Tables} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, %v, want 0700", d, info.Mode(), err)
		}
	}
	to.whole(t)
	w.whole(t)
}

// What is compacted, vacuumed, cleaned and trimmed while the copy is made is in
// the copy all the same.
func TestFilesStayUntilTheyAreCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.ledger(t)
	defer l.Close()
	paused := 0
	w.Pause = func(context.Context) (func(), error) {
		paused++
		for _, dir := range []string{w.Log, w.Tables} {
			if _, err := os.Lstat(filepath.Join(dir, pinName)); err == nil {
				t.Errorf("before the pause there are links in %s", dir)
			}
		}
		return func() {
			paused--
			names, _, err := listing(filepath.Join(w.Log, pinName))
			more, _, terr := listing(filepath.Join(w.Tables, pinName))
			if len(names) < 4 || len(more) < 4*commits || err != nil || terr != nil {
				t.Errorf("at the end of the pause there are %d and %d links (%v, %v)", len(names), len(more), err, terr)
			}
		}, nil
	}
	swept := false
	w.Progress = func(p Progress) {
		if p.Step == "pause" || swept {
			return
		}
		if paused != 0 {
			t.Error("the tables are paused while files are copied")
		}
		swept = true
		d, err := delta.OpenDir(filepath.Join(w.Tables, usageTable))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		table, err := delta.OpenTable(t.Context(), d, delta.Options{Now: func() time.Time { return time.Now().Add(365 * 24 * time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := table.Compact(t.Context(), delta.CompactOptions{}); err != nil || c.Before == 0 {
			t.Fatalf("compact: %+v, %v", c, err)
		}
		if err := table.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if names, err := table.Vacuum(t.Context(), delta.VacuumOptions{Retention: time.Nanosecond, AllowShort: true}); err != nil || len(names) < 2*commits {
			t.Fatalf("vacuum removed %d files, %v", len(names), err)
		}
		if names, err := table.CleanLog(t.Context()); err != nil || len(names) == 0 {
			t.Fatalf("clean: %v, %v", names, err)
		}
		if _, err := l.Append(t.Context(), "usage", []byte("later")); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Settle(t.Context(), "open-call", nil); err != nil {
			t.Fatal(err)
		}
		segments := l.Stats().Segments
		last := l.Stats().Last
		if err := errors.Join(l.Sync(t.Context(), last), l.Trim(t.Context(), last)); err != nil || l.Stats().Segments >= segments {
			t.Fatalf("trim: %v, %d segments of %d stay", err, l.Stats().Segments, segments)
		}
	}
	dir := w.create(t)
	if !swept {
		t.Fatal("nothing happened meanwhile")
	}
	if _, err := Verify(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	to := in(filepath.Join(t.TempDir(), "data"))
	if _, err := Restore(t.Context(), dir, to.target()); err != nil {
		t.Fatal(err)
	}
	to.whole(t)
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	full := t.TempDir()
	writeText(t, filepath.Join(full, "x"), "x")
	claimed := t.TempDir()
	writeText(t, filepath.Join(claimed, manifestName+".tmp"), "")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(w.Tables, link); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, dir, want string }{
		{"not empty", full, "not empty"},
		{"begun by another", claimed, "not empty"},
		{"in the tables", filepath.Join(w.Tables, "backup"), "is inside"},
		{"in the tables through a link", filepath.Join(link, "backup"), "is inside"},
		{"in the ledger", filepath.Join(w.Log, "a", "b"), "is inside"},
		{"below a file", filepath.Join(full, "x", "y"), "not a directory"},
	}
	before := tree(t, w.dir) + tree(t, full) + tree(t, claimed)
	for _, tt := range tests {
		_, err := Create(t.Context(), w.Source, tt.dir)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	if after := tree(t, w.dir) + tree(t, full) + tree(t, claimed); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
}

func TestAFailedCreateLeavesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		with func(t *testing.T, w *world, cancel func())
		want string
	}{
		{"cancelled", func(_ *testing.T, w *world, cancel func()) {
			w.Progress = func(p Progress) {
				if p.Files == 5 {
					cancel()
				}
			}
		}, "context canceled"},
		{"pause refused", func(_ *testing.T, w *world, _ func()) {
			w.Pause = func(context.Context) (func(), error) { return nil, errors.New("closing") }
		}, "pause the tables: closing"},
		{"damaged table", func(t *testing.T, w *world, _ func()) {
			files, err := filepath.Glob(filepath.Join(w.Tables, usageTable, "day=c", "*.parquet"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			if err := os.Remove(files[0]); err != nil {
				t.Fatal(err)
			}
		}, "system/ai_gateway/usage"},
		{"damaged ledger", func(t *testing.T, w *world, _ func()) {
			segments, err := filepath.Glob(filepath.Join(w.Log, "*.wal"))
			if err != nil || len(segments) < 3 {
				t.Fatal(segments, err)
			}
			flip(t, segments[1], 500)
		}, "is damaged at byte"},
		{"damaged state", func(t *testing.T, w *world, _ func()) {
			writeText(t, strings.TrimPrefix(w.State, "sqlite:"), strings.Repeat("no database", 1000))
		}, "not a database"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tt.with(t, &w, cancel)
			parent := t.TempDir()
			for _, dir := range []string{filepath.Join(parent, "new", "backup"), parent} {
				if _, err := Create(ctx, w.Source, dir); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Create error %v, want one with %q", err, tt.want)
				}
				if entries, err := os.ReadDir(parent); err != nil || len(entries) != 0 {
					t.Errorf("%v is left, %v", entries, err)
				}
			}
			for _, d := range []string{w.Log, w.Tables} {
				if _, err := os.Lstat(filepath.Join(d, pinName)); err == nil {
					t.Errorf("links are left in %s", d)
				}
			}
		})
	}
}

// A first backup may be made before the first start has made everything.
func TestAnEmptyDataDirectoryIsBackedUp(t *testing.T) {
	t.Parallel()
	w := in(t.TempDir())
	dir := w.create(t)
	r, err := Verify(t.Context(), dir, nil)
	if err != nil || r.Files != 0 || r.State.Engine != "none" {
		t.Fatalf("Verify: %+v, %v", r, err)
	}
	to := in(filepath.Join(t.TempDir(), "data"))
	if _, err := Restore(t.Context(), dir, to.target()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(to.Log); err != nil {
		t.Error(err)
	}
}

func TestPostgresIsSaidAndNotCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.State = "postgres://u:hunter2@h/db"
	dir := w.create(t)
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "pg_dump") || strings.Contains(string(text), "hunter2") {
		t.Errorf("the manifest is %s", text)
	}
	to := in(filepath.Join(t.TempDir(), "data")).target()
	if _, err := Restore(t.Context(), dir, to); err == nil || !strings.Contains(err.Error(), "was in Postgres") {
		t.Errorf("restored into SQLite: %v", err)
	}
	to.State = w.State
	if _, err := Restore(t.Context(), dir, to); err != nil {
		t.Error(err)
	}
	sqlite := newWorld(t).create(t)
	to.Dir = filepath.Join(t.TempDir(), "data")
	if _, err := Restore(t.Context(), sqlite, to); err == nil || !strings.Contains(err.Error(), "data.state names Postgres") {
		t.Errorf("SQLite restored into Postgres: %v", err)
	}
}
