package backup_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/tables"
)

// tables.Open refuses a ledger and a table of a newer program in one line, and
// changes neither.
func TestNewerDataIsRefusedUnchanged(t *testing.T) {
	t.Parallel()
	fresh := func(t *testing.T) data {
		d := openData(t, filepath.Join(t.TempDir(), "data"))
		for i := range 5 {
			if _, err := d.set.Append(t.Context(), names[0], body(t, fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			if err := d.set.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.set.Append(t.Context(), names[0], body(t, "not committed")); err != nil {
			t.Fatal(err)
		}
		d.close(t)
		return d
	}
	tests := []struct {
		name string
		do   func(t *testing.T, d data)
		want string
	}{
		{"ledger", func(t *testing.T, d data) {
			segments, err := filepath.Glob(filepath.Join(d.Log, "*.wal"))
			if err != nil || len(segments) == 0 {
				t.Fatal(segments, err)
			}
			f, err := os.OpenFile(segments[len(segments)-1], os.O_RDWR, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{2}, 8)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "has format 2, this program reads up to 1"},
		{"table", func(t *testing.T, d data) {
			edit(t, filepath.Join(d.Tables, "system/events/a/_delta_log"), `"sallyport.schemaVersion":"1"`, `"sallyport.schemaVersion":"9"`)
		}, "its schema has version 9 and this program knows kind event up to 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := fresh(t)
			tt.do(t, d)
			before := tree(t, d.Log) + tree(t, d.Tables)
			set, err := tables.Open(t.Context(), tables.Dirs{Log: d.Log, Tables: d.Tables}, tables.Config{}, definitions(), nil, slog.New(slog.DiscardHandler))
			if err == nil {
				set.Close()
				t.Fatalf("Open succeeded, want an error with %q", tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Open error %q, want one line with %q", err, tt.want)
			}
			if after := tree(t, d.Log) + tree(t, d.Tables); after != before {
				t.Errorf("the data changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
	// A table whose protocol another writer has raised keeps nobody from
	// serving: its rows wait in the ledger, and it stays as it is.
	t.Run("protocol", func(t *testing.T) {
		t.Parallel()
		d := fresh(t)
		log := filepath.Join(d.Tables, "system/events/a/_delta_log")
		edit(t, log, `"minWriterVersion":2`, `"minWriterVersion":7`)
		before := tree(t, d.Tables)
		d = openData(t, d.Dir)
		err := d.set.Flush(t.Context())
		if err == nil || !strings.Contains(err.Error(), "writer version 7") {
			t.Errorf("Flush error %v, want one about writer version 7", err)
		}
		if len(d.set.Health()) == 0 {
			t.Error("nothing in Health")
		}
		d.set.Close() // tells it again
		if err := d.db.Close(); err != nil {
			t.Error(err)
		}
		if after := tree(t, d.Tables); after != before {
			t.Errorf("the tables changed:\n%s\nwas\n%s", after, before)
		}
		edit(t, log, `"minWriterVersion":7`, `"minWriterVersion":2`)
		d = openData(t, d.Dir)
		defer d.close(t)
		if err := d.set.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if got := ids(t, d.set.Locations()[names[0]]); len(got) != 6 {
			t.Errorf("the table has the rows %q, want 6", got)
		}
	})
}

// edit replaces text in the first commit of a log.
func edit(t *testing.T, dir, old, text string) {
	t.Helper()
	name := filepath.Join(dir, "00000000000000000000.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("%s has no %s: %s", name, old, b)
	}
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(b), old, text)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree has a line for every file below dir, but for the lock of the ledger,
// which says which process tried it last.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "lock" {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %q\n", path, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
