package main

import (
	"encoding/base64"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// content reads a block that says something by itself, in a message or in the
// result of a tool.
func (a *accepter) content(at, kind string, b *fastjson.Value) ([]or.Part, error) {
	switch kind {
	case "text":
		p, ok, err := a.textBlock(at, b)
		if err != nil || !ok {
			return nil, err
		}
		return []or.Part{p}, nil
	case "image":
		a.unknown(at, b, "type", "source", markName)
		p, err := a.image(at, b)
		markPart(&p, markOf(b))
		return []or.Part{p}, err
	case "document":
		return a.document(at, b)
	case "search_result":
		return a.searchResult(at, b)
	case "tool_reference": // the tool it names is declared, and that is all it says
		name, err := textOf(b, at, "tool_name")
		return []or.Part{{Type: or.PartInputText, Text: name}}, err
	case "":
		return nil, apierror.At(apierror.Invalid, at+".type", "%s.type: Field required. Say which kind of block this is, for example \"text\".", at)
	}
	a.lost.Add("%s", at)
	return nil, nil
}

// textBlock reads a text block; it reports false for one that says nothing.
func (a *accepter) textBlock(at string, b *fastjson.Value) (or.Part, bool, error) {
	if b.Type() != fastjson.TypeObject {
		return or.Part{}, false, wrong(at, "an object")
	}
	text, err := textOf(b, at, "text")
	if err != nil {
		return or.Part{}, false, err
	}
	if memberOf(b, "text") == nil {
		return or.Part{}, false, apierror.At(apierror.Invalid, at+".text", "%s.text: Field required.", at)
	}
	a.unknown(at, b, "type", "text", "citations", markName)
	p := or.Part{Type: or.PartInputText, Text: text}
	markPart(&p, markOf(b))
	return p, text != "", nil
}

// origin is where the bytes of an image or document are.
type origin struct{ Type, MediaType, Data, URL, FileID string }

// source reads where the bytes of an image or document are.
func (a *accepter) source(at string, b *fastjson.Value) (origin, error) {
	v, err := objectOf(b, at, "source")
	at += ".source"
	if err != nil {
		return origin{}, err
	}
	if v == nil {
		return origin{}, apierror.At(apierror.Invalid, at, "%s: Field required.", at)
	}
	var s origin
	for _, m := range []struct {
		name string
		to   *string
	}{{"type", &s.Type}, {"media_type", &s.MediaType}, {"data", &s.Data}, {"url", &s.URL}, {"file_id", &s.FileID}} {
		if *m.to, err = textOf(v, at, m.name); err != nil {
			return origin{}, err
		}
	}
	a.unknown(at, v, "type", "media_type", "data", "url", "file_id", "content")
	switch {
	case s.Type == "base64" && s.Data != "" && s.MediaType != "", s.Type == "url" && s.URL != "", s.Type == "file" && s.FileID != "",
		s.Type == "text", s.Type == "content":
		return s, nil
	}
	return origin{}, apierror.At(apierror.Invalid, at, "%s must be of type base64 with media_type and data, url with url, or file with file_id.", at)
}

func (a *accepter) image(at string, b *fastjson.Value) (or.Part, error) {
	s, err := a.source(at, b)
	if err != nil {
		return or.Part{}, err
	}
	p := or.Part{Type: or.PartInputImage}
	switch s.Type {
	case "base64":
		p.ImageURL = "data:" + s.MediaType + ";base64," + s.Data
	case "url":
		p.ImageURL = s.URL
	case "file":
		p.FileID = s.FileID
	default:
		return or.Part{}, wrong(at+".source.type", "base64, url or file")
	}
	return p, nil
}

// document is a PDF, which stays a file, or text, which every model reads as
// text.
func (a *accepter) document(at string, b *fastjson.Value) ([]or.Part, error) {
	s, err := a.source(at, b)
	if err != nil {
		return nil, err
	}
	title, err := textOf(b, at, "title")
	if err != nil {
		return nil, err
	}
	about, err := textOf(b, at, "context")
	if err != nil {
		return nil, err
	}
	if b.GetBool("citations", "enabled") {
		a.lost.Add("%s.citations", at)
	}
	a.unknown(at, b, "type", "source", "title", "context", "citations", markName)
	p := or.Part{Type: or.PartInputFile, Filename: title}
	switch {
	case s.Type == "base64" && strings.HasPrefix(s.MediaType, "text/"):
		raw, err := base64.StdEncoding.DecodeString(s.Data)
		if err != nil {
			return nil, wrong(at+".source.data", "base64")
		}
		p = or.Part{Type: or.PartInputText, Text: titled(title, about, strings.ToValidUTF8(string(raw), "\uFFFD"))}
	case s.Type == "base64":
		if p.FileData = "data:" + s.MediaType + ";base64," + s.Data; p.Filename == "" {
			p.Filename = "document.pdf"
		}
	case s.Type == "url":
		p.FileURL = s.URL
	case s.Type == "file":
		p.FileID = s.FileID
	case s.Type == "text":
		p = or.Part{Type: or.PartInputText, Text: titled(title, about, s.Data)}
	default:
		return a.contentSource(at, title, b.Get("source", "content"))
	}
	if p.Type == or.PartInputFile && about != "" {
		a.lost.Add("%s.context", at)
	}
	markPart(&p, markOf(b))
	return []or.Part{p}, nil
}

// contentSource is a document that the client wrote as blocks.
func (a *accepter) contentSource(at, title string, v *fastjson.Value) ([]or.Part, error) {
	here := at + ".source.content"
	if v == nil {
		return nil, apierror.At(apierror.Invalid, here, "%s: Field required.", here)
	}
	if text, err := v.StringBytes(); err == nil {
		return []or.Part{{Type: or.PartInputText, Text: titled(title, "", string(text))}}, nil
	}
	blocks, err := v.Array()
	if err != nil {
		return nil, wrong(here, "a text or a list of blocks")
	}
	var parts []or.Part
	for i, b := range blocks {
		if b.Type() != fastjson.TypeObject {
			return nil, wrong(element(here, i), "an object")
		}
		kind := string(b.GetStringBytes("type"))
		if kind != "text" && kind != "image" {
			a.lost.Add("%s", element(here, i))
			continue
		}
		more, err := a.content(element(here, i), kind, b)
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	return parts, nil
}

// searchResult is what the client found itself and lays before the model.
func (a *accepter) searchResult(at string, b *fastjson.Value) ([]or.Part, error) {
	title, err := textOf(b, at, "title")
	if err != nil {
		return nil, err
	}
	from, err := textOf(b, at, "source")
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, c := range b.GetArray("content") {
		text.Write(c.GetStringBytes("text"))
		text.WriteByte('\n')
	}
	a.unknown(at, b, "type", "title", "source", "content", "citations", markName)
	p := or.Part{Type: or.PartInputText, Text: titled(title, from, text.String())}
	markPart(&p, markOf(b))
	return []or.Part{p}, nil
}

// titled puts what a text is called above it.
func titled(title, about, text string) string {
	for _, line := range []string{about, title} {
		if line != "" {
			text = line + "\n" + text
		}
	}
	return text
}
