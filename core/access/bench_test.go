package access

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// bigService has 5,000 tables, 2,000 users of 8 groups each, 21,000 grants.
func bigService(tb testing.TB) (*Service, []*Principal, []Securable) {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var cfg Config
	for i := range 2000 {
		u := User{Name: fmt.Sprintf("user%d@example.com", i)}
		for range 8 {
			u.Groups = append(u.Groups, fmt.Sprintf("group%d", r.IntN(100)))
		}
		cfg.Users = append(cfg.Users, u)
	}
	for g := range 100 {
		cfg.Groups = append(cfg.Groups, Group{Name: fmt.Sprintf("group%d", g)})
	}
	var objects []Object
	var on []Securable
	for i := range 5000 {
		s := Securable{Table, fmt.Sprintf("catalog%d.schema%d.table%d", i%10, i%100, i)}
		objects, on = append(objects, Object{Securable: s}), append(on, s)
	}
	for g := range 100 {
		cfg.Grants = append(cfg.Grants, grant(fmt.Sprintf("group%d", g), fmt.Sprintf("catalog catalog%d", g%10), "USE CATALOG"),
			grant(fmt.Sprintf("group%d", g), fmt.Sprintf("schema catalog%d.schema%d", g%10, g), "USE SCHEMA"))
	}
	for len(cfg.Grants) < 21_000 {
		to := fmt.Sprintf("group%d", r.IntN(100))
		if r.IntN(2) == 0 {
			to = fmt.Sprintf("user%d@example.com", r.IntN(2000))
		}
		cfg.Grants = append(cfg.Grants, grant(to, "table "+on[r.IntN(len(on))].Name, "SELECT"))
	}
	s := newService(tb, cfg, nil)
	if err := s.SetObjects("bench", objects); err != nil {
		tb.Fatal(err)
	}
	var who []*Principal
	for _, u := range cfg.Users {
		p, err := s.Lookup(u.Name, []string{"all"}, "")
		if err != nil {
			tb.Fatal(err)
		}
		who = append(who, p)
	}
	return s, who, on
}

// pairs are random questions; share is how many of them are allowed.
func pairs(s *Service, who []*Principal, on []Securable, onlyAllowed bool) (p []*Principal, o []Securable, share float64) {
	r := rand.New(rand.NewPCG(3, 4))
	allowed := 0
	for len(p) < 4096 {
		w, t := who[r.IntN(len(who))], on[r.IntN(len(on))]
		ok := s.Allowed(w, Select, t)
		if ok {
			allowed++
		}
		if ok || !onlyAllowed {
			p, o = append(p, w), append(o, t)
		}
	}
	return p, o, float64(allowed) / float64(len(p))
}

func TestASuccessfulCheckDoesNotAllocate(t *testing.T) {
	s, who, on := bigService(t)
	p, o, _ := pairs(s, who, on, true)
	i := 0
	if got := testing.AllocsPerRun(1000, func() {
		if err := s.Check(p[i%len(p)], Select, o[i%len(p)]); err != nil {
			t.Fatal(err)
		}
		i++
	}); got != 0 {
		t.Errorf("a check allocates %v times, want 0", got)
	}
}

// onCPU reports the CPU time of an operation beside its wall time, which on a
// busy machine says little. Call what it returns when the loop has ended.
func onCPU(b *testing.B) (done func()) {
	spent := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := spent()
	return func() { b.ReportMetric(float64(spent()-start)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkCheckAllowed(b *testing.B) {
	s, who, on := bigService(b)
	p, o, _ := pairs(s, who, on, true)
	b.ReportAllocs()
	defer onCPU(b)()
	for i := 0; b.Loop(); i++ {
		if err := s.Check(p[i%len(p)], Select, o[i%len(p)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAllowedRandom(b *testing.B) {
	s, who, on := bigService(b)
	p, o, share := pairs(s, who, on, false)
	b.ReportAllocs()
	defer onCPU(b)()
	for i := 0; b.Loop(); i++ {
		s.Allowed(p[i%len(p)], Select, o[i%len(p)])
	}
	b.ReportMetric(100*share, "%allowed")
}

func BenchmarkCheckDenied(b *testing.B) {
	s, who, _ := bigService(b)
	b.ReportAllocs()
	defer onCPU(b)()
	for i := 0; b.Loop(); i++ {
		if s.Check(who[i%len(who)], Select, Securable{Table, "catalog1.schema1.absent"}) == nil {
			b.Fatal("allowed")
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	cfg := people()
	s := newService(b, cfg, nil)
	personal, _, err := s.CreateToken(b.Context(), NewToken{Principal: "alice", Lifetime: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name, token string, before func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			defer onCPU(b)()
			for b.Loop() {
				before()
				if _, err := s.Authenticate(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("fixed", aliceToken, func() {})
	run("cached", personal, func() {})
	run("looked up", personal, func() { s.epoch.Add(1) })
}

func BenchmarkRebuild(b *testing.B) {
	s, _, _ := bigService(b)
	for b.Loop() {
		if err := s.SetObjects("other", nil); err != nil {
			b.Fatal(err)
		}
	}
}
