package delta

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A directory that this user may not write to, also when the tests run as
// root: one thread gives its right to write everywhere away.
func TestReadOnlyDirectory(t *testing.T) {
	d := must(MakeDir(t.TempDir()))(t)
	defer d.Close()
	if _, err := Create(t.Context(), d, Definition{Schema: small()}, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.Path(), 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.Path()+"/"+logDir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(d.Path(), 0o755)
	defer os.Chmod(d.Path()+"/"+logDir, 0o755)
	errs := make(chan error)
	go func() {
		runtime.LockOSThread() // and never given back: the thread ends with the goroutine
		syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		errs <- d.Put(t.Context(), "x.parquet", strings.NewReader("x"))
		errs <- d.PutIfAbsent(t.Context(), logDir+"/"+commitFile(1), []byte("{}"))
		errs <- d.Delete(t.Context(), logDir+"/"+commitFile(0))
		close(errs)
	}()
	n := 0
	for err := range errs {
		n++
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "give this user write access") || !strings.Contains(err.Error(), d.Path()) {
			t.Errorf("operation %d: got %v, want an error that names the directory and what to do", n, err)
		}
	}
	if n != 3 {
		t.Errorf("%d operations ran, want 3", n)
	}
	if got := matching(t, d, "*"); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}
