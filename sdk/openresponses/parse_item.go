package openresponses

import (
	"encoding/json"
	"strings"

	"github.com/valyala/fastjson"
)

// ParseItem reads one item of `input` or `output` under the rules of
// ParseRequest. The item keeps its whole JSON in Raw.
func ParseItem(raw []byte) (Item, error) {
	raw, err := check(raw)
	if err != nil {
		return Item{}, err
	}
	var it Item
	err = parse(raw, func(v *fastjson.Value) (err error) {
		d := decoder{client: true, slab: make([]byte, 0, len(raw))}
		it, err = d.item(v)
		return err
	})
	return it, err
}

func (d *decoder) item(v *fastjson.Value) (Item, error) {
	if v.Type() != fastjson.TypeObject {
		return Item{}, wrongType(v, "", "an object")
	}
	it := Item{Raw: d.raw(v)}
	err := d.itemFields(v, &it)
	return it, err
}

// itemFields fills it from v; it.Raw, if set, is v's JSON.
func (d *decoder) itemFields(v *fastjson.Value, it *Item) (err error) {
	if it.Type, err = d.str(v.Get("type"), "type"); err != nil {
		return err
	}
	if it.Type == "" {
		if it.Type = guessType(v); it.Type == "" {
			return invalid("type", "type is missing, and this is not a message: a message has a role.")
		}
	}
	switch it.Type {
	case TypeMessage, TypeFunctionCall, TypeFunctionCallOutput, TypeReasoning, TypeCompaction, TypeItemReference:
		if it.ID, err = d.str(v.Get("id"), "id"); err != nil {
			return err
		}
		if it.Status, err = d.str(v.Get("status"), "status"); err != nil {
			return err
		}
	default:
		it.ID, it.Status = d.lax(v.Get("id")), d.lax(v.Get("status"))
	}
	switch it.Type {
	case TypeMessage:
		return d.message(v, it)
	case TypeFunctionCall:
		if it.CallID, err = d.callID(v); err != nil {
			return err
		}
		if it.Name, err = d.str(v.Get("name"), "name"); err != nil {
			return err
		}
		if d.client && !ValidName(it.Name) {
			return invalid("name", "name must match ^[a-zA-Z0-9_-]{1,64}$.")
		}
		it.Arguments, err = d.short(v.Get("arguments"), "arguments", maxText)
		return err
	case TypeFunctionCallOutput:
		if it.CallID, err = d.callID(v); err != nil {
			return err
		}
		return d.output(v.Get("output"), it)
	case TypeReasoning:
		if it.Summary, err = d.parts(v.Get("summary"), "summary", it.Raw); err != nil {
			return err
		}
		if it.Content, err = d.parts(v.Get("content"), "content", it.Raw); err != nil {
			return err
		}
		it.EncryptedContent, err = d.str(v.Get("encrypted_content"), "encrypted_content")
		return err
	case TypeCompaction:
		it.EncryptedContent, err = d.str(v.Get("encrypted_content"), "encrypted_content")
		return err
	case TypeItemReference:
		if it.ID == "" {
			return invalid("id", "id is missing: say which item is meant.")
		}
		return nil
	}
	// Of items we only carry, read what is there in the usual shape.
	it.CallID, it.Name = d.lax(v.Get("call_id")), d.lax(v.Get("name"))
	it.Arguments, it.Output.Text = d.lax(v.Get("arguments")), d.lax(v.Get("output"))
	return nil
}

// guessType names the type of an item that came without: some clients leave it
// off, and some lose it when they echo what they were given.
func guessType(v *fastjson.Value) string {
	switch {
	case !null(v.Get("role")):
		return TypeMessage
	case !null(v.Get("call_id")) && v.Get("output") != nil:
		return TypeFunctionCallOutput
	case !null(v.Get("call_id")) && !null(v.Get("name")):
		return TypeFunctionCall
	case !null(v.Get("id")) && null(v.Get("content")):
		return TypeItemReference
	}
	return ""
}

func (d *decoder) callID(v *fastjson.Value) (string, error) {
	id, err := d.short(v.Get("call_id"), "call_id", maxName)
	if err == nil && id == "" && d.client {
		return "", invalid("call_id", "call_id is missing: it ties a function's output to its call.")
	}
	return id, err
}

func (d *decoder) message(v *fastjson.Value, it *Item) (err error) {
	role := v.Get("role")
	if null(role) && d.client {
		return invalid("role", "role is missing: it must be one of user, assistant, system, developer.")
	}
	if it.Role, err = d.word(role, "role", "user", "assistant", "system", "developer"); err != nil {
		return err
	}
	if it.Phase, err = d.word(v.Get("phase"), "phase", "commentary", "final_answer"); err != nil {
		return err
	}
	c := v.Get("content")
	switch {
	case c == nil && d.client:
		return invalid("content", "content is missing: it must be a string or an array of parts.")
	case null(c):
		return nil
	case c.Type() == fastjson.TypeString:
		s, err := d.short(c, "content", maxText)
		if err != nil {
			return err
		}
		it.Content = Text(it.Role, s).Content
		return nil
	case c.Type() != fastjson.TypeArray:
		return wrongType(c, "content", "a string or an array of parts")
	}
	it.Content, err = d.parts(c, "content", it.Raw)
	return err
}

