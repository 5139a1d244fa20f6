package router

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// pulled is one step of a translator.
type pulled struct {
	ev   openresponses.Event
	err  error
	more bool // false: the translator has ended
}

// puller takes events out of a translator one by one. Most are taken directly;
// where the wait has a bound, a goroutine waits in our place, and the puller
// waits for that goroutine before it ends.
type puller struct {
	next    func() (openresponses.Event, error, bool)
	stop    func()
	results chan pulled
	waiting bool // a goroutine is inside next
	watch   *watchdog
}

func newPuller(ctx context.Context, ex provider.Exchange, r provider.Reply, w *watchdog) *puller {
	p := &puller{watch: w}
	if steps, ok := ex.(provider.Puller); ok {
		p.next, p.stop = steps.Pull(ctx, r)
	} else {
		p.next, p.stop = iter.Pull2(ex.Decode(ctx, r))
	}
	return p
}

// get gives the next step, or false when expired fired first; then another get
// goes on waiting for the same step. A nil channel never fires.
func (p *puller) get(expired <-chan time.Time) (pulled, bool) {
	if !p.waiting && expired == nil {
		return p.step(), true
	}
	if !p.waiting {
		if p.results == nil {
			p.results = make(chan pulled, 1)
		}
		p.waiting = true
		go func() { p.results <- p.step() }()
	}
	select {
	case got := <-p.results:
		p.waiting = false
		return got, true
	case <-expired:
		return pulled{}, false
	}
}

func (p *puller) step() pulled {
	p.watch.enter()
	ev, err, more := p.next()
	p.watch.leave()
	return pulled{ev, err, more}
}

// endWait is how long a translator may take to end after its last event,
// before it is told to.
const endWait = 50 * time.Millisecond

// close ends the translator. After a terminal event it is given a moment to
// end by itself, which leaves connections in a state to be used again.
func (p *puller) close(ended bool, cancel func()) {
	if ended && !p.waiting {
		timer := time.AfterFunc(endWait, cancel)
		p.step()
		timer.Stop()
	} else {
		cancel()
	}
	if p.waiting {
		<-p.results
	}
	p.stop()
}

// stuckAfter is how long a translator may neither read, nor give, nor end,
// while it is asked to.
const stuckAfter = 30 * time.Second

var errStuck = errors.New("translator stopped responding")

// watchdog cancels an attempt whose translator hangs. Time in which the
// translator waits for the provider, or we for the client, does not count.
type watchdog struct {
	steps  atomic.Uint64 // odd while the translator has the turn
	reply  *replyReader
	cancel context.CancelCauseFunc
	timer  *time.Timer
	seen   uint64
	read   int64
}

func startWatchdog(reply *replyReader, cancel context.CancelCauseFunc) *watchdog {
	w := &watchdog{reply: reply, cancel: cancel}
	w.timer = time.AfterFunc(stuckAfter, w.look)
	return w
}

func (w *watchdog) enter() { w.steps.Add(1) }
func (w *watchdog) leave() { w.steps.Add(1) }

// look runs on the timer's goroutine, never twice at once.
func (w *watchdog) look() {
	steps, read := w.steps.Load(), w.reply.n.Load()
	if steps%2 == 1 && steps == w.seen && read == w.read && !w.reply.reading.Load() {
		w.cancel(errStuck)
		return
	}
	w.seen, w.read = steps, read
	w.timer.Reset(stuckAfter)
}

func (w *watchdog) stop() { w.timer.Stop() }
