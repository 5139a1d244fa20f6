package main

import (
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// parts are the parts of a message or output. Empty texts are left out,
// because Gemini refuses them.
func (e *encoder) parts(en dialogue.Entry, list string, parts []or.Part) ([]part, error) {
	var out []part
	for i := range parts {
		p, at := &parts[i], en.Part(list, i)
		var made part
		var ok bool
		var err error
		switch p.Type {
		case or.PartInputText, or.PartOutputText:
			made, ok = part{Text: p.Text}, p.Text != ""
		case or.PartRefusal:
			made, ok = part{Text: p.Refusal}, p.Refusal != ""
		case or.PartInputImage:
			if p.Detail == "low" || p.Detail == "high" {
				e.lost.Add("%s.detail", at)
			}
			made, ok, err = e.media(at, "image_url", p.ImageURL, p.ImageURL, "")
		case or.PartInputFile:
			made, ok, err = e.media(at, "file_data", p.FileData, p.FileURL, p.Filename)
		default:
			e.lost.Add("%s", at)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, made)
		}
	}
	return out, nil
}

// media is an image or file, as data or as an https URL that Gemini fetches.
func (e *encoder) media(at, field, data, url, filename string) (part, bool, error) {
	switch {
	case data == "" && url == "":
		e.lost.Add("%s.file_id", at) // a file stored at another provider
		return part{}, false, nil
	case dialogue.IsHTTPS(url) && (data == "" || data == url):
		return part{FileData: &fileData{MimeType: dialogue.TypeOf(url), FileURI: url}}, true, nil
	case data == "":
		return part{}, false, apierror.At(apierror.Invalid, at+".file_url", "%s.file_url must be an https URL; this model's provider fetches nothing else.", at)
	case field == "image_url" && !strings.HasPrefix(data, "data:"):
		return part{}, false, apierror.At(apierror.Invalid, at+".image_url", "%s.image_url must be an https URL or a data URL; this model's provider fetches nothing else.", at)
	}
	d, ok := dialogue.ParseData(data, filename)
	if !ok {
		return part{}, false, apierror.At(apierror.Invalid, at+"."+field, "%s.%s cannot be read. Write it as a data URL: data:<type>;base64,… .", at, field)
	}
	switch {
	case d.Type == "" && strings.HasPrefix(d.Base64, "JVBERi0"): // "%PDF-"
		d.Type = "application/pdf"
	case d.Type == "image/jpg":
		d.Type = "image/jpeg"
	case d.Type == "":
		return part{}, false, apierror.At(apierror.Invalid, at+"."+field, "The type of %s.%s is unknown. Write it as a data URL with its type, or give a filename with an extension.", at, field)
	}
	return part{InlineData: &inlineData{MimeType: d.Type, Data: d.Base64}}, true, nil
}
