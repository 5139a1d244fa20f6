package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// Session is the state of one conversation's programs: variables, files,
// tables. It is for many goroutines at once; their calls wait for each other.
type Session struct {
	box    *Sandbox
	who    string
	tables []Table
	wait   time.Duration // for the turn of a program
	turn   chan struct{} // holds one thing while a call runs
	stop   chan struct{} // closed by Close

	// Guarded by the Sandbox's mutex.
	closed bool
	busy   bool   // a call has the turn
	at     *proc  // nil without state
	id     uint32 // there
	opened bool   // there
	ran    bool   // a program, so that there is state to lose
	lost   string // why there is none
	used   time.Time
}

// MaxCode is the most bytes of a Program's Code.
const MaxCode = 1 << 20

// maxTables is the most tables of a session: each needs two descriptors.
const maxTables = 256

// errLost says that the worker ended before it answered.
var errLost = errors.New("the worker has ended")

// Open makes a session for the principal who, which sees tables. It is cheap:
// a worker is chosen with the first Exec.
func (b *Sandbox) Open(ctx context.Context, who string, tables []Table) (*Session, error) {
	if who == "" {
		return nil, errors.New("sandbox: Open: who is empty")
	}
	if len(tables) > maxTables {
		return nil, fmt.Errorf("sandbox: Open: %d tables, at most %d", len(tables), maxTables)
	}
	names := make(map[string]bool, len(tables))
	for _, t := range tables {
		if t.Name == "" || names[t.Name] {
			return nil, fmt.Errorf("sandbox: Open: table %q is there twice or has no name", t.Name)
		}
		names[t.Name] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	return &Session{box: b, who: who, tables: slices.Clone(tables), wait: b.limits.Wait, turn: make(chan struct{}, 1), stop: make(chan struct{})}, nil
}

// Exec runs p. Calls of one session wait for each other. An error is one of
// the sandbox itself: ErrBusy, ErrNoGuests, ErrWorker, ErrClosed, that of ctx, or
// a Program that is none; what the program did wrong is in the Result. When ctx
// ends the program is killed.
func (s *Session) Exec(ctx context.Context, p Program) (Result, error) {
	if err := s.check(p); err != nil {
		return Result{}, err
	}
	if wrong := unfit(p.Code); wrong != "" {
		return Result{Exit: 1, Stderr: wrong + "\n"}, nil
	}
	b := s.box
	ticket, err := b.queue.join(s.who)
	if err != nil {
		return Result{}, err
	}
	defer ticket.leave()
	late := fmt.Errorf("%w; its turn did not come within %s", ErrBusy, s.wait)
	turn, cancel := context.WithTimeoutCause(ctx, s.wait, late)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
	case <-s.stop:
		return Result{}, ErrClosed
	case <-turn.Done():
		return Result{}, reason(turn)
	}
	defer s.done()
	b.mu.Lock()
	s.busy = true
	b.mu.Unlock()
	return s.exec(ctx, turn, p, ticket)
}

// unfit says what is wrong with code that no guest takes.
func unfit(code string) string {
	switch {
	case len(code) > MaxCode:
		return fmt.Sprintf("the program has %d bytes, at most %d are allowed", len(code), MaxCode)
	case strings.IndexByte(code, 0) >= 0:
		return "the program has a NUL byte"
	}
	return ""
}

func (s *Session) check(p Program) error {
	b := s.box
	b.mu.Lock()
	err := b.refuse(p.Language)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	for _, name := range p.Tables {
		if !slices.ContainsFunc(s.tables, func(t Table) bool { return t.Name == name }) {
			return fmt.Errorf("sandbox: the session has no table %q", name)
		}
	}
	return nil
}

// done gives the turn back.
func (s *Session) done() {
	b := s.box
	b.mu.Lock()
	s.busy, s.used = false, time.Now()
	if s.closed {
		s.leave("")
	}
	b.mu.Unlock()
	<-s.turn
}

// exec runs p in the turn of its caller. turn ends with ctx, or before when p
// has waited for too long to begin.
func (s *Session) exec(ctx, turn context.Context, p Program, ticket *ticket) (Result, error) {
	b := s.box
	// A worker may end while the program waits for its turn.
	for range 5 {
		b.mu.Lock()
		var err error
		if s.at == nil {
			ticket.sleep() // or the worker that it waits for could not start
			err = b.place(turn, s)
		}
		b.mu.Unlock()
		if err != nil {
			return Result{}, err
		}
		if !ticket.running {
			if err := ticket.await(turn, s.stop); err != nil {
				return Result{}, err
			}
		}
		if res, err := s.try(ctx, p, ticket); err != errAgain {
			return res, err
		}
	}
	return Result{}, fmt.Errorf("%w: they end before they begin", ErrWorker)
}

// ended says why a call of s is over, whose ctx this is.
func (s *Session) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// errAgain says that the program did not begin since its worker was gone.
var errAgain = errors.New("again")

