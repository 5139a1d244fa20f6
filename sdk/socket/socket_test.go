package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pair is a connection: our end directly, the other as it is.
func pair(t testing.TB, network string) (ours, theirs net.Conn) {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	ours = direct(c)
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// both runs a test on each kind of socket.
func both(t *testing.T, test func(t *testing.T, ours, theirs net.Conn)) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			ours, theirs := pair(t, network)
			test(t, ours, theirs)
		})
	}
}

func TestBytesGoBothWays(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, ours, theirs net.Conn) {
		go func() { // an echo that ends its half when we do
			io.Copy(theirs, theirs)
			theirs.(interface{ CloseWrite() error }).CloseWrite()
		}()
		var sent []byte
		var wg sync.WaitGroup
		for _, n := range []int{0, 1, 100, 4096, maxDirect, maxDirect + 1, 3 << 20} { // more than the socket holds
			sent = append(sent, bytes.Repeat([]byte{byte(n), 'x', byte(n >> 8)}, n/3+1)[:n]...)
		}
		wg.Go(func() {
			at := 0
			for _, n := range []int{0, 1, 100, 4096, maxDirect, maxDirect + 1, 3 << 20} {
				if m, err := ours.Write(sent[at : at+n]); m != n || err != nil {
					t.Errorf("Write of %d bytes: %d, %v", n, m, err)
				}
				at += n
			}
			if err := ours.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(ours)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came back, %v, want the %d sent", len(got), err, len(sent))
		}
		wg.Wait()
	})
}

func TestWritersTakeTurns(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, ours, theirs net.Conn) {
		const size, writers = 60 << 10, 16
		for i := range writers {
			go ours.Write(bytes.Repeat([]byte{byte('a' + i)}, size))
		}
		b := make([]byte, size)
		for range writers {
			if _, err := io.ReadFull(theirs, b); err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(b, b[:1]); n != size {
				t.Fatalf("%d of %d bytes are of one Write", n, size)
			}
		}
	})
}

// Errors are what net says: net/http, for one, looks at them.
func TestErrors(t *testing.T) {
	t.Parallel()
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 10)); return err }
	write := func(c net.Conn) error { _, err := c.Write([]byte("x")); return err }
	tests := []struct {
		name    string
		prepare func(ours, theirs net.Conn)
		try     func(net.Conn) error
		op      string
		want    error
	}{
		{"read after the deadline", func(ours, _ net.Conn) { ours.SetDeadline(time.Unix(1, 0)) }, read, "read", os.ErrDeadlineExceeded},
		{"write after the deadline", func(ours, _ net.Conn) { ours.SetDeadline(time.Unix(1, 0)) }, write, "write", os.ErrDeadlineExceeded},
		{"read of a closed one", func(ours, _ net.Conn) { ours.Close() }, read, "read", net.ErrClosed},
		{"write of a closed one", func(ours, _ net.Conn) { ours.Close() }, write, "write", net.ErrClosed},
		{"deadline while it waits", func(ours, _ net.Conn) {
			time.AfterFunc(10*time.Millisecond, func() { ours.SetReadDeadline(time.Unix(1, 0)) })
		}, read, "read", os.ErrDeadlineExceeded},
		{"Close while it waits", func(ours, _ net.Conn) { time.AfterFunc(10*time.Millisecond, func() { ours.Close() }) }, read, "read", net.ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, ours, theirs net.Conn) {
				tt.prepare(ours, theirs)
				err := tt.try(ours)
				e, ok := errors.AsType[*net.OpError](err)
				if !errors.Is(err, tt.want) || !ok || e.Op != tt.op {
					t.Errorf("got %#v, want an error of %s with %v", err, tt.op, tt.want)
				}
			})
		})
	}
}

func TestWriteToNobody(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, "unix")
	theirs.Close()
	if _, err := ours.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want %v", err, syscall.EPIPE)
	}
	if n, err := ours.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read: %d, %v, want the end", n, err)
	}
}

func TestOthersStayAsTheyAre(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if direct(a) != a {
		t.Error("a pipe is not itself any more")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	ours, theirs := pair(t, "unix")
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		theirs.Write(b)
		ours.Read(b)
		ours.Write(b)
		theirs.Read(b)
		Quiet(ours)
	}); n > 0 {
		t.Errorf("%v allocations for a read, a write and a look", n)
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, ours, theirs net.Conn) {
		if !Quiet(ours) {
			t.Error("a connection on which nothing came is not quiet")
		}
		await := func() {
			for Quiet(ours) { // it is on its way
				time.Sleep(time.Millisecond)
			}
		}
		theirs.Write([]byte("x"))
		await()
		if n, err := ours.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("Read: %d, %v, want the byte that was seen", n, err)
		}
		theirs.Close()
		await()
		ours.Close()
		if Quiet(ours) {
			t.Error("a closed connection is quiet")
		}
	})
	if a, _ := net.Pipe(); Quiet(a) {
		t.Error("a pipe is quiet, which cannot be told")
	}
}
