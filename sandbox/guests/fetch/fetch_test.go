package fetch

import (
	"archive/zip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	var made atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			dir, err := Once(context.Background(), "key", func(dir string) error {
				made.Add(1)
				return os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(b) != "x" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	wait.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
}

func TestOnceLeavesNothingOfAFailure(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	broken := errors.New("broken")
	if _, err := Once(context.Background(), "key", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := Once(context.Background(), "key", func(string) error { return nil }); err != nil {
		t.Errorf("the second try: %v", err)
	}
	cache, err := Cache()
	if err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*.part-*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestPrune(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for _, key := range []string{"old", "new"} {
		if _, err := Once(context.Background(), key, func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := Cache()
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	for _, key := range []string{"old", "new"} {
		if err := os.Chtimes(filepath.Join(cache, key), past, past); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Once(context.Background(), "new", func(string) error { return errors.New("it is there") }); err != nil {
		t.Fatal(err)
	}
	if err := Prune(30 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if present(filepath.Join(cache, "old")) || !present(filepath.Join(cache, "new")) {
		t.Error("not the one that is unused was removed")
	}
}

func TestVerify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(name, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); err != nil {
		t.Error(err)
	}
	if err := verify(name, "00"); err == nil {
		t.Error("another hash is accepted")
	}
}

func TestUnzipStaysInside(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.zip")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	if _, err := z.Create("../outside"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "in")
	if err := unzip(name, dir); err == nil {
		t.Error("a path outside is accepted")
	}
	if present(filepath.Join(dir, "..", "outside")) {
		t.Error("it was written")
	}
}

func TestMissingWheel(t *testing.T) {
	_, err := Wheel(context.Background(), Pin{Name: "x", Version: "1", SHA256: map[string]string{"plan9/mips": "00"}})
	var missing *Missing
	if !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
}

func TestModuleOfAnotherHash(t *testing.T) {
	_, err := Module(context.Background(), "github.com/spf13/pflag", "v1.0.9", "h1:other")
	if err == nil {
		t.Error("another hash is accepted")
	}
}
