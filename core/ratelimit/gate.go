package ratelimit

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// gate is the limits on one kind of call of one model, which are looked at and
// charged as one.
//
// Which of them count for a caller is as in Databricks, AI Gateway rate limits.
// The limits on all traffic, and on a tag that the request has, always do. Of the
// rest the most specific do: the caller's own before those of the caller's
// groups, and these before those that each caller has. Requests and tokens are
// seen apart, so that a limit of the one does not lift a less specific one of the
// other. A caller in several limited groups is refused only when each of them is
// full, and what is admitted counts for those that are not.
type gate struct {
	model string
	op    string // as in Limit.Op

	open atomic.Bool // there are no rules

	mu        sync.Mutex
	rules     []*rule // in the order of the configuration
	always    []*rule
	tags      []*rule
	own       map[owner][]*rule
	groups    map[string][]*rule
	users     []*rule // that each user has
	services  []*rule // that each service principal has
	guesses   bool    // some rule counts tokens
	histories map[owner]*history
	forgetAt  int // how many histories there must be before old ones are looked for
	tickets   []Ticket
}

// owner is a caller's name. Users and service principals may share one.
type owner struct {
	name             string
	servicePrincipal bool
}

func (c *Caller) owner() owner { return owner{c.Name, c.ServicePrincipal} }

// builtin is the limit on counting tokens where the configuration has none.
var builtin = []Limit{{Each: "principal", Requests: CountRequests, Per: "minute", Op: "count_tokens"}}

// apply puts these limits in force. Rules that stay keep their counts.
func (g *gate) apply(limits []Limit, from time.Time) {
	standard := false
	if g.op != "" && len(limits) == 0 {
		limits, standard = builtin, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	before := map[string]*rule{}
	for _, r := range g.rules {
		before[r.key()] = r
	}
	g.rules, g.always, g.tags, g.users, g.services, g.guesses = nil, nil, nil, nil, nil, false
	g.own, g.groups = map[owner][]*rule{}, map[string][]*rule{}
	for _, l := range limits {
		r := before[l.key()]
		if r == nil {
			r = newRule(l, from)
		}
		r.set(l)
		r.builtin = standard
		g.rules = append(g.rules, r)
		g.guesses = g.guesses || r.Tokens > 0
		switch r.level {
		case service:
			g.always = append(g.always, r)
		case ofTag, eachTag:
			g.tags = append(g.tags, r)
		case ofUser, ofPrincipal:
			o := owner{r.name, r.level == ofPrincipal}
			g.own[o] = append(g.own[o], r)
		case ofGroup:
			g.groups[r.name] = append(g.groups[r.name], r)
		}
		if r.level == eachUser || r.level == eachCaller {
			g.users = append(g.users, r)
		}
		if r.level == eachService || r.level == eachCaller {
			g.services = append(g.services, r)
		}
	}
	g.open.Store(len(limits) == 0)
	if g.histories == nil {
		g.histories = map[owner]*history{}
	}
}

// pick is a count that a call concerns.
type pick struct {
	b        *bucket
	requests bool          // the bound on requests counts
	tokens   int64         // that are asked for; 0 when the bound on tokens does not count
	at       time.Duration // the count's now
	group    int           // which of the caller's limited groups it is of, from 1; 0 for none
	wait     time.Duration // until there is room
}

func (p *pick) request() int64 {
	if p.requests {
		return 1
	}
	return 0
}

type picks struct {
	list   [MaxLimits]pick
	n      int
	groups int // of the caller that are limited
}

func (p *picks) all() []pick { return p.list[:p.n] }

func (p *picks) add(r *rule, b *bucket, requests, tokens bool, group int) {
	if p.n == len(p.list) { // never: Validate
		return
	}
	x := pick{b: b, requests: requests && r.Requests > 0, group: group}
	if tokens && r.Tokens > 0 {
		x.tokens = 1
	}
	p.list[p.n] = x
	p.n++
}

// choose finds the counts that a call concerns.
func (g *gate) choose(p *picks, c *Caller, now time.Duration) {
	for _, r := range g.always {
		p.add(r, r.bucket(owner{}, now), true, true, 0)
	}
	for _, r := range g.tags {
		v, ok := c.Tags[r.name]
		switch {
		case !ok, r.level == ofTag && v != r.value:
		case r.level == ofTag:
			p.add(r, r.bucket(owner{}, now), true, true, 0)
		default:
			p.add(r, r.bucket(owner{name: v}, now), true, true, 0)
		}
	}
	more := measures{true, true} // that no more specific rule bounds
	for _, r := range g.own[c.owner()] {
		p.add(r, r.bucket(owner{}, now), true, true, 0)
		more = more.without(r)
	}
	less := more
	for _, name := range c.Groups {
		if len(g.groups) == 0 {
			break
		}
		first := p.n
		for _, r := range g.groups[name] {
			if more.of(r) {
				p.add(r, r.bucket(owner{}, now), more.requests, more.tokens, p.groups+1)
				less = less.without(r)
			}
		}
		if p.n > first {
			p.groups++
		}
	}
	defaults := g.users
	if c.ServicePrincipal {
		defaults = g.services
	}
	for _, r := range defaults {
		if less.of(r) {
			p.add(r, r.bucket(c.owner(), now), less.requests, less.tokens, 0)
		}
	}
}

// measures is what rules may bound.
type measures struct{ requests, tokens bool }

func (m measures) of(r *rule) bool {
	return m.requests && r.Requests > 0 || m.tokens && r.Tokens > 0
}

func (m measures) without(r *rule) measures {
	return measures{m.requests && r.Requests == 0, m.tokens && r.Tokens == 0}
}

// reserve admits a call, or says what keeps it out.
func (g *gate) reserve(q *Request, now time.Duration) (*Ticket, *refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.rules) == 0 {
		return g.ticket(), nil
	}
	var p picks
	g.choose(&p, &q.Caller, now)
	var h *history
	if g.guesses {
		h = g.history(q.Caller.owner(), now)
	}
	var full [MaxGroupLimits + 1]bool
	var failed bool
	for i := range p.all() {
		x := &p.list[i]
		r := x.b.rule
		x.at = x.b.advance(now, r.bound)
		if x.tokens > 0 {
			x.tokens = r.ask(h, q)
		}
		if !x.b.fits(r.bound, x.request(), x.tokens) {
			failed = true
			full[x.group] = true
		}
	}
	if failed && (full[0] || p.allFull(&full)) {
		return nil, g.refuse(&p, q)
	}
	t := g.ticket()
	t.history, t.input = h, q.Input
	for i := range p.all() {
		x := &p.list[i]
		if full[x.group] { // only ever a group
			continue
		}
		x.b.open++
		t.hold(hold{bucket: x.b, slot: x.b.add(x.at, x.b.rule.bound.span, x.request(), x.tokens), request: x.requests, tokens: x.tokens})
	}
	return t, nil
}

