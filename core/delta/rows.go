package delta

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// Row is a row with its values in the order of the table's schema, partition
// columns included.
//
// A value is nil for null, or
//   - for string: a string, in which bytes that are not UTF-8 become U+FFFD
//   - for long, integer, short and byte: any Go integer that fits
//   - for double and float: any Go float or integer
//   - for boolean: a bool; for binary: a []byte or string
//   - for timestamp: a time.Time, or an int64 of microseconds since 1970 UTC
//   - for date: a time.Time, whose day in its own zone counts; an integer of
//     days since 1970; or a string such as "2026-11-21"
//   - for decimal: an Unscaled, which costs least; a string, integer, *big.Int
//     or *big.Rat that fits exactly; or a float, which is rounded to the scale
//   - for struct: a Row, a map[string]any without unknown keys, or a Go struct
//   - for array: a slice; for map: a Go map or Pairs
//
// Pointers stand for what they point to, and nil pointers for null. A Go
// struct has a field for each column it sets, named by the tag
// `delta:"column"`, or else by its own name; `delta:"column,omitzero"` writes
// null for the zero value and `delta:"-"` leaves a field out.
type Row []any

// Unscaled is the value of a decimal column as its digits without the point:
// Unscaled(1250) is 12.50 in a column of scale 2.
type Unscaled int64

// Pairs is the value of a map column with its pairs in order. Keys must not
// repeat: readers differ in which one they see.
type Pairs []Pair

// Pair is a key of a map with its value.
type Pair struct{ Key, Value any }

// rowEncoder gathers at most batchRows rows as the values of Parquet columns.
type rowEncoder struct {
	layout *layout
	plans  *plans
	// values is by leaf. A leaf outside of lists and maps has one value a row,
	// which is null until it is set; the others have those of the rows so far.
	values [][]parquet.Value
	rows   int
	bytes  int // of the strings in them
}

func newRowEncoder(l *layout, p *plans) *rowEncoder {
	e := &rowEncoder{layout: l, plans: p, values: make([][]parquet.Value, len(l.leaves))}
	room := make([]parquet.Value, batchRows*len(l.leaves))
	for i, l := range l.leaves {
		e.values[i], room = room[:batchRows:batchRows], room[batchRows:]
		if l.rep > 0 {
			e.values[i] = e.values[i][:0]
		}
	}
	return e
}

// whole is the values of the rows.
func (e *rowEncoder) whole() [][]parquet.Value {
	for i, l := range e.layout.leaves {
		if l.rep == 0 {
			e.values[i] = e.values[i][:e.rows]
		}
	}
	return e.values
}

// reset forgets the rows and keeps the room.
func (e *rowEncoder) reset() {
	for i, l := range e.layout.leaves {
		clear(e.values[i]) // lets go of the caller's strings
		if e.values[i] = e.values[i][:0]; l.rep == 0 {
			e.values[i] = e.values[i][:batchRows]
		}
	}
	e.rows, e.bytes = 0, 0
}

// undo drops what a row left behind that could not be encoded.
func (e *rowEncoder) undo() {
	for i, l := range e.layout.leaves {
		if l.rep == 0 {
			e.values[i][e.rows] = parquet.Value{}
			continue
		}
		n := 0
		for j, v := range e.values[i] {
			if v.RepetitionLevel() == 0 {
				if n++; n > e.rows {
					e.values[i] = e.values[i][:j]
					break
				}
			}
		}
	}
}

// next is where the next value of l goes. It is made there and its levels are
// set there: copying one costs more than all else, and the library's
// Value.Level copies it several times.
func (e *rowEncoder) next(l *leaf) *parquet.Value {
	if l.rep == 0 {
		return &e.values[l.index][e.rows]
	}
	vs := append(e.values[l.index], parquet.Value{})
	e.values[l.index] = vs
	return &vs[len(vs)-1]
}

func appendLevels(vs []parquet.Value, v parquet.Value, rep, def int) []parquet.Value {
	vs = append(vs, v)
	setLevels(&vs[len(vs)-1], rep, def)
	return vs
}

func setLevels(v *parquet.Value, rep, def int) {
	v.SetRepetitionLevel(rep)
	v.SetDefinitionLevel(def)
}

func (e *rowEncoder) put(l *leaf, v parquet.Value, rep int) {
	if v.Kind() == parquet.ByteArray {
		e.bytes += len(v.ByteArray())
	}
	p := e.next(l)
	*p = v
	setLevels(p, rep, l.def)
}

func (e *rowEncoder) text(l *leaf, s string, rep int) {
	b := textBytes(s)
	e.bytes += len(b)
	p := e.next(l)
	*p = parquet.ByteArrayValue(b)
	setLevels(p, rep, l.def)
}

