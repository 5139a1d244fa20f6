package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

const (
	alivePerWorker = 8  // processes alive for each at work
	mostPrincipals = 16 // that one process has, one after the other
)

// tuning is what only tests change.
type tuning struct {
	start   time.Duration // until a worker is ready: a guest may have to be compiled, on a busy machine
	answer  time.Duration // that a worker has beyond what its limits say
	idle    time.Duration // that a worker without sessions lives on
	watch   time.Duration // between two looks at the workers' memory
	backoff time.Duration // after the first failed start; doubled each time
	slow    time.Duration // of a processor, from which on a start is slow
}

var defaults = tuning{start: 5 * time.Minute, answer: 2 * time.Second, idle: time.Minute, watch: time.Second, backoff: 100 * time.Millisecond, slow: Slow}

const longestBackoff = 30 * time.Second

// change wakes up whoever waits for a worker. b.mu is held.
func (b *Sandbox) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// launch begins a process. b.mu is held.
func (b *Sandbox) launch(trusted bool) *proc {
	p := &proc{
		box: b, trusted: trusted, retry: b.failures > 0, gone: make(chan struct{}), quit: make(chan struct{}), empty: time.Now(),
		begun: time.Now(), owners: map[uint32]*Session{}, calls: map[uint32]*call{}, joined: wire.NewAssembler(b.answerSize()),
	}
	if !trusted { // for which a caller waits, with a turn or not
		p.turn = b.queue.start()
	}
	b.procs[p] = true
	b.wg.Add(1)
	go p.run()
	return p
}

// started is called when p has loaded its guests.
func (b *Sandbox) started(p *proc, m wire.Ready) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.ready, p.empty = true, time.Now()
	if p.turn != nil {
		p.turn.leave()
	}
	if b.failures > 0 {
		b.log.Info("code execution: workers start again", "failed", b.failures)
	}
	b.failures, b.startErr = 0, nil
	p.niceness = 0 // a launcher may have had threads that nobody saw
	p.quicken()
	if !p.trusted {
		b.learn(m)
		b.timed(p)
	}
	b.log.Debug("code execution: worker ready", "pid", p.pid, "languages", m.Languages, "load", m.Load)
	b.maintain()
	b.change()
	return nil
}

// timed notes how slow the start of p was. Processor time tells a start that
// compiles from one on a machine with much else to do. b.mu is held.
func (b *Sandbox) timed(p *proc) {
	took, ok := processorTime(p.pid)
	if !ok {
		took = time.Since(p.begun)
	}
	if took < b.tune.slow {
		b.slow = 0
		return
	}
	if b.slow++; b.slow == 2 {
		b.log.Warn("code execution: each worker takes long to start, as if it compiled the guests; is the directory of compiled ones damaged, or not to be written?", "cpu", took)
	}
}

// preparing is Stats.Preparing. b.mu is held.
func (b *Sandbox) preparing(now time.Time) time.Duration {
	var longest time.Duration
	for p := range b.procs {
		switch {
		case p.trusted || p.killed:
		case p.ready:
			return 0
		default:
			longest = max(longest, now.Sub(p.begun))
		}
	}
	return longest
}

// left is called when a worker says that it has nothing of a session any more.
func (b *Sandbox) left(p *proc, session uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := p.owners[session]; !ok || s != nil {
		return fmt.Errorf("%w: end of a session that goes on", wire.ErrMalformed)
	}
	delete(p.owners, session)
	b.vacated(p)
	return nil
}

// vacated is called when a session of p is gone. b.mu is held.
func (b *Sandbox) vacated(p *proc) {
	if len(p.owners) == 0 {
		p.empty = time.Now()
		if p.retiring {
			p.killLocked(nil)
		}
	}
	b.change()
}

// ended is called when the process of p is no more.
func (b *Sandbox) ended(p *proc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.procs, p)
	lost := "worker"
	if errors.Is(p.cause, errMemory) {
		lost = "memory"
	}
	for _, s := range p.owners {
		if s != nil && s.at == p {
			s.forget(lost)
		}
	}
	for id, c := range p.calls {
		delete(p.calls, id)
		c.err = errLost
		close(c.done)
	}
	switch {
	case b.closed || p.cause == nil:
	case p.ready:
		b.log.Warn("code execution: worker ended", "cause", p.cause, "sessions", len(p.owners))
	default:
		b.failed(p)
	}
	close(p.gone)
	b.maintain()
	b.change()
}

// failed notes that p could not be started. The first time it is tried again at
// once, since somebody may have killed it, and then after a pause that grows.
// b.mu is held.
func (b *Sandbox) failed(p *proc) {
	cause := p.cause
	b.failures++
	if !p.retry {
		b.log.Warn("code execution: a worker ended before it was ready; another one is started", "cause", cause)
		return
	}
	if b.startErr == nil || b.startErr.Error() != cause.Error() {
		b.log.Error("code execution: a worker could not be started; tried again from time to time", "cause", cause)
	}
	pause := min(b.tune.backoff<<min(b.failures-2, 16), longestBackoff)
	b.startErr = cause
	b.pausing = true
	timer := time.AfterFunc(pause, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.pausing = false
		b.maintain()
	})
	b.stopPause = timer.Stop
}

// maintain has a worker ready that nobody has used, and others on their way
// for those that wait. b.mu is held.
func (b *Sandbox) maintain() {
	if b.closed || b.pausing {
		return
	}
	unused, starting, alive := 0, 0, 0
	for p := range b.procs {
		switch {
		case p.trusted:
			continue
		case !p.ready && !p.killed:
			starting++
		case p.ready && p.served == 0 && !p.retiring:
			unused++
		}
		alive++
	}
	// One at a time until it is known that they start: all would compile the
	// same guests. Then few: a start takes as much time as hundreds of programs.
	atOnce := 1
	if b.failures == 0 && unused+alive-starting > 0 {
		atOnce = max(1, b.workers/2)
	}
	for ; unused+starting < 1+b.waiting && starting < atOnce && alive < b.most(); alive++ {
		b.launch(false)
		starting++
	}
}

