package ratelimit

import (
	"iter"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Row is what a call of the past has used.
type Row struct {
	Time             time.Time // when it began
	Op               provider.Op
	Model            string
	Requester        string
	ServicePrincipal bool
	Groups           []string
	Tags             map[string]string
	Usage            openresponses.Usage
	CostPico         int64 // USD of 1e-12
	Status           string
}

// refused is the status of a row that counts for nothing: the call was not made.
const refused = "refused"

func (r *Row) caller() Caller {
	return Caller{r.Requester, r.ServicePrincipal, r.Groups, r.Tags}
}

// Since is how far back Restore needs rows: to the beginning of the current
// period for budgets, and for limits an hour or less; of the calls before whole
// it needs neither Tags nor Usage. It is zero when everything that is in force
// has been counted, so after a Restore until Apply brings something new.
func (s *Service) Since() (since, whole time.Time) {
	now := s.now()
	whole = now
	need := func(t time.Time) {
		if since.IsZero() || t.Before(since) {
			since = t
		}
	}
	for _, g := range s.gates() {
		if span := g.unknown(); span > 0 {
			need(now.Add(-span))
			whole = since
		}
	}
	for _, b := range *s.budgets.Load() {
		b.mu.Lock()
		if !b.known {
			need(b.per.begins(b.per.number(now)))
		}
		b.mu.Unlock()
	}
	return since, whole
}

func (s *Service) gates() []*gate {
	var list []*gate
	for _, m := range *s.models.Load() {
		list = append(list, &m.calls, &m.counts)
	}
	return list
}

// unknown is how far back g's rules must be told of the past.
func (g *gate) unknown() (span time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.rules {
		if !r.known {
			span = max(span, r.bound.span)
		}
	}
	return span
}

// Restore counts the calls of the past, in any order, for the limits and budgets
// that came into force after them; rows from before Since are passed over. Call
// it once after New and after Apply. An error of rows ends it; what came before
// counts.
//
// A caller in several limited groups was charged to those that had room; rows do
// not say which, so that is worked out again from what there is.
//
// It may run while calls are made. A call that is under way when a limit or
// budget comes into force does not count for it.
func (s *Service) Restore(rows iter.Seq2[Row, error]) error {
	now, elapsed := s.now(), s.elapsed()
	spans := map[*gate]time.Duration{}
	for _, g := range s.gates() {
		if span := g.unknown(); span > 0 {
			spans[g] = span
		}
	}
	var budgets []*budget
	for _, b := range *s.budgets.Load() {
		b.mu.Lock()
		if !b.known {
			budgets = append(budgets, b)
		}
		b.mu.Unlock()
	}
	var recent []Row
	var fault error
	for r, err := range rows {
		if err != nil {
			fault = err
			break
		}
		if r.Status == refused || r.Model == "" {
			continue
		}
		for _, b := range budgets {
			b.restore(&r, now)
		}
		if m := (*s.models.Load())[r.Model]; m != nil {
			g := &m.calls
			if r.Op == provider.CountTokens {
				g = &m.counts
			}
			if span, ok := spans[g]; ok && now.Sub(r.Time) < span {
				recent = append(recent, r)
			}
		}
	}
	slices.SortFunc(recent, func(a, b Row) int { return a.Time.Compare(b.Time) })
	for i := range recent {
		r := &recent[i]
		age := max(0, now.Sub(r.Time))
		s.gate(r.Model, r.Op).restore(r, elapsed-age)
	}
	if fault != nil {
		return fault
	}
	for g := range spans {
		g.mu.Lock()
		for _, r := range g.rules {
			r.known = true
		}
		g.mu.Unlock()
	}
	for _, b := range budgets {
		b.mu.Lock()
		b.known = true
		for _, a := range b.accounts {
			a.latest.told = max(a.latest.told, b.passed(a.latest.spent))
		}
		b.mu.Unlock()
	}
	return nil
}

// restore charges a call of the past to the accounts that it concerns.
func (b *budget) restore(r *Row, now time.Time) {
	number := b.per.number(now)
	c := r.caller()
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.CostPico <= 0 || !r.Time.Before(b.from) || b.per.number(r.Time) != number {
		return
	}
	for i, more := 0, true; more; i++ {
		var name owner
		var ok bool
		if name, ok, more = b.whose(&c, r.Model, i); ok {
			t := b.account(name, number).period(number)
			t.spent = addCost(t.spent, r.CostPico)
		}
	}
}

// restore counts a call of the past that was admitted at that time. Rows come in
// the order of time.
func (g *gate) restore(row *Row, at time.Duration) {
	c := row.caller()
	used := split(&row.Usage)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guesses && inputs.of(used) > 0 {
		g.history(c.owner(), at).learn(at, inputs.of(used), used) // as if it had been estimated well
	}
	var p picks
	g.choose(&p, &c, at)
	var full [MaxGroupLimits + 1]bool
	for i := range p.all() {
		x := &p.list[i]
		x.at = x.b.advance(at, x.b.rule.bound)
		full[x.group] = full[x.group] || !x.b.fits(x.b.rule.bound, x.request(), x.tokens)
	}
	all := p.allFull(&full)
	for i := range p.all() {
		x := &p.list[i]
		r := x.b.rule
		if r.known || !row.Time.Before(r.from) || x.group > 0 && full[x.group] && !all {
			continue
		}
		slot := x.b.add(x.at, r.bound.span, x.request(), 0)
		if x.tokens > 0 {
			x.b.correct(slot, x.at, r.bound, 0, r.kinds.of(used))
		}
	}
}
