package gatewaytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is the program bin/sallyport, serving. Unlike a Gateway it can be
// killed.
type Process struct {
	cmd     *exec.Cmd
	log     *serveLog
	exited  chan struct{}
	exit    error // once exited is closed
	t       testing.TB
	stopped bool
}

// startLong is when a gateway that does not serve yet never will.
const startLong = time.Minute

// Launch begins `sallyport serve` with the configuration file and more
// arguments, and does not wait for it. A process that nobody killed or stopped
// is stopped at the end of the test.
func Launch(t testing.TB, file string, args ...string) *Process {
	t.Helper()
	p := &Process{log: &serveLog{serving: make(chan string, 1)}, exited: make(chan struct{}), t: t}
	p.cmd = exec.Command(Program(t), append([]string{"serve", "--config", file, "--log-level", "debug"}, args...)...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.exit = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		if !p.stopped {
			p.Stop()
		}
		if t.Failed() {
			t.Logf("the log of process %d:\n%s", p.PID(), tailOf(p.Log(), 6000))
		}
	})
	return p
}

// Serve is Launch and URL.
func Serve(t testing.TB, file string, args ...string) *Process {
	t.Helper()
	p := Launch(t, file, args...)
	p.URL()
	return p
}

// URL is where the process serves, as soon as it does.
func (p *Process) URL() string {
	p.t.Helper()
	select {
	case url := <-p.log.serving:
		p.log.serving <- url
		return url
	case <-p.exited:
		p.t.Fatalf("sallyport serve: %v\n%s", p.exit, p.Log())
	case <-time.After(startLong):
		p.t.Fatalf("sallyport serve does not serve after %v:\n%s", startLong, p.Log())
	}
	return ""
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is what the process has logged so far.
func (p *Process) Log() string { return p.log.String() }

// Kill ends the process with SIGKILL.
func (p *Process) Kill() {
	p.t.Helper()
	p.stopped = true
	p.cmd.Process.Kill()
	<-p.exited
	var died *exec.ExitError
	if !errors.As(p.exit, &died) || died.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		p.t.Errorf("sallyport serve ended before it was killed: %v\n%s", p.exit, tailOf(p.Log(), 5000))
	}
}

// Stop ends the process in good order.
func (p *Process) Stop() {
	p.t.Helper()
	p.stopped = true
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(startLong):
		p.t.Errorf("sallyport serve was told to stop %v ago and still runs", startLong)
		p.cmd.Process.Kill()
		<-p.exited
		return
	}
	if p.exit != nil {
		p.t.Errorf("sallyport serve was told to stop and ended with %v\n%s", p.exit, tailOf(p.Log(), 5000))
	}
}

// Exit waits until the process has ended by itself and returns its status and
// what it wrote last: the error.
func (p *Process) Exit() (status int, last string) {
	p.t.Helper()
	p.stopped = true
	select {
	case <-p.exited:
	case url := <-p.log.serving:
		p.log.serving <- url
		p.t.Errorf("sallyport serve serves, which it should have refused:\n%s", p.Log())
		p.Kill()
	case <-time.After(startLong):
		p.t.Errorf("sallyport serve neither serves nor ends:\n%s", p.Log())
		p.Kill()
	}
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return p.cmd.ProcessState.ExitCode(), lines[len(lines)-1]
}

// Program is the path of bin/sallyport, built if need be.
func Program(t testing.TB) string { return filepath.Join(bin(t), "sallyport") }

// Command runs another command of the program, such as
// Command(t, file, "usage", "export", "--csv"), with the configuration file,
// and returns what it printed.
func Command(t testing.TB, file string, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, Program(t), append(args, "--config", file)...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SALLYPORT_URL=") && !strings.HasPrefix(e, "SALLYPORT_TOKEN=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("sallyport %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// mostRows is what one statement may give.
const mostRows = 100_000

// SQL runs a statement with `sallyport sql --json` and returns its rows:
// strings, json.Number, bool, nil, and arrays and objects of them.
func SQL(t testing.TB, file, statement string) [][]any {
	t.Helper()
	rows, err := TrySQL(t, file, statement)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TrySQL is SQL for a statement that may fail.
func TrySQL(t testing.TB, file, statement string) ([][]any, error) {
	t.Helper()
	out, err := Command(t, file, "sql", "--json", "--limit", fmt.Sprint(mostRows), statement)
	if err != nil {
		return nil, err
	}
	var rows [][]any
	d := json.NewDecoder(strings.NewReader(out))
	d.UseNumber()
	for {
		var row []any
		if err := d.Decode(&row); err == io.EOF {
			if len(rows) == mostRows {
				return nil, fmt.Errorf("sallyport sql %q: %d rows or more", statement, mostRows)
			}
			return rows, nil
		} else if err != nil {
			return nil, fmt.Errorf("sallyport sql %q: %w in %.300s", statement, err, out)
		}
		rows = append(rows, row)
	}
}

// serveLog keeps what the process logs and finds out where it serves. One
// goroutine, of os/exec, writes.
type serveLog struct {
	syncBuffer
	line    []byte // begun, until the one that tells
	found   bool
	serving chan string // of capacity 1
}

var servingLine = regexp.MustCompile(`msg=serving url=(\S+)`)

func (l *serveLog) Write(p []byte) (int, error) {
	if !l.found {
		l.line = append(l.line, p...)
		for {
			line, rest, ok := bytes.Cut(l.line, []byte("\n"))
			if !ok {
				break
			}
			l.line = rest
			if m := servingLine.FindSubmatch(line); m != nil {
				l.found, l.line = true, nil
				l.serving <- string(m[1])
				break
			}
		}
	}
	return l.syncBuffer.Write(p)
}

// tailOf is the end of a long text, at most n bytes.
func tailOf(text string, n int) string {
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}