func (b *Sandbox) most() int { return alivePerWorker * b.workers }

// choose finds a worker for a new session of who, nil when there is none yet.
// b.mu is held.
//
// # Isolation
//
// Without Shared, a worker with a session of another principal is never chosen,
// and one that says it has none of them left is believed only after its
// answer to KindClose. A worker that nobody had comes first.
func (b *Sandbox) choose(who string) *proc {
	var own, unused, vacant *proc
	owned := 0
	for p := range b.procs {
		if p.trusted || !p.ready || p.retiring {
			continue
		}
		switch mine := p.served > 0 && (p.who == who || b.cfg.Shared); {
		case mine:
			owned++
			if own == nil || len(p.calls) < len(own.calls) {
				own = p
			}
		case p.served == 0:
			unused = p
		case len(p.owners) == 0 && p.served < mostPrincipals:
			vacant = p
		}
	}
	switch {
	case own != nil && (len(own.calls) == 0 || owned >= b.workers):
		return own
	case unused != nil:
		return unused
	case vacant != nil:
		return vacant
	}
	return own
}

// place gives s a session in a worker. It returns once that is there; the
// session has to be opened by the caller. b.mu is held, and let go of while
// waiting.
func (b *Sandbox) place(ctx context.Context, s *Session) error {
	b.waiting++
	defer func() { b.waiting-- }()
	for {
		if b.closed || s.closed {
			return ErrClosed
		}
		if len(b.stateful) >= b.limits.Sessions && !b.evictOldest(nil) {
			return ErrBusy
		}
		if p := b.choose(s.who); p != nil {
			if p.who != s.who || p.served == 0 {
				p.who = s.who
				p.served++
			}
			s.at, s.id, s.opened = p, p.fresh(func(id uint32) bool { _, ok := p.owners[id]; return ok }), false
			p.owners[s.id], p.empty = s, time.Time{}
			b.stateful[s] = true
			b.maintain()
			return nil
		}
		if err := b.room(); err != nil {
			return err
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.stop:
		}
		b.mu.Lock()
		if ctx.Err() != nil {
			return b.late(ctx)
		}
	}
}

// late is why a program whose ctx is done has no worker. b.mu is held.
func (b *Sandbox) late(ctx context.Context) error {
	why := reason(ctx)
	if d := b.preparing(time.Now()); d > 0 && errors.Is(why, ErrBusy) {
		return fmt.Errorf("%w; it starts since %s: %w", ErrPreparing, d.Round(time.Millisecond), why)
	}
	return why
}

// room sees to it that a worker will be there for somebody who has none. It
// fails when none can be started. b.mu is held.
func (b *Sandbox) room() error {
	b.maintain()
	alive, coming := 0, 0
	for p := range b.procs {
		if p.trusted {
			continue
		}
		alive++
		if p.killed || !p.ready {
			coming++
		}
	}
	switch {
	case b.startErr != nil && b.pausing:
		return fmt.Errorf("%w: %w", ErrWorker, b.startErr)
	case alive < b.most() || coming > 0:
		return nil
	}
	// Those that are there belong to others, most of them idle.
	for p := range b.procs {
		if !p.trusted && len(p.owners) == 0 {
			p.killLocked(nil)
			return nil
		}
	}
	var oldest *proc
	var since time.Time
	for p := range b.procs {
		if p.trusted || len(p.calls) > 0 {
			continue
		}
		used, busy := time.Time{}, false
		for _, s := range p.owners {
			if s != nil {
				busy = busy || s.busy
				if s.used.After(used) {
					used = s.used
				}
			}
		}
		if !busy && (oldest == nil || used.Before(since)) {
			oldest, since = p, used
		}
	}
	if oldest == nil {
		return nil // one of them will be done soon
	}
	for _, s := range oldest.owners {
		if s != nil {
			s.forget("idle")
		}
	}
	oldest.killLocked(nil)
	return nil
}

// evictOldest takes the state of the session that has been idle for longest, in
// worker p or, if that is nil, in any. It reports whether there was one. b.mu is
// held.
func (b *Sandbox) evictOldest(p *proc) bool {
	var oldest *Session
	for s := range b.stateful {
		if !s.busy && (p == nil || s.at == p) && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	if oldest == nil {
		return false
	}
	oldest.leave("idle")
	return true
}

// errMemory ends a worker that took too much.
var errMemory = errors.New("it has more private memory than allowed")

// tick looks after workers and sessions: what is idle ends, and so does what
// takes too much memory.
func (b *Sandbox) tick(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.stateful {
		if !s.busy && now.Sub(s.used) >= b.limits.Idle {
			s.leave("idle")
		}
	}
	unused := 0
	for p := range b.procs {
		if !p.ready || p.killed {
			continue
		}
		p.private = b.memory(p.pid)
		switch {
		case p.private >= 2*b.limits.Worker:
			p.killLocked(fmt.Errorf("%w: %d MiB", errMemory, p.private>>20))
			continue
		case p.private >= b.limits.Worker:
			p.retiring = true
			b.evictOldest(p)
		}
		if len(p.owners) > 0 {
			continue
		}
		if p.served == 0 && !p.trusted {
			unused++
		}
		spare := p.served == 0 && !p.trusted && unused == 1
		if p.retiring || !spare && now.Sub(p.empty) >= b.tune.idle {
			p.killLocked(nil)
		}
	}
	b.maintain()
}
