package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// busy is an engine whose queries run until they are told to end, by their
// SQL, or their ctx ends. It fails the test if more run than it can.
type busy struct {
	t    *testing.T
	most int

	mu      sync.Mutex
	running map[string]chan struct{}
	started []string // in order
	peak    int
}

func newBusy(t *testing.T, most int) *busy {
	return &busy{t: t, most: most, running: map[string]chan struct{}{}}
}

func (*busy) Inspect(context.Context, string) (engine.Statement, error) {
	return engine.Statement{Kind: "select"}, nil
}

func (e *busy) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		end := make(chan struct{})
		e.mu.Lock()
		e.running[q.SQL], e.started = end, append(e.started, q.SQL)
		if n := len(e.running); n > e.most {
			e.t.Errorf("%d statements run in an engine for %d", n, e.most)
		}
		e.peak = max(e.peak, len(e.running))
		e.mu.Unlock()
		defer func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			delete(e.running, q.SQL)
		}()
		if !yield(engine.Batch{}, nil) {
			return
		}
		select {
		case <-end:
		case <-ctx.Done():
			yield(engine.Batch{}, ctx.Err())
		}
	}
}

// now is what runs, sorted.
func (e *busy) now() string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for sql := range e.running {
		out = append(out, sql)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (e *busy) end(sqls ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sql := range sqls {
		close(e.running[sql])
	}
}

// crowd sends statements of several people to one engine.
type crowd struct {
	t      *testing.T
	eng    *busy
	c      *Catalog
	wg     sync.WaitGroup
	cancel map[string]context.CancelFunc

	mu     sync.Mutex
	errors map[string]error // of statements that ended
}

// inCrowd runs f in a bubble, with an engine for so many statements. At the
// end nothing may be left of them.
func inCrowd(t *testing.T, most int, f func(t *testing.T, c *crowd)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eng := newBusy(t, most)
		c := &crowd{t: t, eng: eng, c: &Catalog{eng: eng, turns: newAdmission(most)}, cancel: map[string]context.CancelFunc{}, errors: map[string]error{}}
		f(t, c)
		for _, cancel := range c.cancel {
			cancel()
		}
		c.wg.Wait()
		if a := c.c.turns; a.running != 0 || a.common != 0 || a.waiting != 0 || len(a.turns) != 0 || len(a.shares) != 0 {
			t.Errorf("afterwards %d run, %d of them common, %d wait, %d turns, %d shares; want none", a.running, a.common, a.waiting, len(a.turns), len(a.shares))
		}
	})
}

func (c *crowd) view(who string) View {
	return View{c.c, &access.Principal{Name: who, Kind: access.KindUser, Admin: strings.HasPrefix(who, "root")}}
}

// send starts statements "who1", "who2", … and waits until they run or wait.
func (c *crowd) send(who string, ids ...int) {
	for _, id := range ids {
		sql := fmt.Sprint(who, id)
		ctx, cancel := context.WithCancel(c.t.Context())
		c.cancel[sql] = cancel
		c.wg.Go(func() {
			_, err := rows(ctx, c.view(who), Query{SQL: sql})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.errors[sql] = err
		})
		synctest.Wait()
	}
}

func (c *crowd) runs(want string) {
	c.t.Helper()
	if got := c.eng.now(); got != want {
		c.t.Errorf("running: %q, want %q", got, want)
	}
}

// ended returns the error of a statement that must have ended.
func (c *crowd) ended(sql string) *apierror.Error {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	err, ok := c.errors[sql]
	if !ok {
		c.t.Fatalf("%s has not ended", sql)
	}
	return apierror.From(err)
}

func (c *crowd) refused(sql, want string) {
	c.t.Helper()
	if e := c.ended(sql); e == nil || e.Code != apierror.RateLimited || e.Message != want || e.RetryAfter <= 0 {
		c.t.Errorf("%s ended with %+v, want rate_limited to be tried again: %s", sql, e, want)
	}
}

func count(n int) []int {
	var out []int
	for i := range n {
		out = append(out, i+1)
	}
	return out
}

func TestAdmissionLeavesRoomForOthers(t *testing.T) {
	inCrowd(t, 4, func(t *testing.T, c *crowd) {
		c.send("a", count(60)...)
		c.runs("a1 a2") // half
		c.send("b", 1, 2)
		c.runs("a1 a2 b1") // all but the one of administrators
		c.send("root", 1, 2)
		c.runs("a1 a2 b1 root1")
		c.eng.end("root1")
		c.runs("a1 a2 b1 root2")
		c.eng.end("root2")
		c.runs("a1 a2 b1")
	})
}

