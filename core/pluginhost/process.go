package pluginhost

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	basev1 "github.com/sallyport-gateway/sallyport/sdk/proto/base/v1"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	pluginSetName = "plugin"         // of the only entry in go-plugin's set; names never cross the wire
	healthWait    = 5 * time.Second  // for one health check, and for Configure
	healthEvery   = 10 * time.Second // between health checks
	healthMisses  = 3                // this many in a row end the process
	stopGrace     = 2 * time.Second  // from asking a process to end to killing it
	lostWait      = 250 * time.Millisecond
	scarceEvery   = time.Minute // between two lines of the log that say that there are no descriptors
)

// process is one running plugin process.
type process struct {
	name    string
	log     *slog.Logger
	program *program
	stats   stats
	client  *goplugin.Client
	conn    *grpc.ClientConn
	dir     string
	started time.Time

	translator *provider.Client // of a provider; its Front too
	tool       tool.Tool        // of a tool
	engine     engine.Engine    // of an engine

	patience   time.Duration // with a provider that gives no answer
	maxConns   int           // to a provider
	scarce     *atomic.Int64 // the host's
	loaded     *loaded       // what it runs
	closeImage sync.Once
	calls      gauge       // calls under way, but for a provider's exchanges and dialogues
	tables     tables      // of an engine: what it may read
	looking    sync.Mutex  // held while hung looks
	stopping   atomic.Bool // its end is wanted
	served     atomic.Bool // a call has succeeded
}

// startProcess starts a plugin and brings it to where it can be called. Its
// errors are sentences for the operator that begin with the plugin's name. The
// host's Close ends a start under way.
func (h *Host) startProcess(p *plugin, principal string) (*process, error) {
	loaded, err := p.image.load()
	if err != nil {
		return nil, fmt.Errorf("plugin %q %w", p.Name, err)
	}
	if err := loaded.runnable(); err != nil {
		loaded.close()
		return nil, fmt.Errorf("plugin %q %w", p.Name, err)
	}
	return h.startLoaded(p, principal, loaded)
}

// startLoaded starts what was loaded, and closes it when the process has ended.
func (h *Host) startLoaded(p *plugin, principal string, loaded *loaded) (*process, error) {
	dir, err := h.run.process()
	if err != nil {
		loaded.close()
		return nil, fmt.Errorf("plugin %q: directory: %w", p.Name, err)
	}
	log := h.logOf(p)
	proc := &process{name: p.Name, log: log, stats: h.metrics.of(p.slot()), patience: h.cfg.AnswerTimeout, maxConns: h.conns, scarce: &h.scarce, loaded: loaded, dir: dir, started: time.Now()}
	launch := loaded.launch(Launch{Kind: p.Kind, Name: p.Name, Principal: principal, Requires: p.Requires, Dir: dir})
	proc.tables = h.tablesFor(p.Kind)
	launch.Read = append(launch.Read, proc.tables.paths()...)
	out := newStderrLog(log)
	patience := h.cfg.StartTimeout
	if p.dev {
		patience = devStart
	}
	abort := func() bool { return true }
	defer func() { abort() }()
	proc.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  boot.Handshake(),
		VersionedPlugins: map[int]goplugin.PluginSet{boot.Protocol: {pluginSetName: connPlugin{}}},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			cmd, err := h.command(launch)
			if err != nil {
				return nil, err
			}
			cmd.Env = append(cmd.Env, spec.Env...) // cookie, versions, socket directory
			cmd.Env = append(cmd.Env, boot.EnvHostPID+"="+strconv.Itoa(os.Getpid()))
			proc.program = newProgram(cmd, h.starter, out)
			proc.program.memory, proc.program.programs = cmp.Or(p.Requires.Memory, defaultMemory), p.Requires.Programs
			proc.program.guardFiles = p.Kind == boot.Provider && !p.Requires.Programs // others have openFiles, or hand theirs on
			abort = context.AfterFunc(h.ctx, func() { proc.program.Kill(context.Background()) })
			return proc.program, nil
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		StartTimeout:     patience,
		Logger:           newHclog(h.log.With("plugin", p.Name)),
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		SyncStdout:       &lineWriter{f: out.stdout},
		SyncStderr:       &lineWriter{f: out.line},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(boot.MaxMessage), grpc.MaxCallSendMsgSize(boot.MaxMessage)),
			grpc.WithChainStreamInterceptor(withoutBroker),
		},
	})
	if err := proc.connect(p); err != nil {
		err = fmt.Errorf("plugin %q %s", p.Name, proc.explain(err, patience))
		proc.stop(context.Background())
		return nil, err
	}
	log.Info("plugin started", "kind", p.Kind, "pid", proc.program.pid, "elapsed", time.Since(proc.started))
	if p.dev {
		log.Info(fmt.Sprintf("to debug it: dlv attach %d", proc.program.pid))
	}
	return proc, nil
}

