package manifest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// markName is the file, in a directory of machine code, that says what it was
// made of and what it holds.
const markName = "of"

var (
	// ErrNotCompiled says that a directory has no machine code.
	ErrNotCompiled = errors.New("the guests are not compiled")
	// ErrStale says that it has some that was made of other guests, or was changed.
	ErrStale = errors.New("the compiled guests are not those that were made")
)

// Mark writes into dir what its machine code was made of, the guests in another
// directory, and the hashes of its files.
func Mark(guests, dir string) error {
	of, err := made(guests)
	if err != nil {
		return err
	}
	mark := bytes.NewBufferString(of)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == markName {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		fmt.Fprintf(mark, "%x %s\n", sha256.Sum256(b), filepath.ToSlash(name))
		return err
	})
	return errors.Join(err, os.WriteFile(filepath.Join(dir, markName), mark.Bytes(), 0o644))
}

// made is the first line of a mark.
func made(guests string) (string, error) {
	b, err := os.ReadFile(filepath.Join(guests, Name))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x %s %s\n", sha256.Sum256(b), Wazero, runtime.GOARCH), nil
}

// Compiled checks the machine code in dir. The error is ErrNotCompiled,
// ErrStale, or that of reading; of a directory without a mark, which a gateway
// has filled, it only tells whether there is anything.
func Compiled(guests, dir string) error {
	of, err := made(guests)
	if err != nil {
		return err
	}
	mark, err := os.ReadFile(filepath.Join(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		if held, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*")); err != nil || len(held) > 0 {
			return err
		}
		return ErrNotCompiled
	}
	if err != nil {
		return err
	}
	lines := slices.Collect(strings.Lines(string(mark)))
	if len(lines) < 2 || lines[0] != of {
		return fmt.Errorf("%w: they are of other guests", ErrStale)
	}
	for _, line := range lines[1:] {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			return fmt.Errorf("%w: %s cannot be read", ErrStale, markName)
		}
		if Check(dir, filepath.FromSlash(name), sum) != nil {
			return fmt.Errorf("%w: %s cannot be read or was changed", ErrStale, name)
		}
	}
	return nil
}
