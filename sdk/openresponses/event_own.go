package openresponses

import (
	"bytes"
	"encoding/json"
	"math"
)

// Almost everything that is read was written by AppendJSON in another process:
// members in its order, nothing between them. own reads that form without a
// document in between, which is most of what a short event costs; whatever is
// written in any other way is left to the parser, and gives the same event or
// the error that tells what is wrong with it.
type own struct {
	scanner
	strict bool // what is read has not been checked: it must pass on the way
	raws   bool // what is read keeps its JSON, a part of b
	other  bool // it is written in another way
}

// event reads the whole of b. It fills e in part where it reports false.
func (r *own) event(e *Event) bool {
	r.want(`{"type":`)
	s := shapeOf(r.quoted())
	if s == nil {
		return false
	}
	e.Type = s.name
	if s.terminal {
		r.terminal(e)
	} else {
		r.members(e, s)
	}
	r.want("}")
	return !r.other && r.i == len(r.b)
}

func (r *own) members(e *Event, s *shape) {
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
		e.Item = new(Item)
		r.item(e.Item)
	}
	if s.part && r.is(`,"part":`) {
		e.Part = new(Part)
		r.part(e.Part)
	}
	if s.delta {
		r.want(`,"delta":`)
		e.Delta = r.text()
	}
	if s.text != "" {
		r.want(`,"`)
		r.want(s.text)
		r.want(`":`)
		e.Text = r.text()
	}
	if r.is(`,"usage":`) { // an annotation is left to the parser
		e.Usage = new(Usage)
		r.usage(e.Usage)
	}
}

func (r *own) item(it *Item) {
	from := r.i
	r.fill(it)
	it.Raw = r.raw(from)
}

// raw gives what was read since from.
func (r *own) raw(from int) json.RawMessage {
	if !r.raws || r.other {
		return nil
	}
	return r.b[from:r.i:r.i]
}

func (r *own) fill(it *Item) {
	r.want(`{"type":`)
	it.Type = r.word()
	it.ID = r.opt(`,"id":`)
	switch it.Type {
	case TypeMessage:
		it.Status = r.optWord(`,"status":`)
		it.Role = r.optWord(`,"role":`)
		it.Phase = r.optWord(`,"phase":`)
		r.want(`,"content":`)
		it.Content = r.parts()
		r.want("}")
		return
	case TypeFunctionCall:
		r.want(`,"call_id":`)
		it.CallID = r.text()
		r.want(`,"name":`)
		it.Name = r.text()
		r.want(`,"arguments":`)
		it.Arguments = r.text()
	case TypeFunctionCallOutput:
		r.want(`,"call_id":`)
		it.CallID = r.text()
		r.want(`,"output":`)
		if r.next() == '[' {
			it.Output.Parts = r.parts()
		} else {
			it.Output.Text = r.text()
		}
	case TypeReasoning:
		r.want(`,"summary":`)
		it.Summary = r.parts()
		if r.is(`,"content":`) {
			it.Content = r.parts()
		}
		it.EncryptedContent = r.opt(`,"encrypted_content":`)
	default:
		r.fail()
	}
	it.Status = r.optWord(`,"status":`)
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
	from := r.i
	r.want(`{"type":`)
	switch p.Type = r.word(); p.Type {
	case PartRefusal:
		r.want(`,"refusal":`)
		p.Refusal = r.text()
	case PartOutputText:
		r.want(`,"text":`)
		p.Text = r.text()
		r.want(`,"annotations":[]`)
	case PartInputText, PartReasoning, PartSummaryText:
		r.want(`,"text":`)
		p.Text = r.text()
	default:
		r.fail()
	}
	r.want("}")
	p.Raw = r.raw(from)
}

func (r *own) terminal(e *Event) {
	end := new(struct { // most have both
		terminal Terminal
		usage    Usage
	})
	t := &end.terminal
	e.Terminal = t
	r.want(`,"response":{"status":`)
	t.Status = r.word()
	if r.is(`,"incomplete_details":{"reason":`) {
		t.Reason = r.word()
		r.want("}")
	}
	t.Model = r.opt(`,"model":`)
	t.Tier = r.optWord(`,"service_tier":`)
	if r.is(`,"usage":`) {
		e.Usage = &end.usage
		r.usage(e.Usage)
	}
	r.want("}")
}

