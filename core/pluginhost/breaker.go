package pluginhost

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Breaker says when a plugin that crashes again and again is left alone.
type Breaker struct {
	Crashes int           `yaml:"crashes,omitempty"` // this many crashes …; 0 means 5
	Within  time.Duration `yaml:"within,omitempty"`  // … in this time …; 0 means 1 m
	Open    time.Duration `yaml:"open,omitempty"`    // … keep it stopped for this long; 0 means 30 s
}

func (b Breaker) withDefaults() Breaker {
	if b.Crashes == 0 {
		b.Crashes = 5
	}
	if b.Within == 0 {
		b.Within = time.Minute
	}
	if b.Open == 0 {
		b.Open = 30 * time.Second
	}
	return b
}

// Pauses between restarts below the breaker. The first restart is immediate.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// crashes remembers when a plugin crashed, and from that when it may start
// again. It is used under its slot's lock.
type crashes struct {
	limit   Breaker
	recent  []time.Time // within limit.Within
	pause   *backoff.ExponentialBackOff
	retryAt time.Time
	open    bool
}

func newCrashes(limit Breaker) *crashes {
	p := backoff.NewExponentialBackOff()
	p.InitialInterval, p.MaxInterval = firstPause, maxPause
	p.Reset()
	return &crashes{limit: limit, pause: p}
}

// add notes a crash, or a start that failed.
func (c *crashes) add(now time.Time) {
	c.forget(now)
	if len(c.recent) == 0 { // a new series
		c.pause.Reset()
		c.retryAt = now
	} else {
		c.retryAt = now.Add(c.pause.NextBackOff())
	}
	c.recent = append(c.recent, now)
	c.open = len(c.recent) >= c.limit.Crashes
	if c.open {
		c.retryAt = now.Add(c.limit.Open)
	}
}

// lost notes the end of a process that had done its work: killed from outside,
// or by one bad call among good ones. That is no crash loop, so it is started
// again at once, though not all the time.
func (c *crashes) lost(now time.Time, lived time.Duration) {
	c.forget(now)
	c.open, c.retryAt = false, now.Add(max(0, firstPause-lived))
}

// wait is how long the next start must wait; open says that the breaker, not a
// pause, is the reason.
func (c *crashes) wait(now time.Time) (d time.Duration, open bool) {
	d = c.retryAt.Sub(now)
	if d <= 0 {
		return 0, false
	}
	return d, c.open
}

func (c *crashes) forget(now time.Time) {
	for len(c.recent) > 0 && now.Sub(c.recent[0]) >= c.limit.Within {
		c.recent = c.recent[1:]
	}
}
