package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/store"
)

// closeWithin bounds the flush of Close. What it leaves is in the ledger.
const closeWithin = 10 * time.Second

// Set is the ledger and the tables it feeds. Its methods may be called side by
// side.
type Set struct {
	dirs     Dirs
	cfg      Config
	out      *slog.Logger
	log      *ledger.Log
	db       *store.DB // may be nil
	kinds    map[string]*Kind
	instance string
	dead     *deadLetters
	gate     gate
	guard    *guard
	keeping  sync.Mutex // one round of housekeeping at a time

	stop    context.CancelFunc
	ended   sync.WaitGroup
	closed  sync.Once
	over    chan struct{} // closed when the goroutines have ended
	kick    chan struct{} // wakes the runner
	trimmed uint64        // of the runner

	mu       sync.Mutex
	tables   map[string]*table
	total    int64         // bytes of rows that wait
	read     uint64        // the follower has passed on every record up to it
	arrived  chan struct{} // closed when read grows; nil when nobody waits
	tail     []entry       // rows from tailFrom on, in memory
	tailFrom uint64
	tailSize int64
	round    *round              // to be run next
	troubles map[string]*trouble // of the parts that are no table
}

// Open opens the ledger and the tables, makes the tables that are missing, and
// goes on where an earlier process stopped. Close the Set. db holds the lease
// for housekeeping; without one there is no other gateway.
//
// Errors, none of which changes anything: ledger.LockedError when another
// gateway has the ledger, NewerError and MismatchError for a table that must
// not be written, ledger.CorruptError. A table that cannot be opened for
// another reason is in Health instead, and its rows wait in the ledger.
func Open(ctx context.Context, dirs Dirs, cfg Config, defs []Definition, db *store.DB, log *slog.Logger) (*Set, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("tables: %w", err)
	}
	if log == nil {
		log = slog.Default()
	}
	s := &Set{dirs: dirs, cfg: cfg.WithDefaults(), out: log, db: db, kick: make(chan struct{}, 1), over: make(chan struct{}),
		tables: map[string]*table{}, troubles: map[string]*trouble{}, tailFrom: 1}
	var err error
	if s.kinds, err = checkDefinitions(dirs.Tables, defs, cfg.Kinds); err != nil {
		return nil, err
	}
	after, changed, err := s.survey(ctx, defs)
	if err != nil {
		return nil, err
	}
	if s.log, err = ledger.Open(s.ledgerConfig(after)); err != nil {
		return nil, err
	}
	if err := s.begin(ctx, changed); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	return s, nil
}

