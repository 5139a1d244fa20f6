package ratelimit

import "time"

// Standing is how a caller stands: the limits and budgets that count for them.
type Standing struct {
	Limits  []LimitStanding  `json:"limits"`
	Budgets []BudgetStanding `json:"budgets"`
}

// LimitStanding is one limit as it counts for a caller. Each, Of, Op, Per and
// Count are as in its Limit.
type LimitStanding struct {
	Model    string   `json:"model"`
	Each     string   `json:"each"`
	Of       string   `json:"of"`    // Each and Of are empty for a limit on all traffic
	Scope    string   `json:"scope"` // whose count it is: "all traffic", "user alice@example.com", "group analysts", "tag team=search"
	Op       string   `json:"op"`
	Per      string   `json:"per"`
	Count    []string `json:"count,omitempty"`    // absent means that all tokens count
	Requests *Amount  `json:"requests,omitempty"` // absent where requests are not bounded
	Tokens   *Amount  `json:"tokens,omitempty"`   // absent where tokens are not bounded
	// Resets is when all that is used now will have left the window, if nothing
	// is added; absent when nothing is used.
	Resets *time.Time `json:"resets,omitempty"`
}

// Amount is how much of a bound is used.
type Amount struct {
	Limit int64 `json:"limit"`
	Used  int64 `json:"used"` // with what calls under way hold; may be above Limit while a debt is paid
	Left  int64 `json:"left"` // never below 0
}

// BudgetStanding is one budget as it counts for a caller. Each, Of, Per and Then
// are as in its Budget. Money is in USD.
type BudgetStanding struct {
	Each   string    `json:"each"`
	Of     string    `json:"of"`
	Scope  string    `json:"scope"` // whose account it is: "user alice@example.com", "group analysts", "model databricks-gpt-5-2"
	USD    float64   `json:"usd"`
	Spent  float64   `json:"spent"` // in this period
	Left   float64   `json:"left"`  // never below 0
	Per    string    `json:"per"`
	Then   string    `json:"then"`   // block or alert
	Resets time.Time `json:"resets"` // when the next period begins
}

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
