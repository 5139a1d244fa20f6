package ratelimit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// spend makes a call of c that costs so many USD, or says why it is refused.
func spend(t testing.TB, s *Service, c Caller, model string, dollars float64) error {
	t.Helper()
	ticket, err := s.Reserve(t.Context(), Request{Op: provider.Generate, Model: model, Caller: c})
	if err != nil {
		if !apierror.Is(err, apierror.BudgetExceeded) {
			t.Fatal(err)
		}
		return err
	}
	ticket.Settle(use(1, 1), int64(dollars*pico))
	return nil
}

// TestBudgets: who is refused after what was spent.
func TestBudgets(t *testing.T) {
	t.Parallel()
	month := func(each, of string, usd float64) Budget { return Budget{Each: each, Of: of, USD: usd, Per: "month"} }
	tests := []struct {
		name    string
		budgets []Budget
		// Each step is "caller model USD": a call that costs so much, and with a
		// ! behind it one that is refused. Callers are those of parseCaller.
		steps string
	}{
		{"none", nil, "ana m 1000; ana m 1000"},
		{"each user", []Budget{month("user", "", 5)}, "ana m 3; ana m 3; ana m !; bob m 3; bob other 2; bob m !; sp-etl m 9; sp-etl m 9"},
		{"each service principal", []Budget{month("service_principal", "", 5)}, "sp-etl m 9; sp-etl m !; ana m 9; ana m 9"},
		{"each principal", []Budget{month("principal", "", 5)}, "sp-etl m 9; sp-etl m !; ana m 9; ana m !; user-sp-etl m 9"},
		{"each group", []Budget{month("group", "", 5)}, "ana[g,h] m 5; bob[g] m !; cid[h,k] m !; dan[k] m 1; eve m 9; eve m 9"},
		{"each model", []Budget{month("model", "", 5)}, "ana m 5; bob m !; bob other 5; ana other !"},
		{"of a user", []Budget{month("", "user ana", 5)}, "ana m 5; ana m !; bob m 9; bob m 9"},
		{"of a service principal", []Budget{month("", "service_principal sp-etl", 5)}, "user-sp-etl m 9; sp-etl m 5; sp-etl m !"},
		{"of a group", []Budget{month("", "group g", 5)}, "ana[g] m 3; bob[g] m 3; cid[g,h] m !; cid[h] m 1"},
		{"of a model", []Budget{month("", "model m", 5)}, "ana m 5; bob m !; bob other 1"},
		{"all that apply must have something left", []Budget{month("user", "", 5), month("", "group g", 7), month("", "model other", 100)}, "ana[g] m 5; ana[g] other !; bob[g] m 3; bob[g] m !; bob m 1"},
		{"one's own in the place of everybody's", []Budget{month("user", "", 5), month("", "user ana", 20)}, "ana m 15; ana m 5; ana m !; bob m 5; bob m !"},
		{"one's own in the place of each principal's", []Budget{month("principal", "", 5), month("", "service_principal sp-etl", 20)}, "sp-etl m 15; user-sp-etl m 5; user-sp-etl m !; sp-etl m 5; sp-etl m !"},
		{"only of the same period", []Budget{month("user", "", 5), {Of: "user ana", USD: 20, Per: "day"}}, "ana m 15; ana m !"},
		{"a model's own", []Budget{month("model", "", 5), month("", "model m", 20)}, "ana m 15; ana m 5; ana m !; ana other 5; ana other !"},
		{"then alert", []Budget{{Each: "user", USD: 5, Per: "month", Then: "alert"}}, "ana m 9; ana m 9"},
		{"alert and block of one kind", []Budget{{Each: "user", USD: 5, Per: "month", Then: "alert"}, month("user", "", 10)}, "ana m 6; ana m 6; ana m !"},
		{"the smallest", []Budget{month("user", "", 0.000001)}, "ana m 0; ana m 0.000001; ana m !"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, newClock(), tt.budgets)
			for i, step := range strings.Split(tt.steps, "; ") {
				f := strings.Fields(step)
				var cost float64
				fmt.Sscan(f[2], &cost)
				if err := spend(t, s, parseCaller(f[0]), f[1], cost); (err != nil) != (f[2] == "!") {
					t.Errorf("step %d, %s: %v", i+1, step, err)
				}
			}
		})
	}
}

