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
	for _, mode := range []fs.FileMode{0o770, 0o707, 0o755} {
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
