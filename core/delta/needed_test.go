package delta

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// A copy of the files that Needed names is the table: at every version, with a
// checkpoint and without, and when the hint about it is old or gone.
func TestNeededIsEnough(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := MakeDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := Create(t.Context(), d, Definition{Schema: Schema{{Name: "id", Type: Long}, {Name: "part", Type: String}}, Partition: []string{"part"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	hint := path.Join(logDir, lastCheckpoint)
	for i := range 25 {
		if _, err := table.Append(t.Context(), Txn{AppID: "app", Version: int64(i)}, Rows(Row{int64(i), "a b/ü%"})); err != nil {
			t.Fatal(err)
		}
		if i == 15 {
			if _, err := table.Compact(t.Context(), CompactOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		version, names, err := Needed(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if version != table.Version() {
			t.Errorf("Needed is at version %d, the table at %d", version, table.Version())
		}
		last := version / 10 * 10 // of the checkpoints
		if got := slices.Contains(names, hint); got != (last > 0) {
			t.Errorf("version %d: %s needed = %v", version, hint, got)
		}
		files, _ := table.Files()
		want := files + int(version-last)
		if last > 0 {
			want += 2 // the checkpoint and the hint
		} else {
			want++ // version 0
		}
		if len(names) != want {
			t.Errorf("version %d: %d files are needed, want %d: %v", version, len(names), want, names)
		}
		to := t.TempDir()
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(to, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		c, err := OpenDir(to)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := OpenTable(t.Context(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := copied.Files(); n != files || copied.Version() != version {
			t.Errorf("the copy has %d files at version %d, want %d at %d", n, copied.Version(), files, version)
		}
		if last, ok, err := copied.LastTxn(t.Context(), "app"); !ok || last != int64(i) || err != nil {
			t.Errorf("the copy's last transaction is %d, %v, %v, want %d", last, ok, err, i)
		}
		c.Close()
	}
	// A hint about an older checkpoint must not go along.
	if err := os.WriteFile(filepath.Join(dir, hint), []byte(`{"version":10,"size":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, names, err := Needed(t.Context(), dir); err != nil || slices.Contains(names, hint) {
		t.Errorf("an old hint is needed (%v)", err)
	}
	if _, _, err := Needed(t.Context(), t.TempDir()); !errors.Is(err, ErrNotDelta) {
		t.Errorf("of no table: %v, want ErrNotDelta", err)
	}
}
