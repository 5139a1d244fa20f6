package sandbox

import (
	"testing"
	"time"
)

// A worker's niceness follows what it used of late.
func TestPace(t *testing.T) {
	for name, tt := range map[string]struct {
		looks []time.Duration // used in each interval between two looks
		every time.Duration
		want  []int
	}{
		"at rest":            {[]time.Duration{0, 0}, paceEvery, []int{5, 5}},
		"computes":           {[]time.Duration{100e6, 100e6, 100e6}, paceEvery, []int{10, 15, 15}},
		"on two cores":       {[]time.Duration{200e6}, paceEvery, []int{15}},
		"one look, late":     {[]time.Duration{400e6}, 4 * paceEvery, []int{15}},
		"rests after it":     {[]time.Duration{100e6, 100e6, 0, 0, 0, 0, 0, 0}, paceEvery, []int{10, 15, 15, 10, 10, 10, 10, 5}},
		"gets next to none":  {[]time.Duration{100e6, 100e6, 2e6, 2e6, 2e6, 2e6, 2e6, 2e6, 2e6}, paceEvery, []int{10, 15, 15, 10, 10, 10, 10, 5, 5}},
		"gets a tenth":       {[]time.Duration{10e6, 10e6, 10e6, 10e6, 10e6}, paceEvery, []int{5, 5, 5, 5, 5}},
		"clocks that differ": {[]time.Duration{-10e6, 0}, paceEvery, []int{5, 5}},
	} {
		now := time.Now()
		u, used := usage{at: now}, time.Duration(0)
		for i, d := range tt.looks {
			now, used = now.Add(tt.every), used+d
			u.add(now, used)
			if got := nicenessFor(u.share); got != tt.want[i] {
				t.Errorf("%s: after %d looks niceness %d with a share of %.3f, want %d", name, i+1, got, u.share, tt.want[i])
			}
		}
	}
	u := usage{share: 0.5, at: time.Now()}
	if u.add(u.at, time.Hour); u.share != 0.5 {
		t.Errorf("two looks at once: share %g", u.share)
	}
}