// TestPeriods: when a budget begins anew, and what the refusal says of it.
func TestPeriods(t *testing.T) {
	t.Parallel()
	tests := []struct{ per, last, next, want string }{
		{"day", "2026-11-21T23:59:59Z", "2026-11-22T00:00:00Z", "The daily budget of USD 5.00 for user ana is spent: USD 7.50 were used on 21 November 2026. It starts anew on 22 November 2026 at 00:00 UTC. An administrator of the gateway can raise it before."},
		{"week", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z", "The weekly budget of USD 5.00 for user ana is spent: USD 7.50 were used in the week from 16 November 2026. It starts anew on 23 November 2026 at 00:00 UTC. An administrator of the gateway can raise it before."},
		{"month", "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z", "The monthly budget of USD 5.00 for user ana is spent: USD 7.50 were used in November 2026. It starts anew on 1 December 2026 at 00:00 UTC. An administrator of the gateway can raise it before."},
		{"month", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", "in December 2026. It starts anew on 1 January 2027 at 00:00 UTC"},
		{"month", "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z", "in February 2028. It starts anew on 1 March 2028 at 00:00 UTC"},
		{"week", "2027-01-03T23:59:59Z", "2027-01-04T00:00:00Z", "in the week from 28 December 2026. It starts anew on 4 January 2027 at 00:00 UTC"},
	}
	for _, tt := range tests {
		last, _ := time.Parse(time.RFC3339, tt.last)
		next, _ := time.Parse(time.RFC3339, tt.next)
		c := newClock()
		c.set(last)
		s := open(t, c, []Budget{{Each: "user", USD: 5, Per: tt.per}})
		ana := Caller{Name: "ana"}
		if err := spend(t, s, ana, "m", 7.5); err != nil {
			t.Fatal(err)
		}
		err := spend(t, s, ana, "m", 1)
		if err == nil || !strings.Contains(apierror.From(err).Message, tt.want) {
			t.Errorf("%s %s: %v", tt.per, tt.last, err)
		}
		if st := s.Standing(ana, nil).Budgets; len(st) != 1 || !st[0].Resets.Equal(next) || st[0].Spent != 7.5 || st[0].Left != 0 || st[0].Then != "block" {
			t.Errorf("%s: %+v", tt.last, st)
		}
		c.set(next)
		if err := spend(t, s, ana, "m", 1); err != nil {
			t.Errorf("%s: %v", tt.next, err)
		}
		// A clock that is set back finds what was spent before.
		c.set(last)
		if err := spend(t, s, ana, "m", 1); err == nil {
			t.Errorf("%s again: admitted", tt.last)
		}
		c.set(next)
		if st := s.Standing(ana, nil).Budgets; st[0].Spent != 1 {
			t.Errorf("%s again: %+v", tt.next, st)
		}
	}
}

// TestPeriodNumbers: every moment of many years is in one period, which begins
// at or before it and ends after it.
func TestPeriodNumbers(t *testing.T) {
	t.Parallel()
	for at := time.Date(1965, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2040; at = at.Add(7*time.Hour + 13*time.Second) {
		for _, p := range []per{day, week, month} {
			n := p.number(at)
			from, to := p.begins(n), p.begins(n+1)
			if from.After(at) || !to.After(at) || p.number(from) != n || p.number(to.Add(-1)) != n {
				t.Fatalf("%s: %s period %d from %v to %v", at, p.adjective(), n, from, to)
			}
			if p == week && from.Weekday() != time.Monday || p == month && from.Day() != 1 {
				t.Fatalf("%s period begins on %v", p.adjective(), from)
			}
		}
	}
}

// TestBegan: a call counts in the period in which it began.
func TestBegan(t *testing.T) {
	t.Parallel()
	c := newClock()
	c.set(time.Date(2026, 11, 30, 23, 59, 0, 0, time.UTC))
	s := open(t, c, []Budget{{Each: "user", USD: 5, Per: "month"}})
	ana := Caller{Name: "ana"}
	ticket, err := s.Reserve(t.Context(), Request{Op: provider.Generate, Model: "m", Caller: ana})
	if err != nil {
		t.Fatal(err)
	}
	c.pass(2 * time.Minute)
	if err := spend(t, s, ana, "m", 1); err != nil {
		t.Fatal(err)
	}
	ticket.Settle(use(1, 1), 9*pico)
	if st := s.Standing(ana, nil).Budgets; st[0].Spent != 1 {
		t.Errorf("%+v", st)
	}
}

// TestCountingIsFree: a spent budget does not refuse the counting of tokens, and
// a refused call leaves nothing behind.
func TestCountingIsFree(t *testing.T) {
	t.Parallel()
	s := open(t, newClock(), []Budget{{Each: "user", USD: 5, Per: "day"}}, Limit{Each: "user", Requests: 1, Per: "minute"})
	ana := Caller{Name: "ana"}
	if err := spend(t, s, ana, "m", 6); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := spend(t, s, ana, "m", 6); err == nil { // and not rate_limited: the budget says more
			t.Fatal("admitted")
		}
	}
	ticket, err := s.Reserve(t.Context(), Request{Op: provider.CountTokens, Model: "m", Caller: ana})
	if err != nil {
		t.Fatal(err)
	}
	ticket.Settle(use(0, 0), 0)
	b := (*s.budgets.Load())[0]
	if a := b.accounts[ana.owner()]; a.latest.spent != 6*pico {
		t.Errorf("%+v", a)
	}
}

// TestAccountsGo: accounts of earlier periods are let go of.
func TestAccountsGo(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, []Budget{{Each: "user", USD: 5, Per: "day"}})
	for i := range 2000 {
		if err := spend(t, s, Caller{Name: fmt.Sprint("user", i)}, "m", 1); err != nil {
			t.Fatal(err)
		}
		c.pass(15 * time.Minute)
	}
	if n := len((*s.budgets.Load())[0].accounts); n > 400 {
		t.Errorf("%d accounts", n)
	}
}
