package ratelimit

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// maxBound is the largest number of requests or tokens a limit may have.
const maxBound = 1_000_000_000_000

// maxUSD is the largest budget. It keeps sums of costs in 64 bits.
const maxUSD = 1_000_000

type faults []error

func (v *faults) add(format string, args ...any) { *v = append(*v, fmt.Errorf(format, args...)) }

// oneOf adds a fault when value is none of known.
func (v *faults) oneOf(at, value string, known ...string) {
	if slices.Contains(known, value) {
		return
	}
	known = slices.DeleteFunc(known, func(s string) bool { return s == "" })
	meant := ""
	if near := spelling.Nearest(value, known); near != "" {
		meant = fmt.Sprintf("; did you mean %q?", near)
	}
	v.add("%s: %q is not one of %s%s", at, value, strings.Join(known, ", "), meant)
}

// Validate reports every fault, each with the key it is at.
func (c Config) Validate() error {
	var v faults
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		at := "models." + name + ".limits"
		limits := c.Models[name]
		if len(limits) > MaxLimits {
			v.add("%s: %d limits; a model has at most %d", at, len(limits), MaxLimits)
		}
		groups := 0
		seen := map[string]int{}
		for i, l := range limits {
			here := fmt.Sprintf("%s[%d]", at, i)
			if !l.validate(&v, here) {
				continue
			}
			if level, _, _, _ := l.scope(); level == ofGroup {
				groups++
			}
			if first, ok := seen[l.key()]; ok {
				v.add("%s: limits the same as %s[%d]; remove one of them", here, at, first)
			} else {
				seen[l.key()] = i
			}
		}
		if groups > MaxGroupLimits {
			v.add("%s: %d limits of groups; a model has at most %d", at, groups, MaxGroupLimits)
		}
	}
	for i, b := range c.Budgets {
		b.validate(&v, fmt.Sprintf("budgets[%d]", i), c.Known)
	}
	return errors.Join(v...)
}

// validate reports whether the limit is in order.
func (l Limit) validate(v *faults, at string) bool {
	before := len(*v)
	if l.Each != "" && l.Of != "" {
		v.add("%s: has both each and of; each gives everybody a count of their own, of is one count", at)
	} else if _, _, _, ok := l.scope(); !ok && l.Of != "" {
		v.add("%s.of: %q is not of the form \"user NAME\", \"service_principal NAME\", \"group NAME\" or \"tag NAME=VALUE\"", at, l.Of)
	} else if !ok {
		v.add("%s.each: %q is not one of user, service_principal, principal, \"tag NAME\"%s", at, l.Each, meantEach(l.Each))
	}
	if l.Requests < 0 || l.Tokens < 0 || l.Requests == 0 && l.Tokens == 0 {
		v.add("%s: needs requests or tokens, as a number above 0", at)
	}
	if l.Requests > maxBound || l.Tokens > maxBound {
		v.add("%s: requests and tokens are at most %d", at, int64(maxBound))
	}
	v.oneOf(at+".per", l.Per, "minute", "hour")
	v.oneOf(at+".op", l.Op, "", "count_tokens")
	v.oneOf(at+".reserve", l.Reserve, "", "max")
	if len(l.Count) > 0 && l.Tokens == 0 {
		v.add("%s.count: says which tokens count, but tokens is not set", at)
	}
	for i, n := range l.Count {
		v.oneOf(fmt.Sprintf("%s.count[%d]", at, i), n, Kinds...)
	}
	if l.Reserve != "" && l.Tokens == 0 {
		v.add("%s.reserve: says how many tokens are held, but tokens is not set", at)
	}
	if l.Op == "count_tokens" && l.Tokens > 0 {
		v.add("%s.tokens: a call that counts tokens uses none; limit its requests", at)
	}
	return len(*v) == before
}

func meantEach(each string) string {
	kind, _, _ := strings.Cut(each, " ")
	if kind == "group" {
		return "; write it as of: \"group NAME\", one count that its members share"
	}
	if near := spelling.Nearest(kind, []string{"user", "service_principal", "principal", "tag"}); near != "" && near != kind {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

func (b Budget) validate(v *faults, at string, known []string) {
	kind, name, ok := b.scope()
	switch {
	case (b.Each == "") == (b.Of == ""):
		v.add("%s: needs exactly one of each (such as user) and of (such as \"group analysts\")", at)
	case !ok && b.Each != "":
		v.oneOf(at+".each", b.Each, "user", "service_principal", "principal", "group", "model")
	case !ok:
		v.add("%s.of: %q is not of the form \"user NAME\", \"service_principal NAME\", \"group NAME\" or \"model NAME\"", at, b.Of)
	case kind == "model" && name != "" && known != nil && !slices.Contains(known, name):
		meant := ""
		if near := spelling.Nearest(name, known); near != "" {
			meant = fmt.Sprintf("; did you mean %q?", near)
		}
		v.add("%s.of: there is no model %q%s", at, name, meant)
	}
	switch {
	case math.IsNaN(b.USD) || b.USD <= 0:
		v.add("%s.usd: must be above 0", at)
	case b.USD > maxUSD:
		v.add("%s.usd: %s is more than %d", at, plain(b.USD), int64(maxUSD))
	default:
		if _, behind, _ := strings.Cut(plain(b.USD), "."); len(behind) > 6 {
			v.add("%s.usd: %s has more than 6 digits behind the point", at, plain(b.USD))
		}
	}
	v.oneOf(at+".per", b.Per, "day", "week", "month")
	v.oneOf(at+".then", b.Then, "", "block", "alert")
	for i, p := range b.Alert {
		if p < 1 || p > 100 {
			v.add("%s.alert[%d]: %d is not a percentage from 1 to 100", at, i, p)
		}
	}
	if b.Webhook != nil {
		b.Webhook.validate(v, at+".webhook")
	}
}

// validate does not repeat the URL, which may hold a secret.
func (w *Webhook) validate(v *faults, at string) {
	u, err := url.Parse(w.URL)
	if w.URL == "" {
		v.add("%s.url: is missing", at)
	} else if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		v.add("%s.url: is not an http or https URL without user name and fragment", at)
	}
}

// plain writes a number without an exponent.
func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
