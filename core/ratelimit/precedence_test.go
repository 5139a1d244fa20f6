package ratelimit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// TestPrecedence: who is admitted how often in one minute.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	const rpm = "minute"
	tests := []struct {
		name   string
		limits []Limit
		// Each step is "caller n": the caller asks n+1 times and is admitted n
		// times; * means that all of 50 are. A caller is a name with its groups
		// and tags: "ana[g,h]{team=a}"; one that begins with sp- is a service
		// principal.
		steps string
	}{
		{"none", nil, "ana *"},
		{"service caps everybody together", []Limit{{Requests: 5, Per: rpm}}, "ana[g] 5; bob 0; sp-etl 0"},
		{"each user has a count", []Limit{{Each: "user", Requests: 3, Per: rpm}}, "ana 3; bob[g] 3; sp-etl *"},
		{"each service principal", []Limit{{Each: "service_principal", Requests: 3, Per: rpm}}, "sp-a 3; sp-b 3; ana *"},
		{"each principal", []Limit{{Each: "principal", Requests: 3, Per: rpm}}, "sp-a 3; ana 3; bob 3"},
		{"a user and a service principal of one name", []Limit{{Each: "principal", Requests: 3, Per: rpm}}, "sp-a 3; user-sp-a 3"},
		{"of one user", []Limit{{Of: "user ana", Requests: 3, Per: rpm}}, "ana 3; bob *"},
		{"of one service principal", []Limit{{Of: "service_principal sp-a", Requests: 3, Per: rpm}}, "sp-a 3; sp-b *; user-sp-a *"},
		{"a group shares one", []Limit{{Of: "group g", Requests: 4, Per: rpm}}, "ana[g] 4; bob[g,h] 0; cid[h] *"},
		{"service caps those with more of their own", []Limit{{Requests: 5, Per: rpm}, {Of: "user ana", Requests: 9, Per: rpm}}, "ana 5"},

		{"own wins over default, more", []Limit{{Each: "user", Requests: 2, Per: rpm}, {Of: "user ana", Requests: 6, Per: rpm}}, "ana 6; bob 2"},
		{"own wins over default, less", []Limit{{Each: "user", Requests: 6, Per: rpm}, {Of: "user ana", Requests: 2, Per: rpm}}, "ana 2; bob 6"},
		{"own wins over group", []Limit{{Of: "group g", Requests: 2, Per: rpm}, {Of: "user ana", Requests: 6, Per: rpm}}, "ana[g] 6; bob[g] 2"},
		{"own of a service principal wins over group and default", []Limit{{Of: "group g", Requests: 2, Per: rpm}, {Each: "principal", Requests: 1, Per: rpm}, {Of: "service_principal sp-a", Requests: 6, Per: rpm}}, "sp-a[g] 6; sp-b[g] 2; sp-c 1"},
		{"group wins over default", []Limit{{Each: "user", Requests: 2, Per: rpm}, {Of: "group g", Requests: 6, Per: rpm}}, "ana[g] 6; bob 2"},
		{"group wins over default, less", []Limit{{Each: "user", Requests: 6, Per: rpm}, {Of: "group g", Requests: 2, Per: rpm}}, "ana[g] 2; bob 6"},
		{"another period is less specific too", []Limit{{Each: "user", Requests: 2, Per: rpm}, {Of: "user ana", Requests: 6, Per: "hour"}}, "ana 6; bob 2"},
		{"all limits of one level hold", []Limit{{Of: "user ana", Requests: 6, Per: rpm}, {Of: "user ana", Requests: 4, Per: "hour"}}, "ana 4"},
		{"both defaults hold", []Limit{{Each: "user", Requests: 6, Per: rpm}, {Each: "principal", Requests: 4, Per: rpm}}, "ana 4; sp-a 4"},

		{"requests and tokens are seen apart", []Limit{{Each: "user", Requests: 3, Per: rpm}, {Of: "user ana", Tokens: 1e9, Per: rpm}}, "ana 3"},
		{"the default keeps what a group does not bound", []Limit{{Each: "user", Requests: 3, Tokens: 1, Per: rpm}, {Of: "group g", Tokens: 1e9, Per: "hour"}}, "ana[g] 3; bob 1"},
		{"a group that bounds only what the caller's own does is no limit", []Limit{{Of: "group g", Requests: 1, Per: rpm}, {Of: "group h", Tokens: 1e9, Per: rpm}, {Of: "user ana", Requests: 4, Per: rpm}}, "ana[g,h] 4"},

		{"of several groups one with room is enough", []Limit{{Of: "group g", Requests: 2, Per: rpm}, {Of: "group h", Requests: 5, Per: rpm}}, "ana[g,h] 5; bob[g] 0; cid[h] 0"},
		{"a full group is not charged", []Limit{{Of: "group g", Requests: 2, Per: rpm}, {Of: "group h", Requests: 5, Per: rpm}}, "bob[g] 2; ana[g,h] 5"},
		{"a group without a limit does not help", []Limit{{Of: "group g", Requests: 2, Per: rpm}}, "ana[g,free] 2"},
		{"a group is full when one of its limits is", []Limit{{Of: "group g", Requests: 9, Per: rpm}, {Of: "group g", Requests: 2, Per: "hour"}, {Of: "group h", Requests: 3, Per: rpm}}, "ana[g,h] 3"},

		{"of a tag", []Limit{{Of: "tag team=a", Requests: 3, Per: rpm}}, "ana{team=a} 3; bob{team=a} 0; bob{team=b} *; bob *"},
		{"each value of a tag", []Limit{{Each: "tag team", Requests: 3, Per: rpm}}, "ana{team=a} 3; bob{team=a} 0; bob{team=b} 3; bob{team=} 3; bob{other=a} *"},
		{"a tag caps those with more of their own", []Limit{{Of: "tag team=a", Requests: 3, Per: rpm}, {Of: "user ana", Requests: 6, Per: rpm}}, "ana{team=a} 3; ana 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, newClock(), nil, tt.limits...)
			for step := range strings.SplitSeq(tt.steps, "; ") {
				who, want, _ := strings.Cut(step, " ")
				c := parseCaller(who)
				got := 0
				for got < 50 {
					ticket, err := s.Reserve(t.Context(), Request{Op: provider.Generate, Model: "m", Caller: c})
					if err != nil {
						if !apierror.Is(err, apierror.RateLimited) || apierror.From(err).RetryAfter <= 0 {
							t.Fatalf("%s: %v", step, err)
						}
						break
					}
					ticket.Settle(use(1, 0), 0)
					got++
				}
				if have := fmt.Sprint(got); have != want && !(want == "*" && got == 50) {
					t.Errorf("%s was admitted %d times, want %s", who, got, want)
				}
			}
		})
	}
}

