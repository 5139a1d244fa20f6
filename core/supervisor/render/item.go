package render

import (
	"encoding/json"
	"strconv"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// The writers below append one whole output item each. They write fields, not
// Raw: an item's raw form is the provider's, with ids that mean nothing here.

func appendItemHead(b []byte, typ, id, status string) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, typ...)
	b = append(b, `","id":"`...)
	b = append(b, id...)
	b = append(b, `","status":"`...)
	b = append(b, status...)
	return append(b, '"')
}

func (w *Writer) appendMessage(b []byte, id, status string, it *openresponses.Item) []byte {
	b = appendItemHead(b, openresponses.TypeMessage, id, status)
	b = append(b, `,"role":"assistant"`...)
	if it.Phase != "" {
		b = append(b, `,"phase":`...)
		b = appendString(b, it.Phase)
	}
	b = append(b, `,"content":`...)
	b = w.appendParts(b, it.Content)
	return append(b, '}')
}

func (w *Writer) appendReasoningItem(b []byte, id, status string, it *openresponses.Item) []byte {
	b = appendItemHead(b, openresponses.TypeReasoning, id, status)
	b = append(b, `,"summary":`...)
	b = w.appendParts(b, it.Summary)
	if len(it.Content) > 0 {
		b = append(b, `,"content":`...)
		b = w.appendParts(b, it.Content)
	}
	if it.EncryptedContent != "" { // the specification's clients refuse null here
		b = append(b, `,"encrypted_content":`...)
		b = appendString(b, it.EncryptedContent)
	}
	return append(b, '}')
}

func appendCompaction(b []byte, id, status string, it *openresponses.Item) []byte {
	b = appendItemHead(b, openresponses.TypeCompaction, id, status)
	b = append(b, `,"encrypted_content":`...)
	b = appendString(b, it.EncryptedContent)
	return append(b, '}')
}

func appendFunctionCall(b []byte, id, status, callID, name, arguments string) []byte {
	b = appendItemHead(b, openresponses.TypeFunctionCall, id, status)
	b = append(b, `,"call_id":`...)
	b = appendString(b, callID)
	b = append(b, `,"name":`...)
	b = appendString(b, name)
	b = append(b, `,"arguments":`...)
	b = appendString(b, arguments)
	return append(b, '}')
}

func (w *Writer) appendCallOutput(b []byte, id, status, callID string, o *openresponses.Output) []byte {
	b = appendItemHead(b, openresponses.TypeFunctionCallOutput, id, status)
	b = append(b, `,"call_id":`...)
	b = appendString(b, callID)
	b = append(b, `,"output":`...)
	if o.Parts != nil {
		b = w.appendParts(b, o.Parts)
	} else {
		b = appendString(b, o.Text)
	}
	return append(b, '}')
}

func (w *Writer) appendParts(b []byte, ps []openresponses.Part) []byte {
	b = append(b, '[')
	for i := range ps {
		if i > 0 {
			b = append(b, ',')
		}
		b = w.appendPart(b, &ps[i])
	}
	return append(b, ']')
}

func (w *Writer) appendPart(b []byte, p *openresponses.Part) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, p.Type)
	switch p.Type {
	case openresponses.PartRefusal:
		b = append(b, `,"refusal":`...)
		b = appendString(b, p.Refusal)
	case openresponses.PartInputImage:
		b = append(b, `,"image_url":`...)
		b = appendString(b, p.ImageURL)
		b = append(b, `,"detail":`...)
		b = appendString(b, or(p.Detail, "auto"))
	default:
		b = append(b, `,"text":`...)
		b = appendString(b, p.Text)
	}
	if p.Type == openresponses.PartOutputText {
		b = append(b, `,"annotations":[`...)
		n := 0
		for i := range p.Annotations {
			if !w.shows(&p.Annotations[i]) {
				continue
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			b = appendAnnotation(b, &p.Annotations[i])
		}
		b = append(b, `],"logprobs":`...)
		b = appendLogprobs(b, p.Logprobs)
	}
	return append(b, '}')
}

// shows tells whether the dialect has a place for the annotation: the
// specification knows url_citation only.
func (w *Writer) shows(a *openresponses.Annotation) bool {
	return a.Type == "url_citation" || w.head.Dialect != OpenResponses && len(a.Raw) > 0
}

func appendAnnotation(b []byte, a *openresponses.Annotation) []byte {
	if a.Type != "url_citation" {
		return appendRaw(b, a.Raw, "{}")
	}
	b = append(b, `{"type":"url_citation","url":`...)
	b = appendString(b, a.URL)
	b = append(b, `,"title":`...)
	b = appendString(b, a.Title)
	b = append(b, `,"start_index":`...)
	b = strconv.AppendInt(b, int64(a.StartIndex), 10)
	b = append(b, `,"end_index":`...)
	b = strconv.AppendInt(b, int64(a.EndIndex), 10)
	return append(b, '}')
}

func appendLogprobs(b []byte, raw json.RawMessage) []byte {
	if len(raw) == 0 || raw[0] != '[' {
		return append(b, "[]"...)
	}
	return appendRaw(b, raw, "[]")
}
