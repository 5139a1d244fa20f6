package openresponses

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
)

// Almost every event that is read was written by AppendJSON in another process:
// members in its order, nothing between them. own reads that form without a
// document in between, which is most of what a short event costs; whatever is
// written in any other way is left to the parser, and gives the same event or
// the error that tells what is wrong with it.
type own struct {
	b     []byte // what is left to read
	keep  []byte // holds at its end what b holds, for Raw; nil where none is kept
	other bool   // it is written in another way
}

// event reads the whole of b.
func (r *own) event() (e Event, ok bool) {
	r.want(`{"type":`)
	s, known := shapes[string(r.token())]
	if !known {
		return e, false
	}
	e.Type = s.name
	if s.terminal {
		r.terminal(&e)
	} else {
		r.members(&e, s)
	}
	r.want("}")
	return e, !r.other && len(r.b) == 0
}

func (r *own) members(e *Event, s shape) {
	r.want(`,"output_index":`)
	e.OutputIndex = r.index()
	if s.content {
		r.want(`,"content_index":`)
		e.ContentIndex = r.index()
	}
	if s.summary {
		r.want(`,"summary_index":`)
		e.SummaryIndex = r.index()
	}
	if s.item && r.is(`,"item":`) {
		e.Item = r.item()
	}
	if s.part && r.is(`,"part":`) {
		e.Part = new(Part)
		r.part(e.Part)
	}
	if s.delta {
		r.want(`,"delta":`)
		e.Delta = r.str()
	}
	if s.text != "" {
		r.want(`,"`)
		r.want(s.text)
		r.want(`":`)
		e.Text = r.str()
	}
	if r.is(`,"usage":`) { // an annotation is left to the parser
		e.Usage = r.usage()
	}
}

func (r *own) item() *Item {
	it := new(Item)
	from := len(r.b)
	r.fill(it)
	it.Raw = r.raw(from)
	return it
}

// raw gives what was read since from bytes were left.
func (r *own) raw(from int) json.RawMessage {
	if r.keep == nil || r.other {
		return nil
	}
	to := len(r.keep) - len(r.b)
	return r.keep[len(r.keep)-from : to : to]
}

func (r *own) fill(it *Item) {
	r.want(`{"type":`)
	it.Type = r.word()
	it.ID = r.opt(`,"id":`)
	switch it.Type {
	case TypeMessage:
		it.Status = r.name(`,"status":`)
		it.Role = r.name(`,"role":`)
		it.Phase = r.name(`,"phase":`)
		r.want(`,"content":`)
		it.Content = r.parts()
		r.want("}")
		return
	case TypeFunctionCall:
		r.want(`,"call_id":`)
		it.CallID = r.str()
		r.want(`,"name":`)
		it.Name = r.str()
		r.want(`,"arguments":`)
		it.Arguments = r.str()
	case TypeFunctionCallOutput:
		r.want(`,"call_id":`)
		it.CallID = r.str()
		r.want(`,"output":`)
		it.Output.Text = r.str() // parts are left to the parser
	case TypeReasoning:
		r.want(`,"summary":`)
		it.Summary = r.parts()
		if r.is(`,"content":`) {
			it.Content = r.parts()
		}
		it.EncryptedContent = r.opt(`,"encrypted_content":`)
	default:
		r.other = true
	}
	it.Status = r.name(`,"status":`)
	r.want("}")
}

func (r *own) parts() []Part {
	r.want("[")
	parts := []Part{}
	for !r.other && !r.is("]") {
		if len(parts) > 0 {
			r.want(",")
		}
		parts = append(parts, Part{})
		r.part(&parts[len(parts)-1])
	}
	return parts
}

func (r *own) part(p *Part) {
	from := len(r.b)
	r.want(`{"type":`)
	switch p.Type = r.word(); p.Type {
	case PartRefusal:
		r.want(`,"refusal":`)
		p.Refusal = r.str()
	case PartOutputText:
		r.want(`,"text":`)
		p.Text = r.str()
		r.want(`,"annotations":[]`)
	case PartInputText, PartReasoning, PartSummaryText:
		r.want(`,"text":`)
		p.Text = r.str()
	default:
		r.other = true
	}
	r.want("}")
	p.Raw = r.raw(from)
}

func (r *own) terminal(e *Event) {
	t := new(Terminal)
	e.Terminal = t
	r.want(`,"response":{"status":`)
	t.Status = r.word()
	if r.is(`,"incomplete_details":{"reason":`) {
		t.Reason = r.word()
		r.want("}")
	}
	t.Model = r.opt(`,"model":`)
	t.Tier = r.opt(`,"service_tier":`)
	if r.is(`,"usage":`) {
		e.Usage = r.usage()
	}
	r.want("}")
}

