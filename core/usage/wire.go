package usage

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// A row lies in the ledger as a Protocol Buffers message whose field numbers
// are the wire tags of its Go struct. A field that a struct does not know is
// passed over and one that is not there is zero, so a program reads what an
// older or a newer one has written. A number is never given to another field.
//
// Why not generated code: the row's struct is what the table takes, with the
// column of each field in its tag, and its wire number beside it is all that a
// codec needs. See RATIONALE, "Why are usage rows encoded by a table of fields?".

// message is how a struct is encoded.
type message struct {
	typ    reflect.Type
	fields []field
	number []int // index into fields by wire number, -1 for none
}

// field is a field of a struct.
type field struct {
	number protowire.Number
	index  int
	offset uintptr
	kind   kind
	inner  *message     // of structs
	list   reflect.Type // of a list of them
}

// kind is how a field's values are written.
type kind uint8

const (
	text        kind = iota // string
	integer                 // int64, or a type of that kind
	short                   // int32
	integerPtr              // pointer to an integer
	shortPtr                // pointer to a short
	double                  // float64
	texts                   // []string
	textMap                 // map[string]string
	messagePtr              // pointer to a struct
	messageList             // []struct
)

// messageOf reads the tags of T. It panics on a struct that cannot be encoded,
// which the first test to run finds.
func messageOf[T any]() *message { return newMessage(reflect.TypeFor[T]()) }

func newMessage(t reflect.Type) *message {
	m := &message{typ: t}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("wire")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(tag)
		if err != nil || n < 1 || n > 200 {
			panic(fmt.Sprintf("%s.%s: wire number %q", t, f.Name, tag))
		}
		x := field{number: protowire.Number(n), index: i, offset: f.Offset}
		switch ft := f.Type; {
		case ft.Kind() == reflect.String:
			x.kind = text
		case ft.Kind() == reflect.Int64:
			x.kind = integer
		case ft.Kind() == reflect.Int32:
			x.kind = short
		case ft.Kind() == reflect.Float64:
			x.kind = double
		case ft == reflect.TypeFor[[]string]():
			x.kind = texts
		case ft == reflect.TypeFor[map[string]string]():
			x.kind = textMap
		case ft.Kind() == reflect.Pointer && ft.Elem().Kind() == reflect.Int64:
			x.kind = integerPtr
		case ft.Kind() == reflect.Pointer && ft.Elem().Kind() == reflect.Int32:
			x.kind = shortPtr
		case ft.Kind() == reflect.Pointer && ft.Elem().Kind() == reflect.Struct:
			x.kind, x.inner = messagePtr, newMessage(ft.Elem())
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			x.kind, x.inner, x.list = messageList, newMessage(ft.Elem()), ft
		default:
			panic(fmt.Sprintf("%s.%s: no wire form for %s", t, f.Name, ft))
		}
		for len(m.number) <= n {
			m.number = append(m.number, -1)
		}
		if m.number[n] >= 0 {
			panic(fmt.Sprintf("%s.%s: wire number %d is taken", t, f.Name, n))
		}
		m.number[n] = len(m.fields)
		m.fields = append(m.fields, x)
	}
	return m
}

// appendMessage adds the message of v to b, by the m of T.
func appendMessage[T any](b []byte, m *message, v *T) []byte { return m.append(b, unsafe.Pointer(v)) }

// append adds the message of the struct of m's type at p to b. Zero is left out,
// except behind a pointer. It reads the fields where they lie: reflection would
// take as long as the rest.
func (m *message) append(b []byte, p unsafe.Pointer) []byte {
	for i := range m.fields {
		f := &m.fields[i]
		at := unsafe.Add(p, f.offset)
		switch f.kind {
		case text:
			if s := *(*string)(at); s != "" {
				b = appendText(b, f.number, s)
			}
		case integer:
			if n := *(*int64)(at); n != 0 {
				b = appendInteger(b, f.number, n)
			}
		case short:
			if n := *(*int32)(at); n != 0 {
				b = appendInteger(b, f.number, int64(n))
			}
		case integerPtr:
			if n := *(**int64)(at); n != nil {
				b = appendInteger(b, f.number, *n)
			}
		case shortPtr:
			if n := *(**int32)(at); n != nil {
				b = appendInteger(b, f.number, int64(*n))
			}
		case double:
			if x := *(*float64)(at); x != 0 {
				b = protowire.AppendTag(b, f.number, protowire.Fixed64Type)
				b = protowire.AppendFixed64(b, math.Float64bits(x))
			}
		case texts:
			for _, s := range *(*[]string)(at) {
				b = appendText(b, f.number, s)
			}
		case textMap:
			for k, s := range *(*map[string]string)(at) {
				b = protowire.AppendTag(b, f.number, protowire.BytesType)
				b = protowire.AppendVarint(b, uint64(2+protowire.SizeBytes(len(k))+protowire.SizeBytes(len(s))))
				b = appendText(b, 1, k)
				b = appendText(b, 2, s)
			}
		case messagePtr:
			if inner := *(*unsafe.Pointer)(at); inner != nil {
				b = f.appendInner(b, inner)
			}
		case messageList:
			list := reflect.NewAt(f.list, at).Elem()
			for j := range list.Len() {
				b = f.appendInner(b, list.Index(j).Addr().UnsafePointer())
			}
		}
	}
	return b
}

