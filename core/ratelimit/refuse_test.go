package ratelimit

import (
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// TestTexts: a refusal says which limit, how much is used and asked, when to try
// again and who can help.
func TestTexts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		limit Limit
		first Request // admitted, and settled with this after 20 s
		used  openresponses.Usage
		then  Request // refused another 5 s later
		code  apierror.Code
		retry time.Duration
		want  string
	}{
		{
			"requests of each user", Limit{Each: "user", Requests: 1, Per: "minute"}, call("ana"), use(10, 10), call("ana"), apierror.RateLimited, 35 * time.Second,
			`The model "m" has a limit of 1 request per minute for user ana; 1 is used. Try again in 35 seconds. An administrator of the gateway can raise the limit.`,
		},
		{
			"of all", Limit{Requests: 1, Per: "hour"}, call("ana"), use(10, 10), call("bob"), apierror.RateLimited, time.Hour - 25*time.Second,
			`The model "m" has a limit of 1 request per hour for all its callers together; 1 is used. Try again in 3,575 seconds. An administrator of the gateway can raise the limit.`,
		},
		{
			"tokens of a group", Limit{Of: "group g", Tokens: 2000, Per: "minute", Count: []string{"input", "output"}, Reserve: "max"}, call("ana", "g"), use(1500, 100), call("bob", "g"), apierror.RateLimited, 35 * time.Second,
			// More input than the bound is remembered of ana alone.
			`The model "m" has a limit of 2,000 tokens (input, output) per minute for group g, whose members share it; 1,600 are used and this request needs about 500. Try again in 35 seconds. An administrator of the gateway can raise the limit.`,
		},
		{
			"a debt", Limit{Of: "tag team=a", Tokens: 1000, Per: "minute"}, tagged(call("ana")), use(2000, 500), tagged(call("ana")), apierror.RateLimited, 95 * time.Second,
			`The model "m" has a limit of 1,000 tokens per minute for tag team=a; 2,500 are used (1,500 of them by calls that took more than was expected) and this request needs about 390. Try again in 95 seconds. An administrator of the gateway can raise the limit.`,
		},
		{
			"never", Limit{Each: "principal", Tokens: 10_000, Per: "minute", Reserve: "max"}, call("ana"), use(10, 10), Request{Op: provider.Generate, Model: "m", Caller: Caller{Name: "sp-etl", ServicePrincipal: true}, Input: 1000, MaxOutput: 64000}, apierror.Invalid, 0,
			`The model "m" has a limit of 10,000 tokens per minute for service principal sp-etl, and this request may use up to 66,000. It can never be admitted as it is: ask for a shorter reply (max_tokens), send less, or ask an administrator of the gateway for a larger limit.`,
		},
	}
	for _, tt := range tests {
		c := newClock()
		s := open(t, c, nil, tt.limit)
		if tt.then.MaxOutput == 100 && tt.limit.Reserve == "max" {
			tt.then.Input = 200
		}
		ticket, err := s.Reserve(t.Context(), tt.first)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		c.pass(20 * time.Second)
		ticket.Settle(tt.used, 0)
		c.pass(5 * time.Second)
		_, err = s.Reserve(t.Context(), tt.then)
		e := apierror.From(err)
		if err == nil || e.Code != tt.code || e.RetryAfter != tt.retry || e.Message != tt.want {
			t.Errorf("%s:\n got %v, %v, %v\nwant %s, %v, %v", tt.name, apierror.CodeOf(err), e.RetryAfter, err, tt.code, tt.retry, tt.want)
		}
	}
}

func tagged(q Request) Request {
	q.Caller.Tags = map[string]string{"team": "a"}
	return q
}

// TestOwnClock: limits go by the time that passes, not by the time of day.
func TestOwnClock(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, nil, Limit{Each: "user", Requests: 1, Per: "minute"})
	if _, err := s.Reserve(t.Context(), call("ana")); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{-48 * time.Hour, 0, 400 * 24 * time.Hour} {
		c.set(noon.Add(d))
		if _, err := s.Reserve(t.Context(), call("ana")); !apierror.Is(err, apierror.RateLimited) {
			t.Errorf("with the clock set by %v: %v", d, err)
		}
	}
	c.set(noon)
	c.elapsed.Add(int64(time.Minute))
	if _, err := s.Reserve(t.Context(), call("ana")); err != nil {
		t.Errorf("after a minute that the time of day does not show: %v", err)
	}
}

// TestLarger: a call that is estimated to need more than the whole limit waits
// for an empty window, and its true use is paid for.
func TestLarger(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, nil, Limit{Each: "user", Tokens: 1000, Per: "minute"})
	big := call("ana")
	big.Input = 5000
	ticket, err := s.Reserve(t.Context(), big)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reserve(t.Context(), call("ana")); apierror.From(err).RetryAfter != time.Minute {
		t.Fatalf("beside it: %v", err)
	}
	ticket.Settle(use(3000, 500), 0)
	for range 3 { // 2,500 of debt
		_, err := s.Reserve(t.Context(), big)
		if d := apierror.From(err).RetryAfter; d <= 0 || d > 4*time.Minute {
			t.Fatalf("retry after %v: %v", d, err)
		}
		c.pass(time.Minute)
	}
	c.pass(time.Minute)
	if _, err := s.Reserve(t.Context(), big); err != nil {
		t.Errorf("when the debt is paid: %v", err)
	}
}

// TestTagValues: values of a tag are what clients make up, so their number is
// bounded; those beyond share a count.
func TestTagValues(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, c, nil, Limit{Each: "tag team", Requests: 1, Per: "minute"})
	q := call("ana")
	admitted := 0
	for i := range 3 * maxBuckets {
		q.Caller.Tags = map[string]string{"team": time.Duration(i).String()}
		if _, err := s.Reserve(t.Context(), q); err == nil {
			admitted++
		}
	}
	r := s.model("m").calls.rules[0]
	if admitted != maxBuckets+1 || len(r.buckets) != maxBuckets+1 {
		t.Errorf("%d were admitted, in %d counts", admitted, len(r.buckets))
	}
	c.pass(2 * time.Minute)
	// What was never settled is still held, so nothing is let go of.
	q.Caller.Tags = map[string]string{"team": "new"}
	if _, err := s.Reserve(t.Context(), q); err != nil {
		t.Error(err)
	}
}
