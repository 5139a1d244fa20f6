package httpapi

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// budget is a number of bytes shared by all requests, so that nobody's keep it
// from the others:
//
//   - large takers leave a quarter to the small ones;
//   - the large claims of one principal hold at most half, everything of one
//     principal at most five eighths; one request that is alone may have what
//     it needs;
//   - of the large claims that wait, the next is of the principal that would
//     then hold the least; each principal's go in the order of their coming.
type budget struct {
	size int64
	one  int64 // the most that one request may hold

	mu       sync.Mutex
	left     int64
	accounts map[party]*account // of those that have requests
	small    []*waiter          // in the order of their coming, as are the large
	large    []*waiter
	changes  int64 // counts what accounts get and give back
	passes   int64 // counts the walks over the large
	looking  bool  // a look at who stalls is on its way
	reading  map[*upload]bool
}

// party is who has a share of the budget: a principal, whatever its tokens.
type party struct {
	kind access.Kind
	name string
}

func partyOf(p *access.Principal) party {
	if p == nil {
		return party{}
	}
	return party{p.Kind, p.Name}
}

// account is what one party holds.
type account struct {
	who    party
	shares int   // requests
	held   int64 // bytes
	idle   int64 // of held, first pieces of bodies that may yet ask for a large claim
	change int64 // of budget.changes, the last that was its own
	late   bool  // an upload of it stalled and was stopped: it goes after the others
	pass   int64 // the last walk that met it
}

// waiter waits for n bytes, the rest of total ones for a large claim; total is
// 0 for a small one.
type waiter struct {
	share    *share
	n, total int64
	taken    bool          // guarded by budget.mu
	ready    chan struct{} // closed with taken; nil for one that takes at once or not at all
}

// newBudget makes a budget of size bytes. A body costs largest at most, which
// is at most size.
func newBudget(size, largest int64) *budget {
	return &budget{size: size, one: max(size-size/4, largest), left: size, accounts: map[party]*account{}, reading: map[*upload]bool{}}
}

// open makes the share of a new request. It must be released.
func (b *budget) open(who party) *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[who]
	if a == nil {
		b.changes++
		a = &account{who: who, change: b.changes}
		b.accounts[who] = a
	}
	a.shares++
	return &share{budget: b, account: a}
}

// others is what the account of s holds beside s, idle pieces not counted.
func (b *budget) others(s *share) int64 {
	n := s.account.held - s.account.idle
	if !s.claims {
		n -= s.bytes
	}
	return n
}

// entitled reports whether w's party may hold what w asks for. Waiting claims
// have a first piece each, which counts for a sixteenth of their own: else they
// would keep each other from being read.
func (b *budget) entitled(w *waiter) bool {
	a, others := w.share.account, b.others(w.share)
	if w.total > 0 {
		return others == 0 || others+w.total <= b.size/2
	}
	if w.share.claims && a.idle > 0 && a.idle+w.n > b.size/16 {
		return false
	}
	return others == 0 || a.held+w.n <= b.size/2+b.size/8
}

// take gives w its bytes if it may have them and they are there.
func (b *budget) take(w *waiter) bool {
	keep := int64(0)
	if w.total > 0 {
		keep = max(0, min(b.size/4, b.size-w.total)) // one body of the largest size must fit whatever the setting
	}
	if b.left-w.n < keep || !b.entitled(w) {
		return false
	}
	s, a := w.share, w.share.account
	if w.total > 0 && s.claims {
		s.claims = false
		a.idle -= s.bytes
	} else if s.claims {
		a.idle += w.n
	}
	b.changes++
	a.change = b.changes
	b.left -= w.n
	a.held += w.n
	s.bytes += w.n
	w.taken = true
	if w.ready != nil {
		close(w.ready)
	}
	return true
}

// serve gives those that wait what they can have.
func (b *budget) serve() {
	b.small = slices.DeleteFunc(b.small, b.take)
	for {
		var next *waiter
		for _, w := range b.heads() {
			if next == nil || b.before(w, next) {
				next = w
			}
		}
		if next == nil || !b.take(next) {
			return // those that would hold more wait for it
		}
		b.drop(next)
	}
}

// heads are the first large waiters of each party that is entitled to more.
func (b *budget) heads() (heads []*waiter) {
	b.passes++
	for _, w := range b.large {
		if a := w.share.account; a.pass != b.passes {
			a.pass = b.passes
			if b.entitled(w) {
				heads = append(heads, w)
			}
		}
	}
	return heads
}

