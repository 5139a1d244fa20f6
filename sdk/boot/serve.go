package boot

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	basev1 "github.com/sallyport-gateway/sallyport/sdk/proto/base/v1"
)

const (
	memoryLimit   = 160 << 20              // soft limit of the Go heap when GOMEMLIMIT says nothing
	collectAt     = 400                    // GOGC when the environment says nothing: a plugin's live heap is a few MiB, and collecting at twice that took a third of a translator's time
	parentPoll    = 500 * time.Millisecond // how often the parent is looked for
	stopGrace     = 2 * time.Second        // from asking the server to stop to leaving anyway
	handshakeName = "plugin"               // name of the only entry in go-plugin's plugin set
)

func (p Plugin) serve(getenv func(string) string) int {
	signal.Ignore(syscall.SIGINT) // Ctrl-C in the gateway's terminal is the gateway's to handle
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	out, err := protectStdout()
	if err != nil {
		fmt.Fprintf(os.Stderr, "move stdout aside: %v\n", err)
		return 1
	}
	defer out.close()
	setLogger(os.Stderr)

	var server *grpc.Server
	ended := newEnd(func() { server.Stop() })
	defer ended.wait()
	set := goplugin.PluginSet{handshakeName: &registrar{plugin: p}}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: map[int]goplugin.PluginSet{Protocol: set},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			server = grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage))...)
			ended.watch(getenv(EnvHostPID))
			return server
		},
	})
	if p.Close != nil {
		p.Close()
	}
	return 0
}

// registrar is the one go-plugin plugin of a process: it puts the base service
// and the services of the kind on the server.
type registrar struct {
	goplugin.NetRPCUnsupportedPlugin
	plugin Plugin
}

var _ goplugin.GRPCPlugin = (*registrar)(nil)

func (r *registrar) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	basev1.RegisterBaseServer(s, &base{plugin: r.plugin})
	if r.plugin.Register == nil {
		return nil
	}
	return r.plugin.Register(s)
}

// GRPCClient is the gateway's side, which core/pluginhost has.
func (r *registrar) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("a plugin has no client side")
}

// base is the base service.
type base struct {
	basev1.UnimplementedBaseServer
	plugin Plugin
}

func (b *base) Configure(ctx context.Context, in *basev1.ConfigureRequest) (*basev1.ConfigureResponse, error) {
	settings := json.RawMessage(in.GetJson())
	if b.plugin.Configure == nil {
		if len(settings) == 0 || string(settings) == "{}" {
			return &basev1.ConfigureResponse{}, nil
		}
		return nil, status.Error(codes.InvalidArgument, "this plugin has no settings")
	}
	if len(settings) == 0 {
		settings = json.RawMessage("{}")
	}
	if err := b.plugin.Configure(ctx, settings); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &basev1.ConfigureResponse{}, nil
}

func (b *base) Drain(ctx context.Context, _ *basev1.DrainRequest) (*basev1.DrainResponse, error) {
	if b.plugin.Drain != nil {
		b.plugin.Drain(ctx)
	}
	return &basev1.DrainResponse{}, nil
}

// end stops the server when the gateway is gone or SIGTERM comes, and leaves
// the process when stopping does not work.
type end struct {
	stop func()
	quit chan struct{}
	wg   sync.WaitGroup
}

func newEnd(stop func()) *end { return &end{stop: stop, quit: make(chan struct{})} }

// watch begins to look for the parent. hostPID is EnvHostPID's value; without
// it the parent at this moment counts as the gateway.
func (e *end) watch(hostPID string) {
	parent := fmt.Sprint(os.Getppid())
	if hostPID != "" {
		parent = hostPID
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	e.wg.Go(func() {
		defer signal.Stop(term)
		tick := time.NewTicker(parentPoll)
		defer tick.Stop()
		for {
			select {
			case <-e.quit:
				return
			case <-term:
			case <-tick.C:
				if fmt.Sprint(os.Getppid()) == parent {
					continue
				}
			}
			time.AfterFunc(stopGrace, func() { os.Exit(1) })
			e.stop()
			return
		}
	})
}

func (e *end) wait() {
	close(e.quit)
	e.wg.Wait()
}
