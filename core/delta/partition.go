package delta

import (
	"fmt"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/parquet-go/parquet-go"
)

// number is what a partition column has in part, if it is known.
type number struct {
	n  int64
	ok bool
}

// partitionField notes the value of a partition column from the Go struct v.
// Rows that follow each other are mostly of the same day.
func (w *Writer) partitionField(f partField, v reflect.Value) error {
	s := w.form.slots[f.slot]
	if f.index < 0 || f.omitZero && v.Field(f.index).IsZero() {
		return w.setPartition(s, nil)
	}
	fv := v.Field(f.index)
	if !fv.CanInt() {
		return w.setPartition(s, fv.Interface())
	}
	if d := w.numbers[s.partition]; d.ok && d.n == fv.Int() {
		return nil
	}
	err := w.setPartition(s, fv.Interface())
	w.numbers[s.partition] = number{fv.Int(), err == nil}
	return err
}

// setPartition notes the value of a partition column for the row.
func (w *Writer) setPartition(s slot, v any) error {
	w.part[s.partition], w.numbers[s.partition], w.last = nil, number{}, nil
	for rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer; rv = reflect.ValueOf(v) {
		if v = nil; !rv.IsNil() {
			v = rv.Elem().Interface()
		}
	}
	if v == nil {
		if s.notNull {
			return fmt.Errorf("column %q: null, and the column is not nullable", s.name)
		}
		return nil
	}
	text, err := partitionText(s, v)
	switch {
	case err != nil:
		return err
	case text != "":
		w.part[s.partition] = &text
	case s.notNull: // the protocol has "" mean null
		return fmt.Errorf("column %q: the empty text is null in a partition column, and the column is not nullable", s.name)
	}
	return nil
}

// partitionText writes a value as the log does.
// Source: Delta protocol, "Partition Value Serialization".
func partitionText(s slot, v any) (string, error) {
	pv, err := leafValue(s.typ, v)
	if err != nil {
		l := &leaf{typ: s.typ}
		e := &rowEncoder{values: [][]parquet.Value{make([]parquet.Value, 1)}}
		enc, perr := leafPlan(&column{path: s.name, typ: s.typ, leaf: l}, reflect.TypeOf(v))
		if perr != nil {
			return "", fmt.Errorf("column %q: %w", s.name, err)
		}
		if err := enc(e, reflect.ValueOf(v), 0, 0); err != nil {
			return "", err
		}
		if pv = e.values[0][0]; pv.IsNull() { // as nil of a slice is
			return "", nil
		}
	}
	switch s.typ {
	case String:
		return string(pv.ByteArray()), nil
	case Date:
		t := time.Unix(int64(pv.Int32())*86400, 0).UTC()
		if t.Year() < 1 || t.Year() > 9999 {
			return "", fmt.Errorf("column %q: a date of the year %d cannot be a partition", s.name, t.Year())
		}
		return t.Format(time.DateOnly), nil
	}
	return strconv.FormatInt(integer(pv), 10), nil
}

// newFileName is a name no other file has. The directories say the partition
// as other writers do; only the log counts.
func newFileName(partition []string, values map[string]*string) string {
	var parts []string
	for _, name := range partition {
		text := "__HIVE_DEFAULT_PARTITION__"
		if v := values[name]; v != nil {
			text = escapePart(*v)
		}
		parts = append(parts, escapePart(name)+"="+text)
	}
	return path.Join(append(parts, "part-"+uuid.NewString()+".zstd.parquet")...)
}

// escapePart makes text safe as a part of a directory's name, at most 120
// bytes long.
func escapePart(text string) string {
	var b strings.Builder
	for i := 0; i < len(text) && b.Len() < 117; i++ {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
