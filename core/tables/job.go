package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

// job is what is being written to one table.
type job struct {
	t      *table
	before waiting // what waited when it began
	began  time.Time

	h       *handle // nil when all its rows are dead letters
	reason  error   // why they are
	from    uint64  // first sequence to take
	last    uint64  // sequence taken last
	w       *delta.Writer
	letters []letter
}

// pass writes the rows of some tables up to a sequence, and commits them.
func (s *Set) pass(ctx context.Context, all []*job, to uint64, errs map[*table]error) {
	jobs := map[*table]*job{}
	end := func(j *job, err error) {
		delete(jobs, j.t)
		if err != nil {
			errs[j.t] = err
		}
		s.end(j, to, err)
	}
	from := to + 1
	for _, j := range all {
		if err := s.start(ctx, j); err != nil {
			end(j, err)
			continue
		}
		jobs[j.t] = j
		from = min(from, j.from)
	}
	commit := func() {
		for _, j := range jobs {
			if err := s.commit(ctx, j); err != nil {
				end(j, err)
			}
		}
	}
	var size int64
	for e, err := range s.rows(jobs, from, to) {
		if err != nil {
			for _, j := range jobs {
				end(j, err)
			}
			break
		}
		j := jobs[e.table]
		if j == nil || e.seq <= j.last { // it has the row
			continue
		}
		if err := s.take(ctx, j, e); err != nil {
			end(j, err)
			continue
		}
		if size += int64(len(e.body)); size >= s.cfg.FlushBytes {
			size = 0
			commit()
		}
	}
	commit()
	for _, j := range jobs {
		end(j, nil)
	}
}

// start opens the table. When there is none that could ever take the rows they
// are dead letters.
func (s *Set) start(ctx context.Context, j *job) (err error) {
	j.h, err = s.acquire(ctx, j.t)
	refused := refusal(err)
	if j.t.def().Kind == nil && !j.t.seen() && (refused != nil || errors.Is(err, fs.ErrNotExist)) {
		j.reason, err = cmp.Or(refused, errNoTable), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j.from = max(j.t.position+1, j.before.first)
	j.last = j.from - 1
	return err
}

// take writes a row, or makes it a dead letter. An error is the table's.
func (s *Set) take(ctx context.Context, j *job, e entry) error {
	reason := cmp.Or(e.bad, j.reason)
	if reason == nil {
		var row any
		if row, reason = decode(j.h.kind, e.body); reason == nil {
			if j.w == nil {
				j.w = j.h.delta.NewWriter()
			}
			err := j.w.Write(ctx, j.h.arranged(row))
			if bad, ok := errors.AsType[*delta.RowError](err); ok {
				reason = bad
			} else if err != nil {
				return err
			}
		}
	}
	if reason != nil {
		j.letters = append(j.letters, letter{Seq: e.seq, ID: e.id, Table: j.t.name, Reason: reason.Error(), Time: s.now(), Body: e.body})
	}
	j.last = e.seq
	return nil
}

// decode is the kind's, which may meet what no program ever wrote.
func decode(k *Kind, body []byte) (row any, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("decoding panics: %v", v)
		}
	}()
	return k.Decode(body)
}

// commit makes what was taken so far durable: first the dead letters, so that
// none is behind the table's position and lost.
func (s *Set) commit(ctx context.Context, j *job) error {
	if err := s.dead.write(j.letters); err != nil {
		return err
	}
	j.letters = nil
	committed := false
	if j.w != nil {
		c, err := j.w.Commit(ctx, delta.Txn{AppID: j.h.app, Version: int64(j.last)})
		j.w = nil
		if err != nil {
			return err
		}
		s.report(j.t.name, "its log cannot be tidied up", c.Upkeep)
		committed = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if committed {
		j.t.committed = j.last
	}
	s.advance(j.t, j.last)
	return nil
}

// end closes the job; err is why it failed.
func (s *Set) end(j *job, to uint64, err error) {
	if j.w != nil {
		j.w.Abort()
	}
	if j.h != nil {
		j.t.release(s.now())
	}
	if err == nil {
		s.mu.Lock()
		s.settle(j.t, to, j.before, j.began)
		s.mu.Unlock()
	}
	s.fail(j.t, err)
}
