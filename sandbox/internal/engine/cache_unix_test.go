//go:build unix

package engine

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/toy"
)

func TestCacheThatOthersMayWriteIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "cache")
	if err := secureDir(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, mode := range []fs.FileMode{0o770, 0o707, 0o775} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(context.Background(), toy.Dir(t), Options{Cache: dir}); err == nil || !strings.Contains(err.Error(), "0700") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(toy.Cache(t), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(context.Background(), toy.Dir(t), Options{Cache: link}); err == nil {
		t.Error("a link was accepted as the cache")
	}
}

// A damaged file of the cache is not the end of all programs.
func TestDamagedCacheIsMadeAgain(t *testing.T) {
	dir := copyLoops(t, func(m map[string]any) { m["guests"] = m["guests"].([]any)[:1] })
	cache := filepath.Join(t.TempDir(), "cache")
	load := func() {
		t.Helper()
		e, err := Load(context.Background(), dir, Options{Cache: cache})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	load()
	files, err := filepath.Glob(filepath.Join(cache, "wazero-*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in the cache: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := Load(context.Background(), dir, Options{Cache: cache, emptied: true, Partial: true}); err != nil {
		t.Fatal(err) // the way out when the cache cannot be emptied: without it
	} else if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for range 2 { // the second time from what the first one made
		load()
	}
}
