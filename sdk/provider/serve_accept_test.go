package provider

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	providerv1 "github.com/sallyport-gateway/sallyport/sdk/proto/provider/v1"
)

// poorEnv makes the test binary a plugin with few descriptors; it names the
// directory of its socket.
const poorEnv = "PROVIDER_TEST_POOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(poorEnv); dir != "" {
		if err := poor(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// poor serves a data plane with a few descriptors more than it has. It answers
// each line of stdin with a line of JSON: what OpenData answers.
func poor(dir string) error {
	d, err := listen(newServer(lines{}), dir, os.Getppid())
	if err != nil {
		return err
	}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	few := uint64(len(names) + 8)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: few, Max: few}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		r, err := d.OpenData(context.Background(), &providerv1.OpenDataRequest{Frames: frameVersion})
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return err
		}
	}
	d.close()
	return nil
}

// poorControl speaks to such a process.
type poorControl struct {
	grpc.ClientConnInterface
	mu  *sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

func (c poorControl) Invoke(_ context.Context, _ string, _, out any, _ ...grpc.CallOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := io.WriteString(c.in, "open\n"); err != nil {
		return err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, out)
}

// A plugin without descriptors lets those wait that it cannot accept, and takes
// them when it has descriptors again.
func TestPluginWithoutDescriptors(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("descriptors are counted in /proc")
	}
	dir, err := os.MkdirTemp("", "poor") // short: a socket lives in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), poorEnv+"="+dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 100) // what the plugin says of descriptors
	go func() {
		defer close(told)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "cannot be accepted") {
				told <- lines.Text()
			}
		}
	}()
	control := poorControl{mu: new(sync.Mutex), in: in, out: bufio.NewReader(out)}
	c := NewClient(ClientConfig{Name: "poor", Dial: Dialer(control, cmd.Process.Pid, dir), MaxIdle: 1})

	const at = 40
	var all sync.WaitGroup
	end := make(chan bool)
	for range at {
		all.Go(func() {
			ex, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
			if err != nil {
				t.Errorf("Begin: %v", err)
				return
			}
			<-end
			if _, _, err := collect(t.Context(), ex, strings.NewReader("a\n")); err != nil {
				t.Errorf("exchange: %v", err)
			}
		})
	}
	if _, ok := <-told; !ok { // the first are served; more than there are descriptors wait
		t.Error("the plugin ended and did not tell that it had no descriptors")
	}
	close(end)
	all.Wait()
	c.Close()
	in.Close()
	for again := range told {
		t.Errorf("the plugin told more than once that it had no descriptors: %s", again)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the plugin: %v", err)
	}
}

// failingListener gives what it is told, one after another, and is closed then.
type failingListener struct {
	listener
	give []error // nil is a connection that says nothing
	at   []time.Duration
	t0   time.Time
}

func (l *failingListener) AcceptUnix() (*net.UnixConn, error) {
	l.at = append(l.at, time.Since(l.t0))
	if len(l.give) == 0 {
		return nil, &net.OpError{Op: "accept", Err: net.ErrClosed}
	}
	err := l.give[0]
	l.give = l.give[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	near, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	near.Close()
	return far.(*net.UnixConn), nil
}

func TestAcceptGoesOn(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	long := make([]error, 11)
	for i := range long {
		long[i] = unix.EMFILE
	}
	tests := []struct {
		name string
		give []error
		last time.Duration // when it was asked for the last time
	}{
		{"closed", nil, 0},
		{"connections", []error{nil, nil}, 0},
		{"every kind", []error{unix.EMFILE, unix.ENFILE, unix.ECONNABORTED, unix.ENOBUFS, unix.ENOMEM}, (5 + 10 + 20 + 40 + 80) * ms},
		{"begins anew", []error{unix.EMFILE, unix.EMFILE, nil, unix.EMFILE}, (5 + 10 + 5) * ms},
		{"never more than a second", long, (5+10+20+40+80+160+320+640)*ms + 3*time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &failingListener{give: tt.give, t0: time.Now()}
				d := &dataPlane{server: newServer(lines{}), ln: l, host: -1, closing: make(chan struct{})}
				d.accept()
				d.wg.Wait()
				if len(l.at) != len(tt.give)+1 || l.at[len(l.at)-1] != tt.last {
					t.Errorf("asked at %v, want %d times, the last after %s", l.at, len(tt.give)+1, tt.last)
				}
			})
		})
	}
}

func TestCloseEndsAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{t0: time.Now()}
		for range 1000 {
			l.give = append(l.give, unix.EMFILE)
		}
		d := &dataPlane{server: newServer(lines{}), ln: l, closing: make(chan struct{})}
		d.wg.Go(d.accept)
		time.Sleep(time.Minute)
		close(d.closing)
		d.wg.Wait()
		if took := time.Since(l.t0); took != time.Minute {
			t.Errorf("it ended after %s", took)
		}
	})
}

// full is a plugin that takes no more connections.
type full struct{ grpc.ClientConnInterface }

func (full) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return status.Error(codes.ResourceExhausted, "128 connections at once")
}

func TestPluginThatIsFull(t *testing.T) {
	t.Parallel()
	err := exchangeOver(t, Dialer(full{}, os.Getpid(), "/"))
	if e := apierror.From(err); e == nil || e.Code != apierror.Unavailable || e.RetryAfter == 0 || strings.Contains(e.Message, "128") {
		t.Errorf("error %#v, want %s with a time to try again", err, apierror.Unavailable)
	}
	if err := Knock(t.Context(), full{}, os.Getpid(), "/"); err != nil {
		t.Errorf("Knock: %v, want that it lives", err)
	}
}

// silentPlane is a data plane that accepts nothing and holds one connection.
func silentPlane(t *testing.T) (*dataPlane, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "data")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "data.sock")}), unix.Listen(fd, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	d := &dataPlane{server: newServer(lines{}), ln: ln.(*net.UnixListener), host: os.Getpid(), closing: make(chan struct{})}
	t.Cleanup(d.close)
	return d, dir
}

// More connections at once than the listener holds wait for their turn.
func TestManyConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	d, dir := silentPlane(t)
	first, err := connect(t.Context(), d.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := net.Dial("unix", d.ln.Addr().String()); !errors.Is(err, unix.EAGAIN) {
		t.Skipf("the second connection: %v; this system lets more wait", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := connect(ctx, d.ln.Addr().String()); err == nil {
		t.Error("connected while nobody accepts")
	}
	first.Close()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := exchangeOver(t, Dialer(control{d: d}, os.Getpid(), dir)); err != nil {
				t.Errorf("exchange: %v", err)
			}
		})
	}
	d.wg.Go(d.accept)
	all.Wait()
}

func TestKnock(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, dir := data(t, os.Getpid())
	if err := Knock(ctx, control{d: d}, os.Getpid(), dir); err != nil {
		t.Errorf("a plugin that lives: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	d, dir = silentPlane(t)
	if err := Knock(ctx, control{d: d}, os.Getpid(), dir); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a plugin that accepts nothing: %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

// A knock is told from a gateway that speaks another frame format.
func TestHelloOfAnotherFormat(t *testing.T) {
	t.Parallel()
	for version, knock := range map[byte]bool{knockVersion: true, frameVersion + 1: false, 255: false} {
		hello := append(appendHeader(nil, frameHello, 2), version, 'x')
		if _, err := readHello(bytes.NewReader(hello)); err == nil || errors.Is(err, errKnock) != knock {
			t.Errorf("frame format %d: %v; want that it counts as a knock: %t", version, err, knock)
		}
	}
}
