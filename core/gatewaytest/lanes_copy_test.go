//go:build linux

package gatewaytest_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// beside is a process of this test program that serves beside the gateway.
type beside struct {
	url string
	pid int
}

// besideOf is what, in the environment of a process beside, tells it to serve
// and what.
const besideOf = "SALLYPORT_BESIDE"

// startBeside starts test in a process of its own, which is told what to serve
// and writes its address, until the end of b.
func startBeside(b *testing.B, test, what string) *beside {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), besideOf+"="+what)
	cmd.Stderr = os.Stderr
	hold, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		hold.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("%s does not serve: %v", test, err)
	}
	return &beside{url: "http://" + strings.TrimSpace(line), pid: cmd.Process.Pid}
}

// listenBeside listens in a process beside, until the one who started it lets
// go.
func listenBeside(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(l.Addr().String() + "\n")
	go func() {
		os.Stdin.Read(make([]byte, 1))
		l.Close()
	}()
	return l
}

// TestCopier is the copier's process, to the address that it is told, and in
// every other a copy of a few bytes.
func TestCopier(t *testing.T) {
	to := os.Getenv(besideOf)
	if to == "" {
		near, far := net.Pipe()
		other, end := net.Pipe()
		go copyBytes(far, other)
		go func() {
			near.Write([]byte("hello"))
			near.Close()
		}()
		got := make([]byte, 8)
		n, err := end.Read(got)
		if string(got[:n]) != "hello" || err != nil {
			t.Errorf("got %q, %v", got[:n], err)
		}
		if _, err := end.Read(got); err == nil {
			t.Error("the end of one side is not that of the other")
		}
		return
	}
	l := listenBeside(t)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			d, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				return
			}
			go copyBytes(c, d)
			copyBytes(d, c)
		}()
	}
}

// copyBytes copies until one side ends, and closes both. It reads and writes, as
// any program must that looks at the bytes: the kernel could move them by itself.
func copyBytes(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
