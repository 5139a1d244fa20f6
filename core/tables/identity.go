package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// instanceFile is in the ledger's directory and holds the UUID under which the
// tables note how far they have taken the ledger's rows. A new ledger is a new
// instance, whose sequences begin anew.
const instanceFile = "instance"

// readIdentity reads the UUID in file. The error wraps fs.ErrNotExist when
// there is none.
func readIdentity(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("%s holds no UUID; restore it from a backup", file)
	}
	return id.String(), nil
}

// identity reads the UUID in file, and makes one first if there is no file: on
// the disk before anybody uses it, and the same for all who ask at once.
func identity(file string) (string, error) {
	id, err := readIdentity(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	tmp := filepath.Join(filepath.Dir(file), ".tmp-"+uuid.NewString())
	defer os.Remove(tmp)
	if err := writeSynced(tmp, []byte(uuid.NewString()+"\n")); err != nil {
		return "", err
	}
	if err := os.Link(tmp, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if err := syncDir(filepath.Dir(file)); err != nil {
		return "", err
	}
	return readIdentity(file)
}

// writeSynced makes file of data, on the disk when it returns.
func writeSynced(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// hasSegments reports whether a ledger has been written in dir.
func hasSegments(dir string) bool {
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	return err == nil && len(names) > 0
}
