package toolset

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/sandbox"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Defaults of Code.
const (
	defaultTableBytes = 64 << 20
	defaultImageBytes = 256 << 20
)

// keptFor is how long a copy of a table is kept that nobody asks for.
const keptFor = 15 * time.Minute

// copyWall is how long reading a table for a copy may take.
const copyWall = time.Minute

// image is a copy of a table for programs. Its files are closed when nobody
// uses it and the cache has let it go.
type image struct {
	table sandbox.Table
	users atomic.Int64 // sessions, and the cache
}

// enter adds a user, unless there is none any more.
func (im *image) enter() bool {
	for {
		n := im.users.Load()
		if n == 0 {
			return false
		}
		if im.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (im *image) leave() {
	if im.users.Add(-1) == 0 {
		im.table.Close()
	}
}

func release(images []*image) {
	for _, im := range images {
		im.leave()
	}
}

// cost is how many bytes an image takes.
func (im *image) cost() int64 {
	n := int64(4 << 10)
	if info, err := im.table.Database.Stat(); err == nil {
		n += info.Size()
	}
	if info, err := im.table.CSV.Stat(); err == nil {
		n += info.Size()
	}
	return n
}

// imageCache keeps images by table and version. All who may SELECT a table see
// the same rows of it, so that whose rights they were read with does not matter;
// that is asked anew each time an image is used.
type imageCache struct {
	kept *ristretto.Cache[string, *image]

	mu    sync.Mutex
	under map[string]chan struct{} // being made; closed when it is done
}

func newImageCache(bytes int64) (*imageCache, error) {
	kept, err := ristretto.NewCache(&ristretto.Config[string, *image]{
		NumCounters: 10_000,
		MaxCost:     cmp.Or(bytes, defaultImageBytes),
		BufferItems: 64,
		OnExit: func(im *image) {
			if im != nil {
				im.leave()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return &imageCache{kept: kept, under: map[string]chan struct{}{}}, nil
}

// take gives the image of key, which build makes if nobody else does at the
// moment. keep says whether it may be used again. The caller leaves it.
func (c *imageCache) take(ctx context.Context, key string, build func() (im *image, keep bool, err error)) (*image, error) {
	for {
		if im, ok := c.kept.Get(key); ok && im.enter() {
			return im, nil
		}
		c.mu.Lock()
		wait, ok := c.under[key]
		if !ok {
			c.under[key] = make(chan struct{})
		}
		c.mu.Unlock()
		if !ok {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer func() {
		c.mu.Lock()
		close(c.under[key])
		delete(c.under, key)
		c.mu.Unlock()
	}()
	im, keep, err := build()
	if err != nil {
		return nil, err
	}
	im.users.Store(1)
	if keep {
		im.users.Add(1)
		if c.kept.SetWithTTL(key, im, im.cost(), keptFor) {
			c.kept.Wait() // so that those who wait find it
		} else {
			im.leave()
		}
	}
	return im, nil
}

// What programs see of the declared tables: names of so many bytes, since they
// are those of files, and so many tables, since SQLite attaches each.
const (
	maxProgramName   = 240
	maxProgramTables = 100
)

// programTables are the declared tables that programs see, and a sentence for
// each of the others.
func (s *Set) programTables() (names, notes []string) {
	for _, name := range s.tables {
		switch {
		case len(name) > maxProgramName:
			notes = append(notes, fmt.Sprintf("The table %s is not here: its full name has %d bytes, and programs see tables with names of up to %d.", shorten(name), len(name), maxProgramName))
		case len(names) == maxProgramTables:
			notes = append(notes, fmt.Sprintf("The table %s is not here: programs see the first %d tables of a request.", shorten(name), maxProgramTables))
		default:
			names = append(names, name)
		}
	}
	return names, notes
}

// mostNotes is how many sentences about tables the model reads.
const mostNotes = 10

func fewNotes(notes []string) []string {
	if len(notes) <= mostNotes {
		return notes
	}
	return append(notes[:mostNotes:mostNotes], fmt.Sprintf("%d more tables are not here.", len(notes)-mostNotes))
}

// images are copies of the declared tables, and a sentence for each that cannot
// be read. The caller leaves them.
func (s *Set) images(ctx context.Context, box *sandbox.Sandbox) (images []*image, notes []string, err error) {
	names, notes := s.programTables()
	for _, name := range names {
		im, err := s.image(ctx, box, name)
		switch {
		case err == nil:
			images = append(images, im)
		case ctx.Err() != nil:
			release(images)
			return nil, nil, context.Cause(ctx)
		default:
			s.toolset.log.Warn("table cannot be given to programs", "table", name, "error", err)
			notes = append(notes, fmt.Sprintf("The table %s is not here: %s", name, tableError(err).Message))
		}
	}
	return images, fewNotes(notes), nil
}

// tableError is why a table is not there, in words for the model.
func tableError(err error) *apierror.Error {
	if e := apierror.From(err); e.Code != apierror.Internal {
		return e
	}
	return apierror.Wrap(apierror.Internal, err, "it could not be copied.")
}

// image is the copy of one table, as it is now.
func (s *Set) image(ctx context.Context, box *sandbox.Sandbox, name string) (*image, error) {
	o, err := s.readable(ctx, name)
	if err != nil {
		return nil, err
	}
	limit := cmp.Or(s.toolset.deps.Code.TableBytes, defaultTableBytes)
	build := func() (*image, bool, error) {
		cols := make([]sandbox.Column, len(o.Columns))
		for i, c := range o.Columns {
			cols[i] = sandbox.Column{Name: c.Name, Type: c.Type}
		}
		table, err := box.Image(ctx, name, cols, s.rows(ctx, name), limit)
		if err != nil {
			return nil, false, err
		}
		table.Version = o.Version
		// Rows that came while it was read belong to another version.
		after, err := s.readable(ctx, name)
		keep := err == nil && o.Version != "" && after.Version == o.Version
		return &image{table: table}, keep, nil
	}
	if o.Version == "" {
		im, _, err := build()
		if err != nil {
			return nil, err
		}
		im.users.Store(1)
		return im, nil
	}
	return s.toolset.copies.take(ctx, fmt.Sprintf("%q %q %d", name, o.Version, limit), build)
}

// readable describes a table that the caller may SELECT at this moment.
func (s *Set) readable(ctx context.Context, name string) (tool.Object, error) {
	if err := s.view.Check(access.Table, name, access.Select.String()); err != nil {
		return tool.Object{}, err
	}
	return s.view.Object(ctx, access.Table, name)
}

// rows reads a whole table with the caller's rights.
func (s *Set) rows(ctx context.Context, name string) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		q := catalog.Query{SQL: "SELECT * FROM " + quoted(name), Tables: []string{name}, MaxRows: math.MaxInt32, MaxBytes: math.MaxInt64, Wall: copyWall}
		for b, err := range s.view.Query(ctx, q) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, raw := range b.Rows {
				row, err := values(raw)
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

// values reads a row. Numbers keep their digits.
func values(raw json.RawMessage) ([]any, error) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var row []any
	if err := d.Decode(&row); err != nil {
		return nil, fmt.Errorf("row: %w", err)
	}
	return row, nil
}

// quoted is a name of three parts as SQL has it.
func quoted(name string) string {
	parts := strings.SplitN(name, ".", 3)
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}
