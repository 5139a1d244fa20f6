package ledger

import (
	"io/fs"
	"os"
)

// file is what the log needs of a segment it writes to. Tests put faults here
// that no real disk gives on demand.
type file interface {
	WriteAt(b []byte, off int64) (int, error)
	ReadAt(b []byte, off int64) (int, error)
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Sync() error
	Close() error
}

// osFile is a file whose Sync leaves out the times of the file.
type osFile struct{ *os.File }

func (f osFile) Sync() error { return fdatasync(f.File) }

func openFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
