package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
)

// Read gives the records from sequence from on, or from the oldest there is,
// in order, and goes on with those that come while it runs. It gives a record
// once an fsync has covered it. It ends, without an error, when ctx does or
// the log is closed, and after the first error: a *DiskError, or a
// *CorruptError when a record has changed on disk since it was written.
// Appends and Trim go on beside it.
func (l *Log) Read(ctx context.Context, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r := reader{log: l, next: from}
		defer r.close()
		for {
			l.mu.Lock()
			synced := l.synced
			if synced < r.next || synced == 0 {
				if l.closed {
					l.mu.Unlock()
					return
				}
				if l.advance == nil {
					l.advance = make(chan struct{})
				}
				advance := l.advance
				l.mu.Unlock()
				select {
				case <-advance:
				case <-ctx.Done():
					return
				}
				continue
			}
			l.mu.Unlock()
			for rec, err := range r.through(synced) {
				if ctx.Err() != nil || !yield(rec, err) || err != nil {
					return
				}
			}
			if r.next <= synced { // stopped by an error
				return
			}
		}
	}
}

// Replay is Read that ends after the last record there is when it is called.
func (l *Log) Replay(from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		l.mu.Lock()
		synced := l.synced
		l.mu.Unlock()
		r := reader{log: l, next: from}
		defer r.close()
		for rec, err := range r.through(synced) {
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// Unsettled gives the newest record, Started or Carried, of every call that an
// earlier process started and that is still not settled, in order. Calls may
// be settled, and others started, while it runs.
func (l *Log) Unsettled() iter.Seq2[Record, error] {
	return l.calls(func(c call) bool { return c.first <= l.recovered })
}

// calls gives the newest records of the open calls that match, which is asked
// under mu.
func (l *Log) calls(match func(call) bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		type id struct {
			id   string
			call call
		}
		var ids []id
		l.mu.Lock()
		for k, c := range l.open {
			if match(c) {
				ids = append(ids, id{k, c})
			}
		}
		l.mu.Unlock()
		slices.SortFunc(ids, func(a, b id) int { return cmp.Compare(a.call.seq, b.call.seq) })
		r := reader{log: l}
		defer r.close()
		for _, want := range ids {
			for tried := uint64(0); ; {
				l.mu.Lock()
				c, open := l.open[want.id]
				l.mu.Unlock()
				if !open || c.first != want.call.first {
					break // settled meanwhile
				}
				rec, err := r.one(c.seq)
				if err == nil && rec.Seq == 0 && c.seq != tried {
					tried = c.seq
					continue // carried meanwhile
				}
				if err == nil && rec.Seq == 0 {
					err = fmt.Errorf("ledger: record %d of call %q is gone", c.seq, want.id)
				}
				if !yield(rec, err) || err != nil {
					return
				}
				break
			}
		}
	}
}

// reader walks over the segments.
type reader struct {
	log  *Log
	next uint64 // sequence
	seg  *segment
	f    *os.File
	fr   frames
	at   uint64 // sequence after the last one that fr gave
}

func (r *reader) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// through gives the records from next to to, which is synced.
func (r *reader) through(to uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r.next <= to {
			last, err := r.seek()
			if err != nil {
				yield(Record{}, err)
				return
			}
			if last == 0 || r.next > to { // trimmed, or a gap
				r.next = max(r.next, to+1)
				return
			}
			for last = min(last, to); r.next <= last; {
				rec, size, reason, err := r.fr.next()
				switch {
				case errors.Is(err, io.EOF):
					reason = "the file has become shorter"
				case err != nil:
					yield(Record{}, &DiskError{Op: "read", Path: r.seg.path, Err: cause(err)})
					return
				case size == 0 && reason == "":
					reason = "records are missing at its end"
				}
				if reason != "" {
					if r.abandoned() { // its waiters have heard of it
						r.next = last + 1
						break
					}
					yield(Record{}, &CorruptError{Path: r.seg.path, Offset: r.fr.off, Reason: reason})
					return
				}
				r.at = rec.Seq + 1
				if rec.Seq < r.next {
					continue
				}
				r.next = rec.Seq + 1
				if !yield(rec, nil) {
					return
				}
			}
		}
	}
}

// one gives the record seq; none, with Seq 0, when it was trimmed.
func (r *reader) one(seq uint64) (Record, error) {
	if err := r.log.Sync(context.Background(), seq); err != nil {
		return Record{}, err
	}
	r.next = seq
	for rec, err := range r.through(seq) {
		return rec, err
	}
	return Record{}, nil
}

func (r *reader) abandoned() bool {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.seg.failed != nil
}

// seek goes to the segment that has the next record, or the first one behind
// it, and returns the sequence of its last record; 0 when there is none.
func (r *reader) seek() (uint64, error) {
	l := r.log
	for {
		l.mu.Lock()
		i := slices.IndexFunc(l.segments, func(s *segment) bool { return !s.empty() && s.last >= r.next })
		if i < 0 {
			l.mu.Unlock()
			return 0, nil
		}
		s := l.segments[i]
		last, end := s.last, s.durable
		l.mu.Unlock()
		r.next = max(r.next, s.first)
		if s != r.seg || r.next < r.at {
			f, err := os.Open(s.path)
			if errors.Is(err, fs.ErrNotExist) && !l.holds(s) {
				continue // trimmed
			}
			if err != nil {
				return 0, &DiskError{Op: "read", Path: s.path, Err: cause(err)}
			}
			r.close()
			r.seg, r.f, r.fr, r.at = s, f, frames{r: f, off: segmentHeader}, 0
		}
		r.fr.end = end
		return last, nil
	}
}

func (l *Log) holds(s *segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.segments, s)
}
