package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// # Memory
//
// A reply's text is kept until it is whole, since the last events repeat it,
// and on its way out it is there some times more. Many long replies at once
// could take the process to the limit of its memory, and with it every other
// reply. So what replies hold is counted. When it is much, the long ones wait,
// but for the few that began first: their providers are simply not read for a
// while. One that waits too long fails alone.

const (
	much      = 96 << 20         // bytes from which on long replies wait
	tooMuch   = 512 << 20        // bytes that are never exceeded; the process may have 1 GiB, the copies on their way included
	longReply = 1 << 20          // bytes from which on a reply is a long one
	first     = 3                // long replies that go on whatever the others hold
	step      = 64 << 10         // bytes by which a reply is counted
	patience  = 15 * time.Second // of one that waits: the gateway takes a translator for stuck that does nothing for twice as long
)

var errLoad = apierror.New(apierror.Unavailable, "Too many long replies are under way at once. Try again in a moment.")

// load is what all replies of the process hold.
type load struct {
	mu   sync.Mutex
	held int64
	long []*guard      // in the order in which they became long
	less chan struct{} // closed when less is held than before; nil while nobody waits
}

var process load

// guard counts what one reply holds.
type guard struct {
	load  *load
	ctx   context.Context // of the reply
	held  int64
	told  int64 // bytes of held that load knows
	known bool  // to load, as a long one
}

// hold counts n bytes more, or less, and waits while that is too much. It
// reports false when the wait was too long, or in vain.
func (g *guard) hold(n int) bool {
	g.held += int64(n)
	more := g.held - g.told
	if more < step && more > -step {
		return true
	}
	g.told += more
	return g.load.add(g, more)
}

// keep says that n bytes are held in all. It waits for nobody: the reply is
// under way to its client, and its provider's part of it waits already.
func (g *guard) keep(n int) bool {
	g.held = int64(n)
	more := g.held - g.told
	if more < step && more > -step {
		return true
	}
	g.told += more
	g.load.mu.Lock()
	defer g.load.mu.Unlock()
	g.load.held += more
	return g.load.held <= tooMuch
}

// release ends the counting.
func (g *guard) release() {
	l := g.load
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held -= g.told
	g.held, g.told = 0, 0
	l.long = slices.DeleteFunc(l.long, func(o *guard) bool { return o == g })
	l.tell()
}

// tell wakes those who wait.
func (l *load) tell() {
	if l.less != nil {
		close(l.less)
		l.less = nil
	}
}

func (l *load) add(g *guard, more int64) bool {
	l.mu.Lock()
	l.held += more
	if more < 0 {
		l.tell()
	}
	if g.told >= longReply && !g.known {
		g.known = true
		l.long = append(l.long, g)
	}
	full, wait := l.held > tooMuch && more > 0, l.waits(g, more)
	l.mu.Unlock()
	switch {
	case full:
		return false
	case !wait:
		return true
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		wait := l.waits(g, more)
		if l.less == nil {
			l.less = make(chan struct{})
		}
		less := l.less
		l.mu.Unlock()
		if !wait {
			return true
		}
		select {
		case <-less:
		case <-late.C:
			return false
		case <-g.ctx.Done():
			return true // whoever reads on sees it
		}
	}
}

// waits reports whether g has to wait before it grows.
func (l *load) waits(g *guard, more int64) bool {
	return more > 0 && g.known && l.held > much && slices.Index(l.long, g) >= first
}

// gate is between a decoder and whoever takes its events.
type gate struct {
	guard
	yield func(or.Event, error) bool
}

// emit passes an event on.
func (g *gate) emit(e or.Event, err error) bool {
	n := max(len(e.Text), size(e.Item, e.Part)) // on its way it is there once more
	if !g.hold(len(e.Delta) + n) {
		g.yield(or.Event{}, errLoad)
		return false
	}
	defer g.hold(-n)
	return g.yield(e, err)
}

// size is about how many bytes of text an item or a part has.
func size(it *or.Item, p *or.Part) int {
	n := 0
	if p != nil {
		n += len(p.Text) + len(p.Refusal)
	}
	if it != nil {
		n += len(it.Arguments)
		for i := range it.Content {
			n += len(it.Content[i].Text) + len(it.Content[i].Refusal)
		}
	}
	return n
}
