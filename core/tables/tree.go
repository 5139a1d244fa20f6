package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// location is the directory of the table called name below root.
func location(root, name string) (string, error) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("table %q: write catalog.schema.table", name)
	}
	for _, p := range parts {
		bad := func(r rune) bool { return r == '/' || r == '\\' || !unicode.IsPrint(r) }
		if p == "" || len(p) > 255 || strings.ContainsFunc(p, bad) {
			return "", fmt.Errorf("table %q: %q cannot be the name of a directory", name, p)
		}
	}
	return filepath.Join(root, parts[0], parts[1], parts[2]), nil
}

// tree lists the tables below root by name. What is no directory of such a
// depth, or begins with a point, is none of ours.
func tree(root string) (names []string, err error) {
	var walk func(dir, name string, depth int) error
	walk = func(dir, name string, depth int) error {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			part := e.Name()
			if !e.IsDir() || strings.Contains(part, ".") {
				continue
			}
			if depth < 2 {
				if err := walk(filepath.Join(dir, part), name+part+".", depth+1); err != nil {
					return err
				}
				continue
			}
			if _, err := location(root, name+part); err == nil {
				names = append(names, name+part)
			}
		}
		return nil
	}
	return names, walk(root, "", 0)
}

// makePrivate makes dir and what is missing above it with mode 0700, durably: a
// table that vanished in a power cut would take rows with it that the ledger
// has let go of.
func makePrivate(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makePrivate(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		if info, serr := os.Stat(dir); serr == nil && info.IsDir() {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
