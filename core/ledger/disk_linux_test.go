package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A real full disk: a tmpfs of 64 KiB where we may mount one, else a limit on
// the size of files in a process of its own.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("ledger-test", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Logf("no tmpfs can be mounted (%v): TestFileSizeLimit does it alone", err)
		return
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 20<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := small(filepath.Join(dir, "ledger"))
	cfg.SegmentBytes, cfg.MaxBytes = 32<<10, 1<<20
	l := mustOpen(t, cfg)
	untilRefused(t, l, syscall.ENOSPC)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	healthy(t, l)
	last := l.Stats().Last
	if seq, err := l.AppendSync(t.Context(), "t", []byte("space is back")); err != nil || seq != last+1 {
		t.Errorf("append: %d, %v", seq, err)
	}

	// The same disk, mounted for reading only.
	l.Close()
	l = mustOpen(t, cfg)
	if got := replay(t, l, last+1); len(got) != 1 {
		t.Errorf("after a restart: %q", got)
	}
	l.w.Lock()
	l.s.Lock()
	l.mu.Lock()
	l.abandon() // no file is open for writing
	l.mu.Unlock()
	l.s.Unlock()
	l.w.Unlock()
	if err := syscall.Mount("ledger-test", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Logf("cannot be made read-only: %v", err) // the lock file is open for writing
		l.lock.Close()
		if err := syscall.Mount("ledger-test", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Append(t.Context(), "t", nil); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "mount the file system for writing") {
		t.Errorf("read-only: %v", err)
	}
	l.Close()
	if _, err := Open(cfg); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Open read-only: %v", err)
	}
}

// untilRefused appends until the disk takes no more, and checks that what was
// refused is not there and what was not refused is.
func untilRefused(t testing.TB, l *Log, want error) {
	t.Helper()
	n := 0
	for ; n < 2000; n++ {
		if _, err := l.Append(t.Context(), "t", row(n)); err != nil {
			var de *DiskError
			if !errors.As(err, &de) || !errors.Is(err, want) {
				t.Fatalf("refused: %v", err)
			}
			break
		}
	}
	if n == 0 || n == 2000 {
		t.Fatalf("refused after %d rows", n)
	}
	if !errors.Is(l.Health(), want) {
		t.Errorf("health: %v", l.Health())
	}
	if err := l.Sync(t.Context(), uint64(n)); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(l.Health(), want) { // an fsync of what was there before proves nothing
		t.Errorf("health after the fsync: %v", l.Health())
	}
	if got := replay(t, l, 0); len(got) != n || got[n-1] != fmt.Sprintf("%d row t %d", n, n-1) {
		t.Errorf("%d records on disk, %d were written: %q", len(got), n, got[max(0, len(got)-1):])
	}
}
