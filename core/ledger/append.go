package ledger

import (
	"context"
	"fmt"
	"time"
)

// Start records that the call id (1 to 255 bytes) begins, and returns the
// sequence of the record. Errors: ErrStarted when a call of that id is open,
// ErrFull, ErrTooLarge, ErrClosed, *DiskError, and ctx's when it ends while
// waiting for space. After any of them the call must not be made.
func (l *Log) Start(ctx context.Context, id string, payload []byte) (uint64, error) {
	return l.append(ctx, Record{Kind: Started, ID: id, Payload: payload})
}

// Settle records that the call id has ended, and returns the sequence of the
// record. It is ErrNotStarted when no call of that id is open; the others are
// those of Start, after which the call is still open and Settle may be tried
// again.
func (l *Log) Settle(ctx context.Context, id string, payload []byte) (uint64, error) {
	return l.append(ctx, Record{Kind: Settled, ID: id, Payload: payload})
}

// Append records a row with an id (at most 255 bytes) of the caller's choice,
// and returns its sequence. Errors are those of Start, without ErrStarted.
func (l *Log) Append(ctx context.Context, id string, payload []byte) (uint64, error) {
	return l.append(ctx, Record{Kind: Row, ID: id, Payload: payload})
}

// AppendSync is Append and then Sync: when it returns nil, the row survives a
// power cut. After a sequence and an error, the row may be there or not.
func (l *Log) AppendSync(ctx context.Context, id string, payload []byte) (uint64, error) {
	seq, err := l.append(ctx, Record{Kind: Row, ID: id, Payload: payload})
	if err != nil {
		return seq, err
	}
	return seq, l.Sync(ctx, seq)
}

func (l *Log) append(ctx context.Context, r Record) (uint64, error) {
	switch {
	case len(r.Payload) > l.cfg.MaxRecord:
		return 0, fmt.Errorf("%w: %s %q has %d bytes, the most is %d", ErrTooLarge, r.Kind, r.ID, len(r.Payload), l.cfg.MaxRecord)
	case len(r.ID) > MaxID || r.ID == "" && r.Kind != Row:
		return 0, fmt.Errorf("ledger: %s record with an id of %d bytes: 1 to %d", r.Kind, len(r.ID), MaxID)
	}
	size := frameSize(r.Kind, r.ID, len(r.Payload))

	l.mu.Lock()
	if err := l.admit(ctx, r, size); err != nil {
		l.mu.Unlock()
		return 0, err
	}
	l.given++
	r.Seq = l.given
	was := l.pair(r, size)
	b, leads := l.batch, l.batch == nil
	if leads {
		if b = l.idle; b == nil {
			b = new(batch)
		}
		*b = batch{buf: l.spare[:0]}
		l.batch, l.spare, l.idle = b, nil, nil
	}
	b.buf, b.last = appendFrame(b.buf, r), r.Seq
	l.bytes += int64(size)
	var err error
	if leads {
		l.mu.Unlock()
		err = l.lead(b)
	} else {
		done := b.wait()
		l.mu.Unlock()
		<-done
		err = b.err
	}
	if err != nil {
		l.mu.Lock()
		l.unpair(r, was)
		l.mu.Unlock()
		return 0, err
	}
	if l.cfg.SyncWithin < 0 && r.Kind != Carried {
		return r.Seq, l.Sync(context.WithoutCancel(ctx), r.Seq)
	}
	return r.Seq, nil
}

// admit waits, with mu held, until r may be put into a batch.
func (l *Log) admit(ctx context.Context, r Record, size int) error {
	var full <-chan time.Time
	for {
		if l.closed {
			return ErrClosed
		}
		if err := l.fits(r); err != nil {
			return err
		}
		if l.batch != nil && len(l.batch.buf) > 0 && len(l.batch.buf)+size > l.batchBytes() {
			written := l.batch.wait()
			l.mu.Unlock()
			<-written
			l.mu.Lock()
			continue
		}
		limit := l.cfg.MaxBytes
		switch r.Kind {
		case Started, Row:
			limit -= limit / 8
		case Carried: // to free a segment at once
			limit += l.cfg.SegmentBytes
		}
		if l.bytes+int64(size) <= limit {
			return nil
		}
		if l.cfg.FullWait < 0 {
			return l.fullError()
		}
		if full == nil {
			t := time.NewTimer(l.cfg.FullWait)
			defer t.Stop()
			full = t.C
		}
		if l.space == nil {
			l.space = make(chan struct{})
		}
		space := l.space
		l.waiting++
		l.mu.Unlock()
		var err error
		select {
		case <-space:
		case <-full:
			err = ErrFull
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", ErrFull, context.Cause(ctx))
		}
		l.mu.Lock()
		l.waiting--
		if err == ErrFull {
			return l.fullError()
		}
		if err != nil {
			return err
		}
	}
}

// fits reports whether r is the next thing that can happen to its call.
func (l *Log) fits(r Record) error {
	if r.Kind == Row {
		return nil
	}
	c, open := l.open[r.ID]
	switch {
	case r.Kind == Started && open:
		return fmt.Errorf("%w: %q", ErrStarted, r.ID)
	case r.Kind == Started && len(l.open) >= l.cfg.MaxOpen:
		return fmt.Errorf("%w: %d calls are open, the most is %d", ErrFull, len(l.open), l.cfg.MaxOpen)
	case r.Kind == Settled && !open:
		return fmt.Errorf("%w: %q", ErrNotStarted, r.ID)
	case r.Kind == Carried && (!open || c.first != r.First):
		return fmt.Errorf("%w: %q", ErrNotStarted, r.ID)
	}
	return nil
}

// pair notes what r, of that size on disk, does to its call, and returns what
// was known of it before. mu is held.
func (l *Log) pair(r Record, size int) call {
	was := l.open[r.ID]
	switch r.Kind {
	case Started:
		l.open[r.ID] = call{seq: r.Seq, first: r.Seq, size: size}
	case Carried:
		l.open[r.ID] = call{seq: r.Seq, first: was.first, size: size}
	case Settled:
		delete(l.open, r.ID)
	}
	return was
}

// unpair takes back what pair noted of a record that was not written. mu is
// held.
func (l *Log) unpair(r Record, was call) {
	switch r.Kind {
	case Started:
		delete(l.open, r.ID)
	case Settled:
		l.open[r.ID] = was
	case Carried:
		if _, open := l.open[r.ID]; open {
			l.open[r.ID] = was
		}
	}
}

// fullError says why an append was refused. mu is held.
func (l *Log) fullError() error {
	return fmt.Errorf("%w: %q holds %d of %d bytes that no table has taken yet; see why the tables are behind, or raise the limit", ErrFull, l.cfg.Dir, l.bytes, l.cfg.MaxBytes)
}

func (l *Log) wakeSpace() {
	if l.space != nil {
		close(l.space)
		l.space = nil
	}
}
