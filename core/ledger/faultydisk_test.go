package ledger

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
)

// faults is a disk that fails when told to.
type faults struct {
	create, write, truncate, sync atomic.Pointer[error]
	forget                        atomic.Bool // what was not synced reads as zeros
	short                         atomic.Bool // a failing write writes one half
	late                          atomic.Bool // a failing write writes everything
	syncOnce                      atomic.Bool // the next fsync fails
}

func (d *faults) set(p *atomic.Pointer[error], err error) {
	if err == nil {
		p.Store(nil)
		return
	}
	p.Store(&err)
}

func (d *faults) heal() {
	for _, p := range []*atomic.Pointer[error]{&d.create, &d.write, &d.truncate, &d.sync} {
		p.Store(nil)
	}
}

func (d *faults) openFile(path string, flag int) (file, error) {
	if err := d.create.Load(); err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: *err}
	}
	f, err := openFile(path, flag)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d}, nil
}

type faultyFile struct {
	file
	disk *faults
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.write.Load(); err != nil {
		n := 0
		if f.disk.short.Load() {
			n, _ = f.file.WriteAt(b[:len(b)/2], off)
		}
		if f.disk.late.Load() {
			n, _ = f.file.WriteAt(b, off)
		}
		return n, *err
	}
	return f.file.WriteAt(b, off)
}

func (f *faultyFile) ReadAt(b []byte, off int64) (int, error) {
	if f.disk.forget.Load() {
		clear(b)
		return len(b), nil
	}
	return f.file.ReadAt(b, off)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.disk.truncate.Load(); err != nil {
		return *err
	}
	return f.file.Truncate(size)
}

func (f *faultyFile) Sync() error {
	if err := f.disk.sync.Load(); err != nil {
		return *err
	}
	if f.disk.syncOnce.CompareAndSwap(true, false) {
		return syscall.EIO
	}
	return f.file.Sync()
}

func openFaulty(t *testing.T, cfg Config) (*Log, *faults) {
	t.Helper()
	d := &faults{}
	l, err := open(cfg, d.openFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.heal(); l.Close() })
	return l, d
}
