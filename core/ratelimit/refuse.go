package ratelimit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// refusal is a limit that has no room.
type refusal struct {
	limit  Limit
	op     string
	model  string
	scope  string // whose count it is
	tokens bool   // the bound on tokens, not that on requests
	used   int64
	debt   int64 // of used
	asked  int64
	wait   time.Duration
}

// refuse finds the limit that keeps a call out longest: of the caller's groups
// together, the one that does so for the shortest time.
func (g *gate) refuse(p *picks, q *Request) *refusal {
	var groups [MaxGroupLimits + 1]*pick
	for i := range p.all() {
		x := &p.list[i]
		x.wait = x.b.wait(x.at, x.b.rule.bound, x.request(), x.tokens)
		if y := groups[x.group]; y == nil || x.wait > y.wait {
			groups[x.group] = x
		}
	}
	worst := groups[0]
	var least *pick
	for _, x := range groups[1 : p.groups+1] {
		if least == nil || x.wait < least.wait {
			least = x
		}
	}
	if worst == nil || least != nil && least.wait > worst.wait {
		worst = least
	}
	b := worst.b
	r := &refusal{limit: b.rule.Limit, op: g.op, model: g.model, scope: b.scope(), asked: 1, used: b.requests, wait: worst.wait}
	if !b.fits(b.rule.bound, 0, worst.tokens) && (b.fits(b.rule.bound, worst.request(), 0) || b.wait(worst.at, b.rule.bound, worst.request(), 0) < worst.wait) {
		r.tokens, r.asked, r.used, r.debt = true, worst.tokens, b.tokens+b.debt, b.debt
	}
	if g.model == "" {
		r.model = q.Model
	}
	return r
}

// scope says whose count b is.
func (b *bucket) scope() string {
	r := b.rule
	switch r.level {
	case ofUser:
		return scopeText("user", r.name)
	case ofPrincipal:
		return scopeText("service_principal", r.name)
	case ofGroup:
		return scopeText("group", r.name)
	case ofTag:
		return "tag " + r.name + "=" + r.value
	case eachTag:
		if b.name == others {
			return "tag " + r.name + " with any of its newer values"
		}
		return "tag " + r.name + "=" + b.name.name
	case eachUser, eachService, eachCaller:
		if b.name.servicePrincipal {
			return scopeText("service_principal", b.name.name)
		}
		return scopeText("user", b.name.name)
	}
	return "all traffic"
}

// error is what the client is told.
func (r *refusal) error() *apierror.Error {
	limit, what := r.limit.Requests, "request"
	if r.op != "" {
		what = "token count"
	}
	if r.tokens {
		limit, what = r.limit.Tokens, "token"
	}
	bound := units(limit, what)
	if k := r.limit.Count; r.tokens && len(k) > 0 {
		bound += " (" + strings.Join(k, ", ") + ")"
	}
	who := "for " + r.scope
	if r.scope == "all traffic" {
		who = "for all its callers together"
	} else if strings.HasPrefix(r.scope, "group ") {
		who += ", whose members share it"
	}
	head := fmt.Sprintf("The model %q has a limit of %s per %s %s", r.model, bound, r.limit.Per, who)
	if r.wait == never {
		return apierror.New(apierror.Invalid,
			"%s, and this request may use up to %s. It can never be admitted as it is: ask for a shorter reply (max_tokens), send less, or ask an administrator of the gateway for a larger limit.",
			head, count(r.asked))
	}
	seconds := int64((r.wait + time.Second - 1) / time.Second)
	used := "1 is used"
	if r.used != 1 {
		used = count(r.used) + " are used"
	}
	if r.debt > 0 {
		used += fmt.Sprintf(" (%s of them by calls that took more than was expected)", count(r.debt))
	}
	if r.tokens {
		used += fmt.Sprintf(" and this request needs about %s", count(r.asked))
	}
	e := apierror.New(apierror.RateLimited,
		"%s; %s. Try again in %s. An administrator of the gateway can raise the limit.", head, used, units(seconds, "second"))
	e.RetryAfter = r.wait
	return e
}

// spent is a budget that has nothing left.
type spent struct {
	scope        string
	per          per
	period       int64
	limit, spent int64 // USD of 1e-12
}

func (s *spent) error() *apierror.Error {
	return apierror.New(apierror.BudgetExceeded,
		"The %s budget of USD %s for %s is spent: USD %s were used %s. It starts anew on %s at 00:00 UTC. An administrator of the gateway can raise it before.",
		s.per.adjective(), money(s.limit), s.scope, money(s.spent), s.per.call(s.period), date(s.per.begins(s.period+1)))
}

// money is an amount in USD with two digits behind the point, or as many as it
// takes to show one that is not zero, at most six.
func money(picos int64) string {
	f := float64(picos) / pico
	for digits := 2; digits < 6; digits++ {
		if s := strconv.FormatFloat(f, 'f', digits, 64); picos == 0 || strings.Trim(s, "0.") != "" {
			return grouped(s)
		}
	}
	return grouped(strconv.FormatFloat(f, 'f', 6, 64))
}

// count is a number with commas between its thousands.
func count(n int64) string { return grouped(strconv.FormatInt(n, 10)) }

func grouped(s string) string {
	whole, rest, _ := strings.Cut(s, ".")
	b := []byte(whole)
	for i := len(b) - 3; i > 0; i -= 3 {
		b = slices.Insert(b, i, ',')
	}
	if rest != "" {
		return string(b) + "." + rest
	}
	return string(b)
}

func units(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return count(n) + " " + unit + "s"
}
