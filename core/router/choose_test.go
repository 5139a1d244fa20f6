package router

import (
	"fmt"
	"math"
	"testing"
)

// table makes a model with destinations of the weights and the fallback names.
func table(weights map[string]float64, order []string, fallback ...string) *model {
	a := &account{name: "p"}
	m := &model{}
	for _, name := range order {
		m.destinations = append(m.destinations, newDestination(a, Destination{Model: name}, weights[name]))
	}
	for _, name := range fallback {
		m.fallback = append(m.fallback, newDestination(a, Destination{Model: name}, 0))
	}
	return m
}

func names(ds []destination) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.model
	}
	return out
}

func TestOrderFollowsWeights(t *testing.T) {
	t.Parallel()
	weights := map[string]float64{"a": 70, "b": 25, "c": 5, "off": 0}
	m := table(weights, []string{"a", "off", "b", "c"})
	state := uint64(1)
	random := func() float64 { // SplitMix64, so that the test gives the same every time
		state += 0x9e3779b97f4a7c15
		x := state
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return float64((x^x>>31)>>11) / (1 << 53)
	}
	r := &Router{random: random}
	const n = 20000
	for _, kind := range []string{"random", "session"} {
		first := map[string]int{}
		for i := range n {
			session := ""
			if kind == "session" {
				session = fmt.Sprintf("session-%d", i)
			}
			order := names(r.order(m, session))
			first[order[0]]++
			if len(order) != 4 || order[3] != "off" {
				t.Fatalf("order = %v, want all four with the one of no traffic last", order)
			}
		}
		for name, w := range weights {
			if got := 100 * float64(first[name]) / n; math.Abs(got-w) > 1.5 {
				t.Errorf("%s: %s came first in %.1f %%, want %.0f", kind, name, got, w)
			}
		}
	}
}

func TestOrderSticks(t *testing.T) {
	t.Parallel()
	weights := map[string]float64{"a": 1, "b": 1, "c": 1, "d": 1}
	four := table(weights, []string{"a", "b", "c", "d"}, "f1", "f2")
	reordered := table(weights, []string{"d", "c", "b", "a"}, "f1", "f2")
	three := table(weights, []string{"a", "b", "c"}, "f1", "f2")
	r, other := &Router{random: func() float64 { return 0.5 }}, &Router{random: func() float64 { return 0.1 }}
	moved := 0
	for i := range 2000 {
		s := fmt.Sprintf("session-%d", i)
		order := names(r.order(four, s))
		if again := names(other.order(reordered, s)); fmt.Sprint(again) != fmt.Sprint(order) {
			t.Fatalf("another router orders %v, want %v", again, order)
		}
		if order[4] != "f1" || order[5] != "f2" {
			t.Fatalf("order = %v, want the fallback last and in its order", order)
		}
		less := names(r.order(three, s))
		if order[0] != "d" && less[0] != order[0] {
			t.Errorf("session %s moved from %s to %s when d was removed", s, order[0], less[0])
		}
		if order[0] == "d" {
			moved++
		}
	}
	if moved < 400 || moved > 600 {
		t.Errorf("%d of 2000 sessions were at d, want about 500", moved)
	}
}
