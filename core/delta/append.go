package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strconv"
)

// Append adds rows in one commit. A row is a Row, a map[string]any by column,
// or a Go struct or a pointer to one; see Row for the values. A Txn that was
// committed before adds nothing and does not read the rows. No rows and a Txn
// make a commit with the Txn alone; no rows and none make no commit. An error
// of a row, or of rows, ends it, and nothing is added.
func (t *Table) Append(ctx context.Context, x Txn, rows iter.Seq2[any, error]) (Commit, error) {
	if x.AppID != "" {
		last, ok, err := t.LastTxn(ctx, x.AppID)
		if err != nil {
			return Commit{}, err
		}
		if ok && last >= x.Version {
			return Commit{Version: t.Version(), Replayed: true}, nil
		}
	}
	w := t.NewWriter()
	defer w.Abort()
	for row, err := range rows {
		if err == nil {
			err = w.Write(ctx, row)
		}
		if err != nil {
			return Commit{}, err
		}
	}
	return w.Commit(ctx, x)
}

// Rows is what Append takes, from a slice.
func Rows[T any](rows ...T) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for i := range rows {
			if !yield(&rows[i], nil) { // a pointer: no copy is made
				return
			}
		}
	}
}

// Writer gathers rows for one commit. It writes a file for each partition, and
// another when one reaches the table's target size. It is for one goroutine.
// End it by Commit or Abort. A crash before leaves files that Vacuum removes.
type Writer struct {
	table   *Table
	form    *form
	open    map[string]*dataFile // by partition
	adds    []*add
	err     error // of the storage: the Writer is of no use any more
	row     structRow
	part    []*string
	numbers []number // by partition column
	key     []byte
	last    *dataFile // of the partition that part says; nil when it has to be looked up
}

// NewWriter begins a commit for the schema as it is now.
func (t *Table) NewWriter() *Writer {
	f := t.current()
	return &Writer{table: t, form: f, open: map[string]*dataFile{}, part: make([]*string, len(f.partition)), numbers: make([]number, len(f.partition))}
}

// RowError is a row that does not fit the table's schema.
type RowError struct{ Err error }

func (e *RowError) Error() string { return "delta: " + e.Err.Error() }
func (e *RowError) Unwrap() error { return e.Err }

// Write adds a row; see Append. A row that does not fit the schema is a
// *RowError that names the column, is left out, and does no harm to the
// others; after any other error the Writer is of no use. ctx must live until
// Commit, because files are written as rows come.
func (w *Writer) Write(ctx context.Context, row any) error {
	if w.err != nil {
		return w.err
	}
	if err := w.write(ctx, row); err != nil {
		if w.err != nil {
			return w.err
		}
		return &RowError{err}
	}
	return nil
}

func (w *Writer) write(ctx context.Context, row any) error {
	var get func(i int) any
	switch r := row.(type) {
	case Row:
		if len(r) != len(w.form.slots) {
			return fmt.Errorf("row: %d values for %d columns", len(r), len(w.form.slots))
		}
		get = func(i int) any { return r[i] }
	case []any:
		return w.write(ctx, Row(r))
	case map[string]any:
		found := 0
		for _, s := range w.form.slots {
			if _, ok := r[s.name]; ok {
				found++
			}
		}
		if found != len(r) {
			return unknownKey("", w.form.schema, r)
		}
		get = func(i int) any { return r[w.form.slots[i].name] }
	default:
		return w.writeStruct(ctx, row)
	}
	for i, s := range w.form.slots {
		if s.column == nil {
			if err := w.setPartition(s, get(i)); err != nil {
				return err
			}
		}
	}
	d, err := w.file(ctx)
	if err != nil {
		return err
	}
	for i, s := range w.form.slots {
		if s.column != nil {
			if err := d.enc.value(s.column, get(i), 0, 0); err != nil {
				d.enc.undo()
				return err
			}
		}
	}
	return w.wrote(d)
}

// structRow is how a type of Go struct is written as a row.
type structRow struct {
	typ    reflect.Type
	parts  []partField
	fields []fieldPlan
}

// partField is a field that sets a partition column, in slot; index is
// negative without a field.
type partField struct {
	structField
	slot int
}

