package lint

import (
	"slices"
	"strings"
)

// list is which list of parts the event is about, and the index in it.
func list(o object) (name string, index int64) {
	if v, ok := o["summary_index"]; ok {
		return "summary", intOf(v)
	}
	return "content", intOf(o["content_index"])
}

// partEvent opens or closes a part.
func (s *stream) partEvent(typ string, o object) {
	name, index := list(o)
	parts := s.open.parts[name]
	p := o["part"].(object)
	allowed := map[string][]string{"message": {"output_text", "refusal"}, "reasoning": {"reasoning_text"}}[s.open.typ]
	if name == "summary" {
		allowed = []string{"summary_text"}
	}
	if name == "summary" && s.open.typ != "reasoning" || allowed == nil {
		s.bad(s.where, "a %s item has no %s", s.open.typ, name)
		return
	}
	s.part(s.where+".part", p, allowed...)
	body := partText(p)
	if strings.HasSuffix(typ, ".added") {
		if index != int64(len(parts)) {
			s.bad(s.where, "the index is %d, want %d", index, len(parts))
		}
		for _, before := range s.open.parts {
			if len(before) > 0 && !before[len(before)-1].closed {
				s.bad(s.where, "the part before is still open")
			}
		}
		if body != "" {
			s.bad(s.where, "a new part has text already")
		}
		kind, _ := p["type"].(string)
		s.open.parts[name] = append(parts, &openPart{typ: kind})
		return
	}
	part := s.openPart(name, index)
	if part == nil {
		return
	}
	part.closed = true
	if !part.said {
		s.bad(s.where, "the part closes before its text is done")
	}
	if p["type"] != part.typ || body != part.text.String() {
		s.bad(s.where, "the finished part is not what its deltas gave: %.60q, want %.60q", body, part.text.String())
	}
	if notes, _ := p["annotations"].([]any); len(notes) != len(part.annotations) {
		s.bad(s.where, "the finished part has %d annotations, the stream had %d", len(notes), len(part.annotations))
	}
}

func (s *stream) openPart(name string, index int64) *openPart {
	parts := s.open.parts[name]
	if index != int64(len(parts))-1 || parts[index].closed {
		s.bad(s.where, "%s part %d is not open", name, index)
		return nil
	}
	return parts[index]
}

func partText(p object) string {
	if t, ok := p["refusal"].(string); ok {
		return t
	}
	t, _ := p["text"].(string)
	return t
}

// textTypes says which part the text events belong to.
var textTypes = []struct{ prefix, part string }{
	{"response.output_text.", "output_text"},
	{"response.refusal.", "refusal"},
	{"response.reasoning_summary_text.", "summary_text"},
	{"response.reasoning_text.", "reasoning_text"},
	{"response.reasoning.", "reasoning_text"},
}

// textEvent adds to a part, or ends its text.
func (s *stream) textEvent(typ string, o object) {
	name, index := list(o)
	part := s.openPart(name, index)
	if part == nil {
		return
	}
	i := slices.IndexFunc(textTypes, func(t struct{ prefix, part string }) bool { return strings.HasPrefix(typ, t.prefix) })
	if i < 0 || textTypes[i].part != part.typ {
		s.bad(s.where, "it does not belong to a part of type %s", part.typ)
		return
	}
	if v, ok := o["logprobs"]; ok && kindOf(v) != array {
		s.bad(s.where, "logprobs is %s", kindOf(v))
	}
	switch {
	case part.said:
		s.bad(s.where, "the text of the part is done already")
	case strings.HasSuffix(typ, ".annotation.added"):
		s.annotation(s.where+".annotation", o["annotation"])
		if intOf(o["annotation_index"]) != int64(len(part.annotations)) {
			s.bad(s.where, "annotation_index is %v, want %d", o["annotation_index"], len(part.annotations))
		}
		part.annotations = append(part.annotations, o["annotation"])
	case strings.HasSuffix(typ, ".delta"):
		part.text.WriteString(o["delta"].(string))
	default:
		part.said = true
		if got := partText(o); got != part.text.String() {
			s.bad(s.where, "the text is not what its deltas gave: %.60q, want %.60q", got, part.text.String())
		}
	}
}

// compareParts holds the finished item against the parts of the stream.
func (s *stream) compareParts(name string, it object) {
	parts := s.open.parts[name]
	got, _ := it[name].([]any)
	if len(got) != len(parts) {
		s.bad(s.where, "the item has %d %s parts, the stream had %d", len(got), name, len(parts))
		return
	}
	for i, p := range parts {
		o, _ := got[i].(object)
		if !p.closed {
			s.bad(s.where, "%s part %d is still open", name, i)
		}
		if o["type"] != p.typ || partText(o) != p.text.String() {
			s.bad(s.where, "%s part %d is not what the stream gave", name, i)
		}
		if notes, _ := o["annotations"].([]any); !same(notes, append([]any{}, p.annotations...)) && len(notes)+len(p.annotations) > 0 {
			s.bad(s.where, "%s part %d has other annotations than the stream", name, i)
		}
	}
}