// withoutBroker keeps go-plugin from opening its broker's stream. Nothing of
// ours uses it, and whatever a plugin sends there go-plugin keeps, with a
// goroutine each.
func withoutBroker(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasPrefix(method, "/plugin.GRPCBroker/") {
		return nil, status.Error(codes.Unimplemented, "the gateway uses no broker")
	}
	return streamer(ctx, desc, cc, method, opts...)
}

// connect starts the process, checks that it answers, configures it, and makes
// the client of its kind.
func (pr *process) connect(p *plugin) (err error) {
	// What a plugin says must not end the gateway, whatever go-plugin makes of it.
	defer func() {
		if v := recover(); v != nil {
			pr.log.Error("starting a plugin panicked", "panic", v, "stack", string(debug.Stack()))
			err = &startError{"said something in its handshake that cannot be handled; the gateway's log has more"}
		}
	}()
	client, err := pr.client.Client()
	if err != nil {
		return err
	}
	if err := pr.loaded.check(); err != nil {
		pr.program.Kill(context.Background())
		return err
	}
	dispensed, err := client.Dispense(pluginSetName)
	if err != nil {
		return err
	}
	pr.conn = dispensed.(*grpc.ClientConn)
	wait := healthWait
	if p.dev {
		wait = devStart
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := pr.ping(ctx); err != nil {
		return fmt.Errorf("did not answer its first health check: %w", err)
	}
	if err := pr.configure(ctx, p.settings); err != nil {
		return err
	}
	switch p.Kind {
	case boot.Provider:
		cfg := provider.ClientConfig{
			Name: p.Name, Dial: pr.dial(provider.Dialer(pr.conn, pr.program.pid, pr.dir)), Gone: pr.gone,
			Ended: pr.took(opExchange), Written: pr.took(opDialogue), MaxConns: pr.maxConns, Patience: pr.patience, Hung: pr.hung,
		}
		if p.dev {
			cfg.Patience = -1 // a debugger may hold it
		}
		pr.translator = provider.NewClient(cfg)
		most := pr.translator.MostConns
		pr.program.conns.most.Store(&most)
	case boot.Tool:
		pr.tool = tool.NewClient(pr.conn)
	case boot.Engine:
		pr.engine = engine.NewClient(pr.conn)
	}
	return nil
}

// took returns what is told of every op of a provider that has ended.
func (pr *process) took(op string) func(begun time.Time, err error) {
	return func(begun time.Time, err error) {
		pr.stats.took(op, begun, err)
		if err == nil {
			pr.served.Store(true)
		}
	}
}

func (pr *process) ping(ctx context.Context) error {
	r, err := grpc_health_v1.NewHealthClient(pr.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if err != nil {
		return err
	}
	if r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("health status %s", r.GetStatus())
	}
	return nil
}

// configure hands over the operator's settings. A plugin without the base
// service has none.
func (pr *process) configure(ctx context.Context, settings json.RawMessage) error {
	_, err := basev1.NewBaseClient(pr.conn).Configure(ctx, &basev1.ConfigureRequest{Json: settings})
	switch code := status.Code(err); {
	case err == nil, code == codes.Unimplemented && len(settings) == 0:
		return nil
	case code == codes.Unimplemented:
		return &startError{"takes no settings"}
	case code == codes.InvalidArgument:
		return &startError{"refuses its settings: " + shorten(status.Convert(err).Message())}
	}
	return err
}

// errUnreached is in the chain of an error that happened before anything was
// asked of the process.
var errUnreached = errors.New("plugin could not be reached")

// dial marks the failures of d with errUnreached, save those that another
// process would meet too.
func (pr *process) dial(d func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		c, err := d(ctx)
		if provider.NoDescriptors(err) {
			pr.tellScarce(err)
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUnreached, err)
		}
		return c, nil
	}
}

// tellScarce tells the operator that the gateway has no descriptor left.
func (pr *process) tellScarce(err error) {
	now, last := time.Now().Unix(), pr.scarce.Load()
	if now-last < int64(scarceEvery/time.Second) || !pr.scarce.CompareAndSwap(last, now) {
		return
	}
	pr.log.Error("the gateway has no file descriptors left for plugins and refuses requests; give it more: ulimit -n, or LimitNOFILE of its systemd unit",
		"connections_per_plugin", pr.maxConns, "error", err)
}

