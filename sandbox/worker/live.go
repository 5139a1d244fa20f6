package worker

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// live is a session of this worker. Its goroutine, serve, owns the session and
// the tables mapped for it; others leave it work or flags.
type live struct {
	server *server
	id     uint32
	open   wire.Open
	files  []*os.File // of the tables, until they are mapped
	work   chan work
	rest   rest

	mu      sync.Mutex
	call    uint32             // under way; 0 is none
	kill    context.CancelFunc // of it
	ended   bool               // no more work comes
	session *session.Session   // nil until it is open
}

// rest is how the running call of a session sleeps: the other side lets
// somebody else run meanwhile.
type rest struct {
	mu    sync.Mutex
	nap   *time.Timer   // runs until the other side is told; nil is awake
	told  bool          // that it sleeps
	admit chan struct{} // has one thing when it may go on
}

// work is a call: a program, or a file to read.
type work struct {
	call uint32
	ctx  context.Context // done when it is killed
	exec *wire.Exec
	read string
}

func newLive(s *server, id uint32, m wire.Open, files []*os.File) *live {
	return &live{server: s, id: id, open: m, files: files, work: make(chan work, 1), rest: rest{admit: make(chan struct{}, 1)}}
}

// push leaves w to the goroutine of l. The other side sends one call of a
// session at a time.
func (l *live) push(id uint32, w work) error {
	if l == nil {
		return fmt.Errorf("%w: call of session %d, which is not open", wire.ErrMalformed, id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.call != 0 || l.ended || w.call == 0 {
		return fmt.Errorf("%w: call %d of session %d beside another", wire.ErrMalformed, w.call, id)
	}
	l.call = w.call
	w.ctx, l.kill = context.WithCancel(context.Background())
	l.work <- w // has room: the call before was taken out
	return nil
}

// stop ends call, softly or not. It does nothing when that is over.
func (l *live) stop(call uint32, kill bool) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.call == 0 || l.call != call {
		return
	}
	switch {
	case kill:
		l.kill() // for a program that has not begun
		if l.session != nil {
			l.session.Kill()
		}
	case l.session != nil:
		l.session.Interrupt()
	}
}

// end closes the session after its call, which is killed.
func (l *live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	if l.call != 0 {
		l.kill()
		if l.session != nil {
			l.session.Kill()
		}
	}
	close(l.work)
}

// serve runs the calls of a session from its beginning to its end.
func (l *live) serve() {
	tables, release, err := mapTables(l.open.Tables, l.files)
	defer release()
	var s *session.Session
	if err == nil {
		setup := session.Setup{Tables: tables, Trusted: l.open.Trusted, Limits: session.Limits{
			Memory: l.open.Limits.Memory, Scratch: l.open.Limits.Scratch, Inodes: int(l.open.Limits.Inodes), Output: int(l.open.Limits.Output),
			Wall: l.open.Limits.Wall, CPU: l.open.Limits.CPU, Grace: l.open.Limits.Grace,
		}}
		if !setup.Trusted { // whose programs have no turns
			setup.Admit = l.admit
		}
		s, err = session.Open(l.server.engine, setup)
	}
	l.mu.Lock()
	l.session = s
	l.mu.Unlock()
	for w := range l.work {
		l.do(w, s, err)
	}
	if s != nil {
		s.Close() // and waits until its memory is gone
	}
	release()
	l.server.mu.Lock()
	delete(l.server.sessions, l.id)
	l.server.mu.Unlock()
	l.server.out.Send(wire.KindClosed, l.id, 0, nil) // without the other side the process ends anyway
}

// do answers one call.
func (l *live) do(w work, s *session.Session, err error) {
	kind, body := wire.KindError, []byte(nil)
	switch {
	case err != nil:
		body = []byte(err.Error())
	case w.exec != nil:
		kind, body = l.run(w, s)
	default:
		kind, body = l.file(w, s)
	}
	l.mu.Lock()
	l.call = 0
	l.kill()
	l.mu.Unlock()
	l.server.out.Send(kind, l.id, w.call, body)
}

// admit is the Admit of the session: it waits until the call may run, and
// returns what is called when it does not any more.
func (l *live) admit(ctx context.Context) (func(), error) {
	r := &l.rest
	r.mu.Lock()
	told := r.told
	if r.nap != nil {
		r.nap.Stop()
	}
	r.nap, r.told = nil, false
	r.mu.Unlock()
	if told {
		r.drain()
		l.server.out.Send(wire.KindAwake, l.id, l.number(), nil)
		select {
		case <-r.admit:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return l.sleep, nil
}

// sleep tells the other side that the call sleeps, if it does so for a while.
func (l *live) sleep() {
	r := &l.rest
	r.mu.Lock()
	defer r.mu.Unlock()
	call := l.number()
	var nap *time.Timer
	nap = time.AfterFunc(wire.Nap, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.nap == nap { // it still sleeps
			r.told = true
			l.server.out.Send(wire.KindAsleep, l.id, call, nil)
		}
	})
	r.nap = nap
}

// number is that of the call under way.
func (l *live) number() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.call
}

// admitted lets the call go on that was asleep.
func (l *live) admitted(call uint32) {
	if l == nil || l.number() != call {
		return
	}
	select {
	case l.rest.admit <- struct{}{}:
	default:
	}
}

// rested ends a sleep with the call.
func (l *live) rested() {
	r := &l.rest
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nap != nil {
		r.nap.Stop()
	}
	r.nap, r.told = nil, false
}

// drain forgets a leave that came when the call before had ended.
func (r *rest) drain() {
	select {
	case <-r.admit:
	default:
	}
}

func (l *live) run(w work, s *session.Session) (wire.Kind, []byte) {
	p := session.Program{Language: w.exec.Language, Code: w.exec.Code, Wall: w.exec.Wall}
	if w.exec.Some {
		p.Tables = append([]string{}, w.exec.Tables...)
	}
	r, err := s.Exec(w.ctx, p)
	l.rested()
	if err != nil {
		return wire.KindError, []byte(err.Error())
	}
	m := wire.Result{
		Stdout: r.Stdout, Stderr: r.Stderr, Columns: r.Columns, Rows: r.Rows, Exit: r.Exit, Killed: r.Killed, Interrupted: r.Interrupted,
		Truncated: r.Truncated, Duration: r.Duration, CPU: r.CPU,
	}
	for _, f := range r.Files {
		m.Files = append(m.Files, wire.File{Name: f.Name, Size: f.Size})
	}
	body, err := m.Encode()
	if err != nil {
		return wire.KindError, []byte(err.Error())
	}
	return wire.KindResult, body
}

// file sends a file of a trusted session.
func (l *live) file(w work, s *session.Session) (wire.Kind, []byte) {
	if !l.open.Trusted {
		return wire.KindError, []byte("only trusted sessions give away files")
	}
	b, err := s.ReadFile(w.ctx, w.read)
	if err != nil {
		return wire.KindError, []byte(err.Error())
	}
	for len(b) > 0 {
		n := min(len(b), wire.MaxPayload)
		if err := l.server.out.Send(wire.KindData, l.id, w.call, b[:n]); err != nil {
			return wire.KindError, []byte(err.Error())
		}
		b = b[n:]
	}
	body, err := wire.Result{}.Encode()
	if err != nil {
		return wire.KindError, []byte(err.Error())
	}
	return wire.KindResult, body
}
