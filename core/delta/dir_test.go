package delta

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func parseTime(t testing.TB, text string) time.Time {
	t.Helper()
	return must(time.Parse(time.RFC3339, text))(t)
}

func TestDirNames(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	d := must(MakeDir(t.TempDir()))(t)
	defer d.Close()
	write(t, filepath.Join(outside, "x"), "secret")
	for from, to := range map[string]string{"link": filepath.Join(outside, "x"), "dir": outside, "self": "."} {
		if err := os.Symlink(to, filepath.Join(d.Path(), from)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(d.Path(), "sub", "file"), "x")
	for _, name := range []string{"../x", "/etc/passwd", "a/../../x", "", ".", "sub/", "./sub/file", "link", "dir/x", "self/sub/file", "sub", "a\x00b"} {
		if o, err := d.Open(t.Context(), name); err == nil {
			o.Close()
			t.Errorf("Open(%q) worked", name)
		}
	}
	for _, name := range []string{"../x", "/tmp/x", "dir/x"} {
		if err := d.Put(t.Context(), name, strings.NewReader("x")); err == nil {
			t.Errorf("Put(%q) worked", name)
		}
		if err := d.Delete(t.Context(), name); err == nil && name != "dir/x" {
			t.Errorf("Delete(%q) worked", name)
		}
	}
	if b, err := os.ReadFile(filepath.Join(outside, "x")); err != nil || string(b) != "secret" {
		t.Errorf("the file outside is %q, %v", b, err)
	}
	n := 0
	for e, err := range d.List(t.Context(), "") {
		if err != nil || e.Name != "sub/file" || e.Size != 1 {
			t.Errorf("List gave %+v, %v", e, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("List gave %d files, want 1", n)
	}
	for _, err := range d.List(t.Context(), "nowhere") {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("List of nothing: %v", err)
		}
	}
}

func TestPutIfAbsent(t *testing.T) {
	t.Parallel()
	d := must(MakeDir(t.TempDir()))(t)
	defer d.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := ""
	for _, text := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		wg.Go(func() {
			err := d.PutIfAbsent(context.Background(), "name", []byte(text))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && won != "":
				t.Errorf("both %s and %s won", won, text)
			case err == nil:
				won = text
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b := must(os.ReadFile(filepath.Join(d.Path(), "name")))(t); string(b) != won {
		t.Errorf("the file is %q and %q won", b, won)
	}
	if all := matching(t, d, ".*"); len(all) != 0 {
		t.Errorf("left %v", all)
	}
	if err := d.PutIfAbsent(t.Context(), "no/dir/name", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its directory: got %v", err)
	}
}

func TestPutReplaces(t *testing.T) {
	t.Parallel()
	d := must(MakeDir(t.TempDir()))(t)
	defer d.Close()
	for _, text := range []string{"one", "two"} {
		if err := d.Put(t.Context(), "a/b/c", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	bad := errors.New("source broke")
	if err := d.Put(t.Context(), "a/b/c", readerFunc(func([]byte) (int, error) { return 0, bad })); !errors.Is(err, bad) {
		t.Errorf("got %v, want the source's error", err)
	}
	if b := must(os.ReadFile(filepath.Join(d.Path(), "a/b/c")))(t); string(b) != "two" {
		t.Errorf("got %q", b)
	}
	if all := matching(t, d, "a/b/.*"); len(all) != 0 {
		t.Errorf("left %v", all)
	}
}
