// Package catalog holds the tables under catalog.schema.name and is the one
// way to their content: every access goes through the View of a principal,
// which checks the principal's rights before it looks at anything, and hands
// the SQL engine exactly the files of the tables a statement may read.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"golang.org/x/sync/singleflight"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

const (
	// source is the name under which objects are announced to access.
	source = "catalog"
	// discoverWall is how long finding out a table's columns may take.
	discoverWall = 30 * time.Second
	// cachedColumns bounds the remembered columns, in columns.
	cachedColumns = 200_000
	// cachedFiles bounds the remembered Delta snapshots, in files.
	cachedFiles = 500_000
)

// Catalog is the content of one configuration. It is never changed; a reload
// makes a new one.
type Catalog struct {
	tables  map[Name]*table
	names   []string // sorted
	objects []access.Object
	acc     *access.Service
	eng     engine.Engine // nil when none is installed
	turns   *admission    // before every query of eng
	fresh   func(ctx context.Context, name string) error
	told    throttle // of what fresh said
	log     *slog.Logger

	columns   *ristretto.Cache[string, []engine.Column]
	snapshots *ristretto.Cache[string, content]
	flight    singleflight.Group
	ctx       context.Context // of work that several callers wait for; ends with Close
	stop      context.CancelFunc
	mu        sync.Mutex // orders begin and Close
	running   sync.WaitGroup
}

// Described is an engine together with what its plugin says of itself.
type Described struct {
	engine.Engine
	Manifest engine.Manifest
}

