package delta

import (
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// structField is a field of a Go struct that sets a column.
type structField struct {
	index    int
	omitZero bool
}

// structFields finds the fields of t for the named columns; one that has no
// column is an error.
func structFields(path string, t reflect.Type) (map[string]structField, error) {
	fields := map[string]structField{}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		tag := f.Tag.Get("delta")
		if tag == "-" {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		if option != "" && option != "omitzero" {
			return nil, fmt.Errorf("%s.%s: unknown option %q in its delta tag", t, f.Name, option)
		}
		if name == "" {
			name = f.Name
		}
		if _, ok := fields[name]; ok {
			return nil, fmt.Errorf("%s: two fields are column %q", t, join(path, name))
		}
		fields[name] = structField{i, option == "omitzero"}
	}
	return fields, nil
}

// plain is a Go type that is written as it lies in memory: what most fields are.
type plain uint8

const (
	notPlain     plain = iota
	plainText          // string
	plainLong          // int64
	plainShort         // int32
	plainDecimal       // Unscaled, in a column that an int64 holds
)

func plainOf(c *column, t reflect.Type) plain {
	switch d, k := c.typ, t.Kind(); {
	case t == unscaledType:
		if d, ok := d.(Decimal); ok && decimalPhysical(d.Precision) == parquet.Int64Type {
			return plainDecimal
		}
	case d == String && k == reflect.String:
		return plainText
	case (d == Long || d == Timestamp) && k == reflect.Int64:
		return plainLong
	case (d == Integer || d == Date) && k == reflect.Int32:
		return plainShort
	}
	return notPlain
}

// fieldPlan is how a column is set from a Go struct.
type fieldPlan struct {
	structField
	column *column
	encode encodeFunc // nil without a field

	// Of a field of a plain type, or a pointer to one, which is read where it
	// lies: reflection would take as long as the rest.
	plain   plain
	pointer bool
	offset  uintptr
}

func (p *plans) field(c *column, t reflect.Type, f structField) (fieldPlan, error) {
	sf := t.Field(f.index)
	enc, err := p.of(c, sf.Type)
	if err != nil {
		return fieldPlan{}, err
	}
	r := fieldPlan{structField: f, column: c, encode: enc, plain: plainOf(c, sf.Type), offset: sf.Offset}
	if sf.Type.Kind() == reflect.Pointer {
		r.plain, r.pointer = plainOf(c, sf.Type.Elem()), true
	}
	return r, nil
}

// encodeFields encodes the Go struct v as the columns of its fields.
func (e *rowEncoder) encodeFields(fields []fieldPlan, v reflect.Value, rep, def int) error {
	var at unsafe.Pointer
	if v.CanAddr() {
		at = v.Addr().UnsafePointer()
	}
	for i := range fields {
		f := &fields[i]
		var err error
		switch {
		case f.plain != notPlain && at != nil:
			err = e.plain(f, unsafe.Add(at, f.offset), rep, def)
		case f.encode == nil, f.omitZero && v.Field(f.index).IsZero():
			err = e.null(f.column, rep, def)
		default:
			err = f.encode(e, v.Field(f.index), rep, def)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plain encodes the plain field at p.
func (e *rowEncoder) plain(f *fieldPlan, p unsafe.Pointer, rep, def int) error {
	omitZero := f.omitZero
	if f.pointer {
		if p = *(*unsafe.Pointer)(p); p == nil {
			return e.null(f.column, rep, def)
		}
		omitZero = false
	}
	l := f.column.leaf
	switch f.plain {
	case plainText:
		s := *(*string)(p)
		if s == "" && omitZero {
			return e.null(f.column, rep, def)
		}
		e.text(l, s, rep)
	case plainShort:
		n := *(*int32)(p)
		if n == 0 && omitZero {
			return e.null(f.column, rep, def)
		}
		e.short(l, n, rep)
	default:
		n := *(*int64)(p)
		if n == 0 && omitZero {
			return e.null(f.column, rep, def)
		}
		if d, ok := f.column.typ.(Decimal); ok {
			if err := Unscaled(n).fits(d); err != nil {
				return fmt.Errorf("column %q: %w", f.column.path, err)
			}
		}
		e.long(l, n, rep)
	}
	return nil
}

func (p *plans) structs(c *column, t reflect.Type) (encodeFunc, error) {
	switch {
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return func(e *rowEncoder, v reflect.Value, rep, def int) error {
			if v.IsNil() {
				return e.null(c, rep, def)
			}
			m := make(map[string]any, v.Len())
			for it := v.MapRange(); it.Next(); {
				m[it.Key().String()] = it.Value().Interface()
			}
			return e.fieldMap(c, c.typ.(Struct), m, rep, def)
		}, nil
	case t.Kind() != reflect.Struct:
		return nil, fmt.Errorf("column %q: a %s is no value of type struct", c.path, t)
	}
	named, err := structFields(c.path, t)
	if err != nil {
		return nil, err
	}
	fields := make([]fieldPlan, len(c.children))
	for i, child := range c.children {
		fields[i].column = child
		if f, ok := named[child.name]; ok {
			if fields[i], err = p.field(child, t, f); err != nil {
				return nil, err
			}
		}
		delete(named, child.name)
	}
	for name := range named {
		return nil, fmt.Errorf("%s: column %q does not exist in the table", t, join(c.path, name))
	}
	return func(e *rowEncoder, v reflect.Value, rep, _ int) error { return e.encodeFields(fields, v, rep, c.def) }, nil
}
