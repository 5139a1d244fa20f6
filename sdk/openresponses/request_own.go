package openresponses

import (
	"bytes"
	"strconv"

	"github.com/valyala/fastjson"
)

// ownRequest reads a request of another process of ours. It checks what it reads
// on the way; what is written as AppendJSON writes it, which is most of it, is
// read without the parser, the rest goes through it piece by piece. It reports
// false for all that check or the parser refuse or change: readRequest then reads
// it, or says what is wrong with it.
func ownRequest(body []byte) (*Request, bool) {
	r := own{scanner: scanner{b: bytes.Clone(body)}, strict: true, raws: true}
	to := new(Request)
	ok := r.request(to)
	return to, ok
}

// request reads the whole of b.
func (r *own) request(to *Request) bool {
	if !r.enter('{') {
		return false
	}
	var many map[string]struct{}
	for first := true; !r.enter('}'); first = false {
		if !first && !r.enter(',') || r.next() != '"' {
			return false
		}
		key, f := r.key()
		if f != nil || r.seen(0, key, &many) || !r.enter(':') || !r.member(r.name(key), to) {
			return false
		}
	}
	return r.i == len(r.b) && len(r.halves) == 0
}

// member reads a value of the request; those that most requests have are no work
// for the parser.
func (r *own) member(name []byte, to *Request) (ok bool) {
	next := r.next()
	switch string(name) {
	case "input":
		if next == '[' {
			to.Input, ok = ownList(r, (*own).item, (*decoder).item)
			return ok
		}
	case "tools":
		if next == '[' {
			to.Tools, ok = ownList(r, (*own).tool, (*decoder).tool)
			return ok
		}
	case "stream":
		if next == 't' || next == 'f' {
			to.Stream = r.truth()
			return !r.other
		}
	case "store":
		if next == 't' || next == 'f' {
			b := r.truth()
			to.Store = &b
			return !r.other
		}
	case "parallel_tool_calls":
		if next == 't' || next == 'f' {
			b := r.truth()
			to.ParallelToolCalls = &b
			return !r.other
		}
	case "max_output_tokens":
		if next >= '0' && next <= '9' {
			n := r.whole()
			to.MaxOutputTokens = &n
			return !r.other
		}
	case "temperature":
		if next >= '0' && next <= '9' {
			f := r.float()
			to.Temperature = &f
			return !r.other
		}
	case "top_p":
		if next >= '0' && next <= '9' {
			f := r.float()
			to.TopP = &f
			return !r.other
		}
	}
	if text := ownText(name, to); text != nil && next == '"' {
		*text = r.text()
		return !r.other
	}
	return r.piece(1, func(d *decoder, v *fastjson.Value) error { return d.member(textOf(name), v, to) })
}

// ownText gives the field of a member that is a text, nil for others.
func ownText(name []byte, to *Request) *string {
	switch string(name) {
	case "model":
		return &to.Model
	case "instructions":
		return &to.Instructions
	case "truncation":
		return &to.Truncation
	case "service_tier":
		return &to.ServiceTier
	case "safety_identifier":
		return &to.SafetyIdentifier
	case "prompt_cache_key":
		return &to.PromptCacheKey
	case "previous_response_id":
		return &to.PreviousResponseID
	}
	return nil
}

func (r *own) truth() bool {
	is := r.is("true")
	if !is {
		r.want("false")
	}
	return is
}

func (r *own) float() float64 {
	start := r.i
	if r.number() != nil {
		r.fail()
		return 0
	}
	f, err := strconv.ParseFloat(string(r.b[start:r.i]), 64)
	if err != nil { // too large for one
		r.fail()
	}
	return f
}

// ownList reads an array, each of its values by own where that can read it, and
// else by the parser.
func ownList[T any](r *own, own func(*own, *T), parsed func(*decoder, *fastjson.Value) (T, error)) ([]T, bool) {
	list := []T{}
	for r.enter('['); !r.enter(']'); {
		if len(list) > 0 && !r.enter(',') {
			return nil, false
		}
		var none T
		list = append(list, none)
		to, start := &list[len(list)-1], r.i
		if own(r, to); !r.other {
			continue
		}
		r.other, r.i = false, start
		ok := r.piece(2, func(d *decoder, v *fastjson.Value) (err error) {
			*to, err = parsed(d, v)
			return err
		})
		if !ok {
			return nil, false
		}
	}
	return list, true
}

// tool reads a function tool.
func (r *own) tool(t *Tool) {
	from := r.i
	r.want(`{"type":`)
	if t.Type = r.word(); t.Type != "function" {
		r.fail()
		return
	}
	t.Name = r.opt(`,"name":`)
	t.Description = r.opt(`,"description":`)
	if r.is(`,"parameters":`) {
		start, gaps := r.i, r.gaps
		if r.next() != '{' || r.value(3) != nil || r.gaps != gaps {
			r.fail()
			return
		}
		t.Parameters = r.b[start:r.i:r.i]
	}
	if r.is(`,"strict":`) {
		b := r.truth()
		t.Strict = &b
	}
	r.want("}")
	t.Raw = r.raw(from)
}

// piece reads the value that comes next, at that depth of nesting, by the parser.
func (r *own) piece(depth int, read func(*decoder, *fastjson.Value) error) bool {
	start, gaps := r.i, r.gaps
	if r.value(depth) != nil || len(r.halves) > 0 {
		return false
	}
	piece := r.b[start:r.i:r.i]
	return parse(piece, func(v *fastjson.Value) error {
		var d decoder
		if r.gaps == gaps {
			d.root, d.rootRaw = v, piece
		} else {
			d.slab = make([]byte, 0, len(piece))
		}
		return read(&d, v)
	}) == nil
}
