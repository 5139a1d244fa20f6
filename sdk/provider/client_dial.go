package provider

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"

	"google.golang.org/grpc"

	providerv1 "github.com/sallyport-gateway/sallyport/sdk/proto/provider/v1"
)

// Dialer returns a ClientConfig.Dial for a plugin process: it asks over control
// for a token, connects, checks that process pid listens there, and sends
// HELLO. The socket must lie under dir, the gateway's own directory for this
// process.
func Dialer(control grpc.ClientConnInterface, pid int, dir string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		open, err := providerv1.NewProviderClient(control).OpenData(ctx, &providerv1.OpenDataRequest{Frames: frameVersion})
		if err != nil {
			return nil, fmt.Errorf("open data connection: %w", err)
		}
		if open.GetFrames() != frameVersion {
			return nil, fmt.Errorf("open data connection: plugin speaks frame format %d, this gateway %d", open.GetFrames(), frameVersion)
		}
		path := filepath.Clean(open.GetSocket())
		if rel, err := filepath.Rel(dir, path); err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("open data connection: socket %q is outside of %q", path, dir)
		}
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, fmt.Errorf("open data connection: %w", err)
		}
		if err := greet(c.(*net.UnixConn), pid, open.GetToken()); err != nil {
			c.Close()
			return nil, fmt.Errorf("open data connection: %w", err)
		}
		return c, nil
	}
}

func greet(c *net.UnixConn, pid int, token []byte) error {
	peer, err := peerPID(c)
	if err != nil {
		return fmt.Errorf("peer credentials: %w", err)
	}
	if peer != pid {
		return fmt.Errorf("process %d listens, not the plugin, %d", peer, pid)
	}
	b := append(appendHeader(nil, frameHello, 1+len(token)), frameVersion)
	_, err = c.Write(append(b, token...))
	return err
}

// readHello reads the first frame byte for byte, so that nothing behind it is
// lost.
func readHello(r io.Reader) (token string, err error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return "", fmt.Errorf("hello: %w", err)
	}
	n := binary.BigEndian.Uint32(h[:])
	if frameType(h[4]) != frameHello || n < 1 || n > maxHello {
		return "", fmt.Errorf("hello: frame of type %d with %d bytes", h[4], n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("hello: %w", err)
	}
	if b[0] != frameVersion {
		return "", fmt.Errorf("hello: frame format %d, this plugin speaks %d", b[0], frameVersion)
	}
	return string(b[1:]), nil
}
