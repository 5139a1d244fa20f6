//go:build linux

package gatewaytest_test

import (
	"bufio"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// copier is a process of this test program that copies bytes.
type copier struct {
	url string
	pid int
}

// copierTo names, in the environment of a copier, the address that it copies to.
const copierTo = "SALLYPORT_COPIER_TO"

// startCopier starts a copier to the server at target, until the end of b.
func startCopier(b *testing.B, target string) *copier {
	b.Helper()
	u, err := url.Parse(target)
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestCopier$")
	cmd.Env = append(os.Environ(), copierTo+"="+u.Host)
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
		b.Fatalf("the copier does not serve: %v", err)
	}
	return &copier{url: "http://" + strings.TrimSpace(line), pid: cmd.Process.Pid}
}

// TestCopier is the copier's process, and in every other a copy of a few bytes.
func TestCopier(t *testing.T) {
	to := os.Getenv(copierTo)
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(l.Addr().String() + "\n")
	go func() { // until the one who started it lets go
		os.Stdin.Read(make([]byte, 1))
		l.Close()
	}()
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
