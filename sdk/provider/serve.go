package provider

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	providerv1 "github.com/sallyport-gateway/sallyport/sdk/proto/provider/v1"
)

// Serve runs t as a plugin; a translator plugin's main is this one line. It
// returns when the gateway has asked the plugin to end.
func Serve(m Manifest, t Translator) {
	s := newServer(t)
	var data *dataPlane
	boot.Run(boot.Plugin{
		Kind:     boot.Provider,
		Manifest: m,
		Register: func(g *grpc.Server) error {
			host := os.Getppid()
			if v := os.Getenv(boot.EnvHostPID); v != "" {
				pid, err := strconv.Atoi(v)
				if err != nil {
					return fmt.Errorf("%s: %w", boot.EnvHostPID, err)
				}
				host = pid
			}
			var err error
			data, err = listen(s, os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), host)
			if err != nil {
				return err
			}
			providerv1.RegisterProviderServer(g, data)
			return nil
		},
		Close: func() {
			if data != nil {
				data.close()
			}
		},
	})
}

const (
	helloWait = 5 * time.Second // for the first frame of a connection
	maxHello  = 256             // its length in bytes
)

// dataPlane is the listening side of the data plane: it lets in whom the
// control plane gave a token, when it is the process that started us.
type dataPlane struct {
	providerv1.UnimplementedProviderServer
	server *server
	ln     listener
	host   int    // pid of the gateway
	dir    string // to remove at the end; "" when it is the gateway's
	wg     sync.WaitGroup

	closing chan struct{}
	tokens  tokens
}

// listen opens the socket in dir, or in a new private directory when dir is
// empty.
func listen(s *server, dir string, host int) (*dataPlane, error) {
	d := &dataPlane{server: s, host: host, closing: make(chan struct{})}
	if dir == "" {
		tmp, err := os.MkdirTemp("", "sp-plugin-")
		if err != nil {
			return nil, fmt.Errorf("data socket: %w", err)
		}
		dir, d.dir = tmp, tmp
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "data.sock"), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("data socket: %w", err)
	}
	d.ln = ln
	d.wg.Go(d.accept)
	return d, nil
}

// OpenData gives out the address and a token for one connection.
func (d *dataPlane) OpenData(_ context.Context, in *providerv1.OpenDataRequest) (*providerv1.OpenDataResponse, error) {
	if in.GetFrames() < frameVersion {
		return nil, status.Errorf(codes.FailedPrecondition, "this plugin speaks frame format %d, the gateway %d", frameVersion, in.GetFrames())
	}
	return &providerv1.OpenDataResponse{
		Socket: d.ln.Addr().String(), Token: []byte(d.tokens.give(time.Now())), Frames: frameVersion, MaxFrame: MaxFrame,
	}, nil
}

// admit checks who is there, and reads HELLO.
func (d *dataPlane) admit(c *net.UnixConn) error {
	pid, err := peerPID(c)
	if err != nil {
		return fmt.Errorf("peer credentials: %w", err)
	}
	if pid != d.host {
		return fmt.Errorf("process %d is not the gateway, %d", pid, d.host)
	}
	c.SetReadDeadline(time.Now().Add(helloWait))
	token, err := readHello(c)
	if err != nil {
		return err
	}
	if !d.tokens.take(token, time.Now()) {
		return fmt.Errorf("unknown token")
	}
	return c.SetReadDeadline(time.Time{})
}

func (d *dataPlane) close() {
	close(d.closing)
	d.ln.Close()
	d.server.close()
	d.wg.Wait()
	if d.dir != "" {
		os.RemoveAll(d.dir)
	}
}
