package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// Selection says what Scan reads.
type Selection struct {
	// Columns are the columns, each by its name or, inside a struct, by its path:
	// "a.b". Of type long, integer, date, timestamp, decimal up to 18 digits,
	// string, array of strings, or map of strings to strings; no partition column.
	Columns []string
	// Files tells which files to read; nil means all.
	Files func(File) bool
	// Least, when a column's name, passes over what its statistics say has only
	// values below Min. It is a timestamp (µs since 1970) or a long. Rows below
	// Min may still come.
	Least string
	Min   int64
}

// Batch is some rows of a file, by column in the order of Selection.Columns.
type Batch struct {
	Rows    int
	Columns []Values
}

// Values is a column's values of a Batch. One field is set, by the column's type,
// and it has a value for each row; all of none when the file does not have the
// column. They may be kept.
type Values struct {
	Ints  []int64             // whole numbers, the digits of a decimal, µs or days since 1970; 0 for null
	Texts []string            // "" for null
	Lists [][]string          // nil for null and for none; rows may share one
	Maps  []map[string]string // nil for null and for none
}

// Int is the i-th value, 0 when there is none.
func (v *Values) Int(i int) int64 {
	if v.Ints == nil {
		return 0
	}
	return v.Ints[i]
}

// Text is the i-th value, "" when there is none.
func (v *Values) Text(i int) string {
	if v.Texts == nil {
		return ""
	}
	return v.Texts[i]
}

// List is the i-th value, nil when there is none.
func (v *Values) List(i int) []string {
	if v.Lists == nil {
		return nil
	}
	return v.Lists[i]
}

// Map is the i-th value, nil when there is none.
func (v *Values) Map(i int) map[string]string {
	if v.Maps == nil {
		return nil
	}
	return v.Maps[i]
}

// scanRows is how many rows a Batch has at most.
const scanRows = 8192

// Scan reads some columns of the rows, file by file, and nothing of the others.
// An error ends it.
func (s *Snapshot) Scan(ctx context.Context, sel Selection) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		texts := texts{}
		for _, f := range s.Files {
			if sel.Files != nil && !sel.Files(f) {
				continue
			}
			more, err := s.scanFile(ctx, f, &sel, texts, yield)
			if err != nil {
				yield(nil, fmt.Errorf("delta: file %s: %w", filepath.Base(f.Path), err))
				return
			}
			if !more {
				return
			}
		}
	}
}

