package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// queue hands out the right to run a program: few at once, the principals that
// wait in turns, so that none of them keeps another one waiting with many.
type queue struct {
	most, mostEach int // that wait, altogether and of one principal

	mu      sync.Mutex
	free    int
	waiting int
	each    map[string]int       // tickets that wait, by principal
	lines   map[string][]*ticket // those in await
	order   []string             // principals with a line, in the order of their coming
	turns   uint64               // that were given
	last    map[string]uint64    // the last turn of each principal that was here of late
}

// maxLast is how many principals' last turns are kept, before those that wait
// for nothing are forgotten.
const maxLast = 1024

func newQueue(running, waiting int) *queue {
	return &queue{free: running, most: waiting, mostEach: max(waiting/2, 1), each: map[string]int{}, lines: map[string][]*ticket{}, last: map[string]uint64{}}
}

// ticket is one program's place. It waits from join to await, and runs from
// there to leave, with breaks from sleep to the next await.
type ticket struct {
	q       *queue
	who     string
	turn    chan struct{} // closed when it may run; replaced by sleep
	running bool
	left    bool
}

// join takes a place. It fails with ErrBusy when there is none, with ErrShare
// when there is one for others.
func (q *queue) join(who string) (*ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.waiting >= q.most:
		return nil, fmt.Errorf("%w; %d wait", ErrBusy, q.waiting)
	case q.each[who] >= q.mostEach:
		return nil, fmt.Errorf("%w; %d of its programs wait", ErrShare, q.each[who])
	}
	q.count(who, 1)
	return &ticket{q: q, who: who, turn: make(chan struct{})}, nil
}

// start is the ticket of a worker that starts. It takes as much of a processor
// as a program, so it waits for a turn like one, as if all starts were one more
// principal's; it needs no place, and is not counted among the programs.
func (q *queue) start() *ticket { return &ticket{q: q, turn: make(chan struct{})} }

// await returns when the program may run. It fails when ctx is done, with the
// reason, or when stop is closed.
func (t *ticket) await(ctx context.Context, stop <-chan struct{}) error {
	q := t.q
	q.mu.Lock()
	if t.left {
		q.mu.Unlock()
		return ErrClosed
	}
	if len(q.lines[t.who]) == 0 {
		q.order = append(q.order, t.who)
	}
	q.lines[t.who] = append(q.lines[t.who], t)
	q.next()
	turn := t.turn
	q.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done(): // leave takes it out of its line
		return reason(ctx)
	case <-stop:
		return ErrClosed
	}
}

// reason is why ctx is done: that a program waited for too long, or its Err.
func reason(ctx context.Context) error {
	if why := context.Cause(ctx); errors.Is(why, ErrBusy) {
		return why
	}
	return ctx.Err()
}

// next lets those run for whom there is room. q.mu is held.
func (q *queue) next() {
	for q.free > 0 && len(q.order) > 0 {
		first := 0 // whose last turn is longest ago
		for i, who := range q.order {
			if q.last[who] < q.last[q.order[first]] {
				first = i
			}
		}
		who := q.order[first]
		q.order = slices.Delete(q.order, first, first+1)
		if len(q.last) >= maxLast {
			maps.DeleteFunc(q.last, func(who string, _ uint64) bool { return len(q.lines[who]) == 0 })
		}
		q.turns++
		q.last[who] = q.turns
		t := q.lines[who][0]
		if rest := q.lines[who][1:]; len(rest) > 0 {
			q.lines[who] = rest
			q.order = append(q.order, who)
		} else {
			delete(q.lines, who)
		}
		q.free--
		q.count(who, -1)
		t.running = true
		close(t.turn)
	}
}

// sleep gives the right to run back until await gives it again. Others run
// while this program does nothing; it still has its place.
func (t *ticket) sleep() {
	q := t.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if !t.running || t.left {
		return
	}
	t.running, t.turn = false, make(chan struct{})
	q.free++
	q.count(t.who, 1)
	q.next()
}

// count notes that n more of who's programs wait; a start is nobody's. q.mu is
// held.
func (q *queue) count(who string, n int) {
	if who == "" {
		return
	}
	q.waiting += n
	if q.each[who] += n; q.each[who] == 0 {
		delete(q.each, who)
	}
}

// leave gives the place back, whether it ran or not. It may be called again.
func (t *ticket) leave() {
	q := t.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.left {
		return
	}
	t.left = true
	if t.running {
		q.free++
		q.next()
		return
	}
	q.count(t.who, -1)
	line := q.lines[t.who]
	i := slices.Index(line, t)
	switch {
	case i < 0: // it never came to await
	case len(line) == 1:
		delete(q.lines, t.who)
		q.order = slices.DeleteFunc(q.order, func(who string) bool { return who == t.who })
	default:
		q.lines[t.who] = slices.Delete(line, i, i+1)
	}
}

// lengths are the numbers of programs that wait and of those that could run.
func (q *queue) lengths() (waiting, free int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting, q.free
}