// survey looks at the tables that are there, and returns the largest position
// that one of them has of our ledger, and when the newest of them was written
// to. It changes nothing.
func (s *Set) survey(ctx context.Context, defs []Definition) (after uint64, changed time.Time, err error) {
	s.instance, err = readIdentity(filepath.Join(s.dirs.Log, instanceFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, changed, fmt.Errorf("ledger: %w", err)
	}
	if err != nil && hasSegments(s.dirs.Log) {
		return 0, changed, fmt.Errorf("ledger: directory %q has records and no file %q, which says whose they are: restore that file, or move the directory away to begin a new ledger", s.dirs.Log, instanceFile)
	}
	for _, d := range defs {
		s.table(d.Name).defined.Store(&d)
	}
	names, err := tree(s.dirs.Tables)
	if err != nil {
		return 0, changed, fmt.Errorf("tables: %w", err)
	}
	for _, name := range names {
		s.table(name)
	}
	for _, t := range s.sorted() {
		h, err := s.look(ctx, t)
		if errors.Is(err, fs.ErrNotExist) {
			t.create = true
			continue
		}
		if err := refusal(err); err != nil {
			if _, ok := errors.AsType[*NewerError](err); ok || t.def().Kind != nil {
				return 0, changed, err
			}
		}
		if err != nil {
			continue // said by begin
		}
		t.kept = true
		if c := h.delta.Stats().Changed; c.After(changed) {
			changed = c
		}
		if s.instance != "" {
			h.app = s.instance + "/" + h.delta.ID()
			if last, err := h.last(ctx); err == nil { // else said by begin
				after = max(after, last)
			}
		}
		h.storage.Close()
	}
	return after, changed, nil
}

// refusal is err if the table must not be written by this program.
func refusal(err error) error {
	if newer, ok := errors.AsType[*NewerError](err); ok {
		return newer
	}
	if mismatch, ok := errors.AsType[*MismatchError](err); ok {
		return mismatch
	}
	return nil
}

func (s *Set) ledgerConfig(after uint64) ledger.Config {
	return ledger.Config{Dir: s.dirs.Log, SegmentBytes: s.cfg.SegmentBytes, MaxBytes: s.cfg.LogBytes, MaxRecord: maxRecord,
		SyncWithin: s.cfg.SyncWithin, FullWait: s.cfg.FullWait, After: after, Quarantine: s.cfg.Quarantine, Log: s.out}
}

// begin makes what is missing and starts the goroutines.
func (s *Set) begin(ctx context.Context, changed time.Time) (err error) {
	if s.instance, err = identity(filepath.Join(s.dirs.Log, instanceFile)); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if s.dead, err = openDead(filepath.Join(s.dirs.Log, "dead"), s.out); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	for _, d := range s.log.Report().Damaged {
		s.report("ledger", fmt.Sprintf("a damaged segment was set aside: records %d to %d cannot be read, and are lost unless their tables have them", d.From, d.To), errors.New(d.Reason))
	}
	for _, t := range s.sorted() {
		if t.def().Kind == nil {
			continue
		}
		_, err := s.acquire(ctx, t)
		switch {
		case refusal(err) != nil:
			return err
		case err != nil:
			s.fail(t, err)
		default:
			t.release(s.now())
			if t.committed > s.log.Stats().Last {
				return fmt.Errorf("table %s was written while the ledger was opened; start again", t.name)
			}
		}
	}
	s.guard = newGuard(s.now, s.cfg.elapsed, changed)
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	end := s.log.Stats().Last // nothing can be appended yet, so all of it is synced
	s.ended.Go(func() { s.follow(ctx, end) })
	s.ended.Go(func() { s.run(ctx) })
	s.ended.Go(func() { s.housekeeper(ctx) })
	return nil
}

// Define adds tables to those of Open, and makes them if they are missing; of
// one that is there its Comment and Retention count from now on. Tables that
// defs does not name stay. Errors are those of Open; the tables before the one
// at fault are defined then.
func (s *Set) Define(ctx context.Context, defs []Definition) error {
	kinds, err := checkDefinitions(s.dirs.Tables, defs, nil)
	if err != nil {
		return err
	}
	for name, k := range kinds {
		if have := s.kinds[name]; have == nil || have.Version != k.Version {
			return fmt.Errorf("tables: kind %q was not named when the tables were opened", name)
		}
	}
	for _, d := range defs {
		s.mu.Lock()
		t := s.table(d.Name)
		s.mu.Unlock()
		if t.def().Kind != nil {
			t.defined.Store(&d)
			continue
		}
		h, err := s.look(ctx, t)
		switch {
		case err == nil:
			h.storage.Close()
		case refusal(err) != nil:
			return err
		case errors.Is(err, fs.ErrNotExist):
			t.mu.Lock()
			t.create = true
			t.mu.Unlock()
		}
		t.defined.Store(&d)
		if _, err = s.acquire(ctx, t); err != nil {
			if refusal(err) != nil {
				return err
			}
			s.fail(t, err) // as at Open: its rows wait
			continue
		}
		t.release(s.now())
	}
	return nil
}

// table gives the table of that name. s.mu is held, or s not shared yet.
func (s *Set) table(name string) *table {
	t := s.tables[name]
	if t == nil {
		t = &table{name: name}
		t.dir, _ = location(s.dirs.Tables, name)
		s.tables[name] = t
	}
	return t
}

// sorted is the tables by name.
func (s *Set) sorted() []*table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.tables), func(a, b *table) int { return cmp.Compare(a.name, b.name) })
}

func (s *Set) now() time.Time {
	if s.cfg.now != nil {
		return s.cfg.now()
	}
	return time.Now()
}

// Log is the ledger, for the records of calls. Their payloads begin with
// Header. Do not close it.
func (s *Set) Log() *ledger.Log { return s.log }

// Append writes a row for the table, and returns its sequence. When it returns
// nil the row survives the death of the process, and is in the table after the
// next commit. Errors are those of ledger.Log.Append.
func (s *Set) Append(ctx context.Context, table string, body []byte) (seq uint64, err error) {
	payload := Header(make([]byte, 0, len(body)+len(table)+4), table)
	return s.log.Append(ctx, table, append(payload, body...))
}

// Locations is the directories of the tables, by name: of those that are defined,
// and of those of a known kind that were there at Open.
func (s *Set) Locations() map[string]string {
	m := map[string]string{}
	for _, t := range s.sorted() {
		if t.def().Kind != nil || t.kept {
			m[t.name] = t.dir
		}
	}
	return m
}

// Close commits what waits, for at most ten seconds, and closes the ledger.
// What could not be committed stays in the ledger for the next start.
func (s *Set) Close() error {
	var err error
	s.closed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
		defer cancel()
		if ferr := s.Flush(ctx); ferr != nil {
			s.out.Warn("not all rows were committed; they wait in the ledger", "reason", ferr)
		}
		s.stop()
		s.ended.Wait()
		close(s.over)
		err = s.log.Close()
		for _, t := range s.sorted() {
			t.mu.Lock()
			t.closeHandle()
			t.mu.Unlock()
		}
	})
	return err
}
