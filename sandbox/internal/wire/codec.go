package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// writer appends values to a message: integers as varints, strings and lists
// behind their length.
type writer struct {
	b   []byte
	err error
}

func (w *writer) int(v int64) { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) len(n int)   { w.b = binary.AppendUvarint(w.b, uint64(n)) }

func (w *writer) str(s string) {
	w.len(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) strs(l []string) {
	w.len(len(l))
	for _, s := range l {
		w.str(s)
	}
}

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

// The tags of a value in a row.
const (
	tagNil byte = iota
	tagFalse
	tagTrue
	tagNumber
	tagString
)

func (w *writer) values(l []any) {
	w.len(len(l))
	for _, v := range l {
		w.value(v)
	}
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case nil:
		w.b = append(w.b, tagNil)
	case bool:
		if v {
			w.b = append(w.b, tagTrue)
		} else {
			w.b = append(w.b, tagFalse)
		}
	case json.Number:
		w.b = append(w.b, tagNumber)
		w.str(v.String())
	case string:
		w.b = append(w.b, tagString)
		w.str(v)
	default:
		w.err = fmt.Errorf("a row holds a %T", v)
	}
}

// reader reads what writer wrote. After an error it reads zero values.
type reader struct {
	b   []byte
	bad string // the first thing that was wrong
}

func (r *reader) fail(what string) {
	if r.bad == "" {
		r.bad = what
	}
	r.b = nil
}

// end says whether all of the message was read and nothing was wrong.
func (r *reader) end(message string) error {
	if r.bad == "" && len(r.b) > 0 {
		r.bad = "bytes after its end"
	}
	if r.bad != "" {
		return fmt.Errorf("%w: %s: %s", ErrMalformed, message, r.bad)
	}
	return nil
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("integer")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// len reads the number of things that follow, each of at least one byte.
func (r *reader) len() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(len(r.b)-n) {
		r.fail("length")
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// str reads a string. What a guest wrote need not be UTF-8; what leaves here
// is.
func (r *reader) str() string {
	n := r.len()
	s := string(r.b[:n])
	r.b = r.b[n:]
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// items calls f for each thing of a list.
func (r *reader) items(f func()) {
	n := r.len()
	for i := 0; i < n && r.bad == ""; i++ {
		f()
	}
}

func (r *reader) strs() []string {
	var l []string
	r.items(func() { l = append(l, r.str()) })
	return l
}

func (r *reader) bool() bool {
	if len(r.b) == 0 || r.b[0] > 1 {
		r.fail("boolean")
		return false
	}
	v := r.b[0] == 1
	r.b = r.b[1:]
	return v
}

func (r *reader) values() []any {
	l := []any{}
	r.items(func() { l = append(l, r.value()) })
	return l
}

func (r *reader) value() any {
	if len(r.b) == 0 {
		r.fail("value")
		return nil
	}
	tag := r.b[0]
	r.b = r.b[1:]
	switch tag {
	case tagNil:
		return nil
	case tagFalse, tagTrue:
		return tag == tagTrue
	case tagNumber:
		n := r.str()
		if !isNumber(n) {
			r.fail("number")
		}
		return json.Number(n)
	case tagString:
		return r.str()
	}
	r.fail("value")
	return nil
}

// isNumber reports whether s is a number in JSON, which whoever gets it writes
// down as it is.
func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || '0' <= s[0] && s[0] <= '9') && json.Valid([]byte(s))
}
