package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

const (
	// tablesAtOnce bounds how many tables have a file open that is being
	// written: each holds some megabytes.
	tablesAtOnce = 8
	// retryAgain is how soon somebody who reads a table that failed makes it
	// be tried again.
	retryAgain = time.Second
)

// round is a run over the tables that somebody waits for.
type round struct {
	all    bool
	tables map[*table]bool
	done   chan struct{}
	errs   map[*table]error // once done
}

// join adds the table, or all with nil, to the next round. s.mu is held.
func (s *Set) join(t *table) *round {
	if s.round == nil {
		s.round = &round{tables: map[*table]bool{}, done: make(chan struct{})}
	}
	if t == nil {
		s.round.all = true
	} else {
		s.round.tables[t] = true
	}
	s.wake()
	return s.round
}

func (s *Set) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Fresh commits the rows of the table that were acknowledged before the call.
// When none waits it does nothing, and many calls at once share a commit. An
// error says why the rows cannot be committed; what was committed before can
// be read all the same.
func (s *Set) Fresh(ctx context.Context, name string) error {
	last, err := s.caughtUp(ctx)
	if err != nil {
		return fmt.Errorf("table %s: %w", name, err)
	}
	s.mu.Lock()
	t := s.tables[name]
	if t == nil || t.wait.first == 0 || t.wait.first > last {
		s.mu.Unlock()
		return nil
	}
	r := s.join(t)
	s.mu.Unlock()
	if err := s.wait(ctx, r.done); err != nil {
		return fmt.Errorf("table %s: %w", name, err)
	}
	if err := r.errs[t]; err != nil {
		return fmt.Errorf("table %s: %w", name, err)
	}
	return nil
}

// Flush commits the rows of all tables that were acknowledged before the call.
// The error joins those of the tables that cannot take theirs; the others are
// committed.
func (s *Set) Flush(ctx context.Context) error {
	if _, err := s.caughtUp(ctx); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	s.mu.Lock()
	r := s.join(nil)
	s.mu.Unlock()
	if err := s.wait(ctx, r.done); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	var errs []error
	for _, t := range s.sorted() {
		if err := r.errs[t]; err != nil {
			errs = append(errs, fmt.Errorf("table %s: %w", t.name, err))
		}
	}
	return errors.Join(errs...)
}

// errClosed is for those who wait for something that will not come any more.
var errClosed = errors.New("the tables were closed")

func (s *Set) wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-s.over:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// caughtUp waits until every row that was acknowledged is on the disk and has
// been noted, and returns the sequence of the last.
func (s *Set) caughtUp(ctx context.Context) (last uint64, err error) {
	last = s.log.Stats().Last
	s.mu.Lock()
	behind := s.read < last
	s.mu.Unlock()
	if !behind {
		return last, nil
	}
	if err := s.log.Sync(ctx, last); err != nil {
		return 0, err
	}
	for {
		s.mu.Lock()
		if s.read >= last {
			s.mu.Unlock()
			return last, nil
		}
		if s.arrived == nil {
			s.arrived = make(chan struct{})
		}
		arrived := s.arrived
		s.mu.Unlock()
		if err := s.wait(ctx, arrived); err != nil {
			return 0, err
		}
	}
}

// Pause waits for the commit in progress and keeps commits, trimming,
// compaction and vacuum from beginning until resume is called. Rows can be
// appended meanwhile, and Fresh waits.
func (s *Set) Pause(ctx context.Context) (resume func(), err error) {
	return s.gate.close(ctx)
}

// run commits what is due until ctx ends.
func (s *Set) run(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, max(10*time.Millisecond, s.cfg.FlushAfter/4)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-tick.C:
			s.watch()
		}
		_, leave, err := s.gate.enter(ctx, false)
		if err != nil {
			return
		}
		s.runRound(ctx)
		leave()
	}
}

// runRound commits for those who wait and what is due by time or size.
func (s *Set) runRound(ctx context.Context) {
	s.mu.Lock()
	r := s.round
	s.round = nil
	if r == nil {
		r = &round{done: make(chan struct{})}
	}
	r.errs = map[*table]error{}
	to, now := s.read, s.now()
	due := s.due(now)
	var todo []*job
	for _, t := range s.tables {
		wanted := r.all || r.tables[t]
		switch tr := t.trouble; {
		case t.wait.first == 0 && tr == nil:
		case tr != nil && wanted && now.Before(tr.tried.Add(retryAgain)) && !now.Before(tr.tried):
			r.errs[t] = tr.err
		case wanted, tr == nil && due, tr != nil && !now.Before(tr.again):
			todo = append(todo, &job{t: t, before: t.wait, began: now})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(todo, func(a, b *job) int { return cmp.Compare(a.before.first, b.before.first) })
	for part := range slices.Chunk(todo, tablesAtOnce) {
		s.pass(ctx, part, to, r.errs)
	}
	// Somebody changed the schema while rows were being written for the old one.
	if again := overtaken(todo, r.errs); len(again) > 0 {
		s.pass(ctx, again, to, r.errs)
	}
	s.trim(ctx)
	close(r.done)
}

// overtaken is new jobs for those that failed with a conflict.
func overtaken(jobs []*job, errs map[*table]error) (again []*job) {
	for _, j := range jobs {
		if errors.Is(errs[j.t], delta.ErrConflict) {
			again = append(again, &job{t: j.t, before: j.before, began: j.began})
			delete(errs, j.t)
		}
	}
	return again
}

// due reports whether rows have waited for long enough, or are enough, not
// counting the tables that failed. s.mu is held.
func (s *Set) due(now time.Time) bool {
	var bytes int64
	for _, t := range s.tables {
		if t.wait.first == 0 || t.trouble != nil {
			continue
		}
		if bytes += t.wait.bytes; now.Sub(t.wait.since) >= s.cfg.FlushAfter || bytes >= s.cfg.FlushBytes {
			return true
		}
	}
	return false
}

// trim lets the ledger forget what every table has.
func (s *Set) trim(ctx context.Context) {
	s.mu.Lock()
	position := s.read
	for _, t := range s.tables {
		if t.wait.first > 0 {
			position = min(position, t.wait.first-1)
		}
	}
	s.dropTail(position)
	s.mu.Unlock()
	if position <= s.trimmed {
		return
	}
	err := s.log.Trim(ctx, position)
	if err == nil {
		s.trimmed = position
	}
	s.report("ledger", "records that are no longer needed cannot be removed", err)
}

// idleAfter is when a table that nobody uses is closed, for the memory that
// its list of files takes.
const idleAfter = 10 * time.Minute

// watch closes idle tables, and finds those whose directory was taken away
// before a row is to be written there.
func (s *Set) watch() {
	now := s.now()
	for _, t := range s.sorted() {
		if !t.mu.TryLock() {
			continue
		}
		missing := t.open != nil && !t.open.inPlace(t.dir)
		if t.users == 0 && t.open != nil && now.Sub(t.used) > idleAfter {
			t.closeHandle()
		}
		t.mu.Unlock()
		s.mu.Lock()
		known := t.trouble != nil
		s.mu.Unlock()
		if missing && !known {
			s.fail(t, fs.ErrNotExist)
		}
	}
}
