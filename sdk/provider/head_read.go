package provider

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"
)

// headReader reads the members of a head, in any order; members it does not
// know are passed over. The first fault is kept.
//
// Nearly every head was written by headWriter and has no escape in it. Such a
// plain one is read where it lies, in one copy that all its strings share;
// everything else falls through to the parser.
type headReader struct {
	plain [maxPlain]plainMember // the first n, where v is nil
	n     int
	v     *fastjson.Value // of a head that is not plain
	p     *fastjson.Parser
	fault error
}

// maxPlain is how many members a plain head may have.
const maxPlain = 12

// maxHint bounds what is allocated for a number of headers that is guessed.
const maxHint = 32

// heads is shared: a parser keeps its memory between frames.
var heads fastjson.ParserPool

// head reads the head of a payload, and gives the rest, which shares the
// payload's memory. Close the reader when there is no error.
func (h *headReader) head(b []byte) (rest []byte, err error) {
	if len(b) < 4 {
		return nil, &frameError{"payload is shorter than the length of its head"}
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, &frameError{fmt.Sprintf("head claims %d of %d bytes", n, len(b)-4)}
	}
	return b[4+n:], h.object(b[4 : 4+n])
}

// object reads a head that is all of its payload.
func (h *headReader) object(b []byte) error {
	if bytes.IndexByte(b, '\\') < 0 && h.members(string(b)) {
		return nil
	}
	p := heads.Get()
	v, err := p.ParseBytes(b)
	if err != nil {
		heads.Put(p)
		return &frameError{"head: " + err.Error()}
	}
	if h.v, h.p = v, p; v.Type() != fastjson.TypeObject {
		h.wrong("it", v.Type(), "an object")
	}
	return nil
}

func (h *headReader) close() {
	if h.p != nil {
		heads.Put(h.p)
	}
}

// members notes the members of s, and reports whether that is a plain object
// with no more than fit.
func (h *headReader) members(s string) bool {
	if len(s) == 0 || s[0] != '{' {
		return false
	}
	if s == "{}" {
		return true
	}
	for at := 0; h.n < maxPlain; {
		if h.plain[h.n], at = nextMember(s, at, 0); at < 0 {
			return false
		}
		if h.n++; s[at] == '}' {
			return at == len(s)-1
		}
	}
	return false
}

func (h *headReader) wrong(name string, is fastjson.Type, want string) {
	if h.fault == nil {
		h.fault = &frameError{fmt.Sprintf("head: %s must be %s, not of type %s", name, want, is)}
	}
}

// headValue is a value in a head, plain or parsed; neither where it is absent or
// null.
type headValue struct {
	plain string
	v     *fastjson.Value
}

func parsed(v *fastjson.Value) headValue {
	if v == nil || v.Type() == fastjson.TypeNull {
		return headValue{}
	}
	return headValue{v: v}
}

func (v headValue) absent() bool { return v.plain == "" && v.v == nil }

func (v headValue) typ() fastjson.Type {
	if v.v != nil {
		return v.v.Type()
	}
	switch v.plain[0] {
	case '{':
		return fastjson.TypeObject
	case '[':
		return fastjson.TypeArray
	case '"':
		return fastjson.TypeString
	case 't':
		return fastjson.TypeTrue
	case 'f':
		return fastjson.TypeFalse
	}
	return fastjson.TypeNumber
}

// get gives a member of an object.
func (v headValue) get(name string) headValue {
	if v.v != nil {
		return parsed(v.v.Get(name))
	}
	for at := 0; len(v.plain) > len("{}") && v.plain[at] != '}'; {
		var m plainMember
		if m, at = nextMember(v.plain, at, 0); m.name == name {
			return headValue{plain: m.value}
		}
	}
	return headValue{}
}

// get gives a member.
func (h *headReader) get(name string) headValue {
	if h.v != nil {
		return parsed(h.v.Get(name))
	}
	for i := range h.plain[:h.n] {
		if m := &h.plain[i]; m.name == name {
			return headValue{plain: m.value}
		}
	}
	return headValue{}
}

func (h *headReader) str(name string) string { return h.text(name, h.get(name)) }

func (h *headReader) text(name string, v headValue) string {
	switch {
	case v.absent():
		return ""
	case v.typ() != fastjson.TypeString:
		h.wrong(name, v.typ(), "a string")
		return ""
	case v.v != nil:
		b, _ := v.v.StringBytes()
		return string(b)
	}
	return v.plain[1 : len(v.plain)-1]
}

func (h *headReader) flag(name string) bool {
	v := h.get(name)
	if v.absent() {
		return false
	}
	t := v.typ()
	if t != fastjson.TypeTrue && t != fastjson.TypeFalse {
		h.wrong(name, t, "true or false")
	}
	return t == fastjson.TypeTrue
}

func (h *headReader) number(name string) int {
	v := h.get(name)
	if v.absent() {
		return 0
	}
	n, err := 0, error(nil)
	if v.v != nil {
		n, err = v.v.Int()
	} else {
		n, err = strconv.Atoi(v.plain)
	}
	if err != nil {
		h.wrong(name, v.typ(), "a whole number")
		return 0
	}
	return n
}

func (h *headReader) strs(name string) []string {
	v := h.get(name)
	if v.absent() {
		return nil
	}
	return h.list([]string{}, name, v)
}

// list appends the strings of an array.
func (h *headReader) list(to []string, name string, v headValue) []string {
	switch {
	case v.typ() != fastjson.TypeArray:
		h.wrong(name, v.typ(), "an array")
	case v.v != nil:
		for _, e := range v.v.GetArray() {
			to = append(to, h.text(name, parsed(e)))
		}
	default:
		for at := 0; v.plain[at] != ']' && v.plain != "[]"; {
			var e string
			e, at = nextElement(v.plain, at, 0)
			to = append(to, h.text(name, headValue{plain: e}))
		}
	}
	return to
}

// within gives a member that is an object.
func (h *headReader) within(name string) headValue {
	v := h.get(name)
	if !v.absent() && v.typ() != fastjson.TypeObject {
		h.wrong(name, v.typ(), "an object")
		return headValue{}
	}
	return v
}

func (h *headReader) header(name string) http.Header {
	v := h.within(name)
	if v.absent() {
		return nil
	}
	if v.v != nil {
		o := v.v.GetObject()
		out := make(http.Header, o.Len())
		o.Visit(func(key []byte, v *fastjson.Value) {
			var all []string // nil for null
			if v.Type() != fastjson.TypeNull {
				all = h.list([]string{}, name, headValue{v: v})
			}
			out[string(key)] = all
		})
		return out
	}
	n := min(strings.Count(v.plain, "["), maxHint)
	out, all := make(http.Header, n), make([]string, 0, n)
	for at := 0; v.plain[at] != '}' && v.plain != "{}"; {
		var m plainMember
		m, at = nextMember(v.plain, at, 0)
		from := len(all)
		all = h.list(all, name, headValue{plain: m.value})
		out[m.name] = all[from:len(all):len(all)]
	}
	return out
}

// raw gives a value's JSON.
func raw(v headValue) json.RawMessage {
	if v.absent() {
		return nil
	}
	if v.v != nil {
		return v.v.MarshalTo(nil)
	}
	p := heads.Get() // it is short, and few have one
	defer heads.Put(p)
	parsed, err := p.Parse(v.plain)
	if err != nil { // cannot be: it is plain
		return nil
	}
	return parsed.MarshalTo(nil)
}