// parseCaller reads "ana[g,h]{team=a}".
func parseCaller(s string) Caller {
	var c Caller
	if name, tags, ok := strings.Cut(strings.TrimSuffix(s, "}"), "{"); ok {
		k, v, _ := strings.Cut(tags, "=")
		c.Tags = map[string]string{k: v}
		s = name
	}
	if name, groups, ok := strings.Cut(strings.TrimSuffix(s, "]"), "["); ok {
		c.Groups = strings.Split(groups, ",")
		s = name
	}
	c.ServicePrincipal = strings.HasPrefix(s, "sp-")
	c.Name = strings.TrimPrefix(s, "user-")
	return c
}

// TestCountTokens: counting has limits of its own.
func TestCountTokens(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, nil, Limit{Each: "user", Requests: 2, Tokens: 10, Per: "minute"})
	count := func(model, who string) error {
		_, err := s.Reserve(t.Context(), Request{Op: provider.CountTokens, Model: model, Caller: Caller{Name: who}, Input: 1e6})
		return err
	}
	for _, model := range []string{"m", "another"} { // also one of which the configuration says nothing
		for i := range CountRequests {
			if err := count(model, "ana"); err != nil {
				t.Fatalf("%s: count %d: %v", model, i, err)
			}
		}
		if err := count(model, "ana"); !apierror.Is(err, apierror.RateLimited) || !strings.Contains(err.Error(), "600 token counts per minute for user ana") {
			t.Errorf("%s: one more: %v", model, err)
		}
		if err := count(model, "bob"); err != nil {
			t.Errorf("%s: bob: %v", model, err)
		}
	}
	if ticket, err := s.Reserve(t.Context(), Request{Op: provider.Generate, Model: "m", Caller: Caller{Name: "ana"}}); err != nil {
		t.Errorf("counts were taken from the requests: %v", err)
	} else {
		ticket.Settle(use(1, 1), 0)
	}
	c.pass(time.Minute)
	if err := count("m", "ana"); err != nil {
		t.Errorf("a minute later: %v", err)
	}

	s = open(t, c, nil, Limit{Requests: 3, Per: "hour", Op: "count_tokens"})
	for i := range 4 {
		if err := count("m", fmt.Sprint("user", i)); (err != nil) != (i == 3) {
			t.Errorf("limit of 3: count %d: %v", i, err)
		}
	}
}
