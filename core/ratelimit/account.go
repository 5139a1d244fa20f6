package ratelimit

import (
	"math"
	"time"
)

// accounts is what a call will be charged to.
type accounts struct {
	began time.Time
	first [4]charged
	n     int       // of first
	more  []charged // beyond those
}

// charged is an account and its budget.
type charged struct {
	b *budget
	a *account
}

func (x *accounts) add(c charged) {
	if x.n < len(x.first) {
		x.first[x.n] = c
		x.n++
		return
	}
	x.more = append(x.more, c)
}

func (x *accounts) at(i int) charged {
	if i < x.n {
		return x.first[i]
	}
	return x.more[i-x.n]
}

// findAccounts finds the accounts of a call, and one that is spent and blocks.
func findAccounts(budgets []*budget, q *Request, now time.Time) (x accounts, refused *spent) {
	x.began = now
	for _, b := range budgets {
		period := b.per.number(now)
		b.mu.Lock()
		for i, more := 0, true; more; i++ {
			var name owner
			var ok bool
			if name, ok, more = b.whose(&q.Caller, q.Model, i); !ok {
				continue
			}
			a := b.account(name, period)
			x.add(charged{b, a})
			if t := a.period(period); refused == nil && b.blocks() && t.spent >= b.limit {
				refused = &spent{scope: b.scopeOf(name), per: b.per, period: period, limit: b.limit, spent: t.spent}
			}
		}
		b.mu.Unlock()
	}
	return x, refused
}

// charge adds a cost to the accounts. tell hears of each alert that this passes.
func (x *accounts) charge(cost int64, tell func(Alert, *Webhook)) {
	for i := range x.n + len(x.more) {
		c := x.at(i)
		c.b.charge(c.a, cost, x.began, tell)
	}
}

func (b *budget) charge(a *account, cost int64, began time.Time, tell func(Alert, *Webhook)) {
	number := b.per.number(began)
	b.mu.Lock()
	t := a.period(number)
	t.spent = addCost(t.spent, cost)
	var news []Alert
	for t.told < len(b.alerts) && t.spent >= b.alerts[t.told] {
		news = append(news, Alert{
			Time: began.UTC(), Scope: b.scopeOf(a.name), Period: b.terms.Per, Percent: b.percent[t.told],
			USD: b.terms.USD, Spent: usd(t.spent), Blocks: b.blocks(), Resets: b.per.begins(number + 1),
		})
		t.told++
	}
	hook := b.terms.Webhook
	b.mu.Unlock()
	for _, n := range news {
		tell(n, hook)
	}
}

// addCost is a+b, but at most what an int64 holds.
func addCost(a, b int64) int64 {
	b = max(b, 0)
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func usd(picos int64) float64 { return float64(picos) / pico }

// scopeOf says whose an account is.
func (b *budget) scopeOf(name owner) string {
	kind, who := b.kind, name.name
	if b.name != "" {
		who = b.name
	}
	if kind == "principal" {
		kind = "user"
		if name.servicePrincipal {
			kind = "service_principal"
		}
	}
	return scopeText(kind, who)
}

// scopeText is "user x", "service principal x", "group x", "model x".
func scopeText(kind, who string) string {
	if kind == "service_principal" {
		kind = "service principal"
	}
	return kind + " " + who
}