func (w *Writer) writeStruct(ctx context.Context, row any) error {
	v := reflect.ValueOf(row)
	for (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && !v.IsNil() {
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		switch r := v.Interface().(type) {
		case Row, []any, map[string]any:
			return w.write(ctx, r)
		}
		fallthrough
	case v.Kind() != reflect.Struct:
		if v.IsValid() {
			row = v.Interface()
		}
		return fmt.Errorf("row: a %T is no row; give a Row, a map[string]any or a struct", row)
	}
	if w.row.typ != v.Type() {
		if err := w.planStruct(v.Type()); err != nil {
			return err
		}
	}
	for _, f := range w.row.parts {
		if err := w.partitionField(f, v); err != nil {
			return err
		}
	}
	d, err := w.file(ctx)
	if err != nil {
		return err
	}
	if err := d.enc.encodeFields(w.row.fields, v, 0, 0); err != nil {
		d.enc.undo()
		return err
	}
	return w.wrote(d)
}

func (w *Writer) planStruct(t reflect.Type) error {
	named, err := structFields("", t)
	if err != nil {
		return err
	}
	r := structRow{typ: t}
	for i, s := range w.form.slots {
		f, ok := named[s.name]
		if !ok {
			f.index = -1
		}
		if s.column == nil {
			r.parts = append(r.parts, partField{f, i})
		} else {
			plan := fieldPlan{column: s.column}
			if ok {
				if plan, err = w.form.plans.field(s.column, t, f); err != nil {
					return err
				}
			}
			r.fields = append(r.fields, plan)
		}
		delete(named, s.name)
	}
	for name := range named {
		return fmt.Errorf("%s: column %q does not exist in the table", t, name)
	}
	w.row = r
	clear(w.numbers) // another type may not fit
	return nil
}

// file is the open file of the row's partition.
func (w *Writer) file(ctx context.Context) (*dataFile, error) {
	if w.last != nil {
		return w.last, nil
	}
	w.key = w.key[:0]
	for _, p := range w.part {
		if p == nil {
			w.key = append(w.key, 0, 'n')
		} else {
			w.key = append(append(w.key, 0, 'v'), *p...)
		}
	}
	if d := w.open[string(w.key)]; d != nil {
		w.last = d
		return d, nil
	}
	if len(w.open) >= maxOpenFiles { // bounds the memory; more small files is the price
		for _, d := range w.open {
			if err := w.finish(d); err != nil {
				return nil, w.fail(err)
			}
		}
	}
	values := map[string]*string{}
	for i, name := range w.form.partition {
		values[name] = w.part[i]
	}
	d := newDataFile(ctx, w.table.storage, w.form, newFileName(w.form.partition, values), values)
	w.open[string(w.key)], w.last = d, d
	return d, nil
}

// wrote counts a row that was encoded, and passes full batches on.
func (w *Writer) wrote(d *dataFile) error {
	if d.enc.rows++; d.enc.rows < batchRows && d.enc.bytes < batchBytes {
		return nil
	}
	err := d.flush()
	if err == nil && d.size() >= w.form.props.targetFileSize {
		err = w.finish(d)
	}
	return w.fail(err)
}

// finish completes one of the open files.
func (w *Writer) finish(d *dataFile) error {
	w.last = nil
	for key, o := range w.open {
		if o == d {
			delete(w.open, key)
		}
	}
	if d.enc.rows == 0 && d.stats.rows == 0 { // its only rows were refused
		d.abort(errAborted)
		return nil
	}
	a, err := d.finish()
	if err == nil {
		w.adds = append(w.adds, a)
	}
	return err
}

func (w *Writer) fail(err error) error {
	if err != nil {
		w.Abort()
		w.err = fmt.Errorf("delta: %w", err)
	}
	return err
}

// Abort gives the rows up. After Commit it does nothing.
func (w *Writer) Abort() {
	for key, d := range w.open {
		d.abort(errAborted)
		delete(w.open, key)
	}
	if w.err == nil {
		w.err = fmt.Errorf("delta: %w", errAborted)
	}
}

// Commit completes the files and commits them, with x. The error wraps
// ErrConflict when the table was changed so that the rows do not fit it any
// more, and ErrBusy when others were always faster; nothing is added then. An
// error of the storage leaves open whether the commit was made: repeat it with
// the same Txn, and it is made once.
func (w *Writer) Commit(ctx context.Context, x Txn) (Commit, error) {
	if w.err != nil {
		return Commit{}, w.err
	}
	for _, d := range w.open {
		if err := w.finish(d); err != nil {
			return Commit{}, fmt.Errorf("delta: %w", w.fail(err))
		}
	}
	w.err = errors.New("delta: this Writer has been committed; begin another")
	if len(w.adds) == 0 && x.AppID == "" {
		return Commit{Version: w.table.Version()}, nil
	}
	c, err := w.table.commit(ctx, &plan{
		form: w.form, operation: "WRITE", txn: x, adds: w.adds,
		params:  map[string]string{"mode": "Append", "partitionBy": jsonText(w.form.partition)},
		metrics: map[string]string{"numFiles": strconv.Itoa(len(w.adds))},
	})
	if c.Replayed {
		w.table.discard(ctx, w.adds, ErrBusy)
	}
	w.table.discard(ctx, w.adds, err)
	return c, err
}
