// Package socket makes short reads and writes of connections cheaper: of the
// frames between gateway and plugins, and of streams that come piece by piece.
// What a connection of this package gives is what the one below it gives.
package socket

import "net"

// maxDirect is the longest buffer that is read into or written directly, in
// bytes: the scheduler should know of what takes longer.
const maxDirect = 64 << 10

// Direct returns c with reads and writes that the Go scheduler is not told of.
//
// A read or write of a socket that does not block takes a few microseconds.
// Package net announces each to the scheduler, which costs little in a program
// that is busy. In one that was at rest, the first one wakes the scheduler's
// monitor, a thread that then looks around for a while: a process that wakes for
// each piece of a stream pays as much for this as for the piece.
//
// c itself is returned where the system is not Linux, where c is no plain socket,
// and in a program with the race detector. Close the connection as ever.
func Direct(c net.Conn) net.Conn {
	if raced {
		return c
	}
	return direct(c)
}

// Quiet reports whether a connection is there and nothing has come on it that was
// not read, neither data nor its end: whether it can be used for another request.
// It is false where this cannot be told.
func Quiet(c net.Conn) bool { return quiet(c) }
