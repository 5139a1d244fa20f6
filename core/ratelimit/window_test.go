package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWindowExact: a window that is used as fast as it may be never has more in
// any span than the limit, and what it refuses is admitted after the wait it
// says and not before.
func TestWindowExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := bound{span: time.Minute, requests: 1 + r.Int64N(40), tokens: 100 + r.Int64N(1000)}
		var w window
		type event struct {
			at     time.Duration
			tokens int64
		}
		var log []event
		sum := func(at time.Duration) (n, tokens int64) { // in (at-span, at]
			for _, e := range log {
				if e.at > at-b.span && e.at <= at {
					n++
					tokens += e.tokens
				}
			}
			return n, tokens
		}
		now := time.Duration(0)
		for range 600 {
			now += time.Duration(r.Int64N(int64(4*b.span) / (b.requests + 1)))
			want := 1 + r.Int64N(b.tokens)
			at := w.advance(now, b)
			if at != now {
				t.Fatalf("seed %d: the clock went from %v to %v", seed, now, at)
			}
			if !w.fits(b, 1, want) {
				d := w.wait(now, b, 1, want)
				if d <= 0 || d > b.span {
					t.Fatalf("seed %d: wait of %v", seed, d)
				}
				almost := w
				almost.slots = append([]slot(nil), w.slots...)
				almost.advance(now+d-1, b)
				if almost.fits(b, 1, want) {
					t.Fatalf("seed %d: there is room before the wait is over", seed)
				}
				// The naive count, of exact times, would not have admitted it a
				// sixtieth of the span earlier than the window does.
				earlier := now + d - b.span/slotsInSpan - 1
				if n, tokens := sum(earlier); earlier > now && n+1 <= b.requests && tokens+want <= b.tokens {
					t.Fatalf("seed %d: kept out for too long", seed)
				}
				now += d
				w.advance(now, b)
				if !w.fits(b, 1, want) {
					t.Fatalf("seed %d: no room after a wait of %v", seed, d)
				}
			}
			w.add(now, b.span, 1, want)
			log = append(log, event{now, want})
			if n, tokens := sum(now); n > b.requests || tokens > b.tokens {
				t.Fatalf("seed %d: %d requests and %d tokens within a span; the limit is %d and %d", seed, n, tokens, b.requests, b.tokens)
			}
			if n := len(w.slots); n > slotsInSpan+2 {
				t.Fatalf("seed %d: %d slots", seed, n)
			}
		}
	}
}

// TestDebt: what was used beyond the limit is paid, window after window, before
// anything else; over any time no more than the limit passes.
func TestDebt(t *testing.T) {
	t.Parallel()
	b := bound{span: time.Minute, tokens: 100}
	tests := []struct {
		name  string
		used  int64         // by a call that held 50
		after time.Duration // that it is settled
		ask   int64
		free  time.Duration // when the next is admitted, from its beginning
	}{
		{"as held", 50, 0, 50, 0},
		{"less", 10, 0, 90, 0},
		{"nothing", 0, 0, 100, 0},
		{"to the limit", 100, 0, 1, time.Minute},
		{"to the limit, late", 100, 30 * time.Second, 1, time.Minute},
		{"a debt of half a window", 150, 0, 50, time.Minute},
		{"more than what is left of it", 150, 0, 51, 2 * time.Minute},
		{"a debt of three windows", 400, 0, 1, 4 * time.Minute},
		{"settled after the window", 100, 90 * time.Second, 50, 90 * time.Second},
		{"settled after the window, more", 250, 90 * time.Second, 1, 90*time.Second + 2*time.Minute},
		{"less after the window", 10, 90 * time.Second, 100, 90 * time.Second},
		{"a count that cannot be true", 1e9, 0, 1, 11 * time.Minute},
	}
	for _, tt := range tests {
		var w window
		n := w.add(w.advance(0, b), b.span, 1, 50)
		w.correct(n, tt.after, b, 0, tt.used-50)
		now := w.advance(tt.after, b)
		d := time.Duration(0)
		if !w.fits(b, 0, tt.ask) {
			d = w.wait(now, b, 0, tt.ask)
		}
		if got := now + d; got != tt.free {
			t.Errorf("%s: free at %v, want %v", tt.name, got, tt.free)
		}
		w.advance(now+d, b)
		if !w.fits(b, 0, tt.ask) {
			t.Errorf("%s: not free then", tt.name)
		}
		if d > 0 {
			var again window
			n := again.add(0, b.span, 1, 50)
			again.correct(n, tt.after, b, 0, tt.used-50)
			if again.advance(now+d-1, b); again.fits(b, 0, tt.ask) {
				t.Errorf("%s: free before", tt.name)
			}
		}
	}
}

// TestWindowOthers: what one call gives back or owes does not touch what the
// others in its slot hold.
func TestWindowOthers(t *testing.T) {
	t.Parallel()
	b := bound{span: time.Minute, tokens: 200}
	var w window
	first, second := w.add(0, b.span, 1, 100), w.add(0, b.span, 1, 100)
	if first != second {
		t.Fatalf("slots %d and %d", first, second)
	}
	w.correct(first, 0, b, 0, 150) // 250 of 100
	if w.tokens != 200 || w.debt != 150 {
		t.Fatalf("%d tokens, debt %d", w.tokens, w.debt)
	}
	w.correct(second, 0, b, 0, -100)
	if w.tokens != 200 || w.debt != 50 {
		t.Fatalf("after the second: %d tokens, debt %d", w.tokens, w.debt)
	}
	raised := bound{span: time.Minute, tokens: 1000}
	w.advance(0, raised)
	if w.tokens != 250 || w.debt != 0 || !w.fits(raised, 0, 750) || w.fits(raised, 0, 751) {
		t.Fatalf("with a larger limit: %d tokens, debt %d", w.tokens, w.debt)
	}
	lowered := bound{span: time.Minute, tokens: 10}
	w.advance(time.Minute-1, lowered)
	if w.fits(lowered, 0, 1) || w.wait(time.Minute-1, lowered, 0, 1) != 1 || w.wait(0, lowered, 0, 11) != never {
		t.Fatalf("with a smaller limit: %d tokens", w.tokens)
	}
	least := w.slots[0]
	if w.correct(w.first, time.Minute-1, lowered, 0, 7); w.debt != 7 || w.slots[0] != least {
		t.Fatalf("more of one call: debt %d, slot %+v, was %+v", w.debt, w.slots[0], least)
	}
	w.debt = 0
	if w.advance(time.Minute, lowered); !w.idle() {
		t.Fatalf("not idle: %+v", w)
	}
}