// try runs p in the worker of s.
func (s *Session) try(ctx context.Context, p Program, ticket *ticket) (Result, error) {
	b := s.box
	wall := b.limits.Wall
	if p.Wall > 0 {
		wall = min(wall, p.Wall)
	}
	b.mu.Lock()
	at := s.at
	if at == nil || at.killed {
		if at != nil {
			s.forget("worker")
		}
		b.mu.Unlock()
		return Result{}, errAgain
	}
	if s.closed || b.closed {
		b.mu.Unlock()
		return Result{}, ErrClosed
	}
	session, opened := s.id, s.opened
	s.opened = true
	lost := s.lost
	if len(at.calls) == 0 {
		at.quicken()
	}
	id, c := at.begin(session)
	c.ticket, c.naps = ticket, int(wall/wire.Nap)+64
	b.mu.Unlock()

	if !opened {
		if err := s.open(at, session); err != nil {
			at.finish(id, c, wire.Result{}, err)
			b.mu.Lock()
			defer b.mu.Unlock()
			if broken := (*net.OpError)(nil); errors.As(err, &broken) {
				at.killLocked(err)
				return Result{}, errAgain
			}
			s.leave("") // a file of a table cannot be sent
			return Result{}, fmt.Errorf("sandbox: open session: %w", err)
		}
	}
	at.send(wire.KindExec, session, id, wire.Exec{Language: string(p.Language), Code: p.Code, Wall: wall, Some: p.Tables != nil, Tables: p.Tables}.Encode())
	began := time.Now()
	cause := s.await(ctx, at, session, id, c, wall)

	b.mu.Lock()
	defer b.mu.Unlock()
	res := result(c.result)
	if s.ran {
		res.Lost = lost
	}
	s.ran, s.lost = true, ""
	if refused := (refusal{}); errors.As(c.err, &refused) && cause == causeNone {
		return Result{}, fmt.Errorf("sandbox: worker: %w", c.err)
	}
	if errors.Is(c.err, errLost) {
		res.Exit, res.Killed, res.Duration = 137, "worker", time.Since(began)
		switch {
		case errors.Is(at.cause, errMemory):
			res.Killed = "memory"
		case cause == causeTime:
			res.Killed = "time"
		}
		if s.at == at {
			s.forget("")
		}
		s.lost = "" // the result says it
	}
	switch {
	case cause == causeCaller:
		return res, s.ended(ctx)
	case b.closed:
		return res, ErrClosed
	}
	return res, nil
}

// open tells the worker of a session.
func (s *Session) open(at *proc, session uint32) error {
	l := s.box.limits
	m := wire.Open{Limits: wire.Limits{
		Memory: l.Memory, Scratch: l.Scratch, Inodes: int64(l.Inodes), Output: int64(l.Output), Wall: l.Wall, CPU: l.CPU, Grace: l.Grace,
	}}
	var files []*os.File
	for _, t := range s.tables {
		d := wire.Table{Name: t.Name, Rows: t.Rows, Cut: t.Cut, Database: t.Database != nil, CSV: t.CSV != nil}
		for _, c := range t.Columns {
			d.Columns = append(d.Columns, wire.Column(c))
		}
		m.Tables = append(m.Tables, d)
		for _, f := range []*os.File{t.Database, t.CSV} {
			if f != nil {
				files = append(files, f)
			}
		}
	}
	return at.out.Send(wire.KindOpen, session, 0, m.Encode(), files...)
}

// Why a call was ended from this side.
const (
	causeNone = iota
	causeCaller
	causeTime
)

// await returns when c is answered. It has the program killed when ctx or the
// session ends, and the worker when it does not answer in time.
func (s *Session) await(ctx context.Context, at *proc, session, id uint32, c *call, wall time.Duration) (cause int) {
	b := s.box
	l := b.limits
	timer := time.NewTimer(wall + l.Grace + b.tune.answer)
	defer timer.Stop()
	cancelled, stopped := ctx.Done(), s.stop
	for {
		select {
		case <-c.done:
			return cause
		case <-timer.C:
			if cause == causeNone {
				cause = causeTime
			}
			at.kill(fmt.Errorf("it gave no answer %s after the deadline of a program", l.Grace+b.tune.answer))
			cancelled, stopped = nil, nil
			continue
		case <-cancelled:
		case <-stopped:
		}
		cause, cancelled, stopped = causeCaller, nil, nil
		timer.Reset(l.Grace + b.tune.answer)
		b.mu.Lock()
		at.sendSoon(wire.KindKill, session, id)
		b.mu.Unlock()
	}
}

// result is what a worker said, as the caller sees it.
func result(m wire.Result) Result {
	r := Result{
		Stdout: m.Stdout, Stderr: m.Stderr, Columns: m.Columns, Rows: m.Rows, Exit: m.Exit, Killed: m.Killed, Interrupted: m.Interrupted,
		Truncated: m.Truncated, Duration: m.Duration, CPU: m.CPU,
	}
	for _, f := range m.Files {
		r.Files = append(r.Files, File(f))
	}
	return r
}

// forget notes that s has no session in a worker any more. b.mu is held.
func (s *Session) forget(why string) {
	delete(s.box.stateful, s)
	s.at, s.opened = nil, false
	if s.ran {
		s.lost = why
	}
}

// leave ends the session of s in its worker. b.mu is held.
func (s *Session) leave(why string) {
	p := s.at
	if p == nil {
		return
	}
	id, opened := s.id, s.opened
	s.forget(why)
	switch {
	case p.killed:
	case opened:
		p.owners[id] = nil
		p.sendSoon(wire.KindClose, id, 0)
	default:
		delete(p.owners, id)
		s.box.vacated(p)
	}
}

// Close ends the session and what it runs. It does not wait for that.
func (s *Session) Close() {
	b := s.box
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.stop)
	if !s.busy {
		s.leave("")
	}
}
