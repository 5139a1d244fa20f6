package catalog

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

const (
	// admissionWait is how long a statement waits for the engine.
	admissionWait = 10 * time.Second
	// admissionRetry is when one that was refused may be sent again.
	admissionRetry = 5 * time.Second
	// maxWaiting is how many statements of one principal wait.
	maxWaiting = 64
	// maxWaitingInAll is how many of all who are not administrators wait.
	maxWaitingInAll = 1024
)

// engineStatements is how many statements the engine runs at once; it does not
// say, and those above wait in it in the order of their coming, which is what
// admission is there to avoid. Source: plugins/engine-duckdb, config.Children,
// which that plugin leaves at its default.
func engineStatements() int { return 2 * runtime.NumCPU() }

// party is who has a share of the engine: a principal, whatever its tokens.
type party struct {
	kind access.Kind
	name string
}

// describer stands for the catalog's own look at the columns of a table, which
// several callers may wait for. It has one statement at a time and the
// standing of an administrator.
var describer = party{}

// admission decides which statements run in the engine, so that nobody's keep
// it from the others:
//
//   - of one party at most half run at once, and one in any case;
//   - of all that are not administrators' one fewer runs than the engine can;
//   - the next is of the party with the fewest running, and among equals of
//     the one that has been longest without a start or an end of its own: how
//     many it has waiting makes no difference.
//
// A statement that has waited for admissionWait is refused.
type admission struct {
	most int // statements at once

	mu      sync.Mutex
	running int
	common  int // of running, those that are not administrators'
	waiting int // of those that are not administrators
	shares  map[party]*share
	turns   []*share // with statements waiting; among equals the first is next
}

// share is what one party has. It is kept while there is any.
type share struct {
	who     party
	most    int // running at once
	running int
	waiting []*waiter // in the order of their coming
}

// waiter is a statement that waits or, once admitted, runs.
type waiter struct {
	share    *share
	admin    bool
	admitted bool          // guarded by admission.mu
	turn     chan struct{} // closed with admitted
}

func newAdmission(most int) *admission {
	return &admission{most: most, shares: map[party]*share{}}
}

// enter waits until a statement of who may run. The caller calls leave when it
// has ended. The error is apierror.RateLimited, or Canceled when ctx ended.
func (a *admission) enter(ctx context.Context, who party, admin bool) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, errLeft(ctx)
	}
	w, err := a.join(who, admin)
	if err != nil {
		return nil, err
	}
	leave = func() { a.leave(w) }
	timer := time.NewTimer(admissionWait)
	defer timer.Stop()
	select {
	case <-w.turn:
		return leave, nil
	case <-ctx.Done():
		err = errLeft(ctx)
	case <-timer.C:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case w.admitted && err == nil: // at the last moment
		return leave, nil
	case w.admitted:
		a.end(w)
	default:
		a.forget(w)
		if err == nil {
			err = a.refusal(w.share)
		}
	}
	return nil, err
}

// join adds a statement and admits it if it can run now.
func (a *admission) join(who party, admin bool) (*waiter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.shares[who]
	if s != nil && len(s.waiting) >= maxWaiting {
		return nil, limited("You have %s running and %d waiting, and no more than %d may wait. Wait until some have ended, and send fewer at once.", statements(s.running), len(s.waiting), maxWaiting)
	}
	if !admin && a.waiting >= maxWaitingInAll {
		return nil, limited("%d statements of all users wait for the SQL engine, and no more may. Try again in a few seconds.", a.waiting)
	}
	if s == nil {
		s = &share{who: who, most: max(a.most/2, 1)}
		if who == describer {
			s.most = 1
		}
		a.shares[who] = s
	}
	w := &waiter{share: s, admin: admin, turn: make(chan struct{})}
	if s.waiting = append(s.waiting, w); len(s.waiting) == 1 {
		a.turns = append(a.turns, s)
	}
	if !admin {
		a.waiting++
	}
	a.admit()
	return w, nil
}

// admit starts what can run now.
func (a *admission) admit() {
	for a.running < a.most {
		var next *share
		for _, s := range a.turns {
			if s.running < s.most && (s.waiting[0].admin || a.common < max(a.most-1, 1)) && (next == nil || s.running < next.running) {
				next = s
			}
		}
		if next == nil {
			return
		}
		w := next.waiting[0]
		a.drop(w)
		a.toEnd(next)
		next.running++
		a.running++
		if !w.admin {
			a.common++
		}
		w.admitted = true
		close(w.turn)
	}
}

func (a *admission) leave(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end(w)
}

// end takes back what w was admitted to.
func (a *admission) end(w *waiter) {
	w.share.running--
	a.running--
	if !w.admin {
		a.common--
	}
	a.toEnd(w.share)
	a.tidy(w.share)
	a.admit()
}

// forget takes w out of the queue.
func (a *admission) forget(w *waiter) {
	a.drop(w)
	a.tidy(w.share)
	a.admit() // the next of its party may be one that the rules let run
}

func (a *admission) drop(w *waiter) {
	s := w.share
	i := slices.Index(s.waiting, w)
	s.waiting = slices.Delete(s.waiting, i, i+1)
	if !w.admin {
		a.waiting--
	}
	if len(s.waiting) == 0 {
		i := slices.Index(a.turns, s)
		a.turns = slices.Delete(a.turns, i, i+1)
	}
}

// toEnd makes the turn of s the last, if it waits for one.
func (a *admission) toEnd(s *share) {
	if i := slices.Index(a.turns, s); i >= 0 {
		a.turns = append(slices.Delete(a.turns, i, i+1), s)
	}
}

func (a *admission) tidy(s *share) {
	if s.running == 0 && len(s.waiting) == 0 {
		delete(a.shares, s.who)
	}
}

// refusal says why a statement of s has waited in vain, and who can mend it.
func (a *admission) refusal(s *share) error {
	switch {
	case s.who == describer:
		return limited("The SQL engine has been busy for %s, so the columns of a table could not be found. Try again in a few seconds.", admissionWait)
	case s.running >= s.most:
		return limited("You have %s running and %d more waiting, and at most %d of yours may run at once. Wait until one has ended, or stop one; then try again.", statements(s.running), len(s.waiting), s.most)
	default:
		return limited("Other people's statements have kept the SQL engine busy for %s; you have %s running and %d more waiting. Try again in a few seconds.", admissionWait, statements(s.running), len(s.waiting))
	}
}

func statements(n int) string {
	if n == 1 {
		return "1 statement"
	}
	return fmt.Sprintf("%d statements", n)
}

func limited(format string, args ...any) error {
	e := apierror.New(apierror.RateLimited, format, args...)
	e.RetryAfter = admissionRetry
	return e
}

func errLeft(ctx context.Context) error {
	return apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The query was canceled.")
}
