package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// elider reads a stream of the Responses API and leaves out what its last
// events say again: the whole text of each part and item, four times over. It
// goes by the names of the events, so a stream without them is read as it is.
// What remains is well formed, and the same however the bytes come.
//
// Of a done item texts are left out only where deltas came since the last item
// was added. Should they have told of another item, the mark elided ends what
// is left of the text, and whoever would need it knows.
type elider struct {
	r   io.Reader
	in  []byte
	buf []byte // what remained of in
	out []byte // what of buf has not been read yet
	err error

	kind   lineKind
	head   []byte // the beginning of a line of which the kind is not known yet
	name   []byte // of the event
	mode   elision
	deltas bool // since the last item was added
	cut    cutter
}

type lineKind int

const (
	lineUnknown lineKind = iota
	lineEvent
	lineData
	lineOther
)

type elision int

const (
	keepAll  elision = iota
	dropData         // the event says nothing new
	cutTold          // texts that deltas told are cut
	cutAll           // every long string is
)

const (
	elided   = "\ufffe(told in deltas)"
	longName = 80       // bytes of an event's name that are looked at
	longText = 4 << 10  // bytes of a string that stay when it is cut
	elideBuf = 16 << 10 // bytes read at once
)

func newElider(r io.Reader) *elider { return &elider{r: r, in: make([]byte, elideBuf)} }

// eliders are those of earlier streams: only their memory is used again.
var eliders sync.Pool

// openElider is newElider in the memory of one that was closed.
func openElider(r io.Reader) *elider {
	if e, ok := eliders.Get().(*elider); ok {
		*e = elider{r: r, in: e.in, buf: e.buf[:0], head: e.head[:0], name: e.name[:0], cut: cutter{word: e.cut.word[:0]}}
		return e
	}
	return newElider(r)
}

func (e *elider) close() {
	if e.r = nil; cap(e.buf) <= 4*elideBuf {
		eliders.Put(e)
	}
}

// Read implements io.Reader.
func (e *elider) Read(b []byte) (int, error) {
	for len(e.out) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		n, err := e.r.Read(e.in)
		e.buf = e.pass(e.buf[:0], e.in[:n])
		if err != nil {
			e.err = err
			e.buf, e.head = append(e.buf, e.head...), e.head[:0]
		}
		e.out = e.buf
	}
	n := copy(b, e.out)
	e.out = e.out[n:]
	return n, nil
}

// pass appends to out what remains of b.
func (e *elider) pass(out, b []byte) []byte {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return e.part(out, b)
		}
		out = e.newline(e.part(out, b[:end]))
		b = b[end+1:]
	}
	return out
}

// part passes a part of a line.
func (e *elider) part(out, b []byte) []byte {
	if e.kind == lineUnknown {
		n := min(len("event:")-len(e.head), len(b))
		e.head = append(e.head, b[:n]...)
		if b = b[n:]; len(e.head) < len("event:") {
			return out
		}
		switch {
		case string(e.head) == "event:":
			e.kind, e.name = lineEvent, e.name[:0]
		case bytes.HasPrefix(e.head, []byte("data:")):
			e.kind, e.cut = lineData, cutter{told: e.mode == cutTold, word: e.cut.word[:0]}
		default:
			e.kind = lineOther
		}
		if e.kind != lineData || e.mode != dropData {
			out = append(out, e.head...)
		}
		e.head = e.head[:0]
	}
	switch {
	case e.kind == lineEvent:
		e.name = append(e.name, b[:min(len(b), longName-len(e.name))]...)
	case e.kind == lineData && e.mode == dropData:
		return out
	case e.kind == lineData && e.mode != keepAll:
		return e.cut.pass(out, b)
	}
	return append(out, b...)
}

// newline ends a line.
func (e *elider) newline(out []byte) []byte {
	switch e.kind {
	case lineUnknown:
		if len(bytes.TrimSuffix(e.head, []byte("\r"))) == 0 {
			e.mode = keepAll // an empty line ends the event
		}
		out = append(out, e.head...)
	case lineEvent:
		e.mode = e.modeOf(strings.TrimSpace(string(e.name)))
	}
	dropped := e.kind == lineData && e.mode == dropData
	e.kind, e.head = lineUnknown, e.head[:0]
	if dropped {
		return out
	}
	return append(out, '\n')
}

// modeOf says what to do with the data of an event.
func (e *elider) modeOf(event string) elision {
	switch {
	case repeats[event]:
		return dropData
	case event == "response.completed", event == "response.incomplete", event == "response.failed":
		return cutAll
	case event == "response.output_item.added":
		e.deltas = false
	case strings.HasSuffix(event, ".delta"):
		e.deltas = true
	case event == "response.output_item.done" && e.deltas:
		return cutTold
	}
	return keepAll
}

// repeats are the events that say again what deltas told, or say nothing.
var repeats = set("response.created", "response.in_progress", "response.queued", "response.content_part.added", "response.content_part.done",
	"response.output_text.done", "response.refusal.done", "response.reasoning_text.done", "response.reasoning.done", "response.function_call_arguments.done",
	"response.reasoning_summary_text.done", "response.reasoning_summary_part.done")

// cutter passes JSON on and cuts long strings.
type cutter struct {
	told   bool // only those of members that deltas tell
	inside bool // a string
	escape int  // bytes of a \u escape to come; afterSlash: what comes says which it is
	size   int  // bytes of the string so far
	gone   bool // the rest of it is being left out
	word   []byte
	key    string
}

const (
	afterSlash = -1
	longKey    = 24 // bytes of a string that may be a key
)

func (c *cutter) pass(out, b []byte) []byte {
	for _, ch := range b {
		if !c.inside {
			out = append(out, ch)
			c.structure(ch)
			continue
		}
		whole := c.escape == 0 // a character begins here, or goes on
		switch {
		case c.escape == afterSlash && ch == 'u':
			c.escape = 4
		case c.escape == afterSlash:
			c.escape = 0
		case c.escape > 0:
			c.escape--
		case ch == '\\':
			c.escape = afterSlash
		case ch == '"':
			if c.inside = false; c.gone {
				out = append(out, elided...)
			}
			out = append(out, ch)
			continue
		}
		if c.size++; c.size <= longKey {
			c.word = append(c.word, ch)
		}
		if c.size > longText && whole && ch&0xC0 != 0x80 && c.cuts() {
			c.gone = true
		}
		if !c.gone {
			out = append(out, ch)
		}
	}
	return out
}

// structure takes a byte outside of strings.
func (c *cutter) structure(ch byte) {
	switch ch {
	case '"':
		c.inside, c.size, c.gone, c.word = true, 0, false, c.word[:0]
	case ':':
		c.key = string(c.word)
	case ',', '{', '[':
		c.key = ""
	}
}

// cuts reports whether the open string may be cut.
func (c *cutter) cuts() bool {
	switch c.key {
	case "text", "arguments", "refusal":
		return true
	}
	return !c.told && c.key != ""
}