// before reports whether v's turn is before w's: its party would hold less, or
// as much and has been longer without getting or giving.
func (b *budget) before(v, w *waiter) bool {
	p, q := v.share.account, w.share.account
	if p.late != q.late {
		return q.late
	}
	if m, n := b.others(v.share)+v.total, b.others(w.share)+w.total; m != n {
		return m < n
	}
	return p.change < q.change
}

func (b *budget) drop(w *waiter) {
	is := func(v *waiter) bool { return v == w }
	b.small, b.large = slices.DeleteFunc(b.small, is), slices.DeleteFunc(b.large, is)
}

// acquire takes n bytes for s, the rest of total ones for a large claim, or of
// a small one when total is 0. Errors are apierror RateLimited after wait, and
// Canceled; s has all of the bytes, or what it had.
func (b *budget) acquire(ctx context.Context, s *share, n, total int64, wait time.Duration) error {
	b.mu.Lock()
	if total == 0 && b.take(&waiter{share: s, n: n}) {
		b.mu.Unlock()
		return nil
	}
	w := &waiter{share: s, n: n, total: total, ready: make(chan struct{})}
	if total > 0 {
		b.large = append(b.large, w)
		b.serve()
	} else {
		b.small = append(b.small, w)
	}
	if !b.looking && len(b.small)+len(b.large) > 0 {
		b.looking = true
		time.AfterFunc(patience/2, b.look)
	}
	taken := w.taken
	b.mu.Unlock()
	if taken {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case <-w.ready:
		return nil
	case <-timer.C:
		full := apierror.New(apierror.RateLimited, "The gateway holds as many request bytes as it may. Try again in a moment.")
		full.RetryAfter = retry
		err = full
	case <-ctx.Done():
		err = apierror.Wrap(apierror.Canceled, ctx.Err(), "The connection was closed.")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.taken { // at the last moment
		return nil
	}
	b.drop(w)
	b.serve() // it may have been in the way
	return err
}

// reads and done say that a large body has its claim, and that it is read.
func (b *budget) reads(u *upload) {
	u.begin(time.Now())
	b.mu.Lock()
	b.reading[u] = true
	b.mu.Unlock()
}

func (b *budget) done(u *upload) {
	b.mu.Lock()
	delete(b.reading, u)
	b.mu.Unlock()
}

// look stops the large bodies that hold a claim and do not come, for as long as
// others wait. Who waits for an end of their own only, stops none but theirs.
func (b *budget) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.looking = len(b.small)+len(b.large) > 0; !b.looking {
		return
	}
	room := len(b.heads()) > 0 // it marks all that wait
	for _, w := range b.small {
		w.share.account.pass = b.passes
		room = room || b.entitled(w)
	}
	now := time.Now()
	for u := range b.reading {
		if a := u.share.account; (room || a.pass == b.passes) && u.stalled(now) {
			a.late = true
			u.stop()
		}
	}
	time.AfterFunc(patience/2, b.look)
}

// inUse is how many bytes are charged now.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size - b.left
}

// share is what one request holds of the budget. It is for one goroutine.
type share struct {
	budget   *budget
	account  *account
	bytes    int64 // changed with budget.mu held
	claims   bool  // bytes are a first piece, and a large claim may follow
	released bool
}

// claim says that a large claim may follow. It is called before any bytes are
// taken.
func (s *share) claim() { s.claims = true }

// release gives everything back.
func (s *share) release() {
	s.shrink(0)
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.released {
		return
	}
	s.released = true
	if s.account.shares--; s.account.shares == 0 {
		delete(b.accounts, s.account.who)
	}
}

// shrink gives back what is above n bytes, when the body is read: no large
// claim follows.
func (s *share) shrink(n int64) {
	b, a := s.budget, s.account
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.claims {
		s.claims = false
		a.idle -= s.bytes
	} else if n >= s.bytes {
		return
	}
	if back := s.bytes - n; back > 0 {
		b.left += back
		a.held -= back
		s.bytes = n
	}
	b.changes++
	a.change = b.changes
	b.serve()
}

// grow takes what is missing to n bytes. It waits for it a while.
func (s *share) grow(ctx context.Context, n int64) error {
	if n <= s.bytes {
		return nil
	}
	if n > s.budget.one {
		return apierror.New(apierror.TooLarge, "The request needs more memory than the gateway gives to one. Send less history or smaller files.")
	}
	return s.budget.acquire(ctx, s, n-s.bytes, 0, grace)
}
