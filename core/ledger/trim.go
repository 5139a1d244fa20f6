package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Trim says that every consumer has kept what it wants of the records up to
// seq. It removes the segments that hold nothing else, except the newest.
//
// A segment with the Started record of a call that is still open stays, until
// more than four segments could go but for such calls: then Trim copies their
// records to the end (as Carried), waits for the fsync, and removes the
// segment. So an open call is never lost and never holds more than that.
//
// Errors: seq beyond what readers were given, those of an append, a *DiskError
// when a file cannot be removed. Calling it again goes on where it stopped.
func (l *Log) Trim(ctx context.Context, seq uint64) error {
	l.trimming.Lock()
	defer l.trimming.Unlock()
	l.mu.Lock()
	if seq > l.synced {
		last := l.synced
		l.mu.Unlock()
		return fmt.Errorf("ledger: trim to %d: readers were given records up to %d", seq, last)
	}
	l.trimmed = max(l.trimmed, seq)
	l.mu.Unlock()
	for {
		if err := l.sweep(); err != nil {
			return err
		}
		oldest := l.pinned()
		if oldest == nil {
			return nil
		}
		if err := l.carry(ctx, oldest); err != nil {
			return err
		}
	}
}

// sweep removes the segments at the front that nobody needs.
func (l *Log) sweep() error {
	l.mu.Lock()
	needed := l.trimmed + 1
	for _, c := range l.open {
		needed = min(needed, c.seq)
	}
	for len(l.segments) > 1 && l.segments[0].last < needed {
		l.garbage = append(l.garbage, l.segments[0])
		l.segments = l.segments[1:]
	}
	garbage := l.garbage
	l.mu.Unlock()

	for _, s := range garbage {
		// In order: a segment missing in the middle would look like damage.
		if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return &DiskError{Op: "remove", Path: s.path, Err: cause(err)}
		}
		l.mu.Lock()
		l.garbage = l.garbage[1:]
		l.bytes -= s.size
		l.wakeSpace()
		l.mu.Unlock()
	}
	return nil
}

// pinned returns the oldest segment if open calls hold too much and copying
// its calls would help.
func (l *Log) pinned() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	var held int64
	for _, s := range l.segments[:max(len(l.segments)-1, 0)] {
		if s.last > l.trimmed {
			break
		}
		held += s.size
	}
	if held <= 4*l.cfg.SegmentBytes && (held == 0 || l.bytes <= l.cfg.MaxBytes/2) {
		return nil
	}
	oldest := l.segments[0]
	var calls int64
	for _, c := range l.open {
		if c.seq <= oldest.last {
			calls += int64(c.size) + 8
		}
	}
	if calls > oldest.size/2 && l.bytes <= l.cfg.MaxBytes/2 {
		return nil // a copy would be as long as what it frees
	}
	return oldest
}

// carry copies the records of the open calls in s to the end of the log.
func (l *Log) carry(ctx context.Context, s *segment) error {
	var last uint64
	for rec, err := range l.calls(func(c call) bool { return c.seq <= s.last }) {
		if err != nil {
			return err
		}
		seq, err := l.append(ctx, Record{Kind: Carried, ID: rec.ID, Payload: rec.Payload, First: rec.started()})
		if errors.Is(err, ErrNotStarted) {
			continue // settled meanwhile
		}
		if err != nil {
			return err
		}
		last = seq
	}
	if last == 0 {
		return nil
	}
	return l.Sync(ctx, last)
}
