package backup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A full disk ends a backup, or its restoring, with an error that says so, and
// gives back what was taken.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("backup-test", disk, "tmpfs", 0, "size=200k,mode=700"); err != nil {
		t.Logf("no tmpfs can be mounted (%v): TestAFailedCreateLeavesNothing does it alone", err)
		return
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	w := newWorld(t)
	backup := w.create(t)
	tests := []struct {
		name string
		room int // bytes left
		do   func(dir string) error
	}{
		{"create, in the ledger", 8 << 10, func(dir string) error { _, err := Create(t.Context(), w.Source, dir); return err }},
		{"create, in the tables", 80 << 10, func(dir string) error { _, err := Create(t.Context(), w.Source, dir); return err }},
		{"create, in the state", 0, func(dir string) error {
			only := Source{Dir: w.dir, Log: filepath.Join(dir, "..", "none"), Tables: filepath.Join(dir, "..", "none"), State: w.State}
			_, err := Create(t.Context(), only, dir)
			return err
		}},
		{"restore", 80 << 10, func(dir string) error { _, err := Restore(t.Context(), backup, in(dir).target()); return err }},
	}
	for _, tt := range tests {
		filler := filepath.Join(disk, "filler")
		fill(t, filler, tt.room)
		err := tt.do(filepath.Join(disk, "x"))
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free space there") {
			t.Errorf("%s: error %v, want one about the full disk that says what to do", tt.name, err)
		}
		if entries, err := os.ReadDir(disk); err != nil || len(entries) != 1 {
			t.Errorf("%s: %v is left, %v", tt.name, entries, err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	w.whole(t)
}

// fill takes all space of a file system but room bytes.
func fill(t *testing.T, file string, room int) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	var size int64
	for {
		n, err := f.Write(page)
		size += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(max(size-int64(room), 0)); err != nil {
		t.Fatal(err)
	}
}
