package delta

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// DeleteBefore deletes the rows whose value of a date or timestamp column is
// before cutoff; of a date column, before the cutoff's day in UTC. Null is
// never before. column is a top-level column, or a field of a struct as
// "a.b". Files whose statistics say that all their rows go are taken out
// whole, those with no such row stay, and the others are written anew without
// it. It is one commit. The error wraps ErrConflict when somebody else removed
// one of the files; nothing is changed then. A table with delta.appendOnly
// refuses. The rows' files are deleted by a later Vacuum.
func (t *Table) DeleteBefore(ctx context.Context, column string, cutoff time.Time) (Commit, error) {
	if err := t.Refresh(ctx); err != nil {
		return Commit{}, err
	}
	t.mu.Lock()
	f, version := t.form, t.version
	live := slices.Collect(maps.Values(t.state.live))
	t.mu.Unlock()
	fail := func(err error) (Commit, error) {
		return Commit{}, fmt.Errorf("delta: delete before %s: %w", cutoff.UTC().Format(time.RFC3339), err)
	}
	if f.props.appendOnly {
		return fail(fmt.Errorf("the table is append-only (%s)", propAppendOnly))
	}
	c, err := newCondition(f, column, cutoff)
	if err != nil {
		return fail(err)
	}
	p := &plan{form: f, operation: "DELETE", params: map[string]string{"predicate": jsonText([]string{c.text})}}
	slices.SortFunc(live, func(a, b *add) int { return strings.Compare(a.Path, b.Path) })
	for _, a := range live {
		switch c.decide(a) {
		case dropFile:
			p.removes = append(p.removes, a)
		case readFile:
			to, changed, err := t.rewrite(ctx, f, a, c)
			if err != nil {
				t.discard(ctx, p.adds, ErrConflict)
				return fail(err)
			}
			if changed {
				p.removes = append(p.removes, a)
			}
			if to != nil {
				p.adds = append(p.adds, to)
			}
		}
	}
	if len(p.removes) == 0 {
		return Commit{Version: version}, nil
	}
	p.metrics = map[string]string{"numRemovedFiles": strconv.Itoa(len(p.removes)), "numAddedFiles": strconv.Itoa(len(p.adds))}
	done, err := t.commit(ctx, p)
	if err != nil {
		t.discard(ctx, p.adds, err)
	}
	return done, err
}

// rewrite writes a without the rows that go. changed is false when none does;
// to is nil when all do.
func (t *Table) rewrite(ctx context.Context, f *form, a *add, c *condition) (to *add, changed bool, err error) {
	var d *dataFile // begun at the first row that stays
	read, kept, err := copyRows(ctx, t.storage, f.layout, a, func() *dataFile {
		if d == nil {
			d = newDataFile(ctx, t.storage, f, newFileName(f.partition, a.PartitionValues), a.PartitionValues)
		}
		return d
	}, c.keeps)
	if d != nil && (err != nil || read == kept) {
		d.abort(errAborted)
	}
	if err != nil || read == kept || d == nil {
		return nil, err == nil && read != kept, err
	}
	to, err = d.finish()
	return to, true, err
}

type decision int

const (
	keepFile decision = iota
	dropFile
	readFile
)

// condition says which rows are before the cutoff.
type condition struct {
	text      string // in SQL
	partition string // the partition column, if it is one
	path      []string
	leaf      *leaf
	cutoff    int64 // in the column's unit: days or microseconds since 1970
	micros    int64 // the same in microseconds
}

func newCondition(f *form, name string, cutoff time.Time) (*condition, error) {
	c := &condition{path: strings.Split(name, "."), micros: cutoff.UnixMicro()}
	var typ Type
	if i := slices.IndexFunc(f.slots, func(s slot) bool { return s.name == name && s.column == nil }); i >= 0 {
		c.partition, typ = name, f.slots[i].typ
	} else {
		columns := f.layout.columns
		for _, part := range c.path {
			i := slices.IndexFunc(columns, func(c *column) bool { return c.name == part })
			if i < 0 {
				return nil, fmt.Errorf("column %q does not exist", name)
			}
			c.leaf, typ = columns[i].leaf, columns[i].typ
			columns = columns[i].children
			if _, ok := typ.(Struct); !ok {
				columns = nil // the parts of lists and maps have no one value
			}
		}
	}
	switch typ {
	case Date:
		c.micros = cutoff.UTC().Truncate(24 * time.Hour).UnixMicro()
		c.cutoff = c.micros / 86400e6
		c.text = fmt.Sprintf("%s < DATE'%s'", name, cutoff.UTC().Format(time.DateOnly))
	case Timestamp:
		c.cutoff = c.micros
		c.text = fmt.Sprintf("%s < TIMESTAMP'%s'", name, cutoff.UTC().Format("2006-01-02 15:04:05.999999Z"))
	default:
		return nil, fmt.Errorf("column %q is of type %s; a date or timestamp is needed", name, typeName(typ))
	}
	return c, nil
}

// decide says from the log alone what becomes of a file.
func (c *condition) decide(a *add) decision {
	if c.partition != "" {
		if v := a.PartitionValues[c.partition]; v != nil && *v != "" {
			if day, err := time.Parse(time.DateOnly, *v); err == nil && day.UnixMicro() < c.micros {
				return dropFile
			}
		}
		return keepFile
	}
	s := parseStats(a.Stats)
	if low, ok := timeBound(s.MinValues, c.path, false); ok && low >= c.micros {
		return keepFile
	}
	if high, ok := timeBound(s.MaxValues, c.path, true); ok && high < c.micros && noNulls(s.NullCount, c.path) {
		return dropFile
	}
	return readFile
}

// noNulls reports whether the statistics say that a column has no null.
func noNulls(counts map[string]any, path []string) bool {
	for _, part := range path[:len(path)-1] {
		counts, _ = counts[part].(map[string]any)
	}
	n, ok := counts[path[len(path)-1]].(json.Number)
	return ok && n.String() == "0"
}

// keeps reports whether a row stays; values are those of the row alone.
func (c *condition) keeps(values [][]parquet.Value) bool {
	v := values[c.leaf.index][0]
	return v.IsNull() || integer(v) >= c.cutoff
}