func (e *rowEncoder) long(l *leaf, n int64, rep int) {
	p := e.next(l)
	*p = parquet.Int64Value(n)
	setLevels(p, rep, l.def)
}

func (e *rowEncoder) short(l *leaf, n int32, rep int) {
	p := e.next(l)
	*p = parquet.Int32Value(n)
	setLevels(p, rep, l.def)
}

// absent writes null, or an empty list, for everything at or below c; def is
// the level of what is there.
func (e *rowEncoder) absent(c *column, rep, def int) {
	for _, l := range c.leaves {
		setLevels(e.next(l), rep, def)
	}
}

func (e *rowEncoder) null(c *column, rep, def int) error {
	if c.notNull {
		return fmt.Errorf("column %q: null, and the column is not nullable", c.path)
	}
	e.absent(c, rep, def)
	return nil
}

// value encodes v, which lies in something present at level def.
func (e *rowEncoder) value(c *column, v any, rep, def int) error {
	switch x := v.(type) {
	case nil:
		return e.null(c, rep, def)
	case string, int64, int, float64, bool, int32, uint64, uint32:
		if c.leaf != nil {
			return e.leafValue(c, v, rep)
		}
	case Row:
		return e.fields(c, x, rep, def)
	case []any:
		if _, ok := c.typ.(Struct); ok {
			return e.fields(c, x, rep, def)
		}
	case map[string]any:
		if s, ok := c.typ.(Struct); ok {
			return e.fieldMap(c, s, x, rep, def)
		}
	case map[string]string:
		if m, ok := c.typ.(Map); ok && m.Key == String && m.Value == String {
			return e.stringMap(c, x, rep, def)
		}
	case Pairs:
		return e.pairs(c, x, rep, def)
	}
	rv := reflect.ValueOf(v)
	enc, err := e.plans.of(c, rv.Type())
	if err != nil {
		return err
	}
	return enc(e, rv, rep, def)
}

func (e *rowEncoder) leafValue(c *column, v any, rep int) error {
	pv, err := leafValue(c.typ, v)
	if err != nil {
		return fmt.Errorf("column %q: %w", c.path, err)
	}
	e.put(c.leaf, pv, rep)
	return nil
}

func (e *rowEncoder) fields(c *column, vs []any, rep, def int) error {
	if _, ok := c.typ.(Struct); !ok {
		return fmt.Errorf("column %q: %w", c.path, mismatch(c.typ, Row(vs)))
	}
	if vs == nil {
		return e.null(c, rep, def)
	}
	if len(vs) != len(c.children) {
		return fmt.Errorf("column %q: %d values for %d fields", c.path, len(vs), len(c.children))
	}
	for i, child := range c.children {
		if err := e.value(child, vs[i], rep, c.def); err != nil {
			return err
		}
	}
	return nil
}

func (e *rowEncoder) fieldMap(c *column, s Struct, m map[string]any, rep, def int) error {
	if m == nil {
		return e.null(c, rep, def)
	}
	found := 0
	for _, child := range c.children {
		v, ok := m[child.name]
		if ok {
			found++
		}
		if err := e.value(child, v, rep, c.def); err != nil {
			return err
		}
	}
	if found != len(m) {
		return unknownKey(c.path, Schema(s), m)
	}
	return nil
}

func unknownKey(path string, s Schema, m map[string]any) error {
	for k := range m {
		if !slices.ContainsFunc(s, func(f Field) bool { return f.Name == k }) {
			return fmt.Errorf("column %q: there is no such column in the table", join(path, k))
		}
	}
	return nil
}

func (e *rowEncoder) stringMap(c *column, m map[string]string, rep, def int) error {
	if m == nil {
		return e.null(c, rep, def)
	}
	if len(m) == 0 {
		e.absent(c, rep, c.def)
		return nil
	}
	key, value := c.children[0].leaf, c.children[1].leaf
	for k, v := range m {
		e.text(key, k, rep)
		e.text(value, v, rep)
		rep = key.rep
	}
	return nil
}

func (e *rowEncoder) pairs(c *column, ps Pairs, rep, def int) error {
	if _, ok := c.typ.(Map); !ok {
		return fmt.Errorf("column %q: %w", c.path, mismatch(c.typ, ps))
	}
	if ps == nil {
		return e.null(c, rep, def)
	}
	if len(ps) == 0 {
		e.absent(c, rep, c.def)
	}
	for _, p := range ps {
		if err := e.value(c.children[0], p.Key, rep, c.def+1); err != nil {
			return err
		}
		if err := e.value(c.children[1], p.Value, rep, c.def+1); err != nil {
			return err
		}
		rep = c.rep + 1
	}
	return nil
}
