// Package worker is what a worker process of the sandbox runs: it loads the
// guests, and then serves sessions for whoever holds the other end of its
// descriptor 3. The one rule: once the guests are loaded it needs nothing but
// that descriptor, so that everything else can be taken from it.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// descriptor is where the worker's end of the socket is.
const descriptor = 3

// maxMessage bounds what one message tells a worker: a program, or the tables
// of a session with their columns.
const maxMessage = 32 << 20

// Main serves the sessions that come over descriptor 3 until it is closed, and
// returns the exit code of the process. loaded is called once the guests are
// loaded and before any session, to give up what only loading needed: files
// and directories; nil is fine, an error ends the worker.
func Main(loaded func() error) int {
	if err := run(loaded); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox worker:", err)
		return 1
	}
	return 0
}

func run(loaded func() error) error {
	f := os.NewFile(descriptor, "socket")
	c, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", descriptor, err)
	}
	f.Close() // FileConn has its own
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("descriptor %d is a %T, want a unix socket", descriptor, c)
	}
	s := newServer(conn)
	if err := s.setup(loaded); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		// The other side says it; this is for the case that it cannot hear.
		s.out.Send(wire.KindFailed, 0, 0, []byte(err.Error()))
		return err
	}
	return s.serve()
}

// serve handles what comes until the other side is gone.
func (s *server) serve() error {
	if s.waited != nil {
		<-s.waited // in has one reader; Next says again what went wrong
	}
	for {
		f, err := s.in.Next()
		if err == nil {
			err = s.handle(f)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
			return nil // the other side is gone; programs that run end with the process
		case err != nil:
			return err
		}
	}
}

// server is the worker's side of the connection. Its fields belong to the
// goroutine that reads.
type server struct {
	in     *wire.Reader
	files  *wire.FileReader
	out    *wire.Sender
	joined *wire.Assembler
	beside map[uint32][]*os.File // descriptors of messages that are not whole, by session
	waited chan error            // has one thing when the Wait of load is over

	engine   *engine.Engine
	mu       sync.Mutex // guards sessions
	sessions map[uint32]*live
}

func newServer(conn *net.UnixConn) *server {
	files := wire.NewFileReader(conn)
	return &server{
		in: wire.NewReader(files), files: files, out: wire.NewSender(conn),
		joined: wire.NewAssembler(maxMessage), beside: map[uint32][]*os.File{}, sessions: map[uint32]*live{},
	}
}

// setup loads what the first message says.
func (s *server) setup(loaded func() error) error {
	f, err := s.in.Next()
	if err != nil {
		return err
	}
	var m wire.Setup
	if f.Kind != wire.KindSetup || f.More {
		return fmt.Errorf("%w: kind %#x before setup", wire.ErrMalformed, f.Kind)
	}
	if err := m.Decode(f.Payload); err != nil {
		return err
	}
	began := time.Now()
	if err := s.load(m); err != nil {
		return err
	}
	debug.FreeOSMemory() // loading took several times what stays
	if loaded != nil {
		if err := loaded(); err != nil {
			return fmt.Errorf("after loading: %w", err)
		}
	}
	ready := wire.Ready{Languages: s.engine.Languages(), Load: time.Since(began)}
	for language, why := range s.engine.Broken() {
		ready.Broken = append(ready.Broken, wire.Broken{Language: language, Why: why.Error()})
	}
	return s.out.Send(wire.KindReady, 0, 0, ready.Encode())
}

// load loads the guests. It fails with io.EOF when the other side goes meanwhile,
// which nobody else would notice for the seconds that compiling takes.
func (s *server) load(m wire.Setup) error {
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.engine, err = engine.Load(context.Background(), m.Guests, engine.Options{Cache: m.Cache, Only: m.Languages, Partial: true})
	}()
	waited := make(chan error, 1)
	go func() { waited <- s.in.Wait() }()
	s.waited = waited
	select {
	case err := <-waited:
		waited <- err // for serve
		if err != nil {
			return err
		}
		<-done
	case <-done:
	}
	return err
}

// handle takes a frame. It never waits for a session, so that a kill is heard
// while programs run. Errors are those of the protocol and end the worker.
func (s *server) handle(f wire.Frame) error {
	if f.Files > 0 {
		files, err := s.files.Take(f.Files)
		if err != nil {
			return err
		}
		s.beside[f.Session] = append(s.beside[f.Session], files...)
	}
	body, _, done, err := s.joined.Add(f)
	if err != nil || !done {
		return err
	}
	files := s.beside[f.Session]
	delete(s.beside, f.Session)

	s.mu.Lock()
	l := s.sessions[f.Session]
	s.mu.Unlock()
	switch f.Kind {
	case wire.KindOpen:
		if l != nil {
			return fmt.Errorf("%w: session %d opened twice", wire.ErrMalformed, f.Session)
		}
		var m wire.Open
		if err := m.Decode(body); err != nil {
			return err
		}
		l := newLive(s, f.Session, m, files)
		s.mu.Lock()
		s.sessions[f.Session] = l
		s.mu.Unlock()
		go l.serve()
	case wire.KindExec:
		var m wire.Exec
		if err := m.Decode(body); err != nil {
			return err
		}
		return l.push(f.Session, work{call: f.Call, exec: &m})
	case wire.KindRead:
		return l.push(f.Session, work{call: f.Call, read: string(body)})
	case wire.KindInterrupt:
		l.stop(f.Call, false)
	case wire.KindKill:
		l.stop(f.Call, true)
	case wire.KindAdmit:
		l.admitted(f.Call)
	case wire.KindClose:
		s.joined.Drop(f.Session)
		closeAll(files)
		if l == nil { // it never came to be
			return s.out.Send(wire.KindClosed, f.Session, 0, nil)
		}
		l.end()
	default:
		return fmt.Errorf("%w: kind %#x", wire.ErrMalformed, f.Kind)
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
