package ratelimit

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// budget is a Budget in force, with its accounts.
type budget struct {
	id   string // tells budgets apart over changes of the configuration
	kind string // user, service_principal, principal, group or model
	name string // of Of; "" for Each
	per  per
	from time.Time // when it came into force; calls before that are counted by Restore

	mu       sync.Mutex
	terms    Budget
	limit    int64          // USD of 1e-12
	known    bool           // Restore has been
	alerts   []int64        // at what is spent, ascending
	percent  []int          // of each alert
	except   map[owner]bool // those who have one of their own
	accounts map[owner]*account
	sweepAt  int // how many accounts there must be before old ones are looked for
}

// account is what somebody has spent of a budget.
type account struct {
	name    owner
	latest  tally
	earlier tally // kept for a clock that is set back
}

// tally is what was spent in one period.
type tally struct {
	period int64
	spent  int64 // USD of 1e-12
	told   int   // how many alerts were given
}

// period is the tally of that period. One that is neither the latest nor the one
// kept beside it begins at nothing.
func (a *account) period(n int64) *tally {
	switch {
	case n == a.latest.period:
		return &a.latest
	case n == a.earlier.period:
	case n > a.latest.period:
		a.earlier, a.latest = a.latest, tally{period: n}
		return &a.latest
	default:
		a.earlier = tally{period: n}
	}
	return &a.earlier
}

// pico is the USD of 1e-12 in one USD.
const pico = 1e12

// scope reads Each and Of.
func (b Budget) scope() (kind, name string, ok bool) {
	kind = b.Each
	if b.Each == "" {
		kind, name, _ = strings.Cut(b.Of, " ")
		if name = strings.TrimSpace(name); name == "" || kind == "principal" {
			return kind, name, false
		}
	}
	return kind, name, slices.Contains([]string{"user", "service_principal", "principal", "group", "model"}, kind)
}

// applyBudgets makes budgets of a configuration. Those that stay, in the order
// of their kind, keep their accounts.
func applyBudgets(before []*budget, cfg []Budget, from time.Time) []*budget {
	list := make([]*budget, 0, len(cfg))
	seen := map[string]int{}
	for _, c := range cfg {
		kind, name, _ := c.scope()
		id := fmt.Sprintf("%q %q %s", kind, name, c.Per)
		seen[id]++
		id += fmt.Sprint(" ", seen[id])
		i := slices.IndexFunc(before, func(b *budget) bool { return b.id == id })
		var b *budget
		if i >= 0 {
			b = before[i]
		} else {
			b = &budget{id: id, kind: kind, name: name, per: perOf(c.Per), from: from, accounts: map[owner]*account{}}
		}
		b.set(c, except(cfg, kind, name, c.Per))
		list = append(list, b)
	}
	return list
}

// except is who has a budget of their own, and so none of those that everybody
// has: of the same kind and period.
func except(cfg []Budget, kind, name, per string) map[owner]bool {
	own := map[owner]bool{}
	if name != "" {
		return own
	}
	for _, c := range cfg {
		k, n, _ := c.scope()
		if n != "" && c.Per == per && (k == kind || kind == "principal" && (k == "user" || k == "service_principal")) {
			own[owner{n, k == "service_principal"}] = true
		}
	}
	return own
}

// set puts other terms in force.
func (b *budget) set(c Budget, except map[owner]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.terms, b.except = c, except
	b.limit = int64(math.Round(c.USD * pico))
	percent := c.Alert
	if percent == nil {
		percent = []int{100}
	}
	b.percent = slices.Compact(slices.Sorted(slices.Values(percent)))
	b.alerts = b.alerts[:0]
	for _, p := range b.percent {
		b.alerts = append(b.alerts, b.limit/100*int64(p))
	}
	for _, a := range b.accounts { // alerts that were passed long ago are not news
		a.latest.told, a.earlier.told = b.passed(a.latest.spent), b.passed(a.earlier.spent)
	}
}

// passed is how many alerts there are up to what is spent. b.mu is held.
func (b *budget) passed(spent int64) int {
	n := 0
	for n < len(b.alerts) && spent >= b.alerts[n] {
		n++
	}
	return n
}

// blocks reports whether calls are refused when the budget is spent.
func (b *budget) blocks() bool { return b.terms.Then != "alert" }

// whose is the name of an account of b that a call concerns. A caller may be of
// several: i counts them from 0 for as long as more is true, and ok tells whether
// the i-th is one. b.mu is held.
func (b *budget) whose(c *Caller, model string, i int) (name owner, ok, more bool) {
	switch b.kind {
	case "user":
		name, ok = c.owner(), !c.ServicePrincipal
	case "service_principal":
		name, ok = c.owner(), c.ServicePrincipal
	case "principal":
		name, ok = c.owner(), true
	case "model":
		name, ok = owner{name: model}, true
	case "group":
		if i >= len(c.Groups) {
			return owner{}, false, false
		}
		name, ok, more = owner{name: c.Groups[i]}, true, true
	}
	if b.name != "" {
		return owner{}, ok && name.name == b.name, more
	}
	return name, ok && !b.except[name], more
}

// account is the account of that name, made if need be. b.mu is held.
func (b *budget) account(name owner, period int64) *account {
	if a := b.accounts[name]; a != nil {
		return a
	}
	if len(b.accounts) >= max(b.sweepAt, 64) {
		for k, a := range b.accounts {
			if a.latest.period < period { // calls under way count in that one
				delete(b.accounts, k)
			}
		}
		b.sweepAt = 2 * len(b.accounts)
	}
	name.name = strings.Clone(name.name)
	a := &account{name: name, latest: tally{period: period}, earlier: tally{period: math.MinInt64}}
	b.accounts[name] = a
	return a
}
