package ratelimit

import (
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// clock is a wall clock and a monotonic one that a test moves.
type clock struct {
	wall    atomic.Int64 // ns since 1970
	elapsed atomic.Int64
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) // a Saturday

func newClock() *clock {
	c := new(clock)
	c.wall.Store(noon.UnixNano())
	return c
}

func (c *clock) now() time.Time { return time.Unix(0, c.wall.Load()).UTC() }
func (c *clock) since() time.Duration {
	return time.Duration(c.elapsed.Load())
}

// pass lets time pass on both.
func (c *clock) pass(d time.Duration) {
	c.wall.Add(int64(d))
	c.elapsed.Add(int64(d))
}

// set sets the wall clock alone.
func (c *clock) set(t time.Time) { c.wall.Store(t.UnixNano()) }

func (c *clock) options() Options { return Options{Now: c.now, Elapsed: c.since} }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// open makes a Service with these limits on the model "m".
func open(tb testing.TB, c *clock, budgets []Budget, limits ...Limit) *Service {
	tb.Helper()
	s, err := New(Config{Models: map[string][]Limit{"m": limits}, Budgets: budgets}, quiet, c.options())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// call is a request of that user, who is in these groups.
func call(name string, groups ...string) Request {
	return Request{Op: provider.Generate, Model: "m", Caller: Caller{Name: name, Groups: groups}, Input: 100, MaxOutput: 100}
}

// use is a Usage of so much input and output.
func use(in, out int64) openresponses.Usage { return openresponses.Usage{Input: in, Output: out} }
