package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// newNameless makes a file that nobody finds.
func newNameless() (*os.File, error) {
	if runtime.GOOS == "windows" { // where an open file keeps its name
		return nil, fmt.Errorf("temporary file: %w", errors.ErrUnsupported)
	}
	f, err := os.CreateTemp("", "sandbox-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
