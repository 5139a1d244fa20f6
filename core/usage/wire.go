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
	fields []field
	number []int // index into fields by wire number, -1 for none
	// whole is the struct and, behind it, what its pointers point to when it has
	// been decoded: a row is one piece of memory.
	whole reflect.Type
}

// field is a field of a struct.
type field struct {
	number protowire.Number
	tag    string // before each value: its number and wire type
	offset uintptr
	room   uintptr // in message.whole, of what a pointer points to
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

// wire is the wire type of a kind.
func (k kind) wire() protowire.Type {
	switch k {
	case integer, short, integerPtr, shortPtr:
		return protowire.VarintType
	case double:
		return protowire.Fixed64Type
	}
	return protowire.BytesType
}

// messageOf reads the tags of T. It panics on a struct that cannot be encoded,
// which the first test to run finds.
func messageOf[T any]() *message { return newMessage(reflect.TypeFor[T]()) }

func newMessage(t reflect.Type) *message {
	m := new(message)
	whole, behind := []reflect.StructField{{Name: "Message", Type: t}}, map[int]int{} // index in whole by that in m.fields
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
		x := field{number: protowire.Number(n), offset: f.Offset}
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
		x.tag = string(protowire.AppendTag(nil, x.number, x.kind.wire()))
		for len(m.number) <= n {
			m.number = append(m.number, -1)
		}
		if m.number[n] >= 0 {
			panic(fmt.Sprintf("%s.%s: wire number %d is taken", t, f.Name, n))
		}
		m.number[n] = len(m.fields)
		if f.Type.Kind() == reflect.Pointer {
			to := f.Type.Elem()
			if x.inner != nil {
				to = x.inner.whole
			}
			behind[len(m.fields)] = len(whole)
			whole = append(whole, reflect.StructField{Name: f.Name, Type: to})
		}
		m.fields = append(m.fields, x)
	}
	m.whole = reflect.StructOf(whole)
	for i, at := range behind {
		m.fields[i].room = m.whole.Field(at).Offset
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
				b = f.appendText(b, s)
			}
		case integer:
			if n := *(*int64)(at); n != 0 {
				b = f.appendInteger(b, n)
			}
		case short:
			if n := *(*int32)(at); n != 0 {
				b = f.appendInteger(b, int64(n))
			}
		case integerPtr:
			if n := *(**int64)(at); n != nil {
				b = f.appendInteger(b, *n)
			}
		case shortPtr:
			if n := *(**int32)(at); n != nil {
				b = f.appendInteger(b, int64(*n))
			}
		case double:
			if x := *(*float64)(at); x != 0 {
				b = protowire.AppendFixed64(append(b, f.tag...), math.Float64bits(x))
			}
		case texts:
			for _, s := range *(*[]string)(at) {
				b = f.appendText(b, s)
			}
		case textMap:
			for k, s := range *(*map[string]string)(at) {
				b = protowire.AppendVarint(append(b, f.tag...), uint64(2+protowire.SizeBytes(len(k))+protowire.SizeBytes(len(s))))
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

func (f *field) appendText(b []byte, s string) []byte {
	b = append(b, f.tag...)
	if len(s) < 0x80 { // nearly all
		b = append(b, byte(len(s)))
	} else {
		b = protowire.AppendVarint(b, uint64(len(s)))
	}
	return append(b, s...)
}

func (f *field) appendInteger(b []byte, i int64) []byte {
	return protowire.AppendVarint(append(b, f.tag...), uint64(i))
}

func appendText(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

// appendInner writes the struct at p and then makes room before it for its
// length, which is one byte for nearly all.
func (f *field) appendInner(b []byte, p unsafe.Pointer) []byte {
	b = append(append(b, f.tag...), 0)
	start := len(b)
	b = f.inner.append(b, p)
	n := len(b) - start
	if n < 0x80 {
		b[start-1] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	b = append(b, make([]byte, more)...)
	copy(b[start+more:], b[start:start+n])
	protowire.AppendVarint(b[:start-1], uint64(n))
	return b
}

// decodeMessage reads a T, by the m of T. Its strings are parts of b, which must
// not change after it.
func decodeMessage[T any](b []byte, m *message) (*T, error) {
	p := m.new()
	return (*T)(p), m.decode(b, p, true)
}

// new makes a zero struct of m's type, with room behind it.
func (m *message) new() unsafe.Pointer { return reflect.New(m.whole).UnsafePointer() }

// decode sets the zero struct of m's type at p from b. room says that it was
// made by new.
func (m *message) decode(b []byte, p unsafe.Pointer, room bool) error {
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
		n, err := f.decode(typ, b, p, room)
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

// decode sets the field of the struct at p from the value at the beginning of
// b, and returns the value's length.
func (f *field) decode(typ protowire.Type, b []byte, p unsafe.Pointer, room bool) (int, error) {
	if typ != f.kind.wire() {
		return 0, errWireType
	}
	at := unsafe.Add(p, f.offset)
	switch f.kind {
	case integer, short, integerPtr, shortPtr:
		x, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		if (f.kind == short || f.kind == shortPtr) && int64(int32(x)) != int64(x) {
			return 0, fmt.Errorf("%d is too large", int64(x))
		}
		switch f.kind {
		case integer:
			*(*int64)(at) = int64(x)
		case short:
			*(*int32)(at) = int32(x)
		case integerPtr:
			*(**int64)(at) = place[int64](p, f, room)
			**(**int64)(at) = int64(x)
		case shortPtr:
			*(**int32)(at) = place[int32](p, f, room)
			**(**int32)(at) = int32(x)
		}
		return n, nil
	case double:
		x, n := protowire.ConsumeFixed64(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		*(*float64)(at) = math.Float64frombits(x)
		return n, nil
	}
	x, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return 0, protowire.ParseError(n)
	}
	switch f.kind {
	case text:
		*(*string)(at) = asString(x)
	case texts:
		s := (*[]string)(at)
		*s = append(*s, asString(x))
	case textMap:
		k, s, err := decodePair(x)
		if err != nil {
			return 0, err
		}
		m := (*map[string]string)(at)
		if *m == nil {
			*m = map[string]string{}
		}
		(*m)[k] = s
	case messagePtr:
		to := (*unsafe.Pointer)(at)
		if room && *to == nil { // the last of several stands, from zero
			*to = unsafe.Add(p, f.room)
		} else {
			*to = f.inner.new()
		}
		return n, f.inner.decode(x, *to, true)
	case messageList:
		list := reflect.NewAt(f.list, at).Elem()
		i := list.Len()
		list.Grow(1)
		list.SetLen(i + 1)
		return n, f.inner.decode(x, list.Index(i).Addr().UnsafePointer(), false)
	}
	return n, nil
}

// place is where the number goes that a field of the struct at p points to.
func place[T any](p unsafe.Pointer, f *field, room bool) *T {
	if room {
		return (*T)(unsafe.Add(p, f.room))
	}
	return new(T)
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
