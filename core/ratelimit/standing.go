package ratelimit

import (
	"time"

	"github.com/sallyport-gateway/sallyport/core/standing"
)

// How a caller stands, as GET /me says it.
type (
	Standing       = standing.Standing
	LimitStanding  = standing.Limit
	BudgetStanding = standing.Budget
	Amount         = standing.Amount
)

// Standing says how c stands with the limits of these models and with the
// budgets. Limits come in the order of models and of the configuration.
func (s *Service) Standing(c Caller, models []string) Standing {
	st := Standing{Limits: []LimitStanding{}, Budgets: []BudgetStanding{}}
	if s == nil {
		return st
	}
	now, elapsed := s.now(), s.elapsed()
	for _, name := range models {
		m := s.model(name)
		st.Limits = m.calls.standing(st.Limits, name, &c, now, elapsed)
		st.Limits = m.counts.standing(st.Limits, name, &c, now, elapsed)
	}
	for _, b := range *s.budgets.Load() {
		st.Budgets = b.standing(st.Budgets, &c, models, now)
	}
	return st
}

func (g *gate) standing(dst []LimitStanding, model string, c *Caller, now time.Time, elapsed time.Duration) []LimitStanding {
	g.mu.Lock()
	defer g.mu.Unlock()
	var p picks
	g.choose(&p, c, elapsed)
	for i := range p.all() {
		x := &p.list[i]
		b, r := x.b, x.b.rule
		if r.builtin {
			continue // nobody configured it, and few meet it
		}
		at := b.advance(elapsed, r.bound)
		l := LimitStanding{Model: model, Each: r.Each, Of: r.Of, Scope: b.scope(), Op: r.Op, Per: r.Per}
		if x.requests {
			l.Requests = amount(r.Requests, b.requests)
		}
		if x.tokens > 0 {
			l.Count = r.Count
			l.Tokens = amount(r.Tokens, b.tokens+b.debt)
		}
		if !b.idle() {
			l.Resets = new(now.Add(b.drains(r.bound) - at).UTC())
		}
		dst = append(dst, l)
	}
	return dst
}

func amount(limit, used int64) *Amount {
	return &Amount{Limit: limit, Used: used, Left: max(0, limit-used)}
}

func (b *budget) standing(dst []BudgetStanding, c *Caller, models []string, now time.Time) []BudgetStanding {
	number := b.per.number(now)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kind != "model" {
		models = []string{""}
	}
	for _, model := range models {
		for i, more := 0, true; more; i++ {
			var name owner
			var ok bool
			if name, ok, more = b.whose(c, model, i); !ok {
				continue
			}
			spent := b.account(name, number).period(number).spent
			then := "alert"
			if b.blocks() {
				then = "block"
			}
			dst = append(dst, BudgetStanding{
				Each: b.terms.Each, Of: b.terms.Of, Scope: b.scopeOf(name), USD: b.terms.USD, Spent: usd(spent), Left: usd(max(0, b.limit-spent)),
				Per: b.terms.Per, Then: then, Resets: b.per.begins(number + 1),
			})
		}
	}
	return dst
}
