package provider

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Heads are a few hundred bytes of JSON before each body, four of them for each
// turn that goes through a front and a translator. They are written and read by
// hand: with encoding/json they cost as much as the request itself.

// headWriter appends one head, most with the length before it.
type headWriter struct {
	b     []byte
	at    int // where the length goes; -1 for an object that has none before it
	wrote bool
}

func beginHead(dst []byte) headWriter {
	return headWriter{b: append(dst, 0, 0, 0, 0, '{'), at: len(dst)}
}

func beginObject(dst []byte) headWriter { return headWriter{b: append(dst, '{'), at: -1} }

// end fills in the length.
func (h *headWriter) end() []byte {
	h.b = append(h.b, '}')
	if h.at >= 0 {
		binary.BigEndian.PutUint32(h.b[h.at:], uint32(len(h.b)-h.at-4))
	}
	return h.b
}

func (h *headWriter) key(name string) {
	if h.wrote {
		h.b = append(h.b, ',')
	}
	h.wrote = true
	h.b = append(append(append(h.b, '"'), name...), '"', ':')
}

func (h *headWriter) str(name, s string) {
	h.key(name)
	h.b = openresponses.AppendString(h.b, s)
}

// opt writes what is not empty.
func (h *headWriter) opt(name, s string) {
	if s != "" {
		h.str(name, s)
	}
}

// flag writes what is true.
func (h *headWriter) flag(name string, v bool) {
	if v {
		h.key(name)
		h.b = append(h.b, "true"...)
	}
}

func (h *headWriter) number(name string, n int) {
	h.key(name)
	h.b = strconv.AppendInt(h.b, int64(n), 10)
}

func (h *headWriter) strs(name string, all []string) {
	if len(all) > 0 {
		h.key(name)
		h.list(all)
	}
}

func (h *headWriter) list(all []string) {
	h.b = append(h.b, '[')
	for i, s := range all {
		if i > 0 {
			h.b = append(h.b, ',')
		}
		h.b = openresponses.AppendString(h.b, s)
	}
	h.b = append(h.b, ']')
}

func (h *headWriter) header(name string, all http.Header) {
	if len(all) == 0 {
		return
	}
	h.key(name)
	before := byte('{')
	for k, vs := range all {
		h.b = openresponses.AppendString(append(h.b, before), k)
		h.b = append(h.b, ':')
		h.list(vs)
		before = ','
	}
	h.b = append(h.b, '}')
}

// heads is shared: a parser keeps its memory between frames.
var heads fastjson.ParserPool

// headReader reads the members of a head, in any order; members it does not
// know are passed over. The first fault is kept.
type headReader struct {
	v     *fastjson.Value
	fault error
}

// readHead has read read the head of a payload, and gives the rest, which shares
// the payload's memory. What read keeps is copied.
func readHead(b []byte, read func(*headReader)) (rest []byte, err error) {
	if len(b) < 4 {
		return nil, &frameError{"payload is shorter than the length of its head"}
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, &frameError{fmt.Sprintf("head claims %d of %d bytes", n, len(b)-4)}
	}
	return b[4+n:], readObject(b[4:4+n], read)
}

// readObject has read read the members of a JSON object.
func readObject(b []byte, read func(*headReader)) error {
	p := heads.Get()
	defer heads.Put(p)
	v, err := p.ParseBytes(b)
	if err != nil {
		return &frameError{"head: " + err.Error()}
	}
	h := headReader{v: v}
	if v.Type() != fastjson.TypeObject {
		h.wrong("it", v, "an object")
	} else {
		read(&h)
	}
	return h.fault
}

func (h *headReader) wrong(name string, v *fastjson.Value, want string) {
	if h.fault == nil {
		h.fault = &frameError{fmt.Sprintf("head: %s must be %s, not of type %s", name, want, v.Type())}
	}
}

// get gives a member; nil where it is absent or null.
func (h *headReader) get(name string) *fastjson.Value {
	if v := h.v.Get(name); v != nil && v.Type() != fastjson.TypeNull {
		return v
	}
	return nil
}

func (h *headReader) str(name string) string { return h.text(name, h.get(name)) }

func (h *headReader) text(name string, v *fastjson.Value) string {
	if v == nil {
		return ""
	}
	b, err := v.StringBytes()
	if err != nil {
		h.wrong(name, v, "a string")
	}
	return string(b)
}

func (h *headReader) flag(name string) bool {
	v := h.get(name)
	if v == nil {
		return false
	}
	is, err := v.Bool()
	if err != nil {
		h.wrong(name, v, "true or false")
	}
	return is
}

func (h *headReader) number(name string) int {
	v := h.get(name)
	if v == nil {
		return 0
	}
	n, err := v.Int()
	if err != nil {
		h.wrong(name, v, "a whole number")
	}
	return n
}

func (h *headReader) strs(name string) []string { return h.list(name, h.get(name)) }

func (h *headReader) list(name string, v *fastjson.Value) []string {
	if v == nil || v.Type() == fastjson.TypeNull {
		return nil
	}
	all, err := v.Array()
	if err != nil {
		h.wrong(name, v, "an array")
		return nil
	}
	out := make([]string, len(all))
	for i, v := range all {
		if v.Type() != fastjson.TypeNull {
			out[i] = h.text(name, v)
		}
	}
	return out
}

func (h *headReader) header(name string) http.Header {
	v := h.get(name)
	if v == nil {
		return nil
	}
	o, err := v.Object()
	if err != nil {
		h.wrong(name, v, "an object")
		return nil
	}
	out := make(http.Header, o.Len())
	o.Visit(func(key []byte, v *fastjson.Value) { out[string(key)] = h.list(name, v) })
	return out
}

// object reads a member that is an object.
func (h *headReader) object(name string, read func(*headReader)) {
	v := h.get(name)
	switch {
	case v == nil:
	case v.Type() != fastjson.TypeObject:
		h.wrong(name, v, "an object")
	default:
		in := headReader{v: v}
		if read(&in); h.fault == nil {
			h.fault = in.fault
		}
	}
}

// raw gives a member's JSON.
func (h *headReader) raw(name string) json.RawMessage {
	if v := h.get(name); v != nil {
		return v.MarshalTo(nil)
	}
	return nil
}
