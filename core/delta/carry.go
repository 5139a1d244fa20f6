package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// errShape says that a file of another writer lies in a way this package
// cannot carry over. Readers may still read it, so it is left as it is.
var errShape = errors.New("the file's columns cannot be carried over")

// carrier brings the rows of a file, which another writer or an older schema
// may have shaped, into the layout of the table.
type carrier struct {
	sources [][]carried // by leaf of the file
	absent  []*leaf     // leaves of the table that are null in every row
}

// carried is a leaf of the table that gets its values from a leaf of the file.
type carried struct {
	to      *leaf
	levels  []int // the definition level for each of the file's
	convert func(parquet.Value) (parquet.Value, error)

	// For a field that the file's struct lacks: where its struct is present is
	// read off another field of it. within is the level of the struct.
	missing bool
	within  int
	rep     int // deeper repetitions belong to the other field alone
}

// newCarrier matches columns by name, and lists and maps by their structure.
func newCarrier(l *layout, file parquet.Node) (*carrier, error) {
	c := &carrier{}
	index := 0
	type source struct {
		node  parquet.Node
		index int
	}
	roots := map[string]source{}
	for _, f := range file.Fields() {
		roots[f.Name()] = source{f, index}
		index += leafCount(f)
	}
	c.sources = make([][]carried, index)
	for _, col := range l.columns {
		s, ok := roots[col.name]
		if !ok {
			c.absent = append(c.absent, col.leaves...)
			continue
		}
		if err := c.match(col, s.node, s.index, []int{0}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func leafCount(n parquet.Node) int {
	if n.Leaf() {
		return 1
	}
	sum := 0
	for _, f := range n.Fields() {
		sum += leafCount(f)
	}
	return sum
}

// present adds what the presence of a value at the table's level def means in
// the file: a level of its own if it is optional there, else that of what is
// around it.
func present(levels []int, n parquet.Node, def int) []int {
	levels = slices.Clone(levels)
	if n.Required() {
		levels[len(levels)-1] = def
		return levels
	}
	return append(levels, def)
}

// match connects the column c with the file's node n, whose first leaf is at
// index; levels are the table's definition levels for those of the file, up to
// what n lies in.
func (c *carrier) match(col *column, n parquet.Node, index int, levels []int) error {
	shape := func(why string) error { return fmt.Errorf("%w: column %q: %s", errShape, col.path, why) }
	if n.Repeated() {
		return shape("it is repeated")
	}
	levels = present(levels, n, col.def)
	switch t := col.typ.(type) {
	case Struct:
		if n.Leaf() {
			return shape("it is no group")
		}
		return c.matchFields(col, n, index, levels)
	case Array:
		if n.Leaf() || len(n.Fields()) != 1 || !n.Fields()[0].Repeated() {
			return shape("it is no list")
		}
		repeated := parquet.Node(n.Fields()[0])
		levels = append(slices.Clone(levels), col.def+1)
		if !repeated.Leaf() && len(repeated.Fields()) == 1 && repeated.Fields()[0].Name() != "array" {
			return c.match(col.children[0], repeated.Fields()[0], index, levels)
		}
		return shape("it is a list of the old form")
	case Map:
		if n.Leaf() || len(n.Fields()) != 1 || !n.Fields()[0].Repeated() || len(n.Fields()[0].Fields()) != 2 {
			return shape("it is no map")
		}
		kv := n.Fields()[0].Fields()
		levels = append(slices.Clone(levels), col.def+1)
		if err := c.match(col.children[0], kv[0], index, levels); err != nil {
			return err
		}
		return c.match(col.children[1], kv[1], index+leafCount(kv[0]), levels)
	default:
		if !n.Leaf() {
			return shape("it is a group")
		}
		convert, err := conversion(t, n)
		if err != nil {
			return shape(err.Error())
		}
		c.sources[index] = append(c.sources[index], carried{to: col.leaf, levels: levels, convert: convert})
		return nil
	}
}

func (c *carrier) matchFields(col *column, n parquet.Node, index int, levels []int) error {
	found := map[string]bool{}
	from := index
	for _, f := range n.Fields() {
		for _, child := range col.children {
			if child.name == f.Name() {
				found[child.name] = true
				if err := c.match(child, f, from, levels); err != nil {
					return err
				}
			}
		}
		from += leafCount(f)
	}
	for _, child := range col.children {
		if found[child.name] {
			continue
		}
		for _, l := range child.leaves {
			c.sources[index] = append(c.sources[index], carried{to: l, levels: levels, missing: true, within: col.def, rep: col.rep})
		}
	}
	return nil
}

// row appends the values of a row of the file to those of the table's leaves.
func (c *carrier) row(row parquet.Row, values [][]parquet.Value) error {
	for _, v := range row {
		for _, s := range c.sources[v.Column()] {
			i := s.to.index
			level := min(v.DefinitionLevel(), len(s.levels)-1)
			def := s.levels[level]
			if s.missing {
				if v.RepetitionLevel() <= s.rep {
					values[i] = appendLevels(values[i], parquet.Value{}, v.RepetitionLevel(), min(def, s.within))
				}
				continue
			}
			out := parquet.Value{}
			if !v.IsNull() {
				var err error
				if out, err = s.convert(v); err != nil {
					return err
				}
			}
			values[i] = appendLevels(values[i], out, v.RepetitionLevel(), def)
		}
	}
	for _, l := range c.absent {
		values[l.index] = append(values[l.index], parquet.Value{})
	}
	return nil
}

func same(v parquet.Value) (parquet.Value, error) { return v, nil }

// conversion is how values of the file's leaf become values of type t.
func conversion(t Type, n parquet.Node) (func(parquet.Value) (parquet.Value, error), error) {
	kind, logical := n.Type().Kind(), n.Type().LogicalType()
	bad := fmt.Errorf("it is %s and not %s", n.Type(), typeName(t))
	if d, ok := t.(Decimal); ok {
		dec := decimalOf(logical)
		if dec == nil || int(dec.Scale) != d.Scale || int(dec.Precision) > d.Precision {
			return nil, bad
		}
		return func(v parquet.Value) (parquet.Value, error) { return unscaledValue(d, unscaled(v)), nil }, nil
	}
	want := map[Type]parquet.Kind{String: parquet.ByteArray, Binary: parquet.ByteArray, Long: parquet.Int64, Integer: parquet.Int32, Short: parquet.Int32,
		Byte: parquet.Int32, Date: parquet.Int32, Double: parquet.Double, Float: parquet.Float, Boolean: parquet.Boolean}
	if k, ok := want[t]; ok {
		if k != kind || decimalOf(logical) != nil {
			return nil, bad
		}
		return same, nil
	}
	switch { // a timestamp
	case kind == parquet.Int96:
		return func(v parquet.Value) (parquet.Value, error) {
			i := v.Int96()
			nanos := int64(binary.LittleEndian.Uint64(append(binary.LittleEndian.AppendUint32(nil, i[0]), binary.LittleEndian.AppendUint32(nil, i[1])...)))
			const julian = 2440588 // the day 1970-01-01
			return parquet.Int64Value((int64(i[2])-julian)*86400e6 + nanos/1000), nil
		}, nil
	case kind != parquet.Int64 || timestampOf(logical) == nil || timestampOf(logical).Unit.Value == nil:
		return nil, bad
	}
	unit := timestampOf(logical).Unit.Value.Duration()
	return func(v parquet.Value) (parquet.Value, error) {
		switch unit {
		case time.Millisecond:
			return parquet.Int64Value(v.Int64() * 1000), nil
		case time.Nanosecond:
			return parquet.Int64Value(v.Int64() / 1000), nil
		}
		return v, nil
	}, nil
}

// copyRows carries the rows of a live file that keep accepts into dst, and
// returns how many there were and how many it took. The error wraps errShape
// when the file's columns do not fit.
func copyRows(ctx context.Context, s Storage, l *layout, a *add, dst func() *dataFile, keep func([][]parquet.Value) bool) (read, took int64, err error) {
	defer func() { // the decoder panics on some malformed files
		if v := recover(); v != nil {
			err = fmt.Errorf("file %s: malformed Parquet: %v", a.Path, v)
		}
	}()
	fail := func(err error) (int64, int64, error) { return read, took, fmt.Errorf("file %s: %w", a.Path, err) }
	name, err := fileName(a.Path)
	if err != nil {
		return 0, 0, err
	}
	o, err := s.Open(ctx, name)
	if err != nil {
		return fail(err)
	}
	defer o.Close()
	pf, err := parquet.OpenFile(o, o.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fail(err)
	}
	c, err := newCarrier(l, pf.Root())
	if err != nil {
		return fail(err)
	}
	all := make([]parquet.Row, 128)
	values := make([][]parquet.Value, len(l.leaves))
	one := make([][]parquet.Value, len(l.leaves))
	for i, g := range pf.RowGroups() {
		rows := all[:rowsAtOnce(pf.Metadata().RowGroups[i])]
		r := g.Rows()
		for done := false; !done; {
			if err := ctx.Err(); err != nil {
				r.Close()
				return fail(err)
			}
			n, err := r.ReadRows(rows)
			if done = errors.Is(err, io.EOF); err != nil && !done {
				r.Close()
				return fail(err)
			}
			count := 0
			for _, row := range rows[:n] {
				read++
				target := values
				if keep != nil {
					target = one
				}
				if err := c.row(row, target); err != nil {
					r.Close()
					return fail(err)
				}
				if keep != nil {
					ok := keep(one)
					for i := range one {
						if ok {
							values[i] = append(values[i], one[i]...)
						}
						one[i] = one[i][:0]
					}
					if !ok {
						continue
					}
				}
				count++
			}
			if count > 0 {
				took += int64(count)
				if err := dst().append(values, count); err != nil {
					r.Close()
					return fail(err)
				}
			}
			for i := range values {
				values[i] = values[i][:0]
			}
			if n == 0 && !done {
				r.Close()
				return fail(io.ErrNoProgress)
			}
		}
		if err := r.Close(); err != nil {
			return fail(err)
		}
	}
	return read, took, nil
}

// rowsAtOnce is how many rows of a group to hold in memory: as many as take
// about batchBytes.
func rowsAtOnce(g format.RowGroup) int {
	each := max(1, g.TotalByteSize/max(1, g.NumRows))
	return int(min(128, max(1, batchBytes/each)))
}

func decimalOf(t *format.LogicalType) *format.DecimalType {
	if t == nil {
		return nil
	}
	d, _ := t.Value.(*format.DecimalType)
	return d
}

func timestampOf(t *format.LogicalType) *format.TimestampType {
	if t == nil {
		return nil
	}
	ts, _ := t.Value.(*format.TimestampType)
	return ts
}
