package main

import (
	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func (r *reader) badRole(role string, p *place, words string) {
	at := p.in("role")
	if role == "" {
		r.missing(at, "it must be one of "+words+".")
		return
	}
	r.fail(apierror.Invalid, at, "%s is %q; it must be one of %s.", at.String(), clip(role), words)
}

// parts reads the content of a message: a text, parts, or nothing.
func (r *reader) parts(v *fastjson.Value, p *place, role string) []or.Part {
	if isStr(v) {
		if s := text(v); s != "" {
			return []or.Part{textOf(role, s)}
		}
		return nil
	}
	var out []or.Part
	for i, c := range r.array(v, p) {
		if part, ok := r.part(c, p.at(i), role); ok {
			out = append(out, part)
		}
	}
	return out
}

// textOf is a part of text as that role says it.
func textOf(role, s string) or.Part {
	typ := or.PartInputText
	if role == "assistant" {
		typ = or.PartOutputText
	}
	return or.Part{Type: typ, Text: s}
}

// part reads a part of either API, and Anthropic's blocks, which Cursor sends.
func (r *reader) part(v *fastjson.Value, p *place, role string) (or.Part, bool) {
	if isStr(v) {
		return textOf(role, text(v)), text(v) != ""
	}
	if !isObj(v) {
		r.invalid(p, "an object", v)
		return or.Part{}, false
	}
	switch typ := r.str(v.Get("type"), p.in("type")); typ {
	case "text", or.PartInputText, or.PartOutputText, "summary_text", "reasoning_text":
		part := textOf(role, r.str(v.Get("text"), p.in("text")))
		if part.Text == "" {
			return part, false // providers refuse it, and it says nothing
		}
		part.Raw = cacheMark(v, part.AppendJSON(nil))
		return part, true
	case or.PartRefusal:
		return or.Part{Type: or.PartRefusal, Refusal: r.str(v.Get("refusal"), p.in("refusal"))}, true
	case "image_url", or.PartInputImage, "image":
		return r.image(v, p)
	case "file", or.PartInputFile, "document":
		return r.file(v, p)
	case "input_audio", "audio":
		r.unsupported(p, "%s is audio, which the models here are not given. Send its transcript as text.", p.String())
	case "thinking", "redacted_thinking":
		// kept by the core where its provider wants it back
	case "":
		r.missing(p.in("type"), "say what this is.")
	default:
		r.lose(p)
	}
	return or.Part{}, false
}

func (r *reader) image(v *fastjson.Value, p *place) (or.Part, bool) {
	part := or.Part{Type: or.PartInputImage}
	u, at := v.Get("image_url"), p.in("image_url")
	if isObj(u) { // chat/completions
		part.Detail = r.word(u.Get("detail"), at.in("detail"), "low", "high", "auto")
		u, at = u.Get("url"), at.in("url")
	}
	part.ImageURL = r.str(u, at)
	part.FileID = r.str(v.Get("file_id"), p.in("file_id"))
	if d := v.Get("detail"); part.Detail == "" {
		part.Detail = r.word(d, p.in("detail"), "low", "high", "auto")
	}
	if s := v.Get("source"); part.ImageURL == "" && isObj(s) {
		part.ImageURL = r.source(s, p.in("source"))
	}
	switch {
	case part.ImageURL != "":
		part.Raw = cacheMark(v, part.AppendJSON(nil))
		return part, true
	case part.FileID != "":
		r.unsupported(p.in("file_id"), "%s names a file that is stored at a provider, where the model that answers here cannot read it. Send the picture itself.", p.in("file_id").String())
	default:
		r.missing(p.in("image_url"), "send the picture as an https or data URL.")
	}
	return part, false
}

// source is where Anthropic's blocks keep their data.
func (r *reader) source(v *fastjson.Value, p *place) string {
	if u := r.str(v.Get("url"), p.in("url")); u != "" {
		return u
	}
	data := r.str(v.Get("data"), p.in("data"))
	if data == "" {
		return ""
	}
	return "data:" + r.str(v.Get("media_type"), p.in("media_type")) + ";base64," + data
}

func (r *reader) file(v *fastjson.Value, p *place) (or.Part, bool) {
	part := or.Part{Type: or.PartInputFile}
	inner, at := v, p
	if f := v.Get("file"); isObj(f) { // chat/completions
		inner, at = f, p.in("file")
	}
	part.FileData = r.str(inner.Get("file_data"), at.in("file_data"))
	part.FileURL = r.str(inner.Get("file_url"), at.in("file_url"))
	part.Filename = r.str(inner.Get("filename"), at.in("filename"))
	part.FileID = r.str(inner.Get("file_id"), at.in("file_id"))
	if s := v.Get("source"); isObj(s) {
		if s.Get("url") != nil {
			part.FileURL = r.source(s, p.in("source"))
		} else {
			part.FileData = r.source(s, p.in("source"))
		}
		part.Filename = r.str(v.Get("title"), p.in("title"))
	}
	switch {
	case part.FileData != "" || part.FileURL != "":
		return part, true
	case part.FileID != "":
		r.unsupported(at.in("file_id"), "%s names a file that is stored at a provider, where the model that answers here cannot read it. Send its content in file_data.", at.in("file_id").String())
	default:
		r.missing(at.in("file_data"), "send the file's content as a data URL.")
	}
	return part, false
}

// output reads what a tool gave: a text, parts, or any other JSON, which is
// told as text.
func (r *reader) output(v *fastjson.Value, p *place) or.Output {
	if !isArr(v) {
		return or.Output{Text: outputText(v)}
	}
	ps := r.parts(v, p, "user")
	plain := true
	for i := range ps {
		plain = plain && ps[i].Type == or.PartInputText && ps[i].Raw == nil
	}
	if len(ps) == 0 {
		return or.Output{}
	}
	if plain && len(ps) == 1 {
		return or.Output{Text: ps[0].Text}
	}
	return or.Output{Parts: ps}
}
