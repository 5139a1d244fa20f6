package tables

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ledger"
)

// maxTail is how many bytes of rows that are not committed are kept in memory,
// so that a commit soon after need not read them again.
const maxTail = 16 << 20

// entry is a row in the ledger.
type entry struct {
	seq   uint64
	id    string
	table *table
	body  []byte
	bad   error // why the body cannot be told
}

// entry is the row in a record; false when it has none. s.mu is held.
func (s *Set) entry(rec ledger.Record) (entry, bool) {
	if rec.Kind != ledger.Row && rec.Kind != ledger.Settled {
		return entry{}, false
	}
	name, body, err := split(rec.Payload)
	if err != nil {
		return entry{rec.Seq, rec.ID, s.table(""), rec.Payload, err}, true
	}
	t := s.tables[string(name)]
	if t == nil {
		t = s.table(string(name))
	}
	return entry{rec.Seq, rec.ID, t, body, nil}, true
}

// follow reads the ledger, which ended with the sequence end when it was
// opened, and notes which rows wait for which table.
func (s *Set) follow(ctx context.Context, end uint64) {
	// There may be no record of that sequence, so that the reader alone does
	// not tell when all has been read.
	if end > 0 { // else whatever is read is new, and would be noted again below
		s.keepReading(ctx, s.log.Replay, 1, end)
	}
	s.keepReading(ctx, func(from uint64) iter.Seq2[ledger.Record, error] { return s.log.Read(ctx, from) }, end+1, 0)
}

// keepReading notes the records from from on. Those up to end are all noted
// when it returns, unless ctx ends.
func (s *Set) keepReading(ctx context.Context, records func(from uint64) iter.Seq2[ledger.Record, error], from, end uint64) {
	const part, message = "ledger", "its records cannot be read back; rows are kept on the disk and wait"
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, time.Minute) {
		var err error
		for rec, rerr := range records(from) {
			if err = rerr; err != nil || ctx.Err() != nil || end > 0 && rec.Seq > end {
				break
			}
			if wait > time.Second {
				s.report(part, message, nil)
				wait = time.Second
			}
			s.note(rec)
			from = rec.Seq + 1
		}
		if err == nil { // all read, or the end of the Set
			s.report(part, message, nil)
			if ctx.Err() == nil { // or else what was not read might be trimmed
				s.mu.Lock()
				s.passed(end)
				s.mu.Unlock()
			}
			return
		}
		s.report(part, message, err)
		sleep(ctx, wait)
	}
}

// note takes a record into account, once.
func (s *Set) note(rec ledger.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.Seq <= s.read {
		return
	}
	if e, ok := s.entry(rec); ok && e.seq > e.table.position {
		w := &e.table.wait
		if w.first == 0 {
			w.first, w.since = e.seq, s.now()
		}
		w.last = e.seq
		w.rows++
		w.bytes += int64(len(e.body))
		s.tail = append(s.tail, e)
		s.tailSize += int64(len(e.body))
		for s.tailSize > maxTail {
			s.dropTail(s.tail[0].seq)
		}
		if s.total += int64(len(e.body)); s.total >= s.cfg.FlushBytes {
			s.wake()
		}
	}
	s.passed(rec.Seq)
}

// passed notes that every record up to seq has been noted. s.mu is held.
func (s *Set) passed(seq uint64) {
	s.read = max(s.read, seq)
	if s.arrived != nil {
		close(s.arrived)
		s.arrived = nil
	}
}

// dropTail forgets the rows up to seq. s.mu is held.
func (s *Set) dropTail(seq uint64) {
	n := 0
	for n < len(s.tail) && s.tail[n].seq <= seq {
		s.tailSize -= int64(len(s.tail[n].body))
		n++
	}
	clear(s.tail[:n])
	s.tail = s.tail[n:]
	s.tailFrom = max(s.tailFrom, seq+1)
}

// advance notes that records up to seq are done with for the table. s.mu is
// held.
func (s *Set) advance(t *table, seq uint64) {
	t.position = max(t.position, seq)
	if w := &t.wait; w.first > 0 {
		w.first = max(w.first, t.position+1)
	}
}

// settle notes that the rows which waited when a run up to seq began, at that
// time, wait no more. s.mu is held.
func (s *Set) settle(t *table, seq uint64, before waiting, at time.Time) {
	s.advance(t, seq)
	w := &t.wait
	if w.last <= seq {
		before = *w
	}
	s.total -= before.bytes
	w.rows -= before.rows
	w.bytes -= before.bytes
	w.since = at
	if w.last <= seq {
		*w = waiting{}
	}
}

// rows gives those of the tables between the sequences, both included, in
// order: from memory if they are there.
func (s *Set) rows(tables map[*table]*job, from, to uint64) iter.Seq2[entry, error] {
	s.mu.Lock()
	var found []entry
	inMemory := s.tailFrom <= from
	if inMemory {
		first, _ := slices.BinarySearchFunc(s.tail, from, func(e entry, seq uint64) int {
			if e.seq < seq {
				return -1
			}
			return 1
		})
		for _, e := range s.tail[first:] {
			if e.seq > to {
				break
			}
			if tables[e.table] != nil {
				found = append(found, e)
			}
		}
	}
	s.mu.Unlock()
	return func(yield func(entry, error) bool) {
		if inMemory {
			for _, e := range found {
				if !yield(e, nil) {
					return
				}
			}
			return
		}
		for rec, err := range s.log.Replay(from) {
			if err != nil {
				yield(entry{}, err)
				return
			}
			if rec.Seq > to {
				return
			}
			s.mu.Lock()
			e, ok := s.entry(rec)
			s.mu.Unlock()
			if ok && tables[e.table] != nil && !yield(e, nil) {
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
