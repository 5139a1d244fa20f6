package delta

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// encodeFunc encodes a Go value of one type as a column.
type encodeFunc func(e *rowEncoder, v reflect.Value, rep, def int) error

// plans keeps how each Go type is encoded as each column, so that types are
// looked at once and not for each row.
type plans struct{ known sync.Map } // planKey → encodeFunc

type planKey struct {
	c *column
	t reflect.Type
}

func (p *plans) of(c *column, t reflect.Type) (encodeFunc, error) {
	if f, ok := p.known.Load(planKey{c, t}); ok {
		return f.(encodeFunc), nil
	}
	f, err := p.make(c, t, 0)
	if err != nil {
		return nil, err
	}
	p.known.Store(planKey{c, t}, f)
	return f, nil
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	unscaledType = reflect.TypeFor[Unscaled]()
)

func (p *plans) make(c *column, t reflect.Type, depth int) (encodeFunc, error) {
	if depth > 8 {
		return nil, fmt.Errorf("column %q: %s has too many pointers", c.path, t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		if t.Elem().PkgPath() == "math/big" {
			return asAny(c), nil
		}
		inner, err := p.make(c, t.Elem(), depth+1)
		return func(e *rowEncoder, v reflect.Value, rep, def int) error {
			if v.IsNil() {
				return e.null(c, rep, def)
			}
			return inner(e, v.Elem(), rep, def)
		}, err
	case reflect.Interface:
		return func(e *rowEncoder, v reflect.Value, rep, def int) error {
			if v.IsNil() {
				return e.null(c, rep, def)
			}
			return e.value(c, v.Elem().Interface(), rep, def)
		}, nil
	}
	switch c.typ.(type) {
	case Struct:
		return p.structs(c, t)
	case Array:
		return p.arrays(c, t)
	case Map:
		return p.maps(c, t)
	}
	return leafPlan(c, t)
}

// asAny goes by the value's own type; for types that are rare.
func asAny(c *column) encodeFunc {
	return func(e *rowEncoder, v reflect.Value, rep, def int) error {
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return e.null(c, rep, def)
		}
		return e.leafValue(c, v.Interface(), rep)
	}
}

// leafPlan resolves named types to their kinds.
func leafPlan(c *column, t reflect.Type) (encodeFunc, error) {
	if enc := plainPlan(c, t); enc != nil {
		return enc, nil
	}
	var get func(v reflect.Value) (parquet.Value, error)
	switch k := t.Kind(); {
	case t == timeType:
		get = func(v reflect.Value) (parquet.Value, error) {
			if v.CanAddr() {
				return timeValue(c.typ, *v.Addr().Interface().(*time.Time))
			}
			return timeValue(c.typ, v.Interface().(time.Time))
		}
	case t == unscaledType:
		get = func(v reflect.Value) (parquet.Value, error) { return Unscaled(v.Int()).value(c.typ) }
	case k == reflect.String && t.String() != "json.Number":
		get = func(v reflect.Value) (parquet.Value, error) { return stringValue(c.typ, v.String()) }
	case k == reflect.String:
		return asAny(c), nil
	case k == reflect.Bool:
		get = func(v reflect.Value) (parquet.Value, error) { return leafValue(c.typ, v.Bool()) }
	case k >= reflect.Int && k <= reflect.Int64:
		get = func(v reflect.Value) (parquet.Value, error) { return intValue(c.typ, v.Int()) }
	case k >= reflect.Uint && k <= reflect.Uintptr:
		get = func(v reflect.Value) (parquet.Value, error) { return uintValue(c.typ, v.Uint()) }
	case k == reflect.Float32:
		get = func(v reflect.Value) (parquet.Value, error) { return leafValue(c.typ, float32(v.Float())) }
	case k == reflect.Float64:
		get = func(v reflect.Value) (parquet.Value, error) { return floatValue(c.typ, v.Float()) }
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return func(e *rowEncoder, v reflect.Value, rep, def int) error {
			if v.IsNil() {
				return e.null(c, rep, def)
			}
			return e.leafValue(c, v.Bytes(), rep)
		}, nil
	default:
		return nil, fmt.Errorf("column %q: a %s is no value of type %s", c.path, t, typeName(c.typ))
	}
	return func(e *rowEncoder, v reflect.Value, rep, def int) error {
		pv, err := get(v)
		if err != nil {
			return fmt.Errorf("column %q: %w", c.path, err)
		}
		e.put(c.leaf, pv, rep)
		return nil
	}, nil
}

