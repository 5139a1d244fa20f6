package pluginhost

import (
	"context"
	"errors"
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

	"github.com/hashicorp/go-plugin/runner"

	"github.com/sallyport-gateway/sallyport/sdk/pipe"
)

// outputGrace is how long the output of a process is read on after its end,
// when something it started still holds the pipes.
const outputGrace = 200 * time.Millisecond

// program is one run of a plugin program: the process, its output, and how it
// ended. To go-plugin it is a runner.Runner. Being our own it is started by the
// starter's thread, has no stdin, and tells its end at once.
type program struct {
	cmd     *exec.Cmd
	starter *starter
	stderr  *stderrLog
	pid     int
	// What guard holds it to: memory of each process in bytes, 0 for any, whether
	// there is more than one, and whether its descriptors are connections.
	memory     int64
	programs   bool
	guardFiles bool
	conns      conns

	handshake                *io.PipeReader // the first line of stdout, for go-plugin
	toHandshake              *io.PipeWriter
	noStderr                 *io.PipeReader // empty until the process ends, for go-plugin
	endNoStderr              *io.PipeWriter
	stdoutR, errR            *os.File
	wg                       sync.WaitGroup
	dead                     chan struct{} // closed when the process is gone
	ended                    chan struct{} // closed when its output is read too
	mu                       sync.Mutex
	first                    string // first line of stdout
	hasFirst, reaped, killed bool
	waitErr                  error
}

var _ runner.Runner = (*program)(nil)

func newProgram(cmd *exec.Cmd, s *starter, out *stderrLog) *program {
	p := &program{cmd: cmd, starter: s, stderr: out, dead: make(chan struct{}), ended: make(chan struct{})}
	p.handshake, p.toHandshake = io.Pipe()
	p.noStderr, p.endNoStderr = io.Pipe()
	return p
}

// Start starts the process and the readers of its output.
func (p *program) Start(context.Context) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		outW.Close()
		return fmt.Errorf("stderr: %w", err)
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = nil, outW, errW
	if p.wasKilled() {
		err = errors.New("stopped before it was started")
	} else {
		err = p.starter.run(p.cmd)
	}
	outW.Close()
	errW.Close()
	if err != nil {
		outR.Close()
		errR.Close()
		return err
	}
	p.mu.Lock()
	p.pid = p.cmd.Process.Pid
	if p.killed {
		killGroup(p.pid)
	}
	p.mu.Unlock()
	p.stdoutR, p.errR = outR, errR
	p.wg.Go(p.readStdout)
	p.wg.Go(p.guard)
	p.wg.Go(func() { eachLine(&pipe.Reader{F: errR}, p.stderr.line) })
	go p.wait()
	return nil
}

// readStdout hands the first line to go-plugin. Whatever comes later is logged:
// a full pipe would stop the plugin.
func (p *program) readStdout() {
	eachLine(&pipe.Reader{F: p.stdoutR}, func(line string) {
		p.mu.Lock()
		first := !p.hasFirst
		if first {
			p.first, p.hasFirst = line, true
		}
		p.mu.Unlock()
		if first {
			io.WriteString(p.toHandshake, handshake(line)+"\n")
			return
		}
		p.stderr.stdout(line)
	})
	p.toHandshake.Close()
}

// handshake is the part of a plugin's first line that go-plugin may see: its
// versions, address and protocol. What can follow asks for TLS and for sharing
// the connection; we use neither, and go-plugin crashes on a certificate that
// nobody asked for.
func handshake(line string) string {
	const fields = 5
	parts := strings.SplitN(line, "|", fields+1)
	return strings.Join(parts[:min(len(parts), fields)], "|")
}

// wait owns the end of the process.
func (p *program) wait() {
	awaitExit(p.pid)
	p.mu.Lock()
	killGroup(p.pid) // what it started and left behind
	p.reaped = true
	p.mu.Unlock()
	p.waitErr = p.cmd.Wait()
	close(p.dead)

	cut := time.AfterFunc(outputGrace, func() { p.stdoutR.SetReadDeadline(time.Unix(1, 0)); p.errR.SetReadDeadline(time.Unix(1, 0)) })
	p.toHandshake.Close() // nobody may wait for a line that cannot come, nor block the reader
	p.handshake.Close()
	p.wg.Wait()
	p.stderr.end()
	cut.Stop()
	p.stdoutR.Close()
	p.errR.Close()
	p.endNoStderr.Close()
	close(p.ended)
}

// Wait waits for the end of the process.
func (p *program) Wait(context.Context) error {
	<-p.ended
	return p.waitErr
}

// Kill ends the process and its children at once, also one that is yet to be
// started.
func (p *program) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	p.killed = true
	if p.pid == 0 {
		return nil
	}
	return killGroup(p.pid)
}

func (p *program) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// firstLine is the first line on stdout, if there was one.
func (p *program) firstLine() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first, p.hasFirst
}

// exitReason says in a few words how the process ended, after ended is closed:
// "exited with status 3 at once: boom", "was killed by signal 9 (killed)".
func (p *program) exitReason(when string) string {
	var how string
	switch st := p.cmd.ProcessState; {
	case st == nil:
		how = "ended in an unknown way"
	default:
		how = fmt.Sprintf("exited with status %d", st.ExitCode())
		if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			how = fmt.Sprintf("was killed by signal %d (%s)", int(ws.Signal()), ws.Signal())
		}
	}
	how += when
	if line := p.stderr.reason(); line != "" {
		how += ": " + shorten(line)
	}
	return how
}

// killedByUs reports whether the process ended because of Kill, after ended is
// closed.
func (p *program) killedByUs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return p.killed && ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// shorten keeps a plugin's text to a length that suits an error message.
func shorten(s string) string {
	const most = 300
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Stdout is where go-plugin reads the handshake.
func (p *program) Stdout() io.ReadCloser { return p.handshake }

// Stderr is empty: the host reads the plugin's stderr itself, see stderrLog.
func (p *program) Stderr() io.ReadCloser { return p.noStderr }

// Name is the program's path.
func (p *program) Name() string { return p.cmd.Path }

// ID is the process id, "" before the start.
func (p *program) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return ""
	}
	return strconv.Itoa(p.pid)
}

// Diagnose adds nothing: the host explains a failed start itself.
func (p *program) Diagnose(context.Context) string { return "" }

// PluginToHost leaves an address as it is: both sides see the same files. One
// outside of the process's own directory is somebody else's socket, to which
// the plugin would have the gateway speak.
func (p *program) PluginToHost(network, addr string) (string, string, error) {
	rel, err := filepath.Rel(p.cmd.Dir, addr)
	if network != "unix" || err != nil || !filepath.IsLocal(rel) {
		return "", "", &startError{fmt.Sprintf("names the address %q, which is not a unix socket in PLUGIN_UNIX_SOCKET_DIR", shorten(network+" "+addr))}
	}
	return network, addr, nil
}

// HostToPlugin leaves an address as it is.
func (p *program) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
