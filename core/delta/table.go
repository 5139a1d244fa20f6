package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Definition is what a new table is made of.
type Definition struct {
	ID          string            // "" for a random UUID
	Name        string            // may be ""
	Description string            // may be ""
	Schema      Schema            // at least one column that is no partition column
	Partition   []string          // columns of type string, date, long, integer, short or byte
	Properties  map[string]string // TBLPROPERTIES; those of "delta." must be known
}

// Options are settings of an open table.
type Options struct {
	// Engine goes into each commit as engineInfo. "" means "sallyport".
	Engine string
	// Attempts is how often a commit is tried when others commit at the same
	// time. 0 means 100.
	Attempts int
	// Now is the clock. nil means time.Now. Times that go into the log are
	// never earlier than those already there, so a clock that jumps back does
	// not make a file look long removed.
	Now func() time.Time
}

// ErrConflict wraps every refusal to commit because somebody else's commit
// came first and changed what this one was made from: the table's metadata or
// protocol, or a file that was read. The table is up to date afterwards;
// begin again.
var ErrConflict = errors.New("conflict with another commit")

// ErrBusy says that a commit was overtaken in every attempt.
var ErrBusy = errors.New("other writers were faster in every attempt")

// Table is a table that is open for writing. Its methods may be called side by
// side. Several processes may write one table; each commit is atomic.
//
// The statistics of all live files are held in memory, about 2 KB for each.
type Table struct {
	storage Storage
	options Options

	mu      sync.Mutex
	version int64
	state   *state
	form    *form
	refused error // why the version cannot be written to
}

// form is what follows from the metadata: how rows become files.
type form struct {
	metadata  *metadata
	schema    Schema
	partition []string
	props     properties
	layout    *layout
	plans     *plans
	slots     []slot
}

// slot is a column of the schema in the form: one in the files, or the
// partition column of that number.
type slot struct {
	name      string
	column    *column // nil for a partition column
	typ       Type
	notNull   bool
	partition int
}

func newForm(m *metadata) (*form, error) {
	schema, err := ParseSchema(m.SchemaString)
	if err == nil {
		err = schema.check()
	}
	if err != nil {
		return nil, err
	}
	f := &form{metadata: m, schema: schema, partition: m.PartitionColumns, plans: &plans{}}
	if f.props, err = parseProperties(m.Configuration); err != nil {
		return nil, err
	}
	for _, name := range f.partition {
		i := slices.IndexFunc(schema, func(c Field) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("partition column %q is not in the schema", name)
		}
		if !slices.Contains([]Type{String, Date, Long, Integer, Short, Byte}, schema[i].Type) {
			return nil, fmt.Errorf("%w: partition column %q of type %s; string, date and integers can be written", ErrUnsupported, name, typeName(schema[i].Type))
		}
	}
	if len(f.partition) == len(schema) {
		return nil, errors.New("a table needs a column that is no partition column")
	}
	f.layout = newLayout(schema, func(name string) bool { return slices.Contains(f.partition, name) })
	next := 0
	for _, c := range schema {
		s := slot{name: c.Name, typ: c.Type, notNull: c.NotNull, partition: slices.Index(f.partition, c.Name)}
		if s.partition < 0 {
			s.column = f.layout.columns[next]
			next++
		}
		f.slots = append(f.slots, s)
	}
	return f, nil
}

// Create makes a table: version 0 of its log. The error wraps fs.ErrExist when
// there is a table already, and says what is wrong with a bad definition,
// which changes nothing.
func Create(ctx context.Context, s Storage, d Definition, o Options) (*Table, error) {
	if err := d.Schema.check(); err != nil {
		return nil, fmt.Errorf("delta: create: %w", err)
	}
	if err := checkNew(d.Properties); err != nil {
		return nil, fmt.Errorf("delta: create: %w", err)
	}
	m := &metadata{ID: d.ID, Name: d.Name, Description: d.Description, Format: fileFormat{"parquet", map[string]string{}},
		SchemaString: d.Schema.String(), PartitionColumns: append([]string{}, d.Partition...), Configuration: map[string]string{}}
	maps.Copy(m.Configuration, d.Properties)
	if m.ID == "" {
		m.ID = uuid.NewString()
	}
	f, err := newForm(m)
	if err != nil {
		return nil, fmt.Errorf("delta: create: %w", err)
	}
	t := newTable(s, o)
	t.version, t.form, t.state = -1, f, newWriterState()
	m.CreatedTime = t.stamp()
	actions := []action{t.info("CREATE TABLE", map[string]string{"partitionBy": jsonText(m.PartitionColumns), "properties": jsonText(m.Configuration)}, false, nil, uuid.NewString()),
		{Protocol: &protocol{MinReaderVersion: readerVersion, MinWriterVersion: writerVersion}}, {MetaData: m}}
	data, err := encodeActions(actions)
	if err != nil {
		return nil, fmt.Errorf("delta: create: %w", err)
	}
	if l, err := listLog(ctx, s); err == nil { // also a table whose version 0 was cleaned away
		return nil, fmt.Errorf("delta: create: a table of version %d is there already: %w", l.latest, fs.ErrExist)
	} else if !errors.Is(err, ErrNotDelta) {
		return nil, err
	}
	if m, ok := s.(interface{ makeLog() error }); ok {
		if err := m.makeLog(); err != nil {
			return nil, fmt.Errorf("delta: create: %w", err)
		}
	}
	if err := s.PutIfAbsent(ctx, path.Join(logDir, commitFile(0)), data); err != nil {
		return nil, fmt.Errorf("delta: create: %w", err)
	}
	for _, a := range actions {
		t.state.apply(a)
	}
	t.version = 0
	return t, nil
}

