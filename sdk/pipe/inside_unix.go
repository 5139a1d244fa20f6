//go:build unix

package pipe

import (
	"os"
	"syscall"
)

// inside reads what is in the pipe, without waiting: 0 when there is nothing.
func inside(f *os.File, b []byte) (n int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = conn.Control(func(fd uintptr) {
		for {
			var fail error
			if n, fail = syscall.Read(int(fd), b); fail != syscall.EINTR {
				return // empty is EAGAIN, and n -1
			}
		}
	})
	return max(n, 0), err
}
