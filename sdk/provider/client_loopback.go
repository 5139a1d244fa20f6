package provider

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Loopback returns a Client that reaches t, and the Front that t is if it is
// one, through the same frames as a plugin process, within this process: for
// tests. Call close at the end; it waits for whatever is under way.
func Loopback(t Translator) (client *Client, close func()) { return loopbackOf(newServer(t)) }

func loopbackOf(s *server) (client *Client, close func()) {
	var wg sync.WaitGroup
	client = NewClient(ClientConfig{
		Name: "loopback",
		Dial: func(context.Context) (net.Conn, error) {
			near, far, err := socketPair()
			if err != nil {
				return nil, fmt.Errorf("loopback: %w", err)
			}
			wg.Go(func() { s.conn(far) })
			return near, nil
		},
	})
	return client, func() {
		client.Close()
		s.close()
		wg.Wait()
	}
}

func socketPair() (near, far net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(f) // has a descriptor of its own
		f.Close()
		if err != nil {
			return nil, nil, err
		}
		ends[i] = c
	}
	return ends[0], ends[1], nil
}