// gone turns a lost data connection into the error of its exchange. It gives
// the end of the process a moment to be seen, so that whoever tries again gets
// a fresh one.
func (pr *process) gone(cause error) error { return pr.lost(cause, lostWait) }

func (pr *process) lost(cause error, patience time.Duration) error {
	how := "closed its connection"
	if waitClosed(pr.program.ended, patience) {
		how = pr.program.exitReason("")
	}
	return unavailable(cause, "The plugin %q %s in the middle of the request; try again.", pr.name, strings.TrimRight(how, "."))
}

func (pr *process) alive() bool {
	select {
	case <-pr.program.dead:
		return false
	default:
		return true
	}
}

// tellDrain lets the process know that no new calls will come. It may not care.
func (pr *process) tellDrain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	if _, err := basev1.NewBaseClient(pr.conn).Drain(ctx, &basev1.DrainRequest{}); err != nil {
		pr.log.Debug("plugin did not take the drain notice", "error", err)
	}
}

func (pr *process) inFlight() int {
	n := pr.calls.value()
	if pr.translator != nil {
		n += pr.translator.InFlight()
	}
	return n
}

// watch checks the health of the process until it ends. One that does not answer
// is killed, but for a plugin under development, which a debugger may hold.
func (pr *process) watch(every time.Duration, dev bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for misses := 0; ; {
		select {
		case <-pr.program.ended:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), min(every, healthWait))
		err := pr.ping(ctx)
		cancel()
		if err == nil || pr.stopping.Load() { // who stops it gives it a time of its own
			misses = 0
			continue
		}
		misses++
		if dev {
			switch misses {
			case 1:
				pr.log.Info("plugin does not answer; a debugger may hold it")
			case healthMisses:
				pr.log.Info("plugin still does not answer; under development it is left alone")
			}
			continue
		}
		pr.log.Warn("plugin does not answer its health check", "misses", misses, "error", err)
		if misses == healthMisses {
			pr.program.stderr.blame(fmt.Sprintf("it did not answer %d health checks", misses))
			pr.program.Kill(context.Background())
		}
	}
}

// hung is called when a request was not answered. It looks whether the process
// still lets connections in, and ends it when it does not, so that another one
// takes its place. One that does is held up by that request alone, which has
// ended: the others go on.
func (pr *process) hung() {
	if !pr.looking.TryLock() {
		return
	}
	defer pr.looking.Unlock()
	end := time.Now().Add(healthWait)
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	err := provider.Knock(ctx, pr.conn, pr.program.pid, pr.dir)
	if err == nil || time.Now().Before(end) { // it lives, or has ended, or the gateway is what is short of something
		pr.log.Warn("plugin did nothing about a request", "after", pr.patience, "new_connection", err)
		return
	}
	pr.log.Warn("plugin did nothing about a request and lets nobody in", "after", pr.patience, "error", err)
	pr.program.stderr.blame(fmt.Sprintf("it did nothing about a request for %s, nor let a connection in", pr.patience))
	pr.program.Kill(context.Background())
}

// drain waits until nothing is under way, or ctx ends.
func (pr *process) drain(ctx context.Context) error {
	if err := pr.calls.wait(ctx); err != nil {
		return err
	}
	if pr.translator != nil {
		return pr.translator.Drain(ctx)
	}
	return nil
}

// stop ends the process: it is asked to, and killed when it does not. It
// returns when the process is gone and nothing of it is left.
func (pr *process) stop(ctx context.Context) {
	pr.stopping.Store(true)
	if pr.translator != nil {
		pr.translator.Close()
	}
	if pr.program != nil {
		// go-plugin waits for the answer to its Shutdown without a limit
		limit := time.AfterFunc(stopGrace, func() { pr.program.Kill(context.Background()) })
		defer limit.Stop()
		defer context.AfterFunc(ctx, func() { pr.program.Kill(context.Background()) })()
	}
	pr.client.Kill()
	if pr.program != nil && pr.program.ID() != "" {
		<-pr.program.ended
	}
	os.RemoveAll(pr.dir)
	pr.closeImage.Do(pr.loaded.close)
}

// connPlugin is go-plugin's view of a plugin: it dispenses the connection.
type connPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

var _ goplugin.GRPCPlugin = connPlugin{}

func (connPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the gateway serves no plugin")
}

func (connPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
