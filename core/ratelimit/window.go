package ratelimit

import (
	"slices"
	"time"
)

// window counts what was admitted within the last span of time. Times are
// those of Options.Elapsed.
//
// It is a sliding window: what was added at t counts before t+span and not from
// then on, whatever minute the clock shows. So that a window stays small, what
// is added within a sixtieth of the span may share a slot, and then leaves it
// together, with the last of them: never too early, and at most a sixtieth of
// the span too late.
//
// What is found to have been used beyond the limit is debt. It waits outside the
// window and moves into it as soon as something leaves, before anything else may
// be added, so that in the long run not more than the limit passes in a span.
type window struct {
	slots    []slot // by time
	first    uint64 // number of slots[0]; numbers go up by one
	requests int64  // of all slots
	tokens   int64  // of all slots
	debt     int64  // tokens
}

// slot is what was added between two moments.
type slot struct {
	from, last       time.Duration
	requests, tokens int64
}

// bound is what a window may hold.
type bound struct {
	span             time.Duration
	requests, tokens int64 // 0 means unbounded
}

const (
	slotsInSpan = 60
	// maxDebt is how many spans of tokens a window may owe. A count that is
	// not true must not shut somebody out for a year.
	maxDebt = 10
	// never is a wait that no time ends.
	never = time.Duration(1<<63 - 1)
)

// idle reports whether nothing counts any more.
func (w *window) idle() bool { return len(w.slots) == 0 && w.debt == 0 }

// at is now, but not before anything that was added: callers read the clock
// before they wait for their turn.
func (w *window) at(now time.Duration) time.Duration {
	if n := len(w.slots); n > 0 {
		return max(now, w.slots[n-1].last)
	}
	return now
}

// advance lets go of what has left the window by now, and returns the time to
// go by.
func (w *window) advance(now time.Duration, b bound) time.Duration {
	now = w.at(now)
	gone := 0
	for gone < len(w.slots) && w.slots[gone].last+b.span <= now {
		s := w.slots[gone]
		gone++
		w.requests -= s.requests
		w.tokens -= s.tokens
		w.pay(s.last+b.span, b)
	}
	if gone > 0 {
		w.slots = slices.Delete(w.slots, 0, gone)
		w.first += uint64(gone)
	}
	w.pay(now, b) // the limit may have been raised
	return now
}

// pay moves debt into the window where there is room for it.
func (w *window) pay(at time.Duration, b bound) {
	if n := min(w.debt, b.tokens-w.tokens); n > 0 {
		w.debt -= n
		w.add(at, b.span, 0, n)
	}
}

// add counts something at a moment that advance has returned, and returns the
// number of its slot.
func (w *window) add(at, span time.Duration, requests, tokens int64) uint64 {
	w.requests += requests
	w.tokens += tokens
	n := len(w.slots)
	if n == 0 || at-w.slots[n-1].from >= span/slotsInSpan {
		w.slots = append(w.slots, slot{at, at, requests, tokens})
		return w.first + uint64(n)
	}
	s := &w.slots[n-1]
	s.last = at
	s.requests += requests
	s.tokens += tokens
	return w.first + uint64(n-1)
}

// correct changes what was added to the slot of that number. Less is room at
// once, unless there is debt; more than fits is debt. What has left the window
// cannot become less.
func (w *window) correct(number uint64, now time.Duration, b bound, requests, tokens int64) {
	now = w.advance(now, b)
	var s *slot
	if number >= w.first && number-w.first < uint64(len(w.slots)) {
		s = &w.slots[number-w.first]
	}
	if s != nil && requests < 0 {
		s.requests += requests
		w.requests += requests
	}
	switch {
	case tokens < 0 && s != nil:
		paid := min(w.debt, -tokens)
		w.debt -= paid
		s.tokens += tokens + paid
		w.tokens += tokens + paid
	case tokens > 0:
		fits := tokens
		if over := w.tokens + tokens - b.tokens; over > 0 {
			over = min(over, tokens)
			fits = tokens - over
			w.debt = min(w.debt+over, maxDebt*b.tokens)
		}
		if s != nil {
			s.tokens += fits
			w.tokens += fits
		} else if fits > 0 {
			w.add(now, b.span, 0, fits)
		}
	}
}

// fits reports whether that much may be added after advance. Nothing always
// may: the caller does not ask about that bound.
func (w *window) fits(b bound, requests, tokens int64) bool {
	return (b.requests == 0 || requests == 0 || w.requests+requests <= b.requests) &&
		(b.tokens == 0 || tokens == 0 || w.tokens+w.debt+tokens <= b.tokens)
}

// wait is how long after now it takes until that much may be added, if nothing
// else changes.
func (w *window) wait(now time.Duration, b bound, requests, tokens int64) time.Duration {
	if b.requests > 0 && requests > b.requests || b.tokens > 0 && tokens > b.tokens {
		return never
	}
	then := window{slots: slices.Clone(w.slots), first: w.first, requests: w.requests, tokens: w.tokens, debt: w.debt}
	at := now
	for !then.fits(b, requests, tokens) {
		at = then.slots[0].last + b.span
		then.advance(at, b)
	}
	return at - now
}

// drains is when nothing counts any more, if nothing is added. The window must
// not be idle.
func (w *window) drains(b bound) time.Duration {
	then := window{slots: slices.Clone(w.slots), requests: w.requests, tokens: w.tokens, debt: w.debt}
	at := then.slots[len(then.slots)-1].last
	for len(then.slots) > 0 {
		at = then.slots[0].last + b.span
		then.advance(at, b)
	}
	return at
}
