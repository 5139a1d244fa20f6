package engine

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestImageIsSealed(t *testing.T) {
	im, err := newImage("sealed", make([]byte, pageSize))
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	f := im.(*imageFile).file
	if _, err := f.WriteAt([]byte{1}, 0); err == nil {
		t.Error("the image can be written to")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("the image can be cut")
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("the image can be mapped for writing by all")
	}
}

// TestReleaseUnmaps looks at the kernel's list of this process's mappings.
func TestReleaseUnmaps(t *testing.T) {
	im, err := newImage("release-test", bytes.Repeat([]byte{1}, 2*pageSize))
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	count := func() int {
		b, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), "memfd:sallyport-release-test")
	}
	var ms []memory
	for range 10 {
		m, err := im.reserve(256 << 20)
		if err != nil {
			t.Fatal(err)
		}
		m.Reallocate(2 * pageSize)[0]++
		ms = append(ms, m)
	}
	if got := count(); got < 10 {
		t.Errorf("%d mappings of 10 instances", got)
	}
	for _, m := range ms {
		if err := m.release(); err != nil {
			t.Error(err)
		}
	}
	if got := count(); got != 0 {
		t.Errorf("%d mappings are left", got)
	}
}
