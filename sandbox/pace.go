package sandbox

import "time"

// paceEvery is the time between two looks at what a busy worker uses.
const paceEvery = 100 * time.Millisecond

// paces are the nicenesses of workers, by the share of a core that they used of
// late. A short program is quick also beside much else; one that computes and
// computes gives way to nearly everything, but what gets next to nothing is
// short again, so that nobody starves.
var paces = []struct {
	share    float64 // up to this much
	niceness int
}{{0.1, 5}, {0.3, 10}, {1e9, 15}}

// nicenessFor is the niceness of a worker with that share.
func nicenessFor(share float64) int {
	for _, p := range paces {
		if share <= p.share {
			return p.niceness
		}
	}
	return paces[len(paces)-1].niceness
}

// usage is how much of a core a worker uses, as an average in which what was
// half a second ago counts a quarter.
type usage struct {
	at    time.Time
	used  time.Duration // until then
	share float64
}

// add notes that used has been used until now.
func (u *usage) add(now time.Time, used time.Duration) {
	if d := now.Sub(u.at); d > 0 {
		// After a late look the past counts less.
		w := min(d.Seconds()/paceEvery.Seconds()/4, 1)
		u.share += w * ((used-u.used).Seconds()/d.Seconds() - u.share)
	}
	u.at, u.used = now, used
}

// quicken lets p be quick at something new, and begins to look at what it uses,
// unless that goes on already. box.mu is held.
func (p *proc) quicken() {
	if p.killed || p.box.closed {
		return
	}
	p.usage.at, p.usage.share = time.Now(), 0
	p.setNiceness(paces[0].niceness)
	if !p.paced {
		p.paced = true
		p.paceSoon()
	}
}

// paceSoon has pace called. box.mu is held.
func (p *proc) paceSoon() {
	time.AfterFunc(paceEvery, func() {
		p.box.mu.Lock()
		defer p.box.mu.Unlock()
		p.pace(time.Now())
	})
}

// pace looks at what p uses while it runs programs, and sets its niceness. One
// that starts keeps the lowest: it has a turn, and programs wait for that.
// box.mu is held: while it is and p is not killed, the number of the process is
// nobody else's.
func (p *proc) pace(now time.Time) {
	if p.killed || p.box.closed {
		return
	}
	if used, ok := processorTime(p.pid); ok {
		p.usage.add(now, used)
	}
	niceness := paces[0].niceness
	busy := len(p.calls) > 0
	if busy && !p.trusted { // whose work is ours, and a caller waits for it
		niceness = nicenessFor(p.usage.share)
	}
	p.setNiceness(niceness)
	if p.paced = busy || p.niceness != niceness; p.paced {
		p.paceSoon()
	}
}

// setNiceness makes p as nice as that, if it is not. box.mu is held.
func (p *proc) setNiceness(niceness int) {
	if niceness != p.niceness && giveWay(p.pid, niceness) {
		p.niceness = niceness
	}
}
