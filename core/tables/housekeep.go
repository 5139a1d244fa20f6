package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

const (
	// leaseFile names a directory of tables, which several gateways may share.
	leaseFile = ".identity"
	leaseFor  = 10 * time.Minute
	// soonAfter is when the first round begins, and another when somebody else
	// had the lease.
	soonAfter = 5 * time.Minute
	// fewFiles of a partition are not worth making one of.
	fewFiles = 4
)

// errLeased: another gateway is at it.
var errLeased = errors.New("another gateway does the housekeeping")

// housekeeper runs a round now and then until ctx ends.
func (s *Set) housekeeper(ctx context.Context) {
	wait := min(soonAfter, s.cfg.CompactEvery)
	for {
		sleep(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		wait = s.cfg.CompactEvery
		switch err := s.keepHouse(ctx); {
		case errors.Is(err, errLeased):
			wait = min(soonAfter, wait)
		default:
			s.report("housekeeping", "it fails; see the log", err)
		}
	}
}

// Housekeep makes few files of many in each table, takes out rows that are
// older than the table's retention, and deletes files that no version has
// needed for a week. It does nothing while another gateway does that in the
// same directory. Rows and files are deleted only while the clock can be
// believed; Health says when it cannot. The error joins those of the tables
// that failed; the others are done.
func (s *Set) Housekeep(ctx context.Context) error {
	err := s.keepHouse(ctx)
	if errors.Is(err, errLeased) {
		return nil
	}
	return err
}

func (s *Set) keepHouse(ctx context.Context) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	name, err := s.leaseName()
	if err != nil {
		return fmt.Errorf("housekeeping: %w", err)
	}
	ctx, release, err := s.lease(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	var last time.Time
	if s.db != nil {
		if last, _, err = s.db.LastDone(ctx, name); err != nil {
			return fmt.Errorf("housekeeping: %w", err)
		}
	}
	before := s.guard.held()
	believed := s.guard.believe(last)
	if reason := s.guard.held(); reason != "" && before == "" {
		s.out.Warn("housekeeping deletes nothing", "reason", reason)
	}
	var errs []error
	for _, t := range s.sorted() {
		if err := s.tend(ctx, t, believed); err != nil {
			errs = append(errs, fmt.Errorf("housekeeping: table %s: %w", t.name, err))
		}
	}
	if believed && s.db != nil && ctx.Err() == nil {
		errs = append(errs, s.db.SetLastDone(ctx, name, s.now()))
	}
	return errors.Join(errs...)
}

func (s *Set) leaseName() (string, error) {
	if err := makePrivate(s.dirs.Tables); err != nil {
		return "", err
	}
	id, err := identity(filepath.Join(s.dirs.Tables, leaseFile))
	return "tables " + id, err
}

// lease takes the lease and keeps it until release; the context ends when it
// was lost.
func (s *Set) lease(ctx context.Context, name string) (held context.Context, release func(), err error) {
	held, cancel := context.WithCancelCause(ctx)
	if s.db == nil {
		return held, func() { cancel(nil) }, nil
	}
	got, err := s.db.Lease(ctx, name, s.instance, leaseFor)
	if err == nil && !got {
		err = errLeased
	}
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			sleep(held, leaseFor/3)
			if held.Err() != nil {
				return
			}
			if got, err := s.db.Lease(held, name, s.instance, leaseFor); err != nil || !got {
				cancel(fmt.Errorf("the lease was lost: %w", errors.Join(err, errLeased)))
			}
		}
	}()
	return held, func() {
		cancel(nil)
		<-done
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := s.db.Release(ctx, name, s.instance); err != nil {
			s.out.Warn("housekeeping: the lease could not be given back; it runs out by itself", "reason", err)
		}
	}, nil
}

// tend does one table, as often as a Pause breaks it off.
func (s *Set) tend(ctx context.Context, t *table, believed bool) error {
	for {
		inner, leave, err := s.gate.enter(ctx, true)
		if err != nil {
			return err
		}
		err = s.tendOnce(inner, t, believed)
		paused := errors.Is(context.Cause(inner), errPaused)
		leave()
		switch {
		case err != nil && paused:
			continue
		case errors.Is(err, delta.ErrConflict): // the next round finds it again
			s.out.Info("housekeeping was overtaken by another writer", "table", t.name, "reason", err)
			return nil
		}
		return err
	}
}

func (s *Set) tendOnce(ctx context.Context, t *table, believed bool) error {
	h, err := s.acquire(ctx, t)
	if t.def().Kind == nil && (errors.Is(err, fs.ErrNotExist) || refusal(err) != nil) {
		return nil // no table of ours
	}
	if err != nil {
		return err
	}
	defer func() { t.release(s.now()) }()
	c, err := h.delta.Compact(ctx, delta.CompactOptions{MinFiles: fewFiles})
	if c.Commits > 0 {
		s.out.Info("table compacted", "table", t.name, "files", c.Before, "into", c.After, "rows", c.Rows)
	}
	if err != nil || !believed {
		return err
	}
	if keep := s.retention(t, h.kind); keep > 0 {
		// Whole days: a file that lies across the cutoff is written anew once a
		// day and not in each round.
		cutoff := s.now().UTC().Add(-keep).Truncate(24 * time.Hour)
		d, err := h.delta.DeleteBefore(ctx, h.kind.TimeColumn, cutoff)
		if err != nil {
			return err
		}
		if d.Removed > 0 {
			s.out.Info("old rows deleted", "table", t.name, "before", cutoff, "files", d.Removed)
		}
	}
	files, err := h.delta.Vacuum(ctx, delta.VacuumOptions{})
	if len(files) > 0 {
		s.out.Info("table vacuumed", "table", t.name, "files", len(files))
	}
	return err
}

// retention is how long rows of the table are kept, 0 for ever. A table that
// no Definition names any more keeps its rows as its kind does.
func (s *Set) retention(t *table, k *Kind) time.Duration {
	switch {
	case k.TimeColumn == "":
		return 0
	case t.def().Kind != nil:
		return t.def().Retention
	}
	return s.cfg.Retention(k.Name)
}
