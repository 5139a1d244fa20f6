package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// Own is the tables that the gateway writes itself. They need no entry in the
// configuration, and whether somebody may read them is decided as for any
// other table.
type Own struct {
	Tables []OwnTable
	// Fresh puts the rows of a table that were written before the call, and
	// are not in its files yet, into its files. Nil does nothing. It is called
	// before each look at the files, for callers who may see them. When it
	// fails, the rows that are in the files are shown.
	Fresh func(ctx context.Context, name string) error
}

// OwnTable is a Delta table that the gateway writes.
type OwnTable struct {
	Name     string // catalog.schema.table
	Location string // its directory, absolute
	Comment  string // for people and for the model
}

const (
	// freshWall is how long a query waits for rows that are not in the files.
	freshWall = 10 * time.Second
	// tellEvery is how often the log says that Fresh fails.
	tellEvery = time.Minute
)

// addTo adds the gateway's tables to those of the configuration.
func (o Own) addTo(tables map[Name]*table) error {
	var errs []error
	for _, t := range o.Tables {
		n, err := ParseName(t.Name)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("catalog: table of the gateway: %w", err))
			continue
		case !filepath.IsAbs(t.Location):
			errs = append(errs, fmt.Errorf("catalog: table %s of the gateway: its location %q is not absolute", n, t.Location))
			continue
		}
		if other := tables[n]; other != nil && other.own {
			errs = append(errs, fmt.Errorf("catalog: the gateway writes two tables called %s", n))
			continue
		} else if other != nil {
			errs = append(errs, fmt.Errorf("catalog.%s.%s.tables.%s: the gateway itself writes a table of this name; choose another name for one of the two", n.Catalog, n.Schema, n.Object))
			continue
		}
		tables[n] = &table{name: n, location: filepath.Clean(t.Location), format: Delta, comment: t.Comment, own: true}
	}
	return errors.Join(errs...)
}

// freshen has the rows of t that were written until now put into its files.
func (c *Catalog) freshen(ctx context.Context, t *table) {
	if !t.own || c.fresh == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, freshWall)
	defer cancel()
	if err := c.fresh(ctx, t.name.String()); err != nil && !errors.Is(ctx.Err(), context.Canceled) && c.told.again(time.Now()) {
		c.log.Warn("a table is shown without its newest rows", "table", t.name.String(), "error", err)
	}
}

// throttle lets one message through in each period.
type throttle struct {
	mu   sync.Mutex
	last time.Time
}

func (q *throttle) again(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.last.IsZero() && now.Sub(q.last) < tellEvery {
		return false
	}
	q.last = now
	return true
}