// plainPlan is leafPlan for what most columns are, texts and numbers whose
// every value fits, and nil for the rest.
func plainPlan(c *column, t reflect.Type) encodeFunc {
	l, k := c.leaf, t.Kind()
	switch {
	case t == unscaledType:
	case c.typ == String && k == reflect.String:
		return func(e *rowEncoder, v reflect.Value, rep, _ int) error {
			s := v.String()
			if !utf8.ValidString(s) {
				s = strings.ToValidUTF8(s, "\uFFFD")
			}
			e.bytes += len(s)
			e.add(l, parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s))), rep)
			return nil
		}
	case (c.typ == Long || c.typ == Timestamp) && k >= reflect.Int && k <= reflect.Int64:
		return func(e *rowEncoder, v reflect.Value, rep, _ int) error {
			e.add(l, parquet.Int64Value(v.Int()), rep)
			return nil
		}
	case (c.typ == Integer || c.typ == Date) && k == reflect.Int32:
		return func(e *rowEncoder, v reflect.Value, rep, _ int) error {
			e.add(l, parquet.Int32Value(int32(v.Int())), rep)
			return nil
		}
	}
	return nil
}

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
	fields := make([]structField, len(c.children))
	encoders := make([]encodeFunc, len(c.children))
	for i, child := range c.children {
		f, ok := named[child.name]
		if !ok {
			f.index = -1
		} else if encoders[i], err = p.make(child, t.Field(f.index).Type, 0); err != nil {
			return nil, err
		}
		fields[i] = f
		delete(named, child.name)
	}
	for name := range named {
		return nil, fmt.Errorf("%s: column %q does not exist in the table", t, join(c.path, name))
	}
	return func(e *rowEncoder, v reflect.Value, rep, _ int) error {
		for i, child := range c.children {
			if err := fields[i].encode(e, child, encoders[i], v, rep, c.def); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// encode encodes the field of the Go struct v as c.
func (f structField) encode(e *rowEncoder, c *column, enc encodeFunc, v reflect.Value, rep, def int) error {
	if f.index < 0 {
		return e.null(c, rep, def)
	}
	fv := v.Field(f.index)
	if f.omitZero && fv.IsZero() {
		return e.null(c, rep, def)
	}
	return enc(e, fv, rep, def)
}

func (p *plans) arrays(c *column, t reflect.Type) (encodeFunc, error) {
	if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
		return nil, fmt.Errorf("column %q: a %s is no value of type array", c.path, t)
	}
	inner, err := p.make(c.children[0], t.Elem(), 0)
	return func(e *rowEncoder, v reflect.Value, rep, def int) error {
		if v.Kind() == reflect.Slice && v.IsNil() {
			return e.null(c, rep, def)
		}
		n := v.Len()
		if n == 0 {
			e.absent(c, rep, c.def)
		}
		for i := range n {
			if err := inner(e, v.Index(i), rep, c.def+1); err != nil {
				return err
			}
			rep = c.rep + 1
		}
		return nil
	}, err
}

func (p *plans) maps(c *column, t reflect.Type) (encodeFunc, error) {
	if t == reflect.TypeFor[Pairs]() {
		return func(e *rowEncoder, v reflect.Value, rep, def int) error {
			return e.pairs(c, v.Interface().(Pairs), rep, def)
		}, nil
	}
	if t.Kind() != reflect.Map {
		return nil, fmt.Errorf("column %q: a %s is no value of type map", c.path, t)
	}
	if m := c.typ.(Map); m.Key == String && m.Value == String && t == reflect.TypeFor[map[string]string]() {
		return func(e *rowEncoder, v reflect.Value, rep, def int) error {
			return e.stringMap(c, v.Interface().(map[string]string), rep, def)
		}, nil
	}
	key, err := p.make(c.children[0], t.Key(), 0)
	if err != nil {
		return nil, err
	}
	value, err := p.make(c.children[1], t.Elem(), 0)
	return func(e *rowEncoder, v reflect.Value, rep, def int) error {
		if v.IsNil() {
			return e.null(c, rep, def)
		}
		if v.Len() == 0 {
			e.absent(c, rep, c.def)
		}
		for it := v.MapRange(); it.Next(); {
			if err := key(e, it.Key(), rep, c.def+1); err != nil {
				return err
			}
			if err := value(e, it.Value(), rep, c.def+1); err != nil {
				return err
			}
			rep = c.rep + 1
		}
		return nil
	}, err
}
