package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/backup"
)

// layoutVersion is the newest layout of a data directory that this program
// knows: which files and directories it has, and what they are called. What is
// in them has versions of its own.
const layoutVersion = 1

// layoutFile is in the data directory and holds the version of its layout as a
// number. A directory without it is of version 1, from before it was written.
const layoutFile = "VERSION"

// CheckData refuses the data directory dir when a newer program has given it
// another layout, or when a restore into it did not come to its end. It changes
// nothing, and a directory that does not exist is fine.
func CheckData(dir string) error {
	if backup.Interrupted(dir) {
		return fmt.Errorf("data directory %s: a restore did not come to its end; run `sallyport backup restore` again, which begins anew", dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, layoutFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || v < 1 {
		return fmt.Errorf("data directory %s: its file %s holds no number; it was %d when this program wrote it", dir, layoutFile, layoutVersion)
	}
	if v > layoutVersion {
		return fmt.Errorf("data directory %s has layout %d and this program knows up to %d: start the newer program again, or restore the backup from before the upgrade; nothing was changed", dir, v, layoutVersion)
	}
	return nil
}

// openData makes the data directory, or checks it before anything in it is
// touched, and notes its layout.
func openData(dir string) error {
	if err := CheckData(dir); err != nil {
		return err
	}
	if err := private(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, layoutFile)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if err := writeLayout(path); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// writeLayout makes the file whole or not at all.
func writeLayout(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".version-*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, layoutVersion)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
