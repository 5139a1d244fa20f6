package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// lateCall is what is still to be written of a call that has ended.
type lateCall struct {
	id      string
	row     []byte // its Settled record; nil once it is written
	payload []byte // record of its payload row, nil for none
	table   string // of the payload
	held    int64  // of Recorder.loaded, for payload
}

// late is the calls that have ended and whose rows the ledger has not taken.
// Those are open calls to the ledger, which bounds their number; loadedAtOnce
// bounds the payloads that wait.
type late struct {
	n        atomic.Int64 // len of rows
	mu       sync.Mutex
	rows     []*lateCall // those whose row waits, perhaps with its payload
	payloads []*lateCall // those of which only the payload waits
	reason   string      // why
	closed   bool

	wait time.Duration // of Close
	wake chan struct{} // holds one element when there may be something to write
	stop context.CancelFunc
	quit chan struct{} // closed by Close: end when nothing is left
	done chan struct{} // closed when the goroutine has ended
}

const (
	closeWait = 5 * time.Second // of Close, for rows that the ledger does not take
	retryMost = time.Second     // between two tries; a ledger tries a failed disk as often
)

func (r *Recorder) start() {
	ctx, stop := context.WithCancel(context.Background())
	l := &r.late
	l.wait, l.stop = closeWait, stop
	l.wake, l.quit, l.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go r.catchUp(ctx)
}

// Close waits for rows that the ledger has not taken, for at most 5 s. An error
// says how many there still are: their calls are recorded as interrupted when
// the gateway starts again. Calls must have ended before.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	l := &r.late
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.quit)
		t := time.AfterFunc(l.wait, l.stop)
		defer t.Stop()
	}
	<-l.done
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiting := l.waiting(); waiting != "" && first {
		return fmt.Errorf("usage: %s; the next start records calls without a row as interrupted", waiting)
	}
	return nil
}

// waiting says what waits and why; "" when nothing does. l.mu is held.
func (l *late) waiting() string {
	if len(l.rows)+len(l.payloads) == 0 {
		return ""
	}
	return fmt.Sprintf("%d usage rows and %d payload rows of calls that have ended could not be written: %s", len(l.rows), len(l.payloads), cmp.Or(l.reason, "they are tried again"))
}

// settle writes the rows of a call that has ended. What the ledger does not
// take waits, and is then no longer the caller's: done is false.
func (r *Recorder) settle(x *lateCall) (done bool) {
	if r.late.n.Load() > 0 { // the ledger has trouble: this one would only meet it too
		r.defers(x, nil)
		return false
	}
	switch err := r.write(x); {
	case err == nil:
	case final(err):
		r.giveUp(x, err)
	default:
		r.defers(x, err)
		return false
	}
	return true
}

// write writes what is left of x, without waiting for space. A payload that there is no room for does not
// keep the row from being written: the ledger has room in reserve for those.
func (r *Recorder) write(x *lateCall) error {
	var perr error
	if x.payload != nil {
		_, perr = r.ledger.Append(r.hurry, x.table, x.payload)
		if errors.Is(perr, ledger.ErrTooLarge) {
			r.log.Error("a payload row is too large for the ledger and left out", "call", x.id, "table", x.table, "error", perr)
			perr = nil
		}
		if perr == nil {
			r.drop(x)
		}
	}
	if x.row == nil {
		return perr
	}
	if _, err := r.ledger.Settle(r.hurry, x.id, x.row); err != nil {
		return err
	}
	x.row = nil
	return perr
}

// drop lets the payload of x go.
func (r *Recorder) drop(x *lateCall) {
	if x.held > 0 {
		r.loaded.Release(x.held)
	}
	x.payload, x.held = nil, 0
}

// final reports whether trying again is in vain.
func final(err error) bool {
	return errors.Is(err, ledger.ErrNotStarted) || errors.Is(err, ledger.ErrClosed) || errors.Is(err, ledger.ErrTooLarge)
}

func (r *Recorder) giveUp(x *lateCall, err error) {
	r.drop(x)
	x.row = nil
	r.log.Error("the row of a call cannot be written", "call", x.id, "error", err)
}

