package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// probeEvery is how often a log whose disk failed tries it again.
const probeEvery = time.Second

// maxLost is how many failed fsyncs are remembered for those who ask late. There
// is one a second at most.
const maxLost = 1000

// round is those who wait for one fsync.
type round struct{ done chan struct{} }

// endRound wakes the waiters of a round. mu is held.
func (l *Log) endRound(r **round) {
	if *r != nil {
		close((*r).done)
		*r = nil
	}
}

// Sync waits until the record seq, and so every one before it, survives a
// power cut. A *DiskError says that it may not; an error of ctx, that it was
// not waited for.
func (l *Log) Sync(ctx context.Context, seq uint64) error {
	l.mu.Lock()
	for {
		if err := l.lostError(seq); err != nil {
			l.mu.Unlock()
			return err
		}
		if seq <= l.synced {
			l.mu.Unlock()
			return nil
		}
		if l.finished || seq > l.written {
			last, finished := l.written, l.finished
			l.mu.Unlock()
			if finished {
				return ErrClosed
			}
			return fmt.Errorf("ledger: wait for record %d: the last one is %d", seq, last)
		}
		var done chan struct{}
		if l.syncing != nil && seq <= l.target {
			done = l.syncing.done
		} else {
			if l.round == nil {
				l.round = &round{done: make(chan struct{})}
				select {
				case l.urgent <- struct{}{}:
				default:
				}
			}
			done = l.round.done
		}
		l.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		l.mu.Lock()
	}
}

func (l *Log) lostError(seq uint64) error {
	for _, s := range l.lost {
		if s.from <= seq && seq <= s.to {
			return s.err
		}
	}
	return nil
}

// syncer begins an fsync SyncWithin after a write, or as soon as somebody
// waits, until the log is closed.
func (l *Log) syncer() {
	defer close(l.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-l.urgent:
		case <-l.kick:
			timer.Reset(l.cfg.SyncWithin)
			select {
			case <-l.stop:
				return
			case <-timer.C:
			case <-l.urgent:
			}
		case <-timer.C: // only while the disk fails
			l.probe()
		}
		if l.syncOnce() != nil {
			l.w.Lock()
			l.sync()
			l.w.Unlock()
		}
		l.mu.Lock()
		l.endRound(&l.syncing)
		timer.Stop()
		if l.health != nil {
			timer.Reset(probeEvery)
		}
		l.mu.Unlock()
	}
}

// syncOnce syncs the active segment while appends go on.
func (l *Log) syncOnce() error {
	l.s.Lock()
	defer l.s.Unlock()
	l.mu.Lock()
	s, target := l.active, l.written
	l.dirty = false
	l.syncing, l.round, l.target = l.round, nil, target
	if s == nil || target == l.synced {
		l.mu.Unlock()
		return nil
	}
	if s.failed != nil {
		l.mu.Unlock()
		return s.failed
	}
	size := s.size
	l.mu.Unlock()

	err := l.syncFile(s)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncs++
	if err != nil {
		s.failed = err
		return err
	}
	s.durable = size
	l.reached(target)
	return nil
}

// reached notes that everything up to target is synced. mu is held.
func (l *Log) reached(target uint64) {
	l.synced = target
	l.wakeReaders()
	if target > l.failedAt {
		l.well()
	}
}

// well notes that the disk takes records. mu is held.
func (l *Log) well() {
	if l.health != nil {
		l.health = nil
		l.cfg.Log.Info("ledger can write again")
	}
}

func (l *Log) wakeReaders() {
	if l.advance != nil {
		close(l.advance)
		l.advance = nil
	}
}

// syncFile syncs a segment and, if it is new, its name.
func (l *Log) syncFile(s *segment) error {
	if err := s.f.Sync(); err != nil {
		return &DiskError{Op: "sync", Path: s.path, Err: cause(err)}
	}
	if err := l.inPlace(); err != nil {
		return err
	}
	info, err := s.f.Stat()
	if err != nil {
		return &DiskError{Op: "sync", Path: s.path, Err: cause(err)}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return &DiskError{Op: "sync", Path: s.path, Err: errGone}
	}
	if s.durable == segmentHeader {
		if err := syncDir(l.cfg.Dir); err != nil {
			return &DiskError{Op: "sync", Path: l.cfg.Dir, Err: cause(err)}
		}
	}
	return nil
}

