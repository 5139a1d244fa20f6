//go:build !unix

package socket

import "net"

func quiet(net.Conn) bool { return false }