func TestAdmissionOfOneAdministrator(t *testing.T) {
	inCrowd(t, 4, func(t *testing.T, c *crowd) {
		c.send("root", count(5)...)
		c.runs("root1 root2")
		c.send("rootB", 1, 2)
		c.runs("root1 root2 rootB1 rootB2")
	})
}

func TestAdmissionTakesTurns(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, c *crowd) { // one at a time of all but administrators
		c.send("a", count(60)...)
		c.send("b", 1, 2)
		c.send("c", 1)
		for _, now := range []string{"a1", "b1", "c1", "a2", "b2", "a3", "a4"} {
			c.runs(now)
			c.eng.end(now)
		}
	})
}

func TestAdmissionPutsNewcomersBeforeWhoJustRan(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, c *crowd) {
		c.send("a", 1, 2, 3)
		c.send("b", 1)
		c.eng.end("a1")
		c.runs("b1")
		c.eng.end("b1")
		c.send("b", 2) // had its turn: a2 runs
		c.runs("a2")
		c.eng.end("a2")
		c.runs("b2")
	})
}

func TestAdmissionPrefersWhoHasLessRunning(t *testing.T) {
	inCrowd(t, 4, func(t *testing.T, c *crowd) {
		c.send("a", 1, 2)
		c.send("b", 1)
		c.send("a", 3)
		c.send("c", 1)
		c.eng.end("a1") // a3 waited before c1
		c.runs("a2 b1 c1")
		c.eng.end("b1")
		c.runs("a2 a3 c1")
	})
}

func TestAdmissionWithTheFewestProcessors(t *testing.T) {
	inCrowd(t, 1, func(t *testing.T, c *crowd) {
		c.send("a", 1)
		c.send("root", 1)
		c.runs("a1")
		c.eng.end("a1")
		c.runs("root1")
	})
}

func TestAdmissionEndsWaiting(t *testing.T) {
	inCrowd(t, 4, func(t *testing.T, c *crowd) {
		c.send("a", 1, 2, 3)
		c.send("b", 1, 2)
		c.send("c", 1)
		time.Sleep(admissionWait - time.Nanosecond)
		c.runs("a1 a2 b1")
		if synctest.Wait(); len(c.errors) != 0 {
			t.Errorf("%v before the time", c.errors)
		}
		c.send("a", 4)
		time.Sleep(time.Nanosecond)
		c.refused("a3", "You have 2 statements running and 1 more waiting, and at most 2 of yours may run at once. Wait until one has ended, or stop one; then try again.")
		c.refused("b2", "Other people's statements have kept the SQL engine busy for 10s; you have 1 statement running and 0 more waiting. Try again in a few seconds.")
		c.refused("c1", "Other people's statements have kept the SQL engine busy for 10s; you have 0 statements running and 0 more waiting. Try again in a few seconds.")
		c.eng.end("a1")
		c.runs("a2 a4 b1")
	})
}

func TestAdmissionOfWhoLeaves(t *testing.T) {
	inCrowd(t, 4, func(t *testing.T, c *crowd) {
		c.send("a", 1, 2, 3, 4)
		c.cancel["a3"]() // waits
		if e := c.ended("a3"); e == nil || e.Code != apierror.Canceled {
			t.Errorf("a3 ended with %v, want canceled", e)
		}
		c.cancel["a1"]() // runs
		if e := c.ended("a1"); e == nil {
			t.Error("a1 ended without an error")
		}
		c.runs("a2 a4")
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := rows(gone, c.view("b"), Query{SQL: "b1"}); !apierror.Is(err, apierror.Canceled) {
			t.Errorf("of one who has left: %v, want canceled", err)
		}
		if slices.Contains(c.eng.started, "b1") || slices.Contains(c.eng.started, "a3") {
			t.Error("the engine ran a statement of one who had left")
		}
	})
}

func TestAdmissionBoundsTheQueue(t *testing.T) {
	inCrowd(t, 4, func(t *testing.T, c *crowd) {
		c.send("a", count(2+maxWaiting+1)...)
		c.refused(fmt.Sprint("a", 2+maxWaiting+1), "You have 2 statements running and 64 waiting, and no more than 64 may wait. Wait until some have ended, and send fewer at once.")
		c.send("b", count(1+maxWaiting)...)
		for i := 3; i <= maxWaitingInAll/maxWaiting; i++ {
			c.send(fmt.Sprint("p", i, "-"), count(maxWaiting)...)
		}
		c.send("z", 1)
		c.refused("z1", "1024 statements of all users wait for the SQL engine, and no more may. Try again in a few seconds.")
		c.send("root", 1, 2)
		c.runs("a1 a2 b1 root1") // and the other may still wait
		time.Sleep(admissionWait)
		c.refused("root2", "Other people's statements have kept the SQL engine busy for 10s; you have 1 statement running and 0 more waiting. Try again in a few seconds.")
		c.send("z", 2)
		c.eng.end("a1")
		c.runs("a2 b1 root1 z2")
	})
}

