package openresponses

import (
	"bytes"

	"github.com/valyala/fastjson"
)

// ours reads a request of another process of ours, which has passed check. Of its
// items, which are most of it, those that are written as AppendJSON writes them
// are read without the parser; the rest goes through it piece by piece. The
// errors are those of request. It reports false for what is no object.
func (d *decoder) ours(body []byte, r *Request) (ok bool, err error) {
	s := scanner{b: body}
	if !s.enter('{') {
		return false, nil
	}
	keep := bytes.Clone(body)
	for s.i < len(s.b) && s.b[s.i] == '"' {
		key, f := s.key()
		if f != nil || !s.enter(':') {
			return false, nil
		}
		name := string(key)
		if name == "input" && s.b[s.i] == '[' {
			r.Input, err = d.ownInput(&s, keep, name)
		} else {
			start := s.i
			s.skip()
			err = d.ownMember(name, s.b[start:s.i], r)
		}
		if err != nil {
			return true, err
		}
		s.enter(',')
	}
	return true, nil
}

// ownMember reads a member; those that most requests have are no work for the
// parser.
func (d *decoder) ownMember(name string, value []byte, r *Request) error {
	in := own{b: value}
	var text string
	var n int64
	switch name {
	case "model", "instructions", "safety_identifier", "prompt_cache_key":
		text = in.str()
	case "max_output_tokens":
		n = in.number()
	case "stream":
		r.Stream = in.is("true")
		in.other = !r.Stream && !in.is("false")
	default:
		in.fail()
	}
	if in.other || len(in.b) > 0 {
		return parse(value, func(v *fastjson.Value) error { return d.member(name, v, r) })
	}
	switch name {
	case "model":
		r.Model = text
	case "instructions":
		r.Instructions = text
	case "safety_identifier":
		r.SafetyIdentifier = text
	case "prompt_cache_key":
		r.PromptCacheKey = text
	case "max_output_tokens":
		r.MaxOutputTokens = &n
	}
	return nil
}

// ownInput reads an array of items; keep is a copy of what s reads.
func (d *decoder) ownInput(s *scanner, keep []byte, name string) ([]Item, error) {
	s.enter('[')
	items := []Item{}
	for s.i < len(s.b) && s.b[s.i] != ']' {
		in := own{b: s.b[s.i:], keep: keep}
		if it := in.item(); !in.other {
			items = append(items, *it)
			s.i = len(s.b) - len(in.b)
		} else {
			start := s.i
			s.skip()
			items = append(items, Item{})
			it := &items[len(items)-1]
			err := parse(s.b[start:s.i], func(v *fastjson.Value) (err error) {
				*it, err = d.item(v)
				return err
			})
			if err != nil {
				return nil, within(err, at(name, len(items)-1))
			}
		}
		s.enter(',')
	}
	s.enter(']')
	return items, nil
}
