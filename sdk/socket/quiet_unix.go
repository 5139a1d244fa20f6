//go:build unix

package socket

import (
	"net"
	"syscall"
)

func quiet(c net.Conn) bool {
	if d, ok := c.(interface{ quiet() bool }); ok {
		return d.quiet()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	waits := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, fail := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		waits = fail == syscall.EAGAIN
		return true
	})
	return err == nil && waits
}
