package provider

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	providerv1 "github.com/sallyport-gateway/sallyport/sdk/proto/provider/v1"
)

// Pauses before asking again at a listener that has as many connections to
// accept as it holds, the first and the longest. Each is cut by up to a half, so
// that those who wait do not come back together.
const (
	firstBacklogPause = 5 * time.Millisecond
	maxBacklogPause   = 200 * time.Millisecond
)

// knockVersion is the frame format that Knock says in HELLO: there is no such.
const knockVersion = 0

// errFull is the failure of a plugin that has as many connections as it takes.
var errFull = errors.New("the plugin takes no more connections")

// errKnock is how a HELLO of Knock is refused.
var errKnock = errors.New("hello: somebody knocked")

// NoDescriptors reports whether err is that this process, or its system, has no
// descriptor left.
func NoDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Dialer returns a ClientConfig.Dial for a plugin process: it asks over control
// for a token, connects, checks that process pid listens there, and sends
// HELLO. The socket must lie under dir, the gateway's own directory for this
// process.
func Dialer(control grpc.ClientConnInterface, pid int, dir string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return dial(ctx, control, pid, dir, frameVersion)
	}
}

// Knock looks whether a plugin process still lets anybody in, as far as refusing
// who does not say HELLO rightly. It returns nil when it does, and what happened
// instead when it has not until ctx ends, which must have a deadline.
func Knock(ctx context.Context, control grpc.ClientConnInterface, pid int, dir string) error {
	c, err := dial(ctx, control, pid, dir, knockVersion)
	if errors.Is(err, errFull) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		c.SetReadDeadline(end)
	}
	_, err = c.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("open data connection: no answer: %w", err)
}

// dial makes a connection, and says HELLO in frame format version.
func dial(ctx context.Context, control grpc.ClientConnInterface, pid int, dir string, version byte) (net.Conn, error) {
	open, err := providerv1.NewProviderClient(control).OpenData(ctx, &providerv1.OpenDataRequest{Frames: frameVersion})
	if status.Code(err) == codes.ResourceExhausted {
		return nil, fmt.Errorf("open data connection: %w: %w", errFull, err)
	}
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
	c, err := connect(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open data connection: %w", err)
	}
	if err := greet(c, pid, open.GetToken(), version); err != nil {
		c.Close()
		return nil, fmt.Errorf("open data connection: %w", err)
	}
	return c, nil
}

// connect waits, as a socket that blocks would, while more connections wait to
// be accepted than the listener holds.
func connect(ctx context.Context, path string) (*net.UnixConn, error) {
	for pause := firstBacklogPause; ; pause = nextBacklogPause(pause) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			return c.(*net.UnixConn), nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		wait := time.NewTimer(jittered(pause))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, err
		}
	}
}

func nextBacklogPause(p time.Duration) time.Duration { return min(2*p, maxBacklogPause) }

func jittered(p time.Duration) time.Duration { return p - rand.N(p/2) }

func greet(c *net.UnixConn, pid int, token []byte, version byte) error {
	peer, err := peerPID(c)
	if err != nil {
		return fmt.Errorf("peer credentials: %w", err)
	}
	if peer != pid {
		return fmt.Errorf("process %d listens, not the plugin, %d", peer, pid)
	}
	b := append(appendHeader(nil, frameHello, 1+len(token)), version)
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
	if b[0] == knockVersion {
		return "", errKnock
	}
	if b[0] != frameVersion {
		return "", fmt.Errorf("hello: frame format %d, this plugin speaks %d", b[0], frameVersion)
	}
	return string(b[1:]), nil
}
