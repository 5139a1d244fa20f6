//go:build unix

package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// peer is the other side of a server in this process.
type peer struct {
	t      *testing.T
	conn   *net.UnixConn
	end    *net.UnixConn // of the server
	out    *wire.Sender
	in     *wire.Reader
	joined *wire.Assembler
	ended  chan error
}

// loaded is the engine of the tests. It has only the guest that is quick to
// compile with the race detector.
var loaded = sync.OnceValues(func() (*engine.Engine, error) {
	dir, err := guesttest.Directory("sql")
	if err != nil {
		return nil, err
	}
	cache, err := guesttest.Compiled()
	if err != nil {
		return nil, err
	}
	return engine.Load(context.Background(), dir, engine.Options{Cache: cache, Only: []string{"sql"}})
})

func serve(t *testing.T) *peer {
	t.Helper()
	e, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	p, s := connect(t)
	s.engine = e
	p.begin(s.serve)
	return p
}

// connect makes a server and its other side.
func connect(t *testing.T) (*peer, *server) {
	t.Helper()
	var ends []*net.UnixConn
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, c.(*net.UnixConn))
	}
	p := &peer{t: t, conn: ends[0], end: ends[1], out: wire.NewSender(ends[0]), in: wire.NewReader(ends[0]), joined: wire.NewAssembler(1 << 24), ended: make(chan error, 1)}
	t.Cleanup(func() { ends[0].Close() })
	return p, newServer(ends[1])
}

// begin has the server do something, and end with it.
func (p *peer) begin(do func() error) {
	go func() {
		p.ended <- do()
		p.end.Close()
	}()
}

func (p *peer) send(kind wire.Kind, session, call uint32, body []byte, files ...*os.File) {
	p.t.Helper()
	if err := p.out.Send(kind, session, call, body, files...); err != nil {
		p.t.Fatal(err)
	}
}

// next is the next message, but for those that say that a call sleeps: on a busy
// machine what comes after a program may take longer than a nap.
func (p *peer) next() (wire.Frame, []byte) {
	p.t.Helper()
	for {
		f, err := p.in.Next()
		if err != nil {
			p.t.Fatal(err)
		}
		body, _, done, err := p.joined.Add(f)
		if err != nil {
			p.t.Fatal(err)
		}
		if done && f.Kind != wire.KindAsleep {
			return f, bytes.Clone(body)
		}
	}
}

func (p *peer) expect(kind wire.Kind, session, call uint32) []byte {
	p.t.Helper()
	f, body := p.next()
	if f.Kind != kind || f.Session != session || f.Call != call {
		p.t.Fatalf("%+v %q, want kind %#x of session %d, call %d", f, body, kind, session, call)
	}
	return body
}

func (p *peer) result(session, call uint32) wire.Result {
	p.t.Helper()
	var m wire.Result
	if err := m.Decode(p.expect(wire.KindResult, session, call)); err != nil {
		p.t.Fatal(err)
	}
	return m
}

// loads sends the setup of guests that are in dir.
func (p *peer) loads(dir string) {
	p.send(wire.KindSetup, 0, 0, wire.Setup{Guests: dir, Languages: []string{"sql"}, Memory: limits.Memory}.Encode())
}

func TestTheOtherSideGoesWhileItLoads(t *testing.T) {
	dir := t.TempDir()
	manifest := filepath.Join(dir, "manifest.json")
	if err := syscall.Mkfifo(manifest, 0o600); err != nil { // which nobody writes to
		t.Skip(err)
	}
	p, s := connect(t)
	p.begin(func() error { return s.setup(nil) })
	p.loads(dir)
	w, err := os.OpenFile(manifest, os.O_WRONLY, 0) // once it is being read
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p.conn.Close()
	if err := <-p.ended; !errors.Is(err, io.EOF) {
		t.Errorf("%v, want io.EOF", err)
	}
}

// What is sent while it loads is read afterwards, and a guest that it cannot load
// keeps it from no other.
func TestMessagesWhileItLoads(t *testing.T) {
	dir, err := guesttest.Directory("sql")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := guesttest.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	p, s := connect(t)
	p.begin(func() error {
		if err := s.setup(nil); err != nil {
			return err
		}
		return s.serve()
	})
	p.send(wire.KindSetup, 0, 0, wire.Setup{Guests: dir, Cache: cache, Languages: []string{"sql", "cobol"}, Memory: limits.Memory}.Encode())
	p.send(wire.KindClose, 8, 0, nil)
	var m wire.Ready
	if err := m.Decode(p.expect(wire.KindReady, 0, 0)); err != nil || len(m.Languages) != 1 || len(m.Broken) != 1 || m.Broken[0].Language != "cobol" {
		t.Errorf("%+v, %v", m, err)
	}
	p.expect(wire.KindClosed, 8, 0)
	p.conn.Close()
	if err := <-p.ended; err != nil {
		t.Errorf("the end: %v", err)
	}
}

var limits = wire.Limits{Memory: 64 << 20, Scratch: 64 << 20, Inodes: 100, Output: 1 << 16, Wall: time.Hour, CPU: time.Hour, Grace: time.Millisecond}

func sql(code string) []byte {
	return wire.Exec{Language: "sql", Code: code, Wall: time.Hour}.Encode()
}

const endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"

