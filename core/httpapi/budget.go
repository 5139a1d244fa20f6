package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// budget is a number of bytes shared by all requests. Large takers wait in
// turn and leave a quarter to the small ones.
type budget struct {
	turn chan struct{} // held by the large taker whose turn it is

	mu      sync.Mutex
	left    int64
	size    int64
	freed   chan struct{} // closed and replaced when bytes come back
	reading map[*upload]bool
}

func newBudget(size int64) *budget {
	return &budget{turn: make(chan struct{}, 1), left: size, size: size, freed: make(chan struct{}), reading: map[*upload]bool{}}
}

// take takes n bytes, or says what to wait for. They are the rest of total
// bytes for a large body; total is 0 for a small one.
func (b *budget) take(n, total int64) (bool, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keep := int64(0)
	if total > 0 {
		keep = min(b.size/4, b.size-total) // one body of the largest size must fit whatever the setting
	}
	if b.left-n >= max(keep, 0) {
		b.left -= n
		return true, nil
	}
	return false, b.freed
}

func (b *budget) acquire(ctx context.Context, n, total int64, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	full := apierror.New(apierror.RateLimited, "The gateway holds as many request bytes as it may. Try again in a moment.")
	full.RetryAfter = retry
	var look <-chan time.Time
	if total > 0 {
		select {
		case b.turn <- struct{}{}:
			defer func() { <-b.turn }()
		case <-timer.C:
			return full
		case <-ctx.Done():
			return apierror.Wrap(apierror.Canceled, ctx.Err(), "The connection was closed.")
		}
		tick := time.NewTicker(patience / 2)
		defer tick.Stop()
		look = tick.C
	}
	for {
		ok, freed := b.take(n, total)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case now := <-look:
			b.evict(now)
		case <-timer.C:
			return full
		case <-ctx.Done():
			return apierror.Wrap(apierror.Canceled, ctx.Err(), "The connection was closed.")
		}
	}
}

// reads and done say that a large body has its claim, and that it is read.
func (b *budget) reads(u *upload) {
	b.mu.Lock()
	b.reading[u] = true
	b.mu.Unlock()
}

func (b *budget) done(u *upload) {
	b.mu.Lock()
	delete(b.reading, u)
	b.mu.Unlock()
}

// evict stops the large bodies that hold a share and do not come.
func (b *budget) evict(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for u := range b.reading {
		if u.stalled(now) {
			u.stop()
		}
	}
}

// release gives n bytes back.
func (b *budget) release(n int64) {
	if n <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	close(b.freed)
	b.freed = make(chan struct{})
}

// inUse is how many bytes are charged now.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size - b.left
}

// share is what one request holds of the budget.
type share struct {
	budget *budget
	bytes  int64
}

func (s *share) release() { s.shrink(0) }

// shrink gives back what is above n bytes.
func (s *share) shrink(n int64) {
	if n < s.bytes {
		s.budget.release(s.bytes - n)
		s.bytes = n
	}
}

// grow takes what is missing to n bytes. It waits for it a while.
func (s *share) grow(ctx context.Context, n int64) error {
	if n <= s.bytes {
		return nil
	}
	if err := s.budget.acquire(ctx, n-s.bytes, 0, grace); err != nil {
		return err
	}
	s.bytes = n
	return nil
}
