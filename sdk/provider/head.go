package provider

import (
	"encoding/binary"
	"net/http"
	"strconv"

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
