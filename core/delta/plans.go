package delta

import (
	"fmt"
	"reflect"
	"sync"
	"time"

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
	var get func(v reflect.Value) (parquet.Value, error)
	switch k := t.Kind(); {
	case c.typ == String && k == reflect.String:
		return func(e *rowEncoder, v reflect.Value, rep, _ int) error {
			e.text(c.leaf, v.String(), rep)
			return nil
		}, nil
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
