package worker

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnlySealedFilesAreMapped(t *testing.T) {
	for _, tt := range []struct {
		seals  int
		mapped bool
	}{{0, false}, {unix.F_SEAL_WRITE, false}, {unix.F_SEAL_SHRINK | unix.F_SEAL_GROW, false}, {sealed, true}, {sealed | unix.F_SEAL_SEAL, true}} {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "test")
		defer f.Close()
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, tt.seals); err != nil {
			t.Fatal(err)
		}
		b, unmap, err := content(f)
		if err != nil || string(b) != "content" || (unmap != nil) != tt.mapped {
			t.Errorf("seals %#x: %q, mapped %t, %v; want mapped %t", tt.seals, b, unmap != nil, err, tt.mapped)
		}
		if unmap != nil {
			unmap()
		}
	}
}
