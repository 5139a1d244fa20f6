//go:build !linux || !(amd64 || arm64)

package confine

import (
	"os"
	"syscall"
)

// become starts the program at its path: nothing here starts a descriptor, and
// the launcher's own descriptors are closed on the way.
func become(p Program) error {
	if _, err := Apply(p.Policy); err != nil {
		return err
	}
	return &os.PathError{Op: "execute", Path: p.Path, Err: syscall.Exec(p.Path, p.Args, os.Environ())}
}
