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

// A process that worked may be killed as often as one likes.
func TestLostProcessesAreNoCrashLoop(t *testing.T) {
	t.Parallel()
	c := newCrashes(Breaker{Crashes: 3, Within: time.Minute, Open: 30 * time.Second})
	now := time.Unix(1e9, 0)
	for range 100 {
		now = now.Add(firstPause)
		c.lost(now, firstPause)
		if d, open := c.wait(now); d != 0 || open {
			t.Fatalf("wait %s, open %t, want none", d, open)
		}
	}
	c.lost(now, 10*time.Millisecond)
	if d, open := c.wait(now); d != firstPause-10*time.Millisecond || open {
		t.Errorf("after a short life: wait %s, open %t, want the rest of %s", d, open, firstPause)
	}
	for range 3 {
		c.add(now)
	}
	if _, open := c.wait(now); !open {
		t.Error("crashes after that do not open the breaker")
	}
}

func TestDefaultBreaker(t *testing.T) {
	t.Parallel()
	if got, want := (Breaker{}).withDefaults(), (Breaker{5, time.Minute, 30 * time.Second}); got != want {
		t.Errorf("default = %+v, want %+v", got, want)
	}
}
