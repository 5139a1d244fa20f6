package conformance

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/pipe"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

const (
	describeWait  = 5 * time.Second
	handshakeWait = 10 * time.Second
	healthWait    = 5 * time.Second
	stopWait      = 2 * time.Second // from Shutdown to the end
	slack         = 3 * time.Second // on top of what is promised, for loaded machines
	lostWait      = 2 * time.Second // from a broken connection to the end of the process
	crashNotice   = 20 * time.Millisecond
	maxKept       = 4 << 20 // of what a process writes to stderr
	maxNoise      = 20      // lines of stdout that are kept
)

// process is one run of the program.
type process struct {
	cmd    *exec.Cmd
	dir    string
	pid    int
	socket string
	conn   *grpc.ClientConn

	all    io.Writer // takes the whole of stdout; nil: it is read in lines
	stderr tail
	first  chan string   // the first line on stdout; closed at its end
	ended  chan struct{} // closed when the process is gone and its output is read
	told   bool          // its end is in the report

	mu     sync.Mutex
	noise  []string         // what it printed to stdout after the handshake
	client *provider.Client // see checker.translator
	stop   context.CancelFunc
}

// passed are the variables of the caller's environment that a plugin gets, as
// in the gateway.
var passed = []string{"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"}

// command builds a command that runs the program in a new private directory.
func (c *checker) command(args ...string) (*exec.Cmd, string, error) {
	c.dirs++
	dir := filepath.Join(c.base, strconv.Itoa(c.dirs))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, "", err
	}
	var cmd *exec.Cmd
	if c.cfg.Command != nil {
		var err error
		if cmd, err = c.cfg.Command(dir, args...); err != nil {
			return nil, "", err
		}
	} else {
		path, err := exec.LookPath(c.cfg.Program[0])
		if err != nil {
			return nil, "", err
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, "", err
		}
		cmd = exec.Command(path, append(c.cfg.Program[1:len(c.cfg.Program):len(c.cfg.Program)], args...)...)
	}
	cmd.Dir = dir
	if cmd.Env == nil {
		cmd.Env = append(cmd.Env, "TMPDIR="+dir)
		for _, name := range passed {
			if v, ok := os.LookupEnv(name); ok {
				cmd.Env = append(cmd.Env, name+"="+v)
			}
		}
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // so that what it leaves behind can be ended
	return cmd, dir, nil
}

// handshakeEnv is what the gateway adds to the environment of a plugin that is
// to serve.
func handshakeEnv(dir string, host string) []string {
	h := boot.Handshake()
	return []string{
		h.MagicCookieKey + "=" + h.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=" + strconv.Itoa(boot.Protocol),
		"PLUGIN_UNIX_SOCKET_DIR=" + dir,
		boot.EnvHostPID + "=" + host,
		"PLUGIN_MIN_PORT=0", "PLUGIN_MAX_PORT=0",
	}
}

func newProcess(cmd *exec.Cmd, dir string) *process {
	return &process{cmd: cmd, dir: dir, first: make(chan string, 1), ended: make(chan struct{})}
}

// launch starts cmd in dir.
func launch(cmd *exec.Cmd, dir string) (*process, error) {
	p := newProcess(cmd, dir)
	return p, p.launch()
}

// launch starts the process and the readers of its output.
func (p *process) launch() error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		outW.Close()
		return err
	}
	cmd := p.cmd
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, outW, errW
	err = cmd.Start()
	outW.Close()
	errW.Close()
	for _, f := range cmd.ExtraFiles {
		f.Close() // the process has its own by now
	}
	if err != nil {
		outR.Close()
		errR.Close()
		return err
	}
	p.pid = cmd.Process.Pid
	var wg sync.WaitGroup
	wg.Go(func() { defer outR.Close(); p.readStdout(&pipe.Reader{F: outR}) })
	wg.Go(func() {
		defer errR.Close()
		from := &pipe.Reader{F: errR}
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			p.stderr.add(buf[:n])
			if err != nil {
				return
			}
		}
	})
	go func() {
		_ = cmd.Wait() // how it ended stands in ProcessState
		// Something it started may still hold the pipes; what it wrote itself is
		// in them by now.
		cut := time.AfterFunc(200*time.Millisecond, func() {
			outR.SetReadDeadline(time.Unix(1, 0))
			errR.SetReadDeadline(time.Unix(1, 0))
		})
		wg.Wait()
		cut.Stop()
		close(p.ended)
	}()
	return nil
}

