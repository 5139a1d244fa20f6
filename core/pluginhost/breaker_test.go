package pluginhost

import (
	"testing"
	"time"
)

func TestCrashes(t *testing.T) {
	t.Parallel()
	c := newCrashes(Breaker{Crashes: 3, Within: time.Minute, Open: 30 * time.Second})
	now := time.Unix(1e9, 0)
	if d, open := c.wait(now); d != 0 || open {
		t.Errorf("before any crash: wait %s, open %t", d, open)
	}
	c.add(now)
	if d, _ := c.wait(now); d != 0 {
		t.Errorf("after the first crash: wait %s, want none", d)
	}
	c.add(now)
	if d, open := c.wait(now); d <= 0 || d > maxPause || open {
		t.Errorf("after the second crash: wait %s, open %t, want a short pause", d, open)
	}
	c.add(now)
	if d, open := c.wait(now); d != 30*time.Second || !open {
		t.Errorf("after the third crash: wait %s, open %t, want the breaker open", d, open)
	}
	now = now.Add(31 * time.Second)
	if d, open := c.wait(now); d != 0 || open {
		t.Errorf("after the breaker's time: wait %s, open %t", d, open)
	}
	c.add(now)
	if d, open := c.wait(now); d != 30*time.Second || !open {
		t.Errorf("a crash of the trial start: wait %s, open %t, want it open again", d, open)
	}
	now = now.Add(time.Hour)
	c.add(now)
	if d, open := c.wait(now); d != 0 || open {
		t.Errorf("a crash long after: wait %s, open %t, want a new series", d, open)
	}
}

func TestDefaultBreaker(t *testing.T) {
	t.Parallel()
	if got, want := (Breaker{}).withDefaults(), (Breaker{5, time.Minute, 30 * time.Second}); got != want {
		t.Errorf("default = %+v, want %+v", got, want)
	}
}
