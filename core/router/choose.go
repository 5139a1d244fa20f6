package router

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
)

func newDestination(a *account, d Destination, weight float64) destination {
	h := fnv.New64a()
	h.Write([]byte(a.name + "\x00" + d.Model))
	return destination{account: a, model: d.Model, price: d.Price, weight: weight, seed: h.Sum64()}
}

// order gives the destinations of m in the order to try them: those with a
// share of the traffic, drawn by their weights; those with a share of nothing;
// the fallback. Nobody changes the list.
//
// A session's draw is a weighted rendezvous hash of its key: the same session
// gets the same order from every gateway and after every restart, and a
// destination that is added or removed moves only the sessions it wins or
// loses. Without a session the draw is random.
func (r *Router) order(m *model, session string) []destination {
	if len(m.destinations) == 1 && len(m.fallback) == 0 {
		return m.destinations
	}
	out := make([]destination, 0, len(m.destinations)+len(m.fallback))
	if len(m.destinations) == 1 {
		out = append(out, m.destinations...)
		return append(out, m.fallback...)
	}
	type drawn struct {
		destination
		score float64
	}
	draw := make([]drawn, 0, len(m.destinations))
	for _, d := range m.destinations {
		var u float64
		if session == "" {
			u = r.random()
		} else {
			u = unit(session, d.seed)
		}
		score := math.Inf(-1)
		if d.weight > 0 {
			score = -d.weight / math.Log(min(max(u, 1e-300), 1-1e-16))
		}
		draw = append(draw, drawn{d, score})
	}
	slices.SortStableFunc(draw, func(a, b drawn) int { return cmp.Compare(b.score, a.score) })
	for _, d := range draw {
		out = append(out, d.destination)
	}
	return append(out, m.fallback...)
}

// unit hashes a session and a destination to a number in [0, 1).
func unit(session string, seed uint64) float64 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], seed)
	h.Write(b[:])
	h.Write([]byte(session))
	x := h.Sum64()
	// FNV leaves the high bits of short inputs badly mixed; finish as
	// SplitMix64 does.
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}
