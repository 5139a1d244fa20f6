package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// naive is the rules as they are written in the package's documentation, over a
// list of all calls that were ever admitted.
type naive struct {
	limits []Limit
	calls  []naiveCall
}

type naiveCall struct {
	at     time.Duration
	caller Caller
	tokens int64
	spared map[string]bool // groups that were full and not charged
	gone   bool            // released
}

// counts reports whether limit l counts a call of c, and in whose name.
func (l Limit) counts(c Caller) (name string, ok bool) {
	kind, _, _ := cutSpace(l.Each + l.Of)
	_, rest, _ := cutSpace(l.Of)
	switch {
	case l.Each == "" && l.Of == "":
		return "", true
	case l.Each == "user":
		return c.Name, !c.ServicePrincipal
	case l.Each == "service_principal":
		return c.Name, c.ServicePrincipal
	case l.Each == "principal":
		return fmt.Sprint(c.Name, c.ServicePrincipal), true
	case kind == "tag" && l.Of == "":
		v, ok := c.Tags["team"]
		return v, ok
	case kind == "tag":
		return "", l.Of == "tag team="+c.Tags["team"] && c.Tags["team"] != ""
	case kind == "group":
		return "", slices.Contains(c.Groups, rest)
	}
	return "", (kind == "service_principal") == c.ServicePrincipal && rest == c.Name
}

