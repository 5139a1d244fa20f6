package pluginlock

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestDeleteCopy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do   func(root string) error
		left string // "" means deleted
	}{
		"as it was added":    {func(string) error { return nil }, ""},
		"an empty directory": {func(r string) error { return os.Mkdir(r+"/w/empty", 0o755) }, ""},
		"a changed file":     {func(r string) error { return os.WriteFile(r+"/w/lib/a.py", []byte("b"), 0o755) }, "a.py was changed since it was added"},
		"a file gone":        {func(r string) error { return os.Remove(r + "/w/lib/a.py") }, "a.py is gone since it was added"},
		"one file more":      {func(r string) error { return put(r+"/w/lib/notes", "mine") }, "notes was not added"},
		"one that is never part of it": {func(r string) error { return put(r+"/w/.venv/pyvenv.cfg", "mine") },
			"pyvenv.cfg was not added"},
		"a link more": {func(r string) error { return os.Symlink("plugin", r+"/w/lib/l") }, "/w/lib/l is no file that was copied there"},
		"a link to where it is": {func(r string) error {
			return errors.Join(os.Rename(r+"/w", r+"/real"), os.Symlink("real", r+"/w"))
		}, "/w is no file that was copied there"},
		"all gone": {func(r string) error { return os.RemoveAll(r + "/w") }, "no such file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, p := tree(t)
			root := t.TempDir()
			if err := errors.Join(p.Copy(from, root), put(root+"/other", "another plugin"), tt.do(root)); err != nil {
				t.Fatal(err)
			}
			err := p.DeleteCopy(root)
			_, stat := os.Lstat(root + "/w")
			if tt.left == "" {
				if err != nil || !errors.Is(stat, fs.ErrNotExist) {
					t.Errorf("DeleteCopy: %v; afterwards %v, want it gone", err, stat)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.left) || name != "all gone" && stat != nil {
				t.Errorf("DeleteCopy: %v, want %q; afterwards %v", err, tt.left, stat)
			}
			if _, err := os.Lstat(root + "/other"); err != nil {
				t.Error(err)
			}
		})
	}
}