// What ends a loop early gives the place back.
func TestAdmissionOfLoopsThatEndEarly(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, c *crowd) {
		for range c.view("a").Query(t.Context(), Query{SQL: "break"}) {
			break
		}
		func() {
			defer func() {
				if recover() != "stop" {
					t.Error("the panic was lost")
				}
			}()
			for range c.view("a").Query(t.Context(), Query{SQL: "panic"}) {
				panic("stop")
			}
		}()
		c.send("a", 1)
		c.runs("a1")
	})
}

// explosive is an engine that panics.
type explosive struct{ busy }

func (*explosive) Query(context.Context, engine.Query) iter.Seq2[engine.Batch, error] {
	return func(func(engine.Batch, error) bool) { panic("engine") }
}

func TestAdmissionOutlivesAPanicOfTheEngine(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, c *crowd) {
		broken := View{&Catalog{eng: &explosive{}, turns: c.c.turns}, c.view("a").p}
		func() {
			defer func() { _ = recover() }()
			rows(t.Context(), broken, Query{SQL: "x"})
		}()
		c.send("a", 1)
		c.runs("a1")
	})
}

// The catalog's own look at columns neither waits for the statements that the
// loop around it runs, nor takes more of the engine than there is.
func TestAdmissionOfDescribe(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c.turns = newAdmission(2)
	for range r.as(t, "alice").Query(t.Context(), Query{SQL: "SELECT * FROM main.sales.orders"}) {
		if o, err := r.as(t, "alice").Object(t.Context(), "table", "main.sales.reviews"); err != nil || len(o.Columns) != 2 {
			t.Errorf("Object within a loop over rows = %v, %v; want two columns", o, err)
		}
	}
	if r.c.turns.running != 0 || len(r.c.turns.shares) != 0 {
		t.Errorf("afterwards %d statements run", r.c.turns.running)
	}
}

func TestAdmissionOfDescribeInTurn(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, c *crowd) {
		c.send("a", 1)
		leave, err := c.c.turns.enter(t.Context(), describer, true)
		if err != nil {
			t.Fatal(err)
		}
		c.send("root", 1)
		c.runs("a1")
		_, err = c.c.turns.enter(t.Context(), describer, true)
		if e := apierror.From(err); e == nil || e.Code != apierror.RateLimited || !strings.HasPrefix(e.Message, "The SQL engine has been busy for 10s, so the columns") {
			t.Errorf("a second: %v, want rate_limited", err)
		}
		c.refused("root1", "Other people's statements have kept the SQL engine busy for 10s; you have 0 statements running and 0 more waiting. Try again in a few seconds.")
		leave()
		c.send("root", 2)
		c.runs("a1 root2")
	})
}

// Whatever many do at once, the rules hold and nothing is left over.
func TestAdmissionUnderLoad(t *testing.T) {
	t.Parallel()
	const most = 4
	a := newAdmission(most)
	var (
		mu  sync.Mutex
		of  = map[string]int{}
		sum int
		wg  sync.WaitGroup
	)
	for i := range 16 {
		who, admin := fmt.Sprint("p", i%5), i%5 == 0
		wg.Go(func() {
			for j := range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(j%7)*100*time.Microsecond)
				leave, err := a.enter(ctx, party{access.KindUser, who}, admin)
				if err != nil {
					if !apierror.Is(err, apierror.Canceled) || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("err = %v, want canceled", err)
					}
					cancel()
					continue
				}
				mu.Lock()
				of[who]++
				sum++
				if others := sum - of["p0"]; sum > most || of[who] > most/2 || others > most-1 {
					t.Errorf("running: %v", of)
				}
				mu.Unlock()
				time.Sleep(50 * time.Microsecond)
				mu.Lock()
				of[who]--
				sum--
				mu.Unlock()
				leave()
				cancel()
			}
		})
	}
	wg.Wait()
	if a.running != 0 || a.common != 0 || a.waiting != 0 || len(a.turns) != 0 || len(a.shares) != 0 {
		t.Errorf("left over: %+v", a)
	}
}
