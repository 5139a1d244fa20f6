package main

import (
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// media reads a file that came along, or where one is.
func (r *reader) media(p place) (or.Part, error) {
	var typ, data, uri, name string
	err := each(p, func(p place) (err error) {
		switch p.name {
		case "mimeType":
			typ, err = p.text()
		case "data":
			data, err = p.text()
		case "fileUri":
			uri, err = p.text()
		case "displayName":
			name, err = p.text()
		default:
			r.lost.Add("%s", p.at)
		}
		return err
	})
	switch {
	case err != nil:
		return or.Part{}, err
	case p.name == "inlineData" && (typ == "" || data == ""):
		return or.Part{}, apierror.At(apierror.Invalid, p.at, "%s must have a mimeType and data in base64.", p.at)
	case p.name == "fileData" && uri == "":
		return or.Part{}, apierror.At(apierror.Invalid, p.at+".fileUri", "%s.fileUri is missing: say where the file is.", p.at)
	case p.name == "fileData" && !dialogue.IsHTTPS(uri):
		return or.Part{}, apierror.At(apierror.Unsupported, p.at, "%s is a file kept at Google, where this model's provider cannot read it. Send it as inlineData.", p.at)
	}
	if data != "" {
		uri = "data:" + typ + ";base64," + standard(data)
	}
	if strings.HasPrefix(typ, "image/") {
		return or.Part{Type: or.PartInputImage, ImageURL: uri}, nil
	}
	if data != "" {
		return or.Part{Type: or.PartInputFile, FileData: uri, Filename: name}, nil
	}
	return or.Part{Type: or.PartInputFile, FileURL: uri, Filename: name}, nil
}

// standard is base64 in the standard alphabet, padded; the API takes the
// other one too.
func standard(s string) string {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	return s + strings.Repeat("=", (4-len(s)%4)%4)
}
