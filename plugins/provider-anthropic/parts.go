package main

import (
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// imageTypes are the images that Anthropic takes as data.
var imageTypes = map[string]bool{"image/jpeg": true, "image/png": true, "image/gif": true, "image/webp": true}

// parts are the content blocks for the parts of a message or output. Blank
// texts are left out, because Anthropic refuses them.
func (e *encoder) parts(en dialogue.Entry, list string, parts []or.Part) ([]block, error) {
	var out []block
	for i := range parts {
		p, at := &parts[i], en.Part(list, i)
		var b block
		var ok bool
		var err error
		switch p.Type {
		case or.PartInputText, or.PartOutputText:
			b, ok = block{Type: "text", Text: p.Text}, strings.TrimSpace(p.Text) != ""
		case or.PartRefusal:
			b, ok = block{Type: "text", Text: p.Refusal}, strings.TrimSpace(p.Refusal) != ""
		case or.PartInputImage:
			b, ok, err = e.image(at, p)
		case or.PartInputFile:
			b, ok, err = e.file(at, p)
		default:
			e.lost.Add("%s", at)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			b.CacheControl = markIn(p.Raw)
			out = append(out, b)
		}
	}
	return out, nil
}

func (e *encoder) image(at string, p *or.Part) (block, bool, error) {
	if p.Detail == "low" || p.Detail == "high" {
		e.lost.Add("%s.detail", at)
	}
	switch {
	case p.ImageURL == "":
		e.lost.Add("%s.file_id", at) // a file stored at another provider
		return block{}, false, nil
	case dialogue.IsHTTPS(p.ImageURL):
		return block{Type: "image", Source: &source{Type: "url", URL: p.ImageURL}}, true, nil
	case !strings.HasPrefix(p.ImageURL, "data:"):
		return block{}, false, apierror.At(apierror.Invalid, at+".image_url", "%s.image_url must be an https URL or a data URL; this model's provider fetches nothing else.", at)
	}
	d, ok := dialogue.ParseData(p.ImageURL, "")
	if !ok {
		return block{}, false, apierror.At(apierror.Invalid, at+".image_url", "%s.image_url is a data URL that cannot be read. Write it as data:image/png;base64,… .", at)
	}
	if d.Type == "image/jpg" {
		d.Type = "image/jpeg"
	}
	if !imageTypes[d.Type] {
		return block{}, false, apierror.At(apierror.Unsupported, at+".image_url", "%s.image_url is of type %q, which this model does not take. Send JPEG, PNG, GIF or WebP.", at, d.Type)
	}
	return block{Type: "image", Source: &source{Type: "base64", MediaType: d.Type, Data: d.Base64}}, true, nil
}

// file is a document: a PDF as data or URL, or a text.
func (e *encoder) file(at string, p *or.Part) (block, bool, error) {
	switch {
	case p.FileData == "" && p.FileURL == "":
		e.lost.Add("%s.file_id", at)
		return block{}, false, nil
	case p.FileData == "":
		if !dialogue.IsHTTPS(p.FileURL) {
			return block{}, false, apierror.At(apierror.Invalid, at+".file_url", "%s.file_url must be an https URL; this model's provider fetches nothing else.", at)
		}
		return block{Type: "document", Source: &source{Type: "url", URL: p.FileURL}, Title: p.Filename}, true, nil
	}
	d, ok := dialogue.ParseData(p.FileData, p.Filename)
	if !ok {
		return block{}, false, apierror.At(apierror.Invalid, at+".file_data", "%s.file_data cannot be read. Write it as a data URL: data:application/pdf;base64,… .", at)
	}
	isText := strings.HasPrefix(d.Type, "text/") || d.Type == "application/json"
	switch {
	case d.Type == "application/pdf", d.Type == "" && strings.HasPrefix(d.Base64, "JVBERi0"): // "%PDF-"
		return block{Type: "document", Source: &source{Type: "base64", MediaType: "application/pdf", Data: d.Base64}, Title: p.Filename}, true, nil
	case imageTypes[d.Type]:
		return block{Type: "image", Source: &source{Type: "base64", MediaType: d.Type, Data: d.Base64}}, true, nil
	case isText:
		text := strings.ToValidUTF8(string(d.Bytes()), "\uFFFD")
		return block{Type: "document", Source: &source{Type: "text", MediaType: "text/plain", Data: text}, Title: p.Filename}, strings.TrimSpace(text) != "", nil
	}
	e.lost.Add("%s.file_data", at)
	return block{}, false, nil
}