// sync syncs everything that was written, and rescues it when that fails. w is
// held.
func (l *Log) sync() error {
	l.s.Lock()
	defer l.s.Unlock()
	s := l.active
	if s == nil || s.failed == nil && s.size == s.durable {
		return nil
	}
	err := s.failed
	if err == nil {
		err = l.syncFile(s)
		l.mu.Lock()
		l.syncs++
		l.mu.Unlock()
	}
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.durable = s.size
		l.reached(l.written)
		return nil
	}
	rescued, rescueErr := l.rescue(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandon()
	if rescueErr != nil {
		if l.synced < l.written {
			if len(l.lost) == maxLost {
				l.lost = l.lost[1:]
			}
			l.lost = append(l.lost, span{l.synced + 1, l.written, err})
			l.cfg.Log.Error("ledger: an fsync failed, and so did the copy of what it was to cover: a power cut may lose it", "from", l.synced+1, "to", l.written, "err", err, "copy", rescueErr)
		}
		s.durable = s.size // readers may still find them
		l.broken = err
		l.fail(err)
		return err
	}
	l.cfg.Log.Warn("ledger: an fsync failed, what it was to cover was copied", "segment", s.path, "records", l.written-l.synced, "err", err)
	l.bytes -= s.size - s.durable
	s.size, s.last = s.durable, l.synced
	if s.empty() {
		s.last = s.prev
	}
	l.add(rescued)
	l.reached(l.written)
	return nil
}

// rescue copies what is not synced from s, whose fsync failed, into a new
// segment and syncs that. After a failed fsync the kernel may have thrown
// pages away, so each record is checked on the way. w and s are held.
func (l *Log) rescue(s *segment) (*segment, error) {
	if err := l.inPlace(); err != nil {
		return nil, err
	}
	b := make([]byte, s.size-s.durable)
	if _, err := s.f.ReadAt(b, s.durable); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	fr := frames{r: bytes.NewReader(b), end: int64(len(b)), reuse: true}
	for next := l.synced + 1; next <= l.written; next++ {
		rec, _, reason, err := fr.next()
		if err != nil {
			return nil, err
		}
		if reason != "" || rec.Seq != next {
			return nil, &CorruptError{Path: s.path, Offset: s.durable + fr.off, Reason: reason}
		}
	}
	prev := l.synced
	if s.durable == segmentHeader {
		prev = s.prev
	}
	r, err := createSegment(l.openFile, l.cfg.Dir, l.synced+1, prev, b)
	if err != nil {
		return nil, err
	}
	if err := l.syncFile(r); err != nil {
		r.f.Close()
		return nil, err
	}
	r.durable, r.last = r.size, l.written
	return r, nil
}

// probe tries a disk that failed, so that a log nobody dares to write to finds
// out when that is over.
func (l *Log) probe() {
	l.w.Lock()
	defer l.w.Unlock()
	l.mu.Lock()
	healthy := l.health == nil
	l.mu.Unlock()
	if healthy {
		return
	}
	err := l.tryDisk()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.fail(err)
		return
	}
	l.broken = nil
	l.well()
}

// tryDisk writes, removes and syncs something behind the last record. w is held.
func (l *Log) tryDisk() error {
	if s := l.active; s != nil && s.failed != nil {
		if err := l.sync(); err != nil {
			return err
		}
	}
	if l.active == nil {
		if err := l.roll(); err != nil {
			return err
		}
	}
	s := l.active
	_, err := s.f.WriteAt(make([]byte, 16<<10), s.size)
	if terr := s.f.Truncate(s.size); err == nil {
		err = terr
	}
	if err != nil {
		return &DiskError{Op: "write", Path: s.path, Err: cause(err)}
	}
	l.s.Lock()
	defer l.s.Unlock()
	if err := l.syncFile(s); err != nil {
		l.mu.Lock()
		s.failed = err // its next fsync proves nothing
		l.mu.Unlock()
		return err
	}
	return nil
}