func appendText(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func appendInteger(b []byte, n protowire.Number, i int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(i))
}

// appendInner writes the struct at p and then makes room before it for its
// length, which is one byte for nearly all.
func (f *field) appendInner(b []byte, p unsafe.Pointer) []byte {
	b = append(protowire.AppendTag(b, f.number, protowire.BytesType), 0)
	start := len(b)
	b = f.inner.append(b, p)
	n := len(b) - start
	if more := protowire.SizeVarint(uint64(n)) - 1; more > 0 {
		b = append(b, make([]byte, more)...)
		copy(b[start+more:], b[start:start+n])
	}
	protowire.AppendVarint(b[:start-1], uint64(n))
	return b
}

// decode sets v, a zero struct of m's type, from b. Its strings are parts of b,
// which must not change after it.
func (m *message) decode(b []byte, v reflect.Value) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := m.find(num)
		if f == nil {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		n, err := f.decode(typ, b, v.Field(f.index))
		if err != nil {
			return fmt.Errorf("field %d: %w", num, err)
		}
		b = b[n:]
	}
	return nil
}

func (m *message) find(n protowire.Number) *field {
	if int(n) >= len(m.number) || m.number[n] < 0 {
		return nil
	}
	return &m.fields[m.number[n]]
}

var errWireType = errors.New("has another wire type")

// decode sets fv from the value at the beginning of b, and returns the value's
// length.
func (f *field) decode(typ protowire.Type, b []byte, fv reflect.Value) (int, error) {
	switch f.kind {
	case integer, short, integerPtr, shortPtr:
		if typ != protowire.VarintType {
			return 0, errWireType
		}
		x, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		if f.kind == integerPtr || f.kind == shortPtr {
			fv.Set(reflect.New(fv.Type().Elem()))
			fv = fv.Elem()
		}
		if fv.OverflowInt(int64(x)) {
			return 0, fmt.Errorf("%d is too large", int64(x))
		}
		fv.SetInt(int64(x))
		return n, nil
	case double:
		if typ != protowire.Fixed64Type {
			return 0, errWireType
		}
		x, n := protowire.ConsumeFixed64(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		fv.SetFloat(math.Float64frombits(x))
		return n, nil
	}
	if typ != protowire.BytesType {
		return 0, errWireType
	}
	x, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return 0, protowire.ParseError(n)
	}
	switch f.kind {
	case text:
		fv.SetString(asString(x))
	case texts:
		s := fv.Addr().Interface().(*[]string)
		*s = append(*s, asString(x))
	case textMap:
		k, s, err := decodePair(x)
		if err != nil {
			return 0, err
		}
		m := fv.Addr().Interface().(*map[string]string)
		if *m == nil {
			*m = map[string]string{}
		}
		(*m)[k] = s
	case messagePtr:
		fv.Set(reflect.New(f.inner.typ))
		return n, f.inner.decode(x, fv.Elem())
	case messageList:
		i := fv.Len()
		fv.Grow(1)
		fv.SetLen(i + 1)
		return n, f.inner.decode(x, fv.Index(i))
	}
	return n, nil
}

func decodePair(b []byte) (k, v string, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", "", protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return "", "", protowire.ParseError(n)
		}
		if (num == 1 || num == 2) && typ == protowire.BytesType {
			x, _ := protowire.ConsumeBytes(b)
			if num == 1 {
				k = asString(x)
			} else {
				v = asString(x)
			}
		}
		b = b[n:]
	}
	return k, v, nil
}

// asString is b as a string, without a copy.
func asString(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
