package provider

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// pollState asks the kernel about a socket without waiting and without reading.
// Zero events with ok false mean that the socket is closed on our side.
func pollState(c net.Conn, want int16) (events int16, ok bool) {
	sc, is := c.(syscall.Conn)
	if !is {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: want}}
		if _, err := unix.Poll(p, 0); err == nil {
			events = p[0].Revents
		}
	})
	return events, err == nil
}

// readable reports whether a read of c would return at once, with bytes or with
// the end; also when c is closed.
func readable(c net.Conn) bool {
	events, ok := pollState(c, unix.POLLIN)
	return !ok || events != 0
}

// hungUp reports whether the other end of c is closed, even when there is still
// something to read.
func hungUp(c net.Conn) bool {
	events, ok := pollState(c, pollHangup)
	return !ok || events&(pollHangup|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
