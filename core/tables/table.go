package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

// Properties of the tables that the gateway writes.
const (
	propKind    = "sallyport.kind"
	propVersion = "sallyport.schemaVersion"
)

// properties are those of a new table. Older versions cannot be read for
// longer than their files are kept, so neither are their commits, of which
// there may be one every few seconds.
func properties(k *Kind) map[string]string {
	p := map[string]string{
		propKind: k.Name, propVersion: strconv.Itoa(k.Version),
		"delta.logRetentionDuration":         "interval 7 days",
		"delta.deletedFileRetentionDuration": "interval 7 days",
	}
	if len(k.Bulk) > 0 {
		var names []string
		for _, f := range k.Schema {
			switch f.Type.(type) {
			case delta.Primitive, delta.Decimal:
			default:
				continue // Spark takes no others
			}
			if !slices.Contains(k.Bulk, f.Name) && !slices.Contains(k.Partition, f.Name) {
				names = append(names, f.Name)
			}
		}
		p["delta.dataSkippingStatsColumns"] = strings.Join(names, ",")
	}
	return p
}

// table is a table that rows go to.
type table struct {
	name string
	dir  string // "" when there can be no table of that name
	// defined is nil when no Definition names the table.
	defined atomic.Pointer[Definition]

	// Of Set.mu.
	position  uint64 // records up to it are in the table, or dead letters
	committed uint64 // of the last Txn that the table is known to have
	wait      waiting
	trouble   *trouble

	mu     sync.Mutex // of the following; taken before Set.mu
	open   *handle
	users  int    // of open
	id     string // of the Delta table, once it was seen
	create bool   // it may be made: it was not there when the Set was opened
	kept   bool   // was there at Open, and is of a kind that is known
	used   time.Time
}

// def is the table's Definition, one without a Kind when there is none.
func (t *table) def() Definition {
	if d := t.defined.Load(); d != nil {
		return *d
	}
	return Definition{}
}

// waiting is the rows of a table that are in the ledger and not committed.
type waiting struct {
	first, last uint64 // sequences; first may be too low, and is 0 when none waits
	rows, bytes int64
	since       time.Time
}

// handle is a table that is open.
type handle struct {
	storage *delta.Dir
	info    os.FileInfo // of the directory
	delta   *delta.Table
	kind    *Kind
	app     string // of its Txns
	order   []int  // of delta.Row: where each column's value is, -1 for nowhere; nil when as in Kind.Schema
	stale   bool   // something failed: see what the table says of itself
}

// NewerError is a table that a newer program has written.
type NewerError struct {
	Table, Kind string
	Have, Known int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("table %s: its schema has version %d and this program knows kind %s up to %d: "+
		"start the newer program again, or restore the backup from before the upgrade; nothing was changed", e.Table, e.Have, e.Kind, e.Known)
}

// MismatchError is a table that is not what it should be.
type MismatchError struct{ Table, Reason string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("table %s: %s; move its directory away, and a new table is begun; nothing was changed", e.Table, e.Reason)
}

var errNoTable = errors.New("no such table: it is not defined, and its directory does not exist")

