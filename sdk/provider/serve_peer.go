package provider

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp reports whether the other end of c is closed, even when there is still
// something to read; also when c is closed. It asks the kernel, and neither waits
// nor reads.
func hungUp(c net.Conn) bool {
	sc, is := c.(syscall.Conn)
	if !is {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	var events int16
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: pollHangup}}
		if _, err := unix.Poll(p, 0); err == nil {
			events = p[0].Revents
		}
	})
	return err != nil || events&(pollHangup|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
