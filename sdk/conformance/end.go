package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	basev1 "github.com/sallyport-gateway/sallyport/sdk/proto/base/v1"
)

// checkInterrupt sends what Ctrl-C in the gateway's terminal sends.
func (c *checker) checkInterrupt(ctx context.Context) {
	p := c.process(ctx)
	if p == nil {
		return
	}
	if err := syscall.Kill(p.pid, syscall.SIGINT); err != nil {
		c.skip = "the signal could not be sent: " + err.Error()
		return
	}
	if p.waitEnded(settle) {
		c.crashed("SIGINT")
	}
}

// checkShutdown asks a process that has worked to end, and looks at what is
// left of it.
func (c *checker) checkShutdown(ctx context.Context) {
	p := c.process(ctx)
	if p == nil {
		return
	}
	if call := c.sampleCall(); call != nil && !c.repeat(ctx, p, 8, call) {
		return
	}
	c.skip = ""
	within, cancel := context.WithTimeout(ctx, healthWait)
	_, _ = basev1.NewBaseClient(p.conn).Drain(within, &basev1.DrainRequest{}) // it may not care
	cancel()
	sent := "Drain, then plugin.GRPCController/Shutdown"
	begin := time.Now()
	err := p.shutdown(ctx)
	if !p.waitEnded(stopWait + slack) {
		got := fmt.Sprintf("still runs %v later", time.Since(begin).Round(time.Second))
		if err != nil {
			got += "; Shutdown answered: " + err.Error()
		}
		c.find("ignores-shutdown", sent, got)
		c.stopProcess()
		return
	}
	p.told = true
	c.traces(p, sent)
	c.stopProcess()
}

// traces looks for what a process left behind.
func (c *checker) traces(p *process, sent string) {
	var left []string
	for range 10 { // what it asked to end may take a moment
		if left = leftBehind(p.pid, "PLUGIN_UNIX_SOCKET_DIR="+p.dir+"\x00"); len(left) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(left) > 0 {
		c.find("child-left", sent, strings.Join(left, ", "))
		syscall.Kill(-p.pid, syscall.SIGKILL) // ours to clean up; what left the group stays
	}
	var files []string
	_ = filepath.WalkDir(p.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, filepath.Base(path))
		}
		return nil
	})
	if len(files) > 0 {
		c.find("socket-left", sent, "in the directory of the process are still "+strings.Join(files, ", "))
	}
}

// checkParentDies runs the plugin as the child of another process, kills that
// one, and waits for the plugin to notice.
func (c *checker) checkParentDies(ctx context.Context) {
	if c.cfg.EndsWithParent {
		c.skip = "confined, the system ends the plugin with its parent"
		return
	}
	cmd, dir, err := c.command()
	if err != nil {
		c.skip = err.Error()
		return
	}
	cmd.Env = append(cmd.Env, handshakeEnv(dir, "0")...) // the shell puts its own number there
	const script = `SALLYPORT_HOST_PID=$$; export SALLYPORT_HOST_PID; "$@" & wait`
	cmd.Args = append([]string{"sh", "-c", script, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	if _, err := os.Stat(cmd.Path); err != nil {
		c.skip = "there is no /bin/sh to be the parent"
		return
	}
	p, err := launch(cmd, dir)
	if err != nil {
		c.skip = "a shell to be the parent: " + err.Error()
		return
	}
	defer syscall.Kill(-p.pid, syscall.SIGKILL) // the plugin is in the shell's group
	if rule, got := p.shakeHands(dir); rule != "" {
		c.find(rule, "a start as the child of a shell", got)
		return
	}
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		c.skip = "the parent could not be killed: " + err.Error()
		return
	}
	<-p.ended
	begin := time.Now()
	mark := "PLUGIN_UNIX_SOCKET_DIR=" + dir + "\x00"
	for len(leftBehind(p.pid, mark)) > 0 {
		if time.Since(begin) > stopWait+slack {
			c.find("outlives-parent", "SIGKILL of the parent process", fmt.Sprintf("%v later there is still %s",
				time.Since(begin).Round(time.Second), strings.Join(leftBehind(p.pid, mark), ", ")))
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// checkStdout looks at what was printed to stdout in all the checks.
func (c *checker) checkStdout(context.Context) {
	c.stopProcess() // what it printed counts, too
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.noise) > 0 {
		c.find("stdout-noise", "the calls of the checks before", fmt.Sprintf("on stdout, after the handshake: %q", c.noise))
	}
}