// launchTo starts cmd with all of its stdout going to w.
func launchTo(cmd *exec.Cmd, dir string, w io.Writer) (*process, error) {
	p := newProcess(cmd, dir)
	p.all = w
	return p, p.launch()
}

func (p *process) dead() bool { return p.waitEnded(0) }

func (p *process) waitEnded(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.ended:
		return true
	case <-t.C:
	}
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// exit says how the process ended, and what it wrote last.
func (p *process) exit() string {
	how := "ended in an unknown way"
	if st := p.cmd.ProcessState; st != nil {
		how = fmt.Sprintf("exited with status %d", st.ExitCode())
		if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			how = fmt.Sprintf("was killed by signal %d (%s)", int(ws.Signal()), ws.Signal())
		}
	}
	return how + "; stderr: " + p.said()
}

// kill ends the process and what it started, and closes the connection.
func (p *process) kill() {
	if p.stop != nil {
		p.stop()
	}
	p.mu.Lock()
	client := p.client
	p.mu.Unlock()
	if client != nil {
		client.Close()
	}
	if p.conn != nil {
		p.conn.Close() // nothing is under way that anybody waits for
	}
	if !p.dead() {
		syscall.Kill(-p.pid, syscall.SIGKILL) // it may be gone by itself
		<-p.ended
	}
}

// shakeHands waits for the handshake line and reads it. A broken rule comes
// with what was seen.
func (p *process) shakeHands(dir string) (rule, got string) {
	var line string
	select {
	case l, ok := <-p.first:
		if !ok {
			if p.waitEnded(handshakeWait) {
				return "start-crash", "the process " + p.exit()
			}
			return "handshake-timeout", "stdout was closed without a line, and the process runs on"
		}
		line = l
	case <-time.After(handshakeWait):
		return "handshake-timeout", fmt.Sprintf("no line on stdout within %v; stderr: %s", handshakeWait, p.said())
	}
	parts := strings.Split(line, "|")
	if len(parts) < 5 || parts[0] != strconv.Itoa(goplugin.CoreProtocolVersion) {
		return "stdout-before-handshake", fmt.Sprintf("the first line on stdout is %q", cut(line, 300))
	}
	if parts[1] != strconv.Itoa(boot.Protocol) || parts[2] != "unix" || parts[4] != "grpc" {
		return "handshake-format", fmt.Sprintf("the line is %q", cut(line, 300))
	}
	p.socket = parts[3]
	if rel, err := filepath.Rel(dir, filepath.Clean(p.socket)); err != nil || !filepath.IsLocal(rel) {
		return "socket-outside", fmt.Sprintf("the handshake names the socket %q, the directory is %q", p.socket, dir)
	}
	return "", ""
}

// connect makes the gRPC connection, and reads what go-plugin hands on of the
// plugin's stdout.
func (p *process) connect() error {
	conn, err := grpc.NewClient("unix:"+p.socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(boot.MaxMessage), grpc.MaxCallSendMsgSize(boot.MaxMessage)))
	if err != nil {
		return err
	}
	p.conn = conn
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.readStdio(ctx)
	return nil
}

// ping asks for the health of the process.
func (p *process) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	r, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if err != nil {
		return err
	}
	if s := r.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("health status %s", s)
	}
	return nil
}

// shutdown asks the process to end.
func (p *process) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	return p.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
}
