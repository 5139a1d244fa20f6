package provider

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

const pollHangup = unix.POLLRDHUP

// peerPID is the process at the other end of a unix socket: the one that
// connected or, seen from there, the one that listens.
func peerPID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var soErr error
	err = raw.Control(func(fd uintptr) { cred, soErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, soErr); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}