// scanFile reports whether the consumer wants more.
func (s *Snapshot) scanFile(ctx context.Context, f File, sel *Selection, texts texts, yield func(*Batch, error) bool) (more bool, err error) {
	calling := false // the consumer's panics are its own
	defer func() {   // the decoder panics on some malformed files
		if calling {
			return
		}
		if v := recover(); v != nil {
			more, err = false, fmt.Errorf("malformed Parquet: %v", v)
		}
	}()
	o, err := os.Open(f.Path)
	if err != nil {
		return false, err
	}
	defer o.Close()
	pf, err := parquet.OpenFile(o, f.Size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return false, err
	}
	columns := make([]scanColumn, len(sel.Columns))
	for i, path := range sel.Columns {
		if columns[i], err = s.scanColumn(pf.Root(), path); err != nil {
			return false, err
		}
	}
	var least scanColumn
	if sel.Least != "" {
		if least, err = s.scanColumn(pf.Root(), sel.Least); err != nil {
			return false, err
		}
	}
	for i, g := range pf.RowGroups() {
		if below(pf, i, least, sel) {
			continue
		}
		chunks := g.ColumnChunks()
		readers := make([]columnReader, len(columns))
		closeAll := func() error {
			var errs []error
			for _, r := range readers {
				errs = append(errs, r.close())
			}
			return errors.Join(errs...)
		}
		for j, c := range columns {
			readers[j].typ, readers[j].texts = c.typ, texts
			for _, leaf := range c.leaves {
				readers[j].parts = append(readers[j].parts, &chunkReader{leaf: leaf, pages: chunks[leaf.Index()].Pages()})
			}
		}
		for left := g.NumRows(); left > 0; {
			if err := ctx.Err(); err != nil {
				closeAll()
				return false, context.Cause(ctx)
			}
			b := &Batch{Rows: int(min(left, scanRows)), Columns: make([]Values, len(columns))}
			left -= int64(b.Rows)
			for j := range readers {
				if err := readers[j].read(&b.Columns[j], b.Rows); err != nil {
					closeAll()
					return false, fmt.Errorf("column %s: %w", sel.Columns[j], err)
				}
			}
			calling = true
			ok := yield(b, nil)
			calling = false
			if !ok {
				closeAll()
				return false, nil
			}
		}
		if err := closeAll(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// scanColumn is where a column lies in a file.
type scanColumn struct {
	leaves []scanLeaf // one; the two of a map; none when the file does not have it
	typ    Type
}

type scanLeaf struct {
	*parquet.Column
	convert func(parquet.Value) (parquet.Value, error)
}

// scanColumn finds a column. The error wraps errShape when another writer has
// laid it out in a way that is not read.
func (s *Snapshot) scanColumn(root *parquet.Column, path string) (c scanColumn, err error) {
	schema, node := s.schema, root
	for part := range strings.SplitSeq(path, ".") {
		if schema == nil {
			return c, fmt.Errorf("column %q: there is no such column", path)
		}
		i := slices.IndexFunc(schema, func(f Field) bool { return f.Name == part })
		if i < 0 {
			return c, fmt.Errorf("column %q: there is no such column", path)
		}
		c.typ, schema = schema[i].Type, nil
		if inner, ok := c.typ.(Struct); ok {
			schema = Schema(inner)
		}
		if node != nil {
			node = node.Column(part)
		}
	}
	var types []Type
	switch t := c.typ.(type) {
	case Array:
		types = []Type{t.Element}
	case Map:
		types = []Type{t.Key, t.Value}
	case Decimal:
		if t.Precision <= 18 {
			types = []Type{t}
		}
	case Primitive:
		if t == String || t == Long || t == Integer || t == Date || t == Timestamp {
			types = []Type{t}
		}
	}
	inside := types // of a list or map
	switch c.typ.(type) {
	case Decimal, Primitive:
		inside = nil
	}
	if types == nil || slices.ContainsFunc(inside, func(t Type) bool { return t != String }) {
		return c, fmt.Errorf("column %q: a %s cannot be scanned", path, typeName(c.typ))
	}
	if node == nil { // the file is older
		return c, nil
	}
	for !node.Leaf() && len(node.Columns()) == 1 {
		node = node.Columns()[0]
	}
	nodes := node.Columns()
	if node.Leaf() {
		nodes = []*parquet.Column{node}
	}
	if len(nodes) != len(types) {
		return c, fmt.Errorf("%w: column %q", errShape, path)
	}
	for i, n := range nodes {
		if !n.Leaf() || n.MaxRepetitionLevel() > 1 {
			return c, fmt.Errorf("%w: column %q", errShape, path)
		}
		convert, err := conversion(types[i], n)
		if err != nil {
			return c, fmt.Errorf("column %q: %w", path, err)
		}
		c.leaves = append(c.leaves, scanLeaf{n, convert})
	}
	return c, nil
}

// below reports whether the statistics of a row group say that it holds nothing
// of what is selected.
func below(f *parquet.File, group int, least scanColumn, sel *Selection) bool {
	if len(least.leaves) != 1 || least.leaves[0].Type().Kind() != parquet.Int64 {
		return false
	}
	c := least.leaves[0]
	most := f.Metadata().RowGroups[group].Columns[c.Index()].MetaData.Statistics.MaxValue
	if len(most) != 8 {
		return false
	}
	v, err := c.convert(parquet.Int64Value(int64(binary.LittleEndian.Uint64(most))))
	return err == nil && v.Int64() < sel.Min
}
