//go:build cgo

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child as its parent sees it.
type process struct {
	cmd    *exec.Cmd
	in     *os.File
	pipe   *os.File
	out    *bufio.Reader
	stderr tail
	ready  ready
	exited chan struct{} // closed when the child has been reaped
	state  error         // of Wait; after exited
	killed sync.Once
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if n := len(t.buf) - tailBytes; n > 0 {
		t.buf = t.buf[:copy(t.buf, t.buf[n:])]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}

// spawner starts children from one thread that lives as long as the engine:
// the kernel kills a child when the thread that started it ends, and with it
// when the plugin dies in whatever way.
type spawner struct {
	program string
	starts  chan start
	done    chan struct{}
}

type start struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner(program string) *spawner {
	s := &spawner{program: program, starts: make(chan start), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for st := range s.starts {
			st.result <- st.cmd.Start()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	st := start{cmd, make(chan error, 1)}
	s.starts <- st
	return <-st.result
}

// close ends the thread, and with it what children are left.
func (s *spawner) close() {
	close(s.starts)
	<-s.done
}

// spawn starts a child and waits until its database is open. The caller ends
// it with kill.
func (s *spawner) spawn(ctx context.Context) (*process, error) {
	requests, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answers, out, err := os.Pipe()
	if err != nil {
		requests.Close()
		in.Close()
		return nil, err
	}
	nothing, end, err := os.Pipe()
	if err != nil {
		for _, f := range []*os.File{requests, in, answers, out} {
			f.Close()
		}
		return nil, err
	}
	end.Close()
	p := &process{in: in, pipe: answers, out: bufio.NewReaderSize(answers, 128<<10), exited: make(chan struct{})}
	p.cmd = exec.Command(s.program, childArg)
	// Nothing of our environment is for a query to see.
	p.cmd.Env = []string{"TZ=UTC", "LC_ALL=C", "GOTRACEBACK=none", "GOMAXPROCS=2"}
	p.cmd.Dir = "/"
	p.cmd.ExtraFiles = []*os.File{requests, out}
	// A plugin may have no null device. What a statement makes DuckDB print
	// ends with the child's errors.
	p.cmd.Stdin = nothing
	p.cmd.Stdout, p.cmd.Stderr = &p.stderr, &p.stderr
	p.cmd.SysProcAttr = dieWithThread()
	err = s.start(p.cmd)
	requests.Close()
	out.Close()
	nothing.Close()
	if err != nil {
		in.Close()
		answers.Close()
		return nil, fmt.Errorf("start a child: %w", err)
	}
	go func() {
		p.state = p.cmd.Wait()
		close(p.exited)
	}()
	stop := context.AfterFunc(ctx, p.signal)
	defer stop()
	typ, payload, err := readFrame(p.out, 64<<10)
	if err == nil && typ != frameReady {
		err = fmt.Errorf("frame of type %q", typ)
	}
	if err == nil {
		err = json.Unmarshal(payload, &p.ready)
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("start a child: %w: %s", errors.Join(err, ctx.Err()), p.end())
	}
	return p, nil
}

// signal kills without waiting.
func (p *process) signal() { _ = p.cmd.Process.Kill() }

// kill ends the child, if it has not ended, and waits until it is gone.
func (p *process) kill() {
	p.killed.Do(func() {
		p.signal()
		<-p.exited
		p.in.Close()
		p.pipe.Close()
	})
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// end tells how a child that was waited for ended, for the log.
func (p *process) end() string {
	how := "ended"
	if p.state != nil {
		how = p.state.Error()
	}
	if s := p.stderr.String(); s != "" {
		how += ": " + s
	}
	return how
}

// wasKilled reports whether the ended child was killed by a signal that it
// cannot cause by itself.
func (p *process) wasKilled() bool {
	if p.alive() {
		return false
	}
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// ranOut reports whether the child ended because it was given no more memory.
func (p *process) ranOut() bool {
	s := p.stderr.String()
	for _, sign := range []string{"out of memory", "cannot allocate memory", "bad_alloc", "Cannot allocate memory"} {
		if strings.Contains(s, sign) {
			return true
		}
	}
	return false
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// arguments carries the values of a query with their types.
func arguments(args []any) ([]argument, error) {
	out := make([]argument, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case nil:
		case bool:
			out[i].Bool = &a
		case int:
			n := int64(a)
			out[i].Int = &n
		case int64:
			out[i].Int = &a
		case float64:
			s := strconv.FormatFloat(a, 'g', -1, 64)
			out[i].Float = &s
		case string:
			out[i].Text = &a
		default:
			return nil, invalid("Argument %d has type %T; use null, a boolean, a number or a string.", i+1, a)
		}
	}
	return out, nil
}

func values(args []argument) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch {
		case a.Bool != nil:
			out[i] = *a.Bool
		case a.Int != nil:
			out[i] = *a.Int
		case a.Float != nil:
			f, err := strconv.ParseFloat(*a.Float, 64)
			if err != nil {
				f = math.NaN()
			}
			out[i] = f
		case a.Text != nil:
			out[i] = *a.Text
		}
	}
	return out
}

// lines splits a payload of rows.
func lines(b []byte) ([]json.RawMessage, error) {
	var rows []json.RawMessage
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 || !json.Valid(b[:i]) || b[0] != '[' {
			return nil, errors.New("a child sent a row that is no JSON array")
		}
		rows = append(rows, json.RawMessage(b[:i:i]))
		b = b[i+1:]
	}
	return rows, nil
}