// OpenTable opens a table for writing. The error is ErrNotDelta when there is
// none, and wraps ErrUnsupported when it asks a writer for more than reader
// version 1 and writer version 2, naming what.
func OpenTable(ctx context.Context, s Storage, o Options) (*Table, error) {
	t := newTable(s, o)
	t.version = -1
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.refresh(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

func newTable(s Storage, o Options) *Table {
	if o.Engine == "" {
		o.Engine = "sallyport"
	}
	if o.Attempts == 0 {
		o.Attempts = 100
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Table{storage: s, options: o}
}

// refresh brings the state to the newest version.
func (t *Table) refresh(ctx context.Context) error {
	l, err := listLog(ctx, t.storage)
	if err != nil {
		return err
	}
	switch {
	case l.latest == t.version:
		return t.refused
	case l.latest < t.version:
		return fmt.Errorf("delta: the log ends at version %d and was at %d before: the table was replaced; open it again", l.latest, t.version)
	}
	st, next := t.state, t.version+1
	for v := next; v <= l.latest; v++ {
		if !l.commits[v] {
			st = nil // cleaned away: only a checkpoint leads on
		}
	}
	if st == nil || next == 0 {
		st, next = newWriterState(), l.latest+1
		if err := st.load(ctx, t.storage, l); err != nil {
			return err
		}
	}
	for v := next; v <= l.latest; v++ {
		if _, err := st.loadCommit(ctx, t.storage, v); err != nil {
			return err
		}
		t.version = v // a later one that fails leaves the state at this one
	}
	t.state, t.version = st, l.latest
	t.refused = t.accept()
	return t.refused
}

// accept takes the state's metadata, or says why it cannot be written to.
func (t *Table) accept() error {
	st := t.state
	if st.protocol == nil || st.metadata == nil {
		return errors.New("delta: the log holds no protocol or no metaData action")
	}
	if err := st.protocol.checkWrite(st.metadata); err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	for key := range st.live {
		if key.dv != "" {
			return fmt.Errorf("delta: %w: file %q has a deletion vector", ErrUnsupported, key.path)
		}
	}
	if t.form == nil || !sameMetadata(t.form.metadata, st.metadata) {
		f, err := newForm(st.metadata)
		if err != nil {
			return fmt.Errorf("delta: %w", err)
		}
		t.form = f
	}
	return nil
}

// sameMetadata reports whether rows made for one may be added under the other.
func sameMetadata(a, b *metadata) bool {
	return a == b || a.ID == b.ID && a.SchemaString == b.SchemaString && slices.Equal(a.PartitionColumns, b.PartitionColumns) &&
		(len(a.Configuration) == 0 && len(b.Configuration) == 0 || reflect.DeepEqual(a.Configuration, b.Configuration))
}

// stamp is the time for the log in ms since 1970: now, or the latest time the
// log speaks of.
func (t *Table) stamp() int64 { return max(t.options.Now().UnixMilli(), t.state.clock) }

// Refresh reads what others have committed.
func (t *Table) Refresh(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refresh(ctx)
}

// Version is the newest version known: that of the last Refresh or commit.
func (t *Table) Version() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.version
}

// ID is the table's identifier, kept for its life.
func (t *Table) ID() string { return t.current().metadata.ID }

// Schema is the table's columns. Do not change it.
func (t *Table) Schema() Schema { return t.current().schema }

// Partition is the names of the partition columns.
func (t *Table) Partition() []string { return slices.Clone(t.current().partition) }

// Properties are the table's TBLPROPERTIES.
func (t *Table) Properties() map[string]string { return maps.Clone(t.current().metadata.Configuration) }

// Files is how many live files the table has, and their bytes.
func (t *Table) Files() (n int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.state.live {
		bytes += a.Size
	}
	return len(t.state.live), bytes
}

// TableStats is what a table holds at its newest known version.
type TableStats struct {
	Version int64
	Files   int
	Bytes   int64
	Rows    int64     // of the files whose statistics count them
	Changed time.Time // of the newest commit, by the clock of who made it
}

// Stats says what the table holds.
func (t *Table) Stats() TableStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := TableStats{Version: t.version, Files: len(t.state.live), Changed: time.UnixMilli(t.state.clock)}
	for _, a := range t.state.live {
		s.Bytes += a.Size
		if n := parseStats(a.Stats).NumRecords; n != nil {
			s.Rows += *n
		}
	}
	return s
}

func (t *Table) current() *form {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.form
}

// LastTxn is the version that the application has last written with a Txn,
// after a Refresh; ok is false when it never has. Checkpoints keep it, so it
// outlives the log's cleaning.
func (t *Table) LastTxn(ctx context.Context, appID string) (version int64, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.refresh(ctx); err != nil {
		return 0, false, err
	}
	x := t.state.txns[appID]
	if x == nil {
		return 0, false, nil
	}
	return x.Version, true, nil
}