func (d *decoder) output(v *fastjson.Value, it *Item) (err error) {
	switch {
	case v == nil && d.client:
		return invalid("output", "output is missing: it must be a string or an array of parts.")
	case null(v):
		return nil
	case v.Type() == fastjson.TypeString:
		it.Output.Text, err = d.short(v, "output", maxText)
		return err
	case v.Type() != fastjson.TypeArray:
		return wrongType(v, "output", "a string or an array of parts")
	}
	it.Output.Parts, err = d.parts(v, "output", it.Raw)
	return err
}

// parts reads an array of parts, which is never nil unless it was null. Their
// Raw shares the memory of parent, the item's own Raw.
func (d *decoder) parts(v *fastjson.Value, name string, parent json.RawMessage) ([]Part, error) {
	a, err := d.array(v, name)
	if err != nil || a == nil {
		return nil, err
	}
	parts := make([]Part, len(a))
	raws := scanner{b: member(parent, name)}
	raws.enter('[')
	for i, v := range a {
		if v.Type() != fastjson.TypeObject {
			return nil, wrongType(v, at(name, i), "an object")
		}
		if parts[i].Raw = raws.element(); parts[i].Raw == nil {
			if parts[i].Raw, err = d.rawIfUnknown(v, partMembers); err != nil {
				return nil, err
			}
		}
		if err := d.part(v, &parts[i]); err != nil {
			return nil, within(err, at(name, i))
		}
	}
	return parts, nil
}

// sub gives the JSON of v, a member of parent, without a second copy if parent
// is kept.
func (d *decoder) sub(v *fastjson.Value, parent json.RawMessage, name string) json.RawMessage {
	if m := member(parent, name); m != nil {
		return m
	}
	return d.raw(v)
}

func (d *decoder) part(v *fastjson.Value, p *Part) (err error) {
	if p.Type, err = d.str(v.Get("type"), "type"); err != nil {
		return err
	}
	switch p.Type {
	case "":
		return invalid("type", "type is missing: say what this part is, for example \"input_text\".")
	case PartInputText, PartOutputText, PartReasoning, PartSummaryText, "text":
		t := v.Get("text")
		if t == nil && d.client {
			return invalid("text", "text is missing.")
		}
		if p.Type == PartOutputText {
			if lp := v.Get("logprobs"); !null(lp) {
				if lp.Type() != fastjson.TypeArray {
					return wrongType(lp, "logprobs", "an array")
				}
				p.Logprobs = d.sub(lp, p.Raw, "logprobs")
			}
			if p.Annotations, err = d.annotations(v.Get("annotations"), p.Raw); err != nil {
				return err
			}
		}
		p.Text, err = d.short(t, "text", maxText)
	case PartRefusal:
		p.Refusal, err = d.short(v.Get("refusal"), "refusal", maxText)
	case PartInputImage:
		if p.ImageURL, err = d.short(v.Get("image_url"), "image_url", maxImageURL); err != nil {
			return err
		}
		if p.FileID, err = d.str(v.Get("file_id"), "file_id"); err != nil {
			return err
		}
		p.Detail, err = d.word(v.Get("detail"), "detail", "low", "high", "auto")
	case PartInputFile:
		if p.FileData, err = d.short(v.Get("file_data"), "file_data", maxFileData); err != nil {
			return err
		}
		if p.FileURL, err = d.str(v.Get("file_url"), "file_url"); err != nil {
			return err
		}
		if p.FileID, err = d.str(v.Get("file_id"), "file_id"); err != nil {
			return err
		}
		p.Filename, err = d.str(v.Get("filename"), "filename")
	}
	return err
}

func (d *decoder) annotations(v *fastjson.Value, part json.RawMessage) ([]Annotation, error) {
	a, err := d.array(v, "annotations")
	if err != nil || len(a) == 0 {
		return nil, err
	}
	out := make([]Annotation, len(a))
	raws := elements(member(part, "annotations"))
	for i, v := range a {
		if i < len(raws) {
			out[i].Raw = raws[i]
		}
		if err = d.annotation(v, &out[i]); err != nil {
			return nil, within(err, at("annotations", i))
		}
	}
	return out, nil
}

// annotation fills a from v; a.Raw, if set, is v's JSON.
func (d *decoder) annotation(v *fastjson.Value, a *Annotation) (err error) {
	if v.Type() != fastjson.TypeObject {
		return wrongType(v, "", "an object")
	}
	if a.Raw == nil {
		if a.Raw, err = d.rawIfUnknown(v, "type url title start_index end_index"); err != nil {
			return err
		}
	}
	if a.Type, err = d.str(v.Get("type"), "type"); err != nil || a.Type != "url_citation" {
		return err
	}
	if a.URL, err = d.str(v.Get("url"), "url"); err != nil {
		return err
	}
	if a.Title, err = d.str(v.Get("title"), "title"); err != nil {
		return err
	}
	if a.StartIndex, err = d.index(v.Get("start_index"), "start_index"); err != nil {
		return err
	}
	a.EndIndex, err = d.index(v.Get("end_index"), "end_index")
	return err
}

func (d *decoder) index(v *fastjson.Value, name string) (int, error) {
	n, err := d.integer(v, name, 0, 1<<31-1)
	if err != nil || n == nil {
		return 0, err
	}
	return int(*n), nil
}

// unknownMembers reports whether v has members that known, a list of names
// between spaces, does not name.
func unknownMembers(v *fastjson.Value, known string) bool {
	o, err := v.Object()
	if err != nil {
		return false
	}
	unknown := false
	o.Visit(func(key []byte, _ *fastjson.Value) {
		for rest, name := known, ""; rest != "" && !unknown; {
			name, rest, _ = strings.Cut(rest, " ")
			if name == string(key) {
				return
			}
		}
		unknown = true
	})
	return unknown
}
