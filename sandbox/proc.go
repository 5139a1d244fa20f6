package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// proc is one worker process. Its fields are guarded by the Sandbox's mutex but
// for those that the goroutine of run owns.
type proc struct {
	box     *Sandbox
	trusted bool          // runs our own programs only, for whoever it is
	gone    chan struct{} // closed when the process is no more
	quit    chan struct{} // closed when it is to end
	turn    *ticket       // of its start; nil for one that is trusted

	begun  time.Time // when its process was started, or else its life
	cmd    *exec.Cmd // nil until it is started
	pid    int
	out    *wire.Sender
	conn   *net.UnixConn
	killed bool
	cause  error // the first reason why it ended

	ready    bool
	who      string              // the principal whose sessions it has, or had last
	served   int                 // principals that it has had
	retiring bool                // takes no more sessions
	owners   map[uint32]*Session // sessions that it has; nil for those that are trusted or closing
	calls    map[uint32]*call    // under way
	last     uint32              // number given to a session or call
	empty    time.Time           // when its last session left; zero while it has some
	private  int64               // bytes, as last seen
	retry    bool                // it was started although the start before failed

	niceness int   // as it was set
	paced    bool  // its usage is looked at
	usage    usage // of the processor

	joined *wire.Assembler // of run
}

// call is a request to a worker that is under way.
type call struct {
	session uint32
	done    chan struct{} // closed when one of the next two is there
	result  wire.Result
	err     error
	data    func([]byte) error // takes KindData; nil when there must be none
	ticket  *ticket            // of a program; nil for what is trusted

	// Of the goroutine that reads.
	asleep bool
	naps   int         // that it may still take
	waking atomic.Bool // until it is admitted; cleared by the goroutine that waits for that
}

// refusal is what a worker said in KindError: the call did not take place.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

// run is the life of a process, from its start to its end.
func (p *proc) run() {
	b := p.box
	defer b.wg.Done()
	err := p.serve()
	p.kill(err)
	b.mu.Lock()
	cmd := p.cmd
	b.mu.Unlock()
	if cmd != nil {
		cmd.Wait() // how it ended says less than why
	}
	b.ended(p)
}

// serve starts the process and handles what it sends, until one of both sides
// ends that.
func (p *proc) serve() error {
	b := p.box
	if p.turn != nil {
		defer p.turn.leave()
		if p.turn.await(b.ctx, p.quit) != nil {
			return nil // killed
		}
	}
	conn, file, err := socketpair()
	if err != nil {
		return err
	}
	cmd, err := b.cfg.Start(b.ctx, file)
	file.Close()
	if err != nil {
		conn.Close()
		return fmt.Errorf("start: %w", err)
	}
	if cmd.WaitDelay == 0 { // whoever else has its output does not hold us
		cmd.WaitDelay = time.Second
	}
	b.mu.Lock()
	p.begun, p.cmd, p.pid, p.conn, p.out = time.Now(), cmd, cmd.Process.Pid, conn, wire.NewSender(conn)
	killed := p.killed
	if killed {
		p.end()
	}
	p.quicken()
	b.mu.Unlock()
	if killed {
		return nil
	}
	late := time.AfterFunc(b.tune.start, func() { p.kill(fmt.Errorf("it was not ready after %s", b.tune.start)) })
	defer late.Stop()
	if err := p.out.Send(wire.KindSetup, 0, 0, b.setup(p.trusted).Encode()); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	r := wire.NewReader(conn)
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		if err := p.handle(f, late); err != nil {
			return err
		}
	}
}

// handle takes a frame. An error ends the worker, which may have been taken
// over: no frame may cost more than it says.
func (p *proc) handle(f wire.Frame, late *time.Timer) error {
	if f.Files > 0 {
		return fmt.Errorf("%w: descriptors from a worker", wire.ErrMalformed)
	}
	b := p.box
	b.mu.Lock()
	ready := p.ready
	c := p.calls[f.Call]
	b.mu.Unlock()
	switch f.Kind {
	case wire.KindReady, wire.KindFailed:
		if ready || f.Session != 0 || f.Call != 0 {
			return fmt.Errorf("%w: ready twice", wire.ErrMalformed)
		}
	case wire.KindResult, wire.KindError, wire.KindData, wire.KindAsleep, wire.KindAwake:
		if c == nil || c.session != f.Session {
			return fmt.Errorf("%w: answer to nothing", wire.ErrMalformed)
		}
	}
	if f.Kind == wire.KindData {
		if c.data == nil || f.More {
			return fmt.Errorf("%w: data that nobody asked for", wire.ErrMalformed)
		}
		return c.data(f.Payload)
	}
	if f.Kind == wire.KindAsleep || f.Kind == wire.KindAwake {
		return p.nap(f, c)
	}
	body, _, done, err := p.joined.Add(f)
	if err != nil || !done {
		return err
	}
	switch f.Kind {
	case wire.KindReady:
		var m wire.Ready
		if err := m.Decode(body); err != nil {
			return err
		}
		late.Stop()
		return b.started(p, m)
	case wire.KindFailed:
		return errors.New(clip(body))
	case wire.KindError:
		p.finish(f.Call, c, wire.Result{}, refusal{clip(body)})
	case wire.KindResult:
		var m wire.Result
		if err := m.Decode(body); err != nil {
			return err
		}
		if err := checkResult(m); err != nil {
			return err
		}
		p.finish(f.Call, c, m, nil)
	case wire.KindClosed:
		return b.left(p, f.Session)
	default:
		return fmt.Errorf("%w: kind %#x", wire.ErrMalformed, f.Kind)
	}
	return nil
}

