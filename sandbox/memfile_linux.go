package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newMemfile makes a file in memory, or one without a name where the kernel has
// none of those.
func newMemfile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return newNameless()
	}
	if err != nil {
		return nil, fmt.Errorf("memory file: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// seal makes f constant for everybody. A file that is not in memory stays as it
// is, and workers copy it.
func seal(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = c.Control(func(fd uintptr) {
		_, inner = unix.FcntlInt(fd, unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	})
	if errors.Is(inner, unix.EINVAL) {
		inner = nil
	}
	if err = errors.Join(err, inner); err != nil {
		return fmt.Errorf("%s: seal: %w", f.Name(), err)
	}
	return nil
}