func TestSessionsOfOneConnection(t *testing.T) {
	p := serve(t)
	for s := range uint32(3) {
		p.send(wire.KindOpen, s, 0, wire.Open{Limits: limits}.Encode())
	}
	p.send(wire.KindExec, 0, 1, sql(endless)) // which keeps nobody from the others
	for s := range uint32(2) {
		p.send(wire.KindExec, s+1, 2, sql("SELECT 7"))
		if r := p.result(s+1, 2); len(r.Rows) != 1 {
			t.Errorf("%+v", r)
		}
	}
	p.send(wire.KindInterrupt, 0, 2, nil) // of another call
	p.send(wire.KindKill, 0, 2, nil)
	p.send(wire.KindKill, 9, 1, nil) // of no session
	// An interrupt does nothing to a program that has not begun yet.
	answered, sender := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sender)
		for p.out.Send(wire.KindInterrupt, 0, 1, nil) == nil {
			select {
			case <-answered:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	r := p.result(0, 1)
	close(answered)
	<-sender
	if r.Interrupted != "caller" {
		t.Errorf("interrupted: %+v", r)
	}
	p.send(wire.KindExec, 0, 3, sql(endless))
	p.send(wire.KindKill, 0, 3, nil) // it may not have begun yet
	switch f, body := p.next(); f.Kind {
	case wire.KindError:
	case wire.KindResult:
		var m wire.Result
		if err := m.Decode(body); err != nil || m.Killed == "" && m.Interrupted == "" {
			t.Errorf("killed: %+v, %v", m, err)
		}
	default:
		t.Errorf("killed: %+v", f)
	}
	p.send(wire.KindExec, 0, 4, sql(endless))
	p.send(wire.KindClose, 0, 0, nil)
	for closed := false; !closed; { // the call is answered or not
		f, _ := p.next()
		closed = f.Kind == wire.KindClosed && f.Session == 0
	}
	p.send(wire.KindClose, 8, 0, nil)
	p.expect(wire.KindClosed, 8, 0)
	p.conn.Close()
	if err := <-p.ended; err != nil {
		t.Errorf("the end: %v", err)
	}
}

func TestOnlyTrustedSessionsGiveFiles(t *testing.T) {
	p := serve(t)
	p.send(wire.KindOpen, 1, 0, wire.Open{Limits: limits}.Encode())
	p.send(wire.KindExec, 1, 1, sql("ATTACH 'file:/tmp/x.db' AS x; CREATE TABLE x.t(a)"))
	if r := p.result(1, 1); r.Exit == 0 {
		t.Errorf("a model's program attached a file: %+v", r)
	}
	p.send(wire.KindRead, 1, 2, []byte("tmp/x.db"))
	if text := p.expect(wire.KindError, 1, 2); !strings.Contains(string(text), "trusted") {
		t.Errorf("%q", text)
	}
	p.send(wire.KindOpen, 2, 0, wire.Open{Trusted: true, Limits: limits}.Encode())
	p.send(wire.KindExec, 2, 3, sql("ATTACH 'file:/tmp/x.db' AS x; CREATE TABLE x.t(a); INSERT INTO x.t VALUES (zeroblob(200000)); DETACH x"))
	if r := p.result(2, 3); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	p.send(wire.KindRead, 2, 4, []byte("tmp/x.db"))
	size := 0
	for {
		f, body := p.next()
		if f.Kind == wire.KindResult {
			break
		}
		if f.Kind != wire.KindData {
			t.Fatalf("%+v %q", f, body)
		}
		size += len(body)
	}
	if size < 200000 {
		t.Errorf("the file has %d bytes", size)
	}
	p.send(wire.KindRead, 2, 5, []byte("tmp/none"))
	p.expect(wire.KindError, 2, 5)
}

func TestWrongMessagesEndTheWorker(t *testing.T) {
	open := func(p *peer) { p.send(wire.KindOpen, 1, 0, wire.Open{Limits: limits}.Encode()) }
	for name, do := range map[string]func(*peer){
		"session twice": func(p *peer) { open(p); open(p) },
		"no session":    func(p *peer) { p.send(wire.KindExec, 1, 1, sql("")) },
		"call zero":     func(p *peer) { open(p); p.send(wire.KindExec, 1, 0, sql("")) },
		"two calls": func(p *peer) {
			open(p)
			p.send(wire.KindExec, 1, 1, sql(endless))
			p.send(wire.KindExec, 1, 2, sql(""))
		},
		"setup again":    func(p *peer) { p.send(wire.KindSetup, 0, 0, wire.Setup{}.Encode()) },
		"noise":          func(p *peer) { p.send(wire.KindOpen, 1, 0, []byte("noise")) },
		"half a message": func(p *peer) { p.conn.Write([]byte("half")); p.conn.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t)
			do(p)
			if err := <-p.ended; !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTableWithoutItsFile(t *testing.T) {
	p := serve(t)
	p.send(wire.KindOpen, 1, 0, wire.Open{Limits: limits, Tables: []wire.Table{{Name: "main.a.b", Database: true}}}.Encode())
	p.send(wire.KindExec, 1, 1, sql("SELECT 1"))
	if text := p.expect(wire.KindError, 1, 1); !strings.Contains(string(text), "main.a.b") {
		t.Errorf("%q", text)
	}
	p.send(wire.KindClose, 1, 0, nil)
	p.expect(wire.KindClosed, 1, 0)
}

func TestUnsealedFilesAreCopied(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "before"); err != nil {
		t.Fatal(err)
	}
	tables, release, err := mapTables([]wire.Table{{Name: "main.a.b", CSV: true}}, []*os.File{f})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := os.WriteFile(f.Name(), []byte("AFTER!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if string(tables[0].CSV) != "before" || tables[0].Database != nil {
		t.Errorf("%q", tables[0].CSV)
	}
	if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is open: %v", err)
	}
}