func (r *own) usage() *Usage {
	u := new(Usage)
	r.want(`{"input_tokens":`)
	input := r.number()
	r.want(`,"input_tokens_details":{"cached_tokens":`)
	u.CacheRead = r.number()
	if r.is(`,"cache_write_tokens":`) {
		u.CacheWrite = r.number()
	}
	if r.is(`,"cache_write_1h_tokens":`) {
		u.CacheWrite1h = r.number()
	}
	r.want(`},"output_tokens":`)
	output := r.number()
	r.want(`,"output_tokens_details":{"reasoning_tokens":`)
	u.Reasoning = r.number()
	r.want(`},"total_tokens":`)
	r.number()
	u.Estimated = r.is(`,"estimated":true`)
	r.want("}")
	u.Input = max(0, input-u.CacheRead-u.CacheWrite-u.CacheWrite1h)
	u.Output = max(0, output-u.Reasoning)
	return u
}

// is passes over s if it comes next.
func (r *own) is(s string) bool {
	if len(r.b) < len(s) || string(r.b[:len(s)]) != s {
		return false
	}
	r.b = r.b[len(s):]
	return true
}

func (r *own) want(s string) {
	if !r.is(s) {
		r.fail()
	}
}

// fail leaves nothing to read.
func (r *own) fail() { r.other, r.b = true, nil }

// token reads a string without escapes, in place.
func (r *own) token() []byte {
	if len(r.b) == 0 || r.b[0] != '"' {
		r.fail()
		return nil
	}
	n := bytes.IndexByte(r.b[1:], '"')
	if n < 0 || bytes.IndexByte(r.b[1:1+n], '\\') >= 0 {
		r.fail()
		return nil
	}
	s := r.b[1 : 1+n]
	r.b = r.b[n+2:]
	return s
}

// str reads a string into memory of its own.
func (r *own) str() string {
	if len(r.b) == 0 || r.b[0] != '"' {
		r.fail()
		return ""
	}
	b := r.b[1:]
	n := bytes.IndexByte(b, '"')
	if n < 0 {
		r.fail()
		return ""
	}
	if at := bytes.IndexByte(b[:n], '\\'); at >= 0 {
		return r.escaped(b, at)
	}
	r.b = b[n+1:]
	return string(b[:n])
}

// escaped reads the string that b begins, whose first escape is at at. Numbered
// characters are left to the parser.
func (r *own) escaped(b []byte, at int) string {
	whole := scanner{b: b, i: -1} // as if on the quote before b
	if !whole.skipString() {
		r.fail()
		return ""
	}
	text := b[:whole.i-1]
	var out strings.Builder
	out.Grow(len(text))
	for ; at >= 0; at = bytes.IndexByte(text, '\\') {
		c := unescaped[text[at+1]] // a backslash is never the last
		if c == 0 {
			r.fail()
			return ""
		}
		out.Write(text[:at])
		out.WriteByte(c)
		text = text[at+2:]
	}
	out.Write(text)
	r.b = b[whole.i:]
	return out.String()
}

// unescaped is what a letter stands for behind a backslash.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// opt reads a member that may be absent.
func (r *own) opt(key string) string {
	if r.is(key) {
		return r.str()
	}
	return ""
}

// name is opt for a word.
func (r *own) name(key string) string {
	if r.is(key) {
		return r.word()
	}
	return ""
}

// word reads a string that is likely one of a few, without memory for those.
func (r *own) word() string {
	b := r.token()
	for _, w := range words {
		if string(b) == w {
			return w
		}
	}
	return string(b)
}

var words = []string{TypeMessage, PartInputText, "user", StatusCompleted, StatusInProgress, "assistant", PartOutputText, TypeFunctionCall, TypeFunctionCallOutput, TypeReasoning, StatusIncomplete,
	PartReasoning, PartSummaryText, PartRefusal, "max_output_tokens"}

func (r *own) index() int {
	n := r.number()
	if n > math.MaxInt32 {
		r.fail()
		return 0
	}
	return int(n)
}

// number reads a whole number of at most 18 digits that is not negative.
func (r *own) number() (n int64) {
	i := 0
	for ; i < len(r.b) && r.b[i] >= '0' && r.b[i] <= '9' && i < 18; i++ {
		n = 10*n + int64(r.b[i]-'0')
	}
	if i == 0 || i > 1 && r.b[0] == '0' {
		r.fail()
		return 0
	}
	r.b = r.b[i:] // a nineteenth digit is not what follows
	return n
}
