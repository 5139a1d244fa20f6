package tables

import (
	"fmt"
	"sync"
	"time"
)

// What the clock may do without anybody doubting it.
const (
	clockTolerance = 5 * time.Minute    // between two clocks
	longPause      = 7 * 24 * time.Hour // since the last housekeeping
	steadyFor      = 24 * time.Hour     // before a clock that was in doubt is believed
)

// guard keeps a wrong clock from making rows look old. It believes the clock
// while it goes as fast as one that nobody can set, and while it says that the
// last housekeeping was lately. Otherwise old rows stay until the process has
// run for a day with nothing strange.
type guard struct {
	now     func() time.Time
	elapsed func() time.Duration // since some moment, whatever the clock says

	mu        sync.Mutex
	wall      time.Time // when it was last believed or changed
	mono      time.Duration
	last      time.Time // housekeeping, if nobody else knows
	doubt     string    // why nothing is deleted; "" when there is no doubt
	doubtedAt time.Duration
}

// newGuard begins to watch. changed is when the tables were last written to,
// zero for never.
func newGuard(now func() time.Time, elapsed func() time.Duration, changed time.Time) *guard {
	if elapsed == nil {
		start := time.Now()
		elapsed = func() time.Duration { return time.Since(start) }
	}
	return &guard{now: now, elapsed: elapsed, wall: now().Round(0), mono: elapsed(), last: changed}
}

// believe reports whether what the clock says may be acted on. last is the last
// housekeeping, zero if nothing is known of it.
func (g *guard) believe(last time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, mono := g.now().Round(0), g.elapsed()
	if last.IsZero() {
		last = g.last
	}
	jump := wall.Sub(g.wall) - (mono - g.mono)
	switch ago := wall.Sub(last); {
	case jump.Abs() > clockTolerance:
		g.doubt, g.doubtedAt = fmt.Sprintf("the clock was set by %v", jump.Round(time.Second)), mono
	case g.doubt != "" || last.IsZero():
	case ago < -clockTolerance:
		g.doubt, g.doubtedAt = fmt.Sprintf("the last housekeeping lies %v in the future", -ago.Round(time.Second)), mono
	case ago > longPause:
		g.doubt, g.doubtedAt = fmt.Sprintf("the last housekeeping was %d days ago", int(ago.Hours()/24)), mono
	}
	g.wall, g.mono = wall, mono
	if g.doubt != "" && mono-g.doubtedAt >= steadyFor {
		g.doubt = ""
	}
	if g.doubt == "" {
		g.last = wall
	}
	return g.doubt == ""
}

// held says why nothing is deleted, "" when it is.
func (g *guard) held() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.doubt == "" {
		return ""
	}
	left := (steadyFor - (g.elapsed() - g.doubtedAt)).Round(time.Minute)
	return fmt.Sprintf("old rows are not deleted for the next %v of steady running, because %s", left, g.doubt)
}
