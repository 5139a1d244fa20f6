package provider

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

const pollHangup = unix.POLLHUP

// peerPID is the process at the other end of a unix socket: the one that
// connected or, seen from there, the one that listens.
func peerPID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var pid int
	var soErr error
	err = raw.Control(func(fd uintptr) { pid, soErr = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID) })
	return pid, errors.Join(err, soErr)
}