func (r *own) usage(u *Usage) {
	r.want(`{"input_tokens":`)
	input := r.whole()
	r.want(`,"input_tokens_details":{"cached_tokens":`)
	u.CacheRead = r.whole()
	if r.is(`,"cache_write_tokens":`) {
		u.CacheWrite = r.whole()
	}
	if r.is(`,"cache_write_1h_tokens":`) {
		u.CacheWrite1h = r.whole()
	}
	r.want(`},"output_tokens":`)
	output := r.whole()
	r.want(`,"output_tokens_details":{"reasoning_tokens":`)
	u.Reasoning = r.whole()
	r.want(`},"total_tokens":`)
	r.whole()
	u.Estimated = r.is(`,"estimated":true`)
	r.want("}")
	u.Input = max(0, input-u.CacheRead-u.CacheWrite-u.CacheWrite1h)
	u.Output = max(0, output-u.Reasoning)
}

// is passes over s if it comes next.
func (r *own) is(s string) bool {
	if len(r.b)-r.i < len(s) || string(r.b[r.i:r.i+len(s)]) != s {
		return false
	}
	r.i += len(s)
	return true
}

func (r *own) want(s string) {
	if !r.is(s) {
		r.fail()
	}
}

// fail leaves nothing to read.
func (r *own) fail() { r.other, r.i = true, len(r.b) }

// next is the byte that comes next, 0 at the end.
func (r *own) next() byte {
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

// quoted passes over a string without a quote in it, and gives it as it is
// written, which is what it says if it is one of ours.
func (r *own) quoted() []byte {
	if r.next() != '"' {
		r.fail()
		return nil
	}
	b := r.b[r.i+1:]
	n := bytes.IndexByte(b, '"')
	if n < 0 {
		r.fail()
		return nil
	}
	r.i += n + 2
	return b[:n]
}

// text reads a string into memory of its own.
func (r *own) text() string {
	if r.next() != '"' {
		r.fail()
		return ""
	}
	if r.strict {
		return r.checked()
	}
	b := r.b[r.i+1:]
	n := bytes.IndexByte(b, '"')
	if n < 0 {
		r.fail()
		return ""
	}
	if bytes.IndexByte(b[:n], '\\') >= 0 {
		return r.escaped()
	}
	r.i += n + 2
	return string(b[:n])
}

// checked is text for what has not been checked.
func (r *own) checked() string {
	halves := len(r.halves)
	raw, escaped, f := r.str()
	switch {
	case f != nil || len(r.halves) > halves:
		r.fail()
		return ""
	case escaped:
		return unescape(raw)
	}
	return string(raw)
}

// escaped reads a string with escapes. Those that are not of a letter are left to
// the parser.
func (r *own) escaped() string {
	start := r.i + 1
	if !r.skipString() {
		r.fail()
		return ""
	}
	raw := r.b[start : r.i-1]
	for rest := raw; ; {
		at := bytes.IndexByte(rest, '\\')
		if at < 0 {
			return unescape(raw)
		}
		if unescaped[rest[at+1]] == 0 { // a backslash is never the last
			r.fail()
			return ""
		}
		rest = rest[at+2:]
	}
}

// opt reads a member that may be absent.
func (r *own) opt(key string) string {
	if r.is(key) {
		return r.text()
	}
	return ""
}

// optWord is opt for a word.
func (r *own) optWord(key string) string {
	if r.is(key) {
		return r.word()
	}
	return ""
}

// word reads a string that is likely one of a few, without memory for those, and
// plain letters.
func (r *own) word() string {
	b := r.quoted()
	if w, ok := known(b); ok {
		return w
	}
	if plainBytes(b) < len(b) {
		r.fail()
		return ""
	}
	return string(b)
}

func (r *own) index() int {
	n := r.whole()
	if n > math.MaxInt32 {
		r.fail()
		return 0
	}
	return int(n)
}

// whole reads a whole number of at most 18 digits that is not negative.
func (r *own) whole() (n int64) {
	b, i := r.b[r.i:], 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9' && i < 18; i++ {
		n = 10*n + int64(b[i]-'0')
	}
	if i == 0 || i > 1 && b[0] == '0' {
		r.fail()
		return 0
	}
	r.i += i // a nineteenth digit is not what follows
	return n
}
