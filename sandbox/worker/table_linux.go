package worker

import (
	"os"

	"golang.org/x/sys/unix"
)

const sealed = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// content is what f holds: mapped where its seals say that nobody can change or
// shorten it, which would end the process, and otherwise copied.
func content(f *os.File) ([]byte, func(), error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	c, err := f.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var seals int
	var b []byte
	cerr := c.Control(func(fd uintptr) {
		seals, err = unix.FcntlInt(fd, unix.F_GET_SEALS, 0)
		if err == nil && seals&sealed == sealed && info.Size() > 0 {
			b, err = unix.Mmap(int(fd), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
		}
	})
	if cerr != nil {
		return nil, nil, cerr
	}
	if b == nil { // the copy says what is wrong with a file that is
		b, err := copied(f)
		return b, nil, err
	}
	return b, func() { unix.Munmap(b) }, err
}