// look opens the table as it is on the disk and changes nothing. The error
// wraps fs.ErrNotExist when there is none. The handle has no app.
func (s *Set) look(ctx context.Context, t *table) (*handle, error) {
	if t.dir == "" {
		return nil, fmt.Errorf("%w: %w", errNoTable, fs.ErrNotExist)
	}
	d, err := delta.OpenDir(t.dir)
	if err != nil {
		return nil, err
	}
	h := &handle{storage: d}
	if h.info, err = os.Stat(t.dir); err != nil {
		d.Close()
		return nil, err
	}
	h.delta, err = delta.OpenTable(ctx, d, delta.Options{Now: s.now})
	if errors.Is(err, delta.ErrNotDelta) {
		err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	if err == nil {
		err = s.recognise(t, h)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return h, nil
}

// recognise finds the kind of the table and whether we may write it.
func (s *Set) recognise(t *table, h *handle) error {
	props := h.delta.Properties()
	name, text := props[propKind], props[propVersion]
	if h.kind = t.def().Kind; h.kind == nil {
		h.kind = s.kinds[name]
	}
	version, err := strconv.Atoi(text)
	switch {
	case name == "" || err != nil:
		return &MismatchError{t.name, fmt.Sprintf("its directory holds a table that no gateway has written (property %s = %q, %s = %q)", propKind, name, propVersion, text)}
	case h.kind == nil:
		return &MismatchError{t.name, fmt.Sprintf("its rows are of kind %q, version %d, which this program does not know", name, version)}
	case name != h.kind.Name:
		return &MismatchError{t.name, fmt.Sprintf("its rows are of kind %q, version %d, and the configuration wants %q, version %d", name, version, h.kind.Name, h.kind.Version)}
	case version > h.kind.Version:
		return &NewerError{t.name, h.kind.Name, version, h.kind.Version}
	case !slices.Equal(h.delta.Partition(), h.kind.Partition):
		return &MismatchError{t.name, fmt.Sprintf("it is partitioned by %v and not %v", h.delta.Partition(), h.kind.Partition)}
	}
	if _, err := h.delta.Schema().With(h.kind.Schema); err != nil {
		return &MismatchError{t.name, fmt.Sprintf("its schema of version %d does not fit version %d of kind %s: %v", version, h.kind.Version, h.kind.Name, err)}
	}
	for i, at := range order(h.delta.Schema(), h.kind.Schema) {
		if f := h.delta.Schema()[i]; at < 0 && f.NotNull {
			return &MismatchError{t.name, fmt.Sprintf("somebody has given it the column %q, which must not be null and which this program does not know", f.Name)}
		}
	}
	return nil
}

// acquire opens the table, unless it is open. Release it.
func (s *Set) acquire(ctx context.Context, t *table) (*handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open != nil && !t.open.inPlace(t.dir) {
		t.closeHandle()
	}
	if t.open == nil || t.open.stale {
		if err := s.reopen(ctx, t); err != nil {
			return nil, err
		}
	}
	t.users++
	return t.open, nil
}

func (t *table) release(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users--
	t.used = at
}

// reopen opens the table and learns how far it is. t.mu is held.
func (s *Set) reopen(ctx context.Context, t *table) error {
	h := t.open
	var last uint64
	var err error
	if h != nil {
		if last, err = h.last(ctx); err != nil { // what it was may lie there again
			t.closeHandle()
			h = nil
		}
	}
	if h == nil {
		if h, err = s.openTable(ctx, t); err != nil {
			return err
		}
		if last, err = h.last(ctx); err != nil {
			h.storage.Close()
			return err
		}
	}
	s.mu.Lock()
	behind := last < t.committed
	s.mu.Unlock()
	t.open = h
	if behind || t.id != "" && t.id != h.delta.ID() {
		t.closeHandle()
		return errOlder
	}
	t.id, t.create, h.stale = h.delta.ID(), false, false
	s.mu.Lock()
	defer s.mu.Unlock()
	t.committed = last
	s.advance(t, last)
	return nil
}

// inPlace reports whether dir is still the directory that is held open: one
// that was moved away would take rows that nobody finds.
func (h *handle) inPlace(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && os.SameFile(info, h.info)
}

// seen reports whether the table was open at some time.
func (t *table) seen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.id != ""
}

// closeHandle closes the table. t.mu is held.
func (t *table) closeHandle() {
	if t.open != nil {
		t.open.storage.Close()
		t.open = nil
	}
}

// doubt has the next who opens the table see what it says of itself.
func (t *table) doubt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open != nil {
		t.open.stale = true
	}
}

// errOlder: rows that were in the table and that the ledger may not hold any
// more are not in what lies there now. To go on would hide that.
var errOlder = errors.New("its directory holds another table, or an older copy, than when it was opened")

