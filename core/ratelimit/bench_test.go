package ratelimit

import (
	"fmt"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// BenchmarkReserve is what a call waits for before it is made; its settling, which
// comes when the reply has ended, is not in the time. The budget is 1 µs. With the
// clock stopped for each settling the time is a little more than the truth.
func BenchmarkReserve(b *testing.B) {
	cfg := Config{
		Models: map[string][]Limit{"m": {
			{Each: "user", Requests: maxBound, Tokens: maxBound, Per: "minute", Count: []string{"input", "output", "cache_write"}},
			{Of: "group analysts", Tokens: maxBound, Per: "hour"},
		}},
		Budgets: []Budget{{Each: "user", USD: 1e6, Per: "month", Alert: []int{80, 100}}},
	}
	s, err := New(cfg, quiet, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	q := Request{Op: provider.Generate, Model: "m", Input: 1000, MaxOutput: 64000, Caller: Caller{Name: "alice@example.com", Groups: []string{"analysts"}}}
	const atOnce = 64 // calls under way
	var open [atOnce]*Ticket
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		n := min(atOnce, b.N-i)
		for k := range n {
			if open[k], err = s.Reserve(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		}
		i += n
		b.StopTimer()
		for _, t := range open[:n] {
			t.Settle(use(1000, 200), 4_000_000)
		}
		b.StartTimer()
	}
}

// BenchmarkReserveSettle is what a call costs: admitted and settled.
func BenchmarkReserveSettle(b *testing.B) {
	many := Limit{Each: "user", Requests: maxBound, Tokens: maxBound, Per: "minute", Count: []string{"input", "output", "cache_write"}}
	group := Limit{Of: "group analysts", Tokens: maxBound, Per: "hour"}
	all := Limit{Requests: maxBound, Per: "minute"}
	budget := Budget{Each: "user", USD: 1e6, Per: "month", Alert: []int{80, 100}}
	for _, tt := range []struct {
		name    string
		limits  []Limit
		budgets []Budget
	}{
		{"none", nil, nil},
		{"user", []Limit{many}, nil},
		{"example", []Limit{many, group}, []Budget{budget}},
		{"all", []Limit{many, group, all, {Of: "tag team=a", Requests: maxBound, Per: "hour"}, {Each: "tag team", Tokens: maxBound, Per: "minute"}}, []Budget{budget, {Each: "group", USD: 1e6, Per: "day"}, {Of: "model m", USD: 1e6, Per: "week"}}},
	} {
		cfg := Config{Models: map[string][]Limit{"m": tt.limits}, Budgets: tt.budgets}
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/clients=%d", tt.name, clients), func(b *testing.B) {
				s, err := New(cfg, quiet, Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { s.Close() })
				b.ReportAllocs()
				b.SetParallelism(clients)
				step := func(q *Request) {
					t, err := s.Reserve(b.Context(), *q)
					if err != nil {
						b.Error(err)
					}
					t.Settle(use(1000, 200), 4_000_000)
				}
				request := func() *Request {
					return &Request{Op: provider.Generate, Model: "m", Input: 1000, MaxOutput: 64000, Caller: Caller{
						Name: "alice@example.com", Groups: []string{"analysts"}, Tags: map[string]string{"team": "a"}}}
				}
				if clients == 1 {
					q := request()
					for b.Loop() {
						step(q)
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for q := request(); pb.Next(); {
						step(q)
					}
				})
			})
		}
	}
}

// BenchmarkRefused is what a call costs that a limit has no room for.
func BenchmarkRefused(b *testing.B) {
	s, err := New(Config{Models: map[string][]Limit{"m": {{Each: "user", Requests: 60, Per: "hour"}}}}, quiet, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	for range 60 {
		s.Reserve(b.Context(), call("alice"))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Reserve(b.Context(), call("alice")); err == nil {
			b.Fatal("admitted")
		}
	}
}
