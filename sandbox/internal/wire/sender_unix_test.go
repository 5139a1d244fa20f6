//go:build unix

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns []*net.UnixConn
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c.(*net.UnixConn))
	}
	return conns[0], conns[1]
}

// Messages of many senders arrive whole, each with its own descriptors.
func TestSenders(t *testing.T) {
	near, far := pair(t)
	out, files := NewSender(near), NewFileReader(far)
	in := NewReader(files)
	const messages = 20
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i*MaxPayload/4) }
	count := func(i int) int { return i % 5 * 9 }
	dir := t.TempDir()
	var senders sync.WaitGroup
	for i := range messages {
		senders.Go(func() {
			var send []*os.File
			for n := range count(i) {
				f, err := os.Create(filepath.Join(dir, fmt.Sprint(i, "-", n)))
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				fmt.Fprintf(f, "%d-%d", i, n)
				send = append(send, f)
			}
			if err := out.Send(KindOpen, uint32(i), 0, body(i), send...); err != nil {
				t.Error(err)
			}
		})
	}
	a := NewAssembler(1 << 30)
	beside := map[uint32][]*os.File{}
	for got := 0; got < messages; {
		f, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		fs, err := files.Take(f.Files)
		if err != nil {
			t.Fatal(err)
		}
		beside[f.Session] = append(beside[f.Session], fs...)
		b, n, done, err := a.Add(f)
		if err != nil {
			t.Fatal(err)
		}
		if !done {
			continue
		}
		got++
		i := int(f.Session)
		if !bytes.Equal(b, body(i)) || n != count(i) || len(beside[f.Session]) != n {
			t.Errorf("message %d: %d bytes, %d descriptors, %d came", i, len(b), n, len(beside[f.Session]))
		}
		for n, f := range beside[uint32(i)] {
			text, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
			if want := fmt.Sprintf("%d-%d", i, n); err != nil || string(text) != want {
				t.Errorf("message %d: descriptor %d is %q, %v", i, n, text, err)
			}
			f.Close()
		}
	}
	senders.Wait()
	if _, err := files.Take(1); !errors.Is(err, ErrMalformed) {
		t.Errorf("a descriptor that did not come: %v", err)
	}
}

func TestSendAClosedFile(t *testing.T) {
	near, far := pair(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	out := NewSender(near)
	if err := out.Send(KindOpen, 1, 0, []byte("x"), f); err == nil {
		t.Error("a closed file was sent")
	}
	// Nothing of it was sent.
	if err := out.Send(KindClose, 2, 0, nil); err != nil {
		t.Fatal(err)
	}
	if f, err := NewReader(far).Next(); err != nil || f.Kind != KindClose {
		t.Errorf("%+v, %v", f, err)
	}
	far.Close()
	if err := out.Send(KindClose, 2, 0, nil); err == nil {
		t.Error("nobody is there to hear it")
	}
}
