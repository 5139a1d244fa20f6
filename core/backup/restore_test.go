package backup

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/ledger"
)

// flip changes one byte of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0x20
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// change rewrites the manifest.
func change(t *testing.T, dir string, f func(m map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, manifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	f(m)
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	writeText(t, path, string(text))
}

func TestVerifyAndRestoreFindDamage(t *testing.T) {
	t.Parallel()
	first := func(t *testing.T, dir, pattern string) string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		return names[0]
	}
	data := "tables/" + usageTable + "/day=c/*.parquet"
	setFile := func(m map[string]any, path string) {
		m["files"].([]any)[0].(map[string]any)["path"] = path
	}
	tests := []struct {
		name string
		do   func(t *testing.T, dir string)
		want string
		// Restore does not look for files that no manifest names.
		restores bool
	}{
		{"a byte of a data file", func(t *testing.T, dir string) { flip(t, first(t, dir, data), 9) }, "has changed", false},
		{"a byte of the ledger", func(t *testing.T, dir string) { flip(t, first(t, dir, "log/*.wal"), 100) }, "has changed", false},
		{"a byte of the state", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, stateFile), 5000) }, "has changed", false},
		{"a short file", func(t *testing.T, dir string) {
			if err := os.Truncate(first(t, dir, data), 10); err != nil {
				t.Fatal(err)
			}
		}, "has 10 bytes and had", false},
		{"a missing file", func(t *testing.T, dir string) {
			if err := os.Remove(first(t, dir, data)); err != nil {
				t.Fatal(err)
			}
		}, "is missing", false},
		{"a link for a file", func(t *testing.T, dir string) {
			name := first(t, dir, data)
			if err := errors.Join(os.Rename(name, name+".moved"), os.Symlink(name+".moved", name)); err != nil {
				t.Fatal(err)
			}
		}, "is not of this backup", false},
		{"one file more", func(t *testing.T, dir string) { writeText(t, filepath.Join(dir, "log", "x.wal"), "") }, "log/x.wal is not of this backup", true},
		{"no manifest", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, manifestName)); err != nil {
				t.Fatal(err)
			}
		}, "was not finished", false},
		{"a torn manifest", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, manifestName), 300); err != nil {
				t.Fatal(err)
			}
		}, "cannot be read", false},
		{"a newer format", func(t *testing.T, dir string) {
			change(t, dir, func(m map[string]any) { m["format"], m["files"] = 2, "other" })
		}, "format 2 and this program reads up to 1", false},
		{"a path that leads out", func(t *testing.T, dir string) {
			change(t, dir, func(m map[string]any) { setFile(m, "tables/../../x") })
		}, "which no backup has", false},
		{"a path beside the parts", func(t *testing.T, dir string) {
			change(t, dir, func(m map[string]any) { setFile(m, "admin-token") })
		}, "which no backup has", false},
		{"an absolute path", func(t *testing.T, dir string) {
			change(t, dir, func(m map[string]any) { setFile(m, "/log/x") })
		}, "which no backup has", false},
		{"a table of another version", func(t *testing.T, dir string) {
			change(t, dir, func(m map[string]any) { m["tables"].([]any)[0].(map[string]any)["version"] = 99 })
		}, "and was at 99", false},
		{"a table that leads out", func(t *testing.T, dir string) {
			change(t, dir, func(m map[string]any) { m["tables"].([]any)[0].(map[string]any)["name"] = "../x" })
		}, "no name of a directory", false},
		{"a data file that the manifest leaves out", func(t *testing.T, dir string) {
			name := first(t, dir, data)
			change(t, dir, func(m map[string]any) {
				rel, _ := filepath.Rel(dir, name)
				m["files"] = slices.DeleteFunc(m["files"].([]any), func(f any) bool { return f.(map[string]any)["path"] == filepath.ToSlash(rel) })
			})
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}, "does not exist", false},
	}
	whole := newWorld(t).create(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			tt.do(t, dir)
			before := tree(t, dir)
			if _, err := Verify(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Verify error %v, want one with %q", err, tt.want)
			}
			if tree(t, dir) != before {
				t.Error("Verify changed the backup")
			}
			parent := t.TempDir()
			_, err := Restore(t.Context(), dir, in(filepath.Join(parent, "a", "data")).target())
			if (err == nil) != tt.restores {
				t.Errorf("Restore error %v, want none = %v", err, tt.restores)
			}
			if entries, _ := os.ReadDir(parent); !tt.restores && len(entries) != 0 {
				t.Errorf("%v is left of the restore", entries)
			}
		})
	}
}

func TestRestoreRefusesItsTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.create(t)
	tests := []struct {
		name string
		do   func(t *testing.T, to *Target)
		want string
	}{
		{"not empty", func(t *testing.T, to *Target) { writeText(t, filepath.Join(to.Dir, "x"), "") }, "not empty"},
		{"a ledger elsewhere that is not empty", func(t *testing.T, to *Target) {
			to.Log = t.TempDir()
			writeText(t, filepath.Join(to.Log, "x"), "")
		}, "not empty"},
		{"a state elsewhere that is there", func(t *testing.T, to *Target) {
			file := filepath.Join(t.TempDir(), "s.db")
			writeText(t, file, "")
			to.State = "sqlite:" + file
		}, "not empty"},
		{"a gateway runs", func(t *testing.T, to *Target) {
			l, err := ledger.Open(ledger.Config{Dir: to.Log, Log: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "stop it first"},
		{"another restore runs", func(t *testing.T, to *Target) {
			l, err := ledger.Lock(filepath.Join(to.Dir, Unfinished))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "another restore is under way"},
		{"refused by its check", func(_ *testing.T, to *Target) {
			to.Check = func(dir string) error {
				if _, err := os.Stat(filepath.Join(dir, layoutFile)); err != nil {
					return err
				}
				return errors.New("layout 7")
			}
		}, "layout 7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			to := in(filepath.Join(t.TempDir(), "data")).target()
			tt.do(t, &to)
			state, _ := strings.CutPrefix(to.State, "sqlite:")
			before := tree(t, to.Dir) + tree(t, to.Log) + tree(t, state)
			if _, err := Restore(t.Context(), dir, to); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Restore error %v, want one with %q", err, tt.want)
			}
			if after := tree(t, to.Dir) + tree(t, to.Log) + tree(t, state); after != before {
				t.Errorf("the target changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// The parts of a data directory may be elsewhere, and directories that are
// there already are kept: they may be mounted, or belong to another user's.
func TestRestoreToSeveralPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.create(t)
	to := in(t.TempDir())
	to.Log, to.Tables = t.TempDir(), filepath.Join(t.TempDir(), "new", "tables")
	to.State = "sqlite:" + filepath.Join(t.TempDir(), "new", "s.db")
	writeText(t, filepath.Join(to.dir, "lost+found", "x"), "") // of the file system
	kept, err := os.Stat(to.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), dir, to.target()); err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(to.dir); err != nil || !os.SameFile(kept, now) {
		t.Errorf("the directory was replaced (%v)", err)
	}
	to.whole(t)
	if _, err := Restore(t.Context(), dir, to.target()); err == nil {
		t.Error("restored over data")
	}
	to.whole(t)
}

// The directory may be named in any way that leads to it.
func TestVerifyAndRestoreByAnyName(t *testing.T) {
	w := newWorld(t)
	parent := t.TempDir()
	if _, err := Create(t.Context(), w.Source, filepath.Join(parent, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("b", filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(parent)
	for _, name := range []string{"b", "./b", "b/../b/", "link"} {
		if _, err := Verify(t.Context(), name, nil); err != nil {
			t.Errorf("Verify(%q): %v", name, err)
		}
	}
	if _, err := Restore(t.Context(), "link", in(filepath.Join(t.TempDir(), "data")).target()); err != nil {
		t.Errorf("Restore: %v", err)
	}
}

// What a link leads to is not of the backup, whatever it holds.
func TestRestoreFollowsNoLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := Create(t.Context(), w.Source, dir); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(t.TempDir(), "tables")
	if err := os.Rename(filepath.Join(dir, tablesPart), away); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(away, filepath.Join(dir, tablesPart)); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), dir, in(filepath.Join(t.TempDir(), "data")).target()); err == nil || !strings.Contains(err.Error(), "a link leads to it") {
		t.Errorf("Restore error %v, want the link refused", err)
	}
}