// allFull reports whether the caller is in limited groups and all are full.
func (p *picks) allFull(full *[MaxGroupLimits + 1]bool) bool {
	for i := 1; i <= p.groups; i++ {
		if !full[i] {
			return false
		}
	}
	return p.groups > 0
}

// ask is how many tokens a call reserves of a rule's counts: at least one, so
// that debts are paid first. An estimate is never more than the whole window,
// which may be wrong about one call and right about those after it; the most
// that a call can use may be.
func (r *rule) ask(h *history, q *Request) int64 {
	if r.Reserve == "max" {
		return max(1, h.maximum(q, r.kinds))
	}
	return min(max(1, h.expect(q, r.kinds)), r.Tokens)
}

// history is what is known of a caller.
func (g *gate) history(o owner, now time.Duration) *history {
	h := g.histories[o]
	switch {
	case h != nil && now-h.seen < forget:
		return h
	case h != nil:
		*h = *newHistory() // a ticket may hold h
		h.seen = now
		return h
	}
	if len(g.histories) >= max(g.forgetAt, 64) {
		for k, h := range g.histories {
			if now-h.seen >= forget {
				delete(g.histories, k)
			}
		}
		g.forgetAt = 2 * len(g.histories)
	}
	h = newHistory()
	h.seen = now
	g.histories[o] = h
	return h
}

// ticket makes a Ticket. They are made many at a time.
func (g *gate) ticket() *Ticket {
	if len(g.tickets) == 0 {
		g.tickets = make([]Ticket, 16)
	}
	t := &g.tickets[0]
	g.tickets = g.tickets[1:]
	t.gate = g
	return t
}

// settle puts what was used in the place of what t holds, or takes it back.
func (g *gate) settle(t *Ticket, u *openresponses.Usage, now time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var used [6]int64
	if u != nil {
		used = split(u)
		if t.history != nil && inputs.of(used) > 0 {
			t.history.learn(now, t.input, used)
		}
	}
	for i := range t.n + len(t.more) {
		h := t.at(i)
		b := h.bucket
		b.open--
		var requests, tokens int64
		if u == nil && h.request {
			requests = -1
		}
		if h.tokens > 0 {
			tokens = b.rule.kinds.of(used) - h.tokens
		}
		if requests != 0 || tokens != 0 {
			b.correct(h.slot, now, b.rule.bound, requests, tokens)
		}
	}
}
