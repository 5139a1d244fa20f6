//go:build e2e

package guests

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A guest is made of its inputs only: made twice it is the same to the byte,
// its memory included. What takes minutes and is kept in the cache, the objects
// of CPython and SQLite, is made once.
func TestMadeTwiceIsTheSame(t *testing.T) {
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			var dirs [2]string
			for i := range dirs {
				dirs[i] = filepath.Join(t.TempDir(), "made")
				if err := os.Mkdir(dirs[i], 0o700); err != nil {
					t.Fatal(err)
				}
				if err := l.make(context.Background(), dirs[i]); err != nil {
					t.Fatal(err)
				}
			}
			files, err := os.ReadDir(dirs[0])
			if err != nil || len(files) < 4 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			for _, f := range files {
				if sum([]byte(read(t, dirs[0], f.Name()))) != sum([]byte(read(t, dirs[1], f.Name()))) {
					t.Errorf("%s differs", f.Name())
				}
			}
		})
	}
}