func cutSpace(s string) (a, b string, ok bool) {
	for i := range len(s) {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func (l Limit) span() time.Duration {
	if l.Per == "hour" {
		return time.Hour
	}
	return time.Minute
}

// used is what limit l counts for c at a time.
func (n *naive) used(l Limit, c Caller, at time.Duration) (requests, tokens int64) {
	name, _ := l.counts(c)
	_, group, _ := cutSpace(l.Of)
	for _, x := range n.calls {
		if x.gone || x.at <= at-l.span() || x.spared[group] && l.Of == "group "+group {
			continue
		}
		if k, ok := l.counts(x.caller); ok && k == name && n.inForce(l, x.caller, true) {
			requests++
		}
		if k, ok := l.counts(x.caller); ok && k == name && n.inForce(l, x.caller, false) {
			tokens += x.tokens
		}
	}
	return requests, tokens
}

func (l Limit) bounds(requests bool) bool {
	if requests {
		return l.Requests > 0
	}
	return l.Tokens > 0
}

// rank of a limit: 0 always counts, then the smaller wins.
func (l Limit) rank() int {
	kind, _, _ := cutSpace(l.Each + l.Of)
	switch {
	case l.Each == "" && l.Of == "", kind == "tag":
		return 0
	case l.Of != "" && kind != "group":
		return 1
	case kind == "group":
		return 2
	}
	return 3
}

// inForce reports whether l's bound on requests, or on tokens, counts for c.
func (n *naive) inForce(l Limit, c Caller, requests bool) bool {
	if _, ok := l.counts(c); !ok || !l.bounds(requests) {
		return false
	}
	for _, other := range n.limits {
		if _, ok := other.counts(c); ok && other.bounds(requests) && l.rank() > 0 && other.rank() > 0 && other.rank() < l.rank() {
			return false
		}
	}
	return true
}

// admit says whether a call is admitted, and notes it.
func (n *naive) admit(c Caller, tokens int64, at time.Duration) bool {
	full, groups := map[string]bool{}, map[string]bool{}
	for _, l := range n.limits {
		r, k := n.inForce(l, c, true), n.inForce(l, c, false)
		if !r && !k {
			continue
		}
		requests, have := n.used(l, c, at)
		no := r && requests+1 > l.Requests || k && have+tokens > l.Tokens
		if l.rank() == 2 {
			_, g, _ := cutSpace(l.Of)
			groups[g] = true
			full[g] = full[g] || no
		} else if no {
			return false
		}
	}
	spared := map[string]bool{}
	for g := range groups {
		if full[g] {
			spared[g] = true
		}
	}
	if len(groups) > 0 && len(spared) == len(groups) {
		return false
	}
	n.calls = append(n.calls, naiveCall{at: at, caller: c, tokens: tokens, spared: spared})
	return true
}

// randomLimits are up to ten limits of all levels. Counts of one moment share a
// slot, and those of two do not, because time goes by in whole steps.
func randomLimits(r *rand.Rand, per string) []Limit {
	var limits []Limit
	seen := map[string]bool{}
	for range 1 + r.IntN(10) {
		var l Limit
		switch r.IntN(10) {
		case 0:
		case 1:
			l.Each = "user"
		case 2:
			l.Each = "service_principal"
		case 3:
			l.Each = "principal"
		case 4:
			l.Of = "user ana"
		case 5:
			l.Of = "service_principal etl"
		case 6, 7:
			l.Of = "group " + string("gh"[r.IntN(2)])
		case 8:
			l.Of = "tag team=a"
		case 9:
			l.Each = "tag team"
		}
		l.Per = per
		if r.IntN(3) > 0 {
			l.Requests = 1 + r.Int64N(8)
		}
		if l.Requests == 0 || r.IntN(3) == 0 {
			l.Tokens = 10 + r.Int64N(80)
			l.Reserve = "max"
		}
		if key := l.key(); !seen[key] {
			seen[key] = true
			limits = append(limits, l)
		}
	}
	return limits
}

func randomCaller(r *rand.Rand) Caller {
	c := Caller{Name: []string{"ana", "bob", "etl", "cid"}[r.IntN(4)]}
	c.ServicePrincipal = c.Name == "etl"
	for _, g := range []string{"g", "h", "free"} {
		if r.IntN(2) == 0 {
			c.Groups = append(c.Groups, g)
		}
	}
	if r.IntN(2) == 0 {
		c.Tags = map[string]string{"team": string("ab"[r.IntN(2)])}
	}
	return c
}

// TestNaive: random limits and callers are admitted and refused exactly as the
// rules say, and a refusal's wait is the time until the same call is admitted.
func TestNaive(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		per := []string{"minute", "hour"}[seed%2]
		n := &naive{limits: randomLimits(r, per)}
		c := newClock()
		s := open(t, c, nil, n.limits...)
		step := n.limits[0].span() / slotsInSpan
		for i := range 120 {
			c.pass(step * time.Duration(r.IntN(8)))
			who, tokens := randomCaller(r), 1+r.Int64N(12)
			q := Request{Op: provider.Generate, Model: "m", Caller: who, MaxOutput: tokens}
			fits := !slices.ContainsFunc(n.limits, func(l Limit) bool { return l.Tokens > 0 && l.Tokens < tokens })
			want := n.admit(who, tokens, c.since())
			ticket, err := s.Reserve(t.Context(), q)
			if (err == nil) != want {
				t.Fatalf("seed %d, call %d of %+v: %v; the rules say %v\n%+v", seed, i, who, err, want, n.limits)
			}
			switch {
			case err == nil && r.IntN(5) == 0:
				ticket.Release()
				n.calls[len(n.calls)-1].gone = true
			case err == nil:
				ticket.Settle(openresponses.Usage{Output: tokens}, 0)
				ticket.Release() // does nothing
			case fits && r.IntN(4) == 0:
				d := apierror.From(err).RetryAfter
				if d <= 0 || d > n.limits[0].span() {
					t.Fatalf("seed %d, call %d: %v: retry after %v", seed, i, err, d)
				}
				c.pass(d - 1)
				if ticket, err := s.Reserve(t.Context(), q); err == nil {
					ticket.Release()
					t.Fatalf("seed %d, call %d: admitted before the wait of %v was over\n%+v %+v", seed, i, d, who, n.limits)
				}
				c.pass(1)
				if ticket, err := s.Reserve(t.Context(), q); err != nil {
					t.Fatalf("seed %d, call %d: after the wait of %v: %v\n%+v %+v", seed, i, d, err, who, n.limits)
				} else {
					ticket.Release()
				}
			}
		}
	}
}

// TestParallel: sixteen clients at once never get more than the limits give, in
// requests, and in tokens where the most that a call can use is reserved; with
// an estimate, no more than what was under way was wrong by.
func TestParallel(t *testing.T) {
	t.Parallel()
	const clients, most = 16, 50
	for _, reserve := range []string{"max", ""} {
		c := newClock()
		limits := []Limit{
			{Requests: 400, Per: "minute"},
			{Each: "user", Requests: 60, Tokens: 1500, Per: "minute", Reserve: reserve},
			{Of: "group g", Requests: 150, Per: "minute"},
		}
		s := open(t, c, []Budget{{Each: "user", USD: 1e6, Per: "month"}}, limits...)
		type event struct {
			before, after time.Duration // it was admitted in between
			name          string
			group         bool
			tokens        int64
		}
		var mu sync.Mutex
		var log []event
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 3))
				q := Request{Op: provider.Generate, Model: "m", Input: 0, MaxOutput: most, Caller: Caller{Name: fmt.Sprint("user", i%4)}}
				if i%8 < 2 {
					q.Caller = Caller{Name: fmt.Sprint("member", i%2), Groups: []string{"g"}}
				}
				for range 600 {
					before := c.since()
					ticket, err := s.Reserve(t.Context(), q)
					after := c.since()
					if err != nil {
						c.pass(time.Duration(r.IntN(int(20 * time.Millisecond))))
						continue
					}
					tokens := int64(r.IntN(most + 1))
					if r.IntN(4) == 0 {
						c.pass(time.Duration(r.IntN(int(50 * time.Millisecond))))
					}
					if r.IntN(20) == 0 {
						ticket.Release()
						continue
					}
					ticket.Settle(openresponses.Usage{Output: tokens}, 1)
					mu.Lock()
					log = append(log, event{before, after, q.Caller.Name, len(q.Caller.Groups) > 0, tokens})
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.SortFunc(log, func(a, b event) int { return int(a.after - b.after) })
		allowed := int64(1500)
		if reserve == "" {
			allowed += clients * most
		}
		for i, last := range log { // what surely was in the minute that ends with it
			all, group, own, tokens := 0, 0, 0, int64(0)
			for j := i; j >= 0 && log[j].after > last.after-time.Minute; j-- {
				x := log[j]
				if x.before <= last.after-time.Minute {
					continue
				}
				all++
				if x.group {
					group++
				}
				if x.name == last.name {
					own++
					tokens += x.tokens
				}
			}
			if all > 400 || group > 150 || !last.group && own > 60 || tokens > allowed {
				t.Fatalf("reserve %q: within a minute %d requests, %d of the group, %d with %d tokens of %s", reserve, all, group, own, tokens, last.name)
			}
		}
		if len(log) < 400 {
			t.Errorf("reserve %q: only %d calls were admitted", reserve, len(log))
		}
	}
}