// New checks cfg, takes relative locations from dir, adds the tables that the
// gateway writes itself, and announces all objects to acc. A table of cfg with
// the name of one of own is an error. Without an engine (nil) names and rights work, and queries are
// refused as apierror.Unavailable. An engine that is Described lends its
// dialect to the objects. Close the Catalog.
func New(cfg Config, dir string, own Own, acc *access.Service, eng engine.Engine, log *slog.Logger) (*Catalog, error) {
	tables, err := cfg.tables(dir)
	if err != nil {
		return nil, err
	}
	if err := own.addTo(tables); err != nil {
		return nil, err
	}
	columns, err := ristretto.NewCache(&ristretto.Config[string, []engine.Column]{
		NumCounters: 100_000, MaxCost: cachedColumns, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("catalog: cache: %w", err)
	}
	snapshots, err := ristretto.NewCache(&ristretto.Config[string, content]{
		NumCounters: 100_000, MaxCost: cachedFiles, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		columns.Close()
		return nil, fmt.Errorf("catalog: cache: %w", err)
	}
	c := &Catalog{tables: tables, acc: acc, eng: eng, turns: newAdmission(engineStatements()), fresh: own.Fresh, log: log, columns: columns, snapshots: snapshots}
	c.ctx, c.stop = context.WithCancel(context.Background())
	for n := range tables {
		c.names = append(c.names, n.String())
	}
	slices.Sort(c.names)
	c.objects = objects(cfg, tables)
	if err := c.Announce(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Succeed takes over the queue in front of the engine from the Catalog before,
// so that what runs for old is counted. Call it before c is used.
func (c *Catalog) Succeed(old *Catalog) { c.turns = old.turns }

// Announce tells access about all objects, in the place of those of the
// Catalog before. New does it; a reload that fails later does it again with
// the old Catalog.
func (c *Catalog) Announce() error {
	if err := c.acc.SetObjects(source, c.objects); err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	return nil
}

// objects lists everything that rights can be granted on.
func objects(cfg Config, tables map[Name]*table) []access.Object {
	var out []access.Object
	for _, cn := range slices.Sorted(maps.Keys(cfg)) {
		parent := access.Securable{Kind: access.Catalog, Name: strings.ToLower(cn)}
		out = append(out, access.Object{Securable: parent})
		for _, sn := range slices.Sorted(maps.Keys(cfg[cn])) {
			out = append(out, access.Object{
				Securable: access.Securable{Kind: access.Schema, Name: parent.Name + "." + strings.ToLower(sn)},
				Parent:    parent, Owner: cfg[cn][sn].Owner,
			})
		}
	}
	for _, n := range slices.SortedFunc(maps.Keys(tables), func(a, b Name) int { return cmp.Compare(a.String(), b.String()) }) {
		out = append(out, access.Object{
			Securable: n.table(), Owner: tables[n].owner,
			Parent: access.Securable{Kind: access.Schema, Name: n.Catalog + "." + n.Schema},
		})
	}
	return out
}

func (n Name) table() access.Securable {
	return access.Securable{Kind: access.Table, Name: n.String()}
}

// Close ends what is under way and frees the caches.
func (c *Catalog) Close() error {
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	c.running.Wait()
	c.columns.Close()
	c.snapshots.Close()
	return nil
}

// Roots are the locations of all tables, absolute and sorted: what an engine
// process must be able to read.
func (c *Catalog) Roots() []string {
	var out []string
	for _, t := range c.tables {
		out = append(out, t.location)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Problems looks at every location and returns a sentence for the operator
// about each table that cannot be read now.
func (c *Catalog) Problems(ctx context.Context) []string {
	var out []string
	for _, name := range c.names {
		n, _ := ParseName(name)
		switch got, err := c.content(ctx, c.tables[n]); {
		case err != nil:
			out = append(out, fmt.Sprintf("table %s: %v", name, errors.Unwrap(err)))
		case len(got.files) == 0 && got.columns == nil:
			out = append(out, fmt.Sprintf("table %s: %v of format %s in %s", name, errNoFiles, c.tables[n].format, c.tables[n].location))
		}
	}
	return out
}

// As is the catalog as p may see it.
func (c *Catalog) As(p *access.Principal) View { return View{c, p} }

// content finds out what t consists of now. The error is one for the caller.
func (c *Catalog) content(ctx context.Context, t *table) (content, error) {
	var (
		got content
		err error
	)
	if t.format == Delta {
		got, err = c.snapshot(ctx, t)
	} else {
		got, err = t.list(ctx)
	}
	switch {
	case err == nil:
		return got, nil
	case ctx.Err() != nil:
		return content{}, apierror.Wrap(apierror.Canceled, ctx.Err(), "The request was canceled.")
	case errors.Is(err, delta.ErrUnsupported):
		return content{}, apierror.Wrap(apierror.Unsupported, err, "Table %s uses features of Delta Lake that this gateway does not read.", t.name)
	case errors.Is(err, fs.ErrNotExist):
		return content{}, apierror.Wrap(apierror.Unavailable, fmt.Errorf("%w: %w", ErrUnreadable, err), "The files of table %s are missing. An administrator has to look at its location.", t.name)
	default:
		return content{}, apierror.Wrap(apierror.Unavailable, fmt.Errorf("%w: %w", ErrUnreadable, err), "The files of table %s cannot be read. The gateway's log tells an administrator why.", t.name)
	}
}

// snapshot reads the log of a Delta table, once a version.
func (c *Catalog) snapshot(ctx context.Context, t *table) (content, error) {
	key, err := t.deltaKey()
	if err != nil {
		return content{}, err
	}
	if got, ok := c.snapshots.Get(key); ok {
		return got, unmoved(ctx, got.files)
	}
	return shared(ctx, c, "delta "+key, func(ctx context.Context) (content, error) {
		s, err := delta.Open(ctx, t.location)
		if err != nil {
			return content{}, err
		}
		got := fromDelta(s)
		c.snapshots.Set(key, got, int64(1+len(got.files)))
		c.snapshots.Wait() // so that whoever asks next finds it
		return got, nil
	})
}

// describe finds the columns of t at the version of got, once a version: it
// costs an engine start.
func (c *Catalog) describe(ctx context.Context, t *table, got content) ([]engine.Column, error) {
	if got.columns != nil {
		return t.commented(got.columns), nil
	}
	if len(got.files) == 0 {
		return nil, apierror.Wrap(apierror.Unavailable, errNoFiles, "Table %s has no files yet, so its columns are not known.", t.name)
	}
	if c.eng == nil {
		return nil, noEngine()
	}
	key := t.name.String() + "@" + got.version
	if cols, ok := c.columns.Get(key); ok {
		return cols, nil
	}
	return shared(ctx, c, "columns "+key, func(ctx context.Context) ([]engine.Column, error) {
		// Under its own name, because the engine's complaints quote it.
		q := engine.Query{SQL: "SELECT * FROM " + t.name.quoted() + " LIMIT 0", Relations: []engine.Relation{t.relation(t.name.String(), got)}, MaxRows: 1, Wall: discoverWall}
		leave, err := c.turns.enter(ctx, describer, true)
		if err != nil {
			return nil, err
		}
		defer leave()
		var cols []engine.Column
		for b, err := range c.eng.Query(ctx, q) {
			if err != nil {
				return nil, c.unreadable(t, err)
			}
			if cols == nil {
				cols = b.Columns
			}
		}
		cols = t.commented(cols)
		c.columns.Set(key, cols, int64(1+len(cols)))
		c.columns.Wait()
		return cols, nil
	})
}

// ErrUnreadable is inside the errors about a table whose files are missing,
// damaged, or not where they may be. Nothing but an administrator mends it.
var ErrUnreadable = errors.New("the table's files cannot be read")

// unreadable is what the caller sees of an engine's complaint about the files
// themselves: it may quote a path.
func (c *Catalog) unreadable(t *table, err error) error {
	code := apierror.CodeOf(err)
	if code == apierror.Invalid || code == apierror.Unavailable {
		c.log.Warn("the columns of a table cannot be found", "table", t.name.String(), "location", t.location, "error", err)
	}
	if code == apierror.Invalid {
		return apierror.Wrap(apierror.Unavailable, fmt.Errorf("%w: %w", ErrUnreadable, err), "The files of table %s cannot be read as %s. The gateway's log tells an administrator why.", t.name, t.format)
	}
	return err
}

func noEngine() error {
	return apierror.New(apierror.Unavailable, "This gateway has no SQL engine: no engine plugin is installed. `make build` with a C++ compiler makes one.")
}

// commented adds the comments of the configuration.
func (t *table) commented(cols []engine.Column) []engine.Column {
	out := slices.Clone(cols)
	for i := range out {
		if text, ok := t.columnComments[strings.ToLower(out[i].Name)]; ok {
			out[i].Comment = text
		}
	}
	return out
}

// shared runs f once for all who ask for key at the same time. It goes on when
// the caller that started it goes away, because others may wait, and ends with
// the Catalog, whose Close waits for it.
func shared[T any](ctx context.Context, c *Catalog, key string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if !c.begin() {
		return zero, apierror.New(apierror.Unavailable, "The gateway is shutting down.")
	}
	ch := c.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(c.ctx, discoverWall+5*time.Second)
		defer cancel()
		return f(ctx)
	})
	select {
	case <-ctx.Done():
		go func() {
			defer c.running.Done()
			<-ch
		}()
		return zero, apierror.Wrap(apierror.Canceled, ctx.Err(), "The request was canceled.")
	case r := <-ch:
		c.running.Done()
		if r.Err != nil {
			return zero, r.Err
		}
		return r.Val.(T), nil
	}
}

// begin notes work that Close has to wait for; false after Close.
func (c *Catalog) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.running.Add(1)
	return true
}
