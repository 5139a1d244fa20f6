package ratelimit

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// TestApply: counts of limits and budgets that stay are kept, also with other
// numbers; those of new ones begin at nothing; a bad configuration changes
// nothing.
func TestApply(t *testing.T) {
	t.Parallel()
	limits := func(ls ...Limit) Config {
		return Config{Models: map[string][]Limit{"m": ls}, Budgets: []Budget{{Each: "user", USD: 10, Per: "month"}}}
	}
	s := open(t, newClock(), limits().Budgets, Limit{Each: "user", Requests: 5, Per: "minute"})
	ana := Caller{Name: "ana"}
	admitted := func() (n int) {
		for n < 100 && spend(t, s, ana, "m", 0) == nil {
			n++
		}
		return n
	}
	reserve := func() bool {
		ticket, err := s.Reserve(t.Context(), call("ana"))
		if err == nil {
			ticket.Settle(use(1, 1), 0)
		}
		return err == nil
	}
	if err := spend(t, s, ana, "m", 9); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		free int // more calls that are admitted then
		bad  string
	}{
		{"the same", limits(Limit{Each: "user", Requests: 5, Per: "minute"}), 4, ""},
		{"a larger number", limits(Limit{Each: "user", Requests: 7, Per: "minute"}), 2, ""},
		{"a smaller number", limits(Limit{Each: "user", Requests: 3, Per: "minute"}), 0, ""},
		{"bad", limits(Limit{Each: "usr", Requests: 100, Per: "minute"}), 0, `models.m.limits[0].each: "usr" is not one of`},
		{"another beside it", limits(Limit{Each: "user", Requests: 9, Per: "minute"}, Limit{Requests: 1, Per: "minute"}), 1, ""},
		{"another period", limits(Limit{Each: "user", Requests: 3, Per: "hour"}), 3, ""},
		{"back: its count has ended", limits(Limit{Each: "user", Requests: 3, Per: "minute"}), 3, ""},
	} {
		err := s.Apply(tt.cfg)
		if tt.bad == "" && err != nil || tt.bad != "" && (err == nil || !strings.Contains(err.Error(), tt.bad)) {
			t.Fatalf("%s: %v", tt.name, err)
		}
		n := 0
		for n < 50 && reserve() {
			n++
		}
		if n != tt.free {
			t.Errorf("%s: %d more calls, want %d", tt.name, n, tt.free)
		}
	}
	// A ticket of before is settled after, into the rule that is still there and
	// into one that is not.
	if err := s.Apply(limits(Limit{Each: "user", Tokens: 1000, Per: "minute"})); err != nil {
		t.Fatal(err)
	}
	kept, err := s.Reserve(t.Context(), call("ana"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(limits(Limit{Each: "user", Tokens: 2000, Per: "minute"})); err != nil {
		t.Fatal(err)
	}
	kept.Settle(use(1999, 0), 0.5*pico)
	if st := s.Standing(ana, []string{"m"}); st.Limits[0].Tokens.Left != 1 || st.Budgets[0].Spent != 9.5 {
		t.Errorf("%+v %+v", st.Limits[0].Tokens, st.Budgets)
	}
	lost, err := s.Reserve(t.Context(), call("bob"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(Config{}); err != nil {
		t.Fatal(err)
	}
	lost.Settle(use(1, 1), pico)
	if n := admitted(); n != 100 {
		t.Errorf("without limits and budgets %d calls", n)
	}
	// Budgets keep their accounts too, and an own one takes the place.
	if err := s.Apply(limits()); err != nil {
		t.Fatal(err)
	}
	if err := spend(t, s, ana, "m", 10); err != nil { // the account of before is gone
		t.Fatal(err)
	}
	cfg := limits()
	cfg.Budgets[0].USD = 12
	if err := s.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	if err := spend(t, s, ana, "m", 2); err != nil {
		t.Errorf("with a larger budget: %v", err)
	}
	if err := spend(t, s, ana, "m", 2); err == nil {
		t.Error("the account was not kept")
	}
}

// TestApplyParallel: limits change while calls are made.
func TestApplyParallel(t *testing.T) {
	t.Parallel()
	s := open(t, newClock(), nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				ticket, err := s.Reserve(t.Context(), call("ana", "g"))
				if err == nil && i%2 == 0 {
					ticket.Settle(use(10, 10), 1)
				} else if err == nil {
					ticket.Release()
				}
				s.Standing(Caller{Name: "ana"}, []string{"m", "n"})
			}
		})
	}
	for i := range int64(200) {
		cfg := Config{Models: map[string][]Limit{"m": {{Each: "user", Requests: 1 + i, Tokens: 1000 * (i + 1), Per: "minute"}, {Of: "group g", Requests: 1 + 2*i, Per: "hour"}}}, Budgets: []Budget{{Each: "user", USD: float64(i + 1), Per: "day"}}}
		if i%3 == 0 {
			cfg = Config{}
		}
		if err := s.Apply(cfg); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

// TestStanding: what GET /me shows.
func TestStanding(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, []Budget{{Each: "user", USD: 300, Per: "month"}, {Of: "group h", USD: 1, Per: "day", Then: "alert"}, {Each: "model", USD: 50, Per: "week"}},
		Limit{Each: "user", Requests: 60, Tokens: 400_000, Per: "minute", Count: []string{"input", "output", "cache_write"}},
		Limit{Of: "group g", Tokens: 2_000_000, Per: "hour"},
		Limit{Requests: 100, Per: "minute"},
		Limit{Of: "user bob", Requests: 1, Per: "minute"},
		Limit{Each: "user", Requests: 10, Per: "hour", Op: "count_tokens"},
	)
	alice := Caller{Name: "alice@example.com", Groups: []string{"g"}}
	ticket, err := s.Reserve(t.Context(), Request{Op: provider.Generate, Model: "m", Caller: alice, Input: 1000, MaxOutput: 500})
	if err != nil {
		t.Fatal(err)
	}
	c.pass(12 * time.Second)
	ticket.Settle(openresponses.Usage{Input: 700, CacheRead: 5000, Output: 300}, 12.34*pico)
	got, err := json.MarshalIndent(s.Standing(alice, []string{"m", "other"}), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "limits": [
  {
   "model": "m",
   "each": "",
   "of": "",
   "scope": "all traffic",
   "op": "",
   "per": "minute",
   "requests": {
    "limit": 100,
    "used": 1,
    "left": 99
   },
   "resets": "2026-11-21T12:01:00Z"
  },
  {
   "model": "m",
   "each": "",
   "of": "group g",
   "scope": "group g",
   "op": "",
   "per": "hour",
   "tokens": {
    "limit": 2000000,
    "used": 6000,
    "left": 1994000
   },
   "resets": "2026-11-21T13:00:00Z"
  },
  {
   "model": "m",
   "each": "user",
   "of": "",
   "scope": "user alice@example.com",
   "op": "",
   "per": "minute",
   "requests": {
    "limit": 60,
    "used": 1,
    "left": 59
   },
   "resets": "2026-11-21T12:01:00Z"
  },
  {
   "model": "m",
   "each": "user",
   "of": "",
   "scope": "user alice@example.com",
   "op": "count_tokens",
   "per": "hour",
   "requests": {
    "limit": 10,
    "used": 0,
    "left": 10
   }
  }
 ],
 "budgets": [
  {
   "each": "user",
   "of": "",
   "scope": "user alice@example.com",
   "usd": 300,
   "spent": 12.34,
   "left": 287.66,
   "per": "month",
   "then": "block",
   "resets": "2026-12-01T00:00:00Z"
  },
  {
   "each": "model",
   "of": "",
   "scope": "model m",
   "usd": 50,
   "spent": 12.34,
   "left": 37.66,
   "per": "week",
   "then": "block",
   "resets": "2026-11-23T00:00:00Z"
  },
  {
   "each": "model",
   "of": "",
   "scope": "model other",
   "usd": 50,
   "spent": 0,
   "left": 50,
   "per": "week",
   "then": "block",
   "resets": "2026-11-23T00:00:00Z"
  }
 ]
}`
	if string(got) != want {
		t.Errorf("%s", got)
	}
	var none *Service
	if st := none.Standing(alice, nil); st.Limits == nil || st.Budgets == nil {
		t.Error("lists are null")
	}
}

// TestRestore: after a restart everything counts as if there had been none.
func TestRestore(t *testing.T) {
	t.Parallel()
	limits := []Limit{
		{Each: "user", Requests: 3, Tokens: 1000, Per: "minute"},
		{Of: "group g", Tokens: 5000, Per: "hour", Count: []string{"output"}},
		{Of: "group h", Requests: 2, Per: "hour"},
		{Each: "tag team", Requests: 4, Per: "hour"},
	}
	budgets := []Budget{{Each: "user", USD: 10, Per: "month", Alert: []int{50}}, {Each: "group", USD: 30, Per: "week"}, {Of: "model m", USD: 25, Per: "day"}}
	c := newClock()
	first, second := open(t, c, budgets, limits...), open(t, c, budgets, limits...)
	var rows []Row
	for i := range 200 {
		q := call([]string{"ana", "bob", "cid"}[i%3])
		q.Op = []provider.Op{provider.Generate, provider.Generate, provider.Embed, provider.CountTokens}[i%4]
		if i%2 == 0 {
			q.Caller.Groups = []string{"g"}
		} else if i%7 == 0 {
			q.Caller.Groups = []string{"h"}
		}
		if i%5 == 0 {
			q.Caller.Tags = map[string]string{"team": "a"}
		}
		ticket, err := first.Reserve(t.Context(), q)
		row := Row{Time: c.now(), Op: q.Op, Model: q.Model, Requester: q.Caller.Name, Groups: q.Caller.Groups, Tags: q.Caller.Tags, Status: "refused"}
		if err == nil {
			u := openresponses.Usage{Input: int64(i), CacheRead: 50, Output: int64(i % 7), Reasoning: 5}
			row.Status, row.Usage, row.CostPico = "completed", u, int64(i)*pico/1000
			if i%11 == 0 {
				row.Status = "interrupted"
			}
			ticket.Settle(u, row.CostPico)
		}
		rows = append(rows, row)
		c.pass(time.Minute) // so that counts of two do not share a slot
	}
	rows = append(rows, Row{Time: c.now().AddDate(0, 0, -40), Op: provider.Generate, Model: "m", Requester: "ana", CostPico: 9 * pico, Status: "completed"},
		Row{Time: c.now().Add(time.Minute), Op: provider.Generate, Model: "m", Requester: "ana", CostPico: 9 * pico, Status: "completed"}) // of another's clock
	slices.Reverse(rows)

	restarted, err := New(Config{Models: map[string][]Limit{"m": limits}, Budgets: budgets}, quiet, c.options())
	if err != nil {
		t.Fatal(err)
	}
	defer restarted.Close()
	since, whole := restarted.Since()
	if want := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC); !since.Equal(want) || !whole.Equal(c.now().Add(-time.Hour)) {
		t.Errorf("rows are needed since %v, whole since %v", since, whole)
	}
	if err := restarted.Restore(all(rows)); err != nil {
		t.Fatal(err)
	}
	if since, _ := restarted.Since(); !since.IsZero() {
		t.Errorf("rows are needed again, since %v", since)
	}
	for _, caller := range []Caller{{Name: "ana"}, {Name: "bob"}, {Name: "cid"}, {Name: "dan", Groups: []string{"g", "h"}, Tags: map[string]string{"team": "a"}}} {
		want, _ := json.Marshal(first.Standing(caller, []string{"m"}))
		got, _ := json.Marshal(restarted.Standing(caller, []string{"m"}))
		if string(got) != string(want) {
			t.Errorf("%s stands with\n%s\nand stood before with\n%s", caller.Name, got, want)
		}
	}
	if n := len(restarted.alerts.queue); n > 0 {
		t.Errorf("%d alerts of before the restart", n)
	}
	// Rows that came meanwhile count once.
	if err := restarted.Restore(all(rows)); err != nil {
		t.Fatal(err)
	}
	if got, want := restarted.Standing(Caller{Name: "ana"}, nil).Budgets[0].Spent, first.Standing(Caller{Name: "ana"}, nil).Budgets[0].Spent; got != want {
		t.Errorf("restored twice: %v spent, want %v", got, want)
	}

	// A budget that comes with a reload counts what was before it, and only that.
	grown := append(slices.Clone(budgets), Budget{Each: "user", USD: 1000, Per: "week"})
	for _, s := range []*Service{first, second} {
		if err := s.Apply(Config{Models: map[string][]Limit{"m": limits}, Budgets: grown}); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(time.Minute)
	now := Row{Time: c.now(), Op: provider.Generate, Model: "m", Requester: "ana", CostPico: 3 * pico, Status: "completed"}
	if err := spend(t, first, Caller{Name: "ana"}, "other", 3); err != nil {
		t.Fatal(err)
	}
	before := first.Standing(Caller{Name: "ana"}, nil).Budgets
	if err := first.Restore(all(append(rows, now))); err != nil {
		t.Fatal(err)
	}
	after := first.Standing(Caller{Name: "ana"}, nil).Budgets
	if after[0].Spent != before[0].Spent || after[1].Spent != after[0].Spent {
		t.Errorf("%+v, before %+v", after, before)
	}

	// The restored counts leave their windows when those of before do.
	dan := Caller{Name: "dan", Groups: []string{"g", "h"}, Tags: map[string]string{"team": "a"}}
	for range 30 {
		c.pass(2 * time.Minute)
		want, _ := json.Marshal(first.Standing(dan, []string{"m"}).Limits)
		got, _ := json.Marshal(restarted.Standing(dan, []string{"m"}).Limits)
		if string(got) != string(want) {
			t.Fatalf("later dan stands with\n%s\nand would have with\n%s", got, want)
		}
	}
}

// TestRestoreError: what came before an error counts, and it can be tried again.
func TestRestoreError(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, []Budget{{Each: "user", USD: 1, Per: "month"}})
	row := Row{Time: c.now().Add(-time.Hour), Op: provider.Generate, Model: "m", Requester: "ana", CostPico: 2 * pico, Status: "completed"}
	fault := apierror.New(apierror.Unavailable, "no disk")
	err := s.Restore(func(yield func(Row, error) bool) {
		_ = yield(row, nil) && yield(Row{}, fault)
	})
	if err != fault {
		t.Errorf("%v", err)
	}
	if err := spend(t, s, Caller{Name: "ana"}, "m", 1); err == nil {
		t.Error("what came before the error does not count")
	}
	if since, _ := s.Since(); since.IsZero() {
		t.Error("it cannot be tried again")
	}
}

func all(rows []Row) func(yield func(Row, error) bool) {
	return func(yield func(Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}