// last is the sequence up to which the table has our rows.
func (h *handle) last(ctx context.Context) (uint64, error) {
	v, ok, err := h.delta.LastTxn(ctx, h.app)
	if err != nil || !ok || v < 0 {
		return 0, err
	}
	return uint64(v), nil
}

// openTable opens the table for writing, brings its columns up to date, and
// makes it if it may be made.
func (s *Set) openTable(ctx context.Context, t *table) (*handle, error) {
	h, err := s.look(ctx, t)
	if errors.Is(err, fs.ErrNotExist) && t.def().Kind != nil && t.create {
		h, err = s.makeTable(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	h.app = s.instance + "/" + h.delta.ID()
	_, err = h.delta.AddColumns(ctx, h.kind.Schema, map[string]string{propVersion: strconv.Itoa(h.kind.Version)})
	if err != nil {
		h.storage.Close()
		return nil, err
	}
	h.order = order(h.delta.Schema(), h.kind.Schema)
	return h, nil
}

func (s *Set) makeTable(ctx context.Context, t *table) (*handle, error) {
	if err := makePrivate(t.dir); err != nil {
		return nil, err
	}
	d, err := delta.OpenDir(t.dir)
	if err != nil {
		return nil, err
	}
	k := t.def().Kind
	_, err = delta.Create(ctx, d, delta.Definition{Name: t.name, Description: t.def().Comment,
		Schema: k.Schema, Partition: k.Partition, Properties: properties(k)}, delta.Options{Now: s.now})
	d.Close()
	switch {
	case err == nil:
		s.out.Info("table created", "table", t.name, "directory", t.dir)
	case !errors.Is(err, fs.ErrExist): // another gateway was faster
		return nil, err
	}
	return s.look(ctx, t)
}

// order says where each column of the table finds its value in a row of ours.
func order(have, ours delta.Schema) []int {
	var at []int
	same := len(have) == len(ours)
	for i, f := range have {
		j := slices.IndexFunc(ours, func(o delta.Field) bool { return o.Name == f.Name })
		at = append(at, j)
		same = same && i == j
	}
	if same {
		return nil
	}
	return at
}

// arranged is row as the table has its columns.
func (h *handle) arranged(row any) any {
	r, ok := row.(delta.Row)
	if !ok || h.order == nil || len(r) != len(h.kind.Schema) {
		return row
	}
	out := make(delta.Row, len(h.order))
	for i, j := range h.order {
		if j >= 0 {
			out[i] = r[j]
		}
	}
	return out
}

// gone reports whether the table's directory is not there.
func (t *table) gone() bool {
	_, err := os.Stat(t.dir)
	return errors.Is(err, fs.ErrNotExist)
}

// checkDefinitions says what is wrong with defs, and lists the kinds.
func checkDefinitions(root string, defs []Definition, more []*Kind) (map[string]*Kind, error) {
	kinds := map[string]*Kind{}
	add := func(k *Kind) error {
		if was := kinds[k.Name]; was != nil && was.Version != k.Version {
			return fmt.Errorf("tables: kind %q has the versions %d and %d", k.Name, was.Version, k.Version)
		}
		kinds[k.Name] = k
		return nil
	}
	seen := map[string]bool{}
	for _, d := range defs {
		if _, err := location(root, d.Name); err != nil {
			return nil, err
		}
		if d.Kind == nil || d.Kind.Decode == nil || d.Kind.Name == "" || seen[d.Name] {
			return nil, fmt.Errorf("table %s: it is defined twice or without a kind", d.Name)
		}
		if d.Retention != 0 && (d.Retention < 0 || d.Kind.TimeColumn == "") {
			return nil, fmt.Errorf("table %s: a retention of %v needs a time column and days above 0", d.Name, d.Retention)
		}
		seen[d.Name] = true
		if err := add(d.Kind); err != nil {
			return nil, err
		}
	}
	for _, k := range more {
		if err := add(k); err != nil {
			return nil, err
		}
	}
	return kinds, nil
}
