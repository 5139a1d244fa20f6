package ratelimit

import (
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// TestSession replays a coding session under the limits of the documentation's
// example: 20 turns a minute by a main agent and three sub-agents, max_tokens
// 64,000, nine tenths of the input read from the provider's cache.
func TestSession(t *testing.T) {
	t.Parallel()
	session := func(size int64, cached bool) (refused int, message string) {
		c := newClock()
		s := open(t, c, nil, Limit{Each: "user", Requests: 60, Tokens: 400_000, Per: "minute", Count: []string{"input", "output", "cache_write"}})
		type running struct {
			ticket *Ticket
			usage  openresponses.Usage
			ends   time.Duration
		}
		var open []running
		for turn := range 200 { // ten minutes
			for i := 0; i < len(open); i++ {
				if r := open[i]; r.ends <= c.since() {
					r.ticket.Settle(r.usage, 0)
					open = append(open[:i], open[i+1:]...)
					i--
				}
			}
			agent := int64(turn % 4)
			in := size + size/50*int64(turn/4) + agent*1000 // contexts grow
			u := openresponses.Usage{Input: in, Output: 300 + 40*int64(turn%17)}
			if cached {
				u = openresponses.Usage{Input: in / 20, CacheWrite: in / 20, CacheRead: in - in/10, Output: u.Output}
			}
			q := Request{Op: provider.Generate, Model: "m", Input: in, MaxOutput: 64000, Caller: Caller{Name: "alice@example.com"}}
			if ticket, err := s.Reserve(t.Context(), q); err != nil {
				refused++
				message = err.Error()
				if !apierror.Is(err, apierror.RateLimited) {
					t.Fatal(err)
				}
			} else {
				open = append(open, running{ticket, u, c.since() + time.Duration(4+turn%9)*time.Second})
			}
			c.pass(3 * time.Second)
		}
		return refused, message
	}
	for _, size := range []int64{10_000, 30_000, 60_000, 90_000} {
		if n, message := session(size, true); n > 0 {
			t.Errorf("cached, %d tokens: %d turns were refused: %s", size, n, message)
		}
	}
	for _, size := range []int64{30_000, 60_000} {
		if n, _ := session(10*size, false); n < 50 {
			t.Errorf("not cached, %d tokens: only %d turns were refused", 10*size, n)
		}
	}
}

// TestExpect: what is reserved for the next call, after these.
func TestExpect(t *testing.T) {
	t.Parallel()
	type past struct {
		n         int
		estimated int64
		used      openresponses.Usage
	}
	all, example := kindsOf(nil), kindsOf([]string{"input", "output", "cache_write"})
	cachedTurn := past{30, 10_000, openresponses.Usage{Input: 500, CacheRead: 9000, CacheWrite: 500, Output: 400}}
	tests := []struct {
		name          string
		past          []past
		kinds         kinds
		input, output int64 // of the next
		min, max      int64
		most          int64 // with reserve: max
	}{
		{"nothing known", nil, all, 1000, 64000, 3048, 3048, 66000},
		{"a short reply", nil, all, 1000, 100, 1100, 1100, 2100},
		{"no bound on the reply", nil, all, 1000, 0, 3048, 3048, 2000 + unknownOutput},
		{"only reads count", nil, cacheRead, 1000, 64000, 0, 0, 2000},
		{"only output counts", nil, output, 1000, 64000, 2048, 2048, 64000},
		{"cached", []past{cachedTurn}, example, 10_000, 64000, 1400, 1460, 84000},
		{"cached, all kinds count", []past{cachedTurn}, all, 10_000, 64000, 10_390, 10_450, 84000},
		{"only reads count, cached", []past{cachedTurn}, cacheRead, 10_000, 64000, 8900, 9000, 20_000},
		{"text that needs more tokens", []past{{40, 1000, use(3000, 10)}}, all, 1000, 64000, 2950, 3060, 2000 + 1000 + 64000},
		{"an image", []past{{40, 100_000, use(2000, 10)}}, all, 100_000, 64000, 1900, 2200, 264_000},
		{"reasoning does not count", []past{{40, 100, openresponses.Usage{Input: 100, Output: 100, Reasoning: 900}}}, example, 100, 64000, 195, 205, 64200},
		{"a title call does not change much", []past{cachedTurn, {1, 50, use(50, 8)}}, example, 10_000, 64000, 1400, 1520, 84000},
		{"one long reply of twenty", []past{{19, 0, use(0, 100)}, {1, 0, use(0, 9000)}}, output, 0, 64000, 100, 100, 64000},
		{"three long replies of twenty", []past{{17, 0, use(0, 100)}, {3, 0, use(0, 9000)}}, output, 0, 64000, 9000, 9000, 64000},
	}
	for _, tt := range tests {
		h := newHistory()
		for _, p := range tt.past {
			for range p.n {
				h.learn(0, p.estimated, split(&p.used))
			}
		}
		q := Request{Op: provider.Generate, Input: tt.input, MaxOutput: tt.output}
		if got := h.expect(&q, tt.kinds); got < tt.min || got > tt.max {
			t.Errorf("%s: expects %d, want %d to %d", tt.name, got, tt.min, tt.max)
		}
		if got := h.maximum(&q, tt.kinds); got != tt.most {
			t.Errorf("%s: at most %d, want %d", tt.name, got, tt.most)
		}
		q.Op = provider.Embed
		if got := h.expect(&q, outputs); got != 0 {
			t.Errorf("%s: vectors are expected to take %d tokens of output", tt.name, got)
		}
	}
}

// TestHistories: what is known of callers is let go of when it is old.
func TestHistories(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, nil, Limit{Each: "user", Tokens: 1e6, Per: "minute"})
	for i := range 500 {
		ticket, err := s.Reserve(t.Context(), call(fmt.Sprint("user", i)))
		if err != nil {
			t.Fatal(err)
		}
		ticket.Settle(use(100, 3), 0)
		c.pass(time.Minute)
	}
	g := &s.model("m").calls
	if n := len(g.histories); n > 200 {
		t.Errorf("%d histories", n)
	}
	if n := len(g.rules[0].buckets); n > 200 {
		t.Errorf("%d counts", n)
	}
}

// TestLateDebt: a count is kept for a call that is under way, however long that
// takes, so that what it has used beyond its estimate is paid.
func TestLateDebt(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, nil, Limit{Each: "user", Tokens: 1000, Per: "minute"})
	long, err := s.Reserve(t.Context(), call("ana"))
	if err != nil {
		t.Fatal(err)
	}
	c.pass(10 * time.Minute)
	for i := range 300 { // so that idle counts are looked for
		ticket, err := s.Reserve(t.Context(), call(fmt.Sprint("user", i)))
		if err != nil {
			t.Fatal(err)
		}
		ticket.Settle(use(1, 1), 0)
		c.pass(time.Second)
	}
	long.Settle(use(5000, 0), 0)
	if _, err := s.Reserve(t.Context(), call("ana")); !apierror.Is(err, apierror.RateLimited) {
		t.Errorf("the debt is not paid: %v", err)
	}
}