// defers has x written later.
func (r *Recorder) defers(x *lateCall, err error) {
	if x.payload != nil && x.held == 0 {
		if n := int64(len(x.payload)); r.loaded.TryAcquire(n) {
			x.held = n
		} else {
			r.drop(x)
			r.log.Error("a payload row is left out: too many wait for the ledger", "call", x.id, "table", x.table)
			if x.row == nil {
				return
			}
		}
	}
	l := &r.late
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		r.giveUp(x, errors.New("the gateway is stopping"))
		return
	}
	if err != nil && l.reason == "" {
		l.reason = reason(err)
		r.log.Error("the ledger does not take the row of a call; it will be tried again", "call", x.id, "error", err)
	}
	waits := *x // a call that need not wait costs no memory
	l.add(&waits)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// catchUp writes what waits until Close, and then until nothing is left or ctx
// ends.
func (r *Recorder) catchUp(ctx context.Context) {
	l := &r.late
	defer close(l.done)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, retryMost
	caught := 0
	for ctx.Err() == nil {
		x := l.first()
		if x == nil {
			if caught > 0 {
				r.log.Info("all rows that waited for the ledger are written", "rows", caught)
			}
			caught = 0
			select {
			case <-l.wake:
			case <-l.quit:
				if l.first() == nil {
					return
				}
			}
			continue
		}
		row := x.row != nil
		err := r.write(x)
		retry := err != nil && !final(err)
		l.tried(x, row, retry, err)
		switch {
		case err == nil:
			caught++
			pause.Reset()
		case !retry:
			r.giveUp(x, err)
		case row && x.row == nil: // the next may do better than its payload
		default:
			select {
			case <-time.After(pause.NextBackOff()):
			case <-ctx.Done():
			}
		}
	}
}

// first is what is to be written next: rows before payloads. It stays where it
// is, and nil is nothing.
func (l *late) first() *lateCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.rows) > 0:
		return l.rows[0]
	case len(l.payloads) > 0:
		return l.payloads[0]
	}
	return nil
}

// add puts x behind the others. l.mu is held.
func (l *late) add(x *lateCall) {
	if x.row == nil {
		l.payloads = append(l.payloads, x)
		return
	}
	l.rows = append(l.rows, x)
	l.n.Add(1)
}

// tried notes how it went with the first of the rows, or else of the payloads.
func (l *late) tried(x *lateCall, row, retry bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if retry {
		l.reason = reason(err)
	}
	switch {
	case row && (x.row == nil || !retry):
		l.rows = slices.Delete(l.rows, 0, 1)
		l.n.Add(-1)
		if retry {
			l.add(x)
		}
	case !row && !retry:
		l.payloads = slices.Delete(l.payloads, 0, 1)
	}
	if len(l.rows)+len(l.payloads) == 0 {
		l.reason = ""
	}
}

// Health says what keeps rows from being written. The problems of ledger and
// tables are theirs to tell.
func (r *Recorder) Health() []tables.Problem {
	if r == nil {
		return nil
	}
	l := &r.late
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiting := l.waiting(); waiting != "" {
		return []tables.Problem{{Part: "usage", Message: waiting}}
	}
	return nil
}

// refusal is what a client is told when its call cannot be recorded.
func refusal(err error) error {
	if errors.Is(err, context.Canceled) {
		return apierror.Wrap(apierror.Canceled, err, "The client left while the call waited for room in the usage log.")
	}
	e := apierror.Wrap(apierror.Unavailable, err, "The call cannot be recorded, so it was not made: %s. Try again later; if it stays so, whoever runs the gateway can help.", reason(err))
	e.RetryAfter = 5 * time.Second
	return e
}

// reason says what is wrong with the ledger in words that anybody may see.
func reason(err error) string {
	switch {
	case errors.Is(err, ledger.ErrFull):
		return "the usage log is full"
	case errors.Is(err, ledger.ErrClosed):
		return "the gateway is stopping"
	}
	for _, x := range reasons {
		if slices.ContainsFunc(x.errs, func(target error) bool { return errors.Is(err, target) }) {
			return x.text
		}
	}
	return "the usage log cannot be written"
}

var reasons = []struct {
	errs []error
	text string
}{
	{[]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}, "the disk of the usage log is full"},
	{[]error{syscall.EROFS}, "the disk of the usage log is read-only"},
	{[]error{fs.ErrNotExist}, "the directory of the usage log is gone"},
	{[]error{fs.ErrPermission}, "the gateway may not write its usage log"},
}