// nap lets others run while a program sleeps.
func (p *proc) nap(f wire.Frame, c *call) error {
	sleeps := f.Kind == wire.KindAsleep
	if c.ticket == nil || c.asleep == sleeps || c.waking.Load() || c.naps <= 0 || f.More || len(f.Payload) > 0 {
		return fmt.Errorf("%w: sleep", wire.ErrMalformed)
	}
	c.asleep = sleeps
	if sleeps {
		c.naps--
		c.ticket.sleep()
		return nil
	}
	c.waking.Store(true)
	b := p.box
	b.wg.Add(1) // that of run is still counted
	go func() {
		defer b.wg.Done()
		if c.ticket.await(b.ctx, c.done) == nil {
			c.waking.Store(false)
			p.send(wire.KindAdmit, f.Session, f.Call, nil)
		}
	}()
	return nil
}

// clip is what a worker says in words: a line or two.
func clip(b []byte) string {
	const most = 1000
	return string(b[:min(len(b), most)])
}

// killedBy are the values of wire.Result.Killed.
var killedBy = []string{"", "time", "cpu", "memory", "caller", "closed", "crash", "exit"}

// interruptedBy are those of Interrupted.
var interruptedBy = []string{"", "time", "cpu", "caller"}

func checkResult(m wire.Result) error {
	if !slices.Contains(killedBy, m.Killed) || !slices.Contains(interruptedBy, m.Interrupted) {
		return fmt.Errorf("%w: result: killed %q, interrupted %q", wire.ErrMalformed, m.Killed, m.Interrupted)
	}
	for _, f := range m.Files {
		if f.Size < 0 {
			return fmt.Errorf("%w: result: file of %d bytes", wire.ErrMalformed, f.Size)
		}
	}
	return nil
}

// begin makes a call of session. Box.mu is held.
func (p *proc) begin(session uint32) (uint32, *call) {
	c := &call{session: session, done: make(chan struct{})}
	id := p.fresh(func(id uint32) bool { return p.calls[id] != nil })
	p.calls[id] = c
	return id, c
}

// fresh is a number that is not used. Box.mu is held.
func (p *proc) fresh(used func(uint32) bool) uint32 {
	for {
		p.last++
		if p.last != 0 && !used(p.last) {
			return p.last
		}
	}
}

// finish answers call id, if it is still c.
func (p *proc) finish(id uint32, c *call, res wire.Result, err error) {
	p.box.mu.Lock()
	defer p.box.mu.Unlock()
	if p.calls[id] != c {
		return
	}
	delete(p.calls, id)
	c.result, c.err = res, err
	close(c.done)
	p.box.change()
}

// send writes a message to the worker. A worker that does not read is ended.
func (p *proc) send(kind wire.Kind, session, call uint32, body []byte) error {
	err := p.out.Send(kind, session, call, body)
	if err != nil {
		p.kill(fmt.Errorf("write: %w", err))
	}
	return err
}

// sendSoon writes a message without a body, after this. box.mu is held.
func (p *proc) sendSoon(kind wire.Kind, session, call uint32) {
	if p.killed {
		return
	}
	p.box.wg.Add(1)
	go func() {
		defer p.box.wg.Done()
		p.send(kind, session, call, nil)
	}()
}

// kill ends the process, for the reason of cause unless there was one before.
func (p *proc) kill(cause error) {
	p.box.mu.Lock()
	defer p.box.mu.Unlock()
	p.killLocked(cause)
}

func (p *proc) killLocked(cause error) {
	if p.killed {
		return
	}
	p.killed, p.retiring, p.cause = true, true, cause
	close(p.quit)
	if p.cmd != nil {
		p.end()
	}
}

// end kills the started process. Box.mu is held.
func (p *proc) end() {
	p.cmd.Process.Kill() // it may have ended by itself
	p.conn.Close()
}
