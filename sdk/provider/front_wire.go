package provider

import (
	"encoding/json"
	"errors"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Payloads of the frames of a dialogue.

// dialogueHead is the head of DIALOGUE.
type dialogueHead struct {
	Asked
	Counts bool `json:"counts,omitempty"` // the Dialogue is a CountWriter
	Embeds bool `json:"embeds,omitempty"` // the Dialogue is an EmbedWriter
	Short  bool `json:"short,omitempty"`  // the plugin knows eventShort
}

// appendAccept appends an ACCEPT payload without the body.
func appendAccept(dst []byte, r ClientRequest) ([]byte, error) {
	head, err := withHead(r)
	return append(dst, head...), err
}

func parseAccept(b []byte) (ClientRequest, error) {
	var r ClientRequest
	body, err := splitHead(b, &r)
	r.Body = body
	return r, err
}

// appendDialogue returns the two parts of a DIALOGUE payload.
func appendDialogue(d Dialogue) (head, body []byte, err error) {
	_, counts := d.(CountWriter)
	_, embeds := d.(EmbedWriter)
	a := d.Asked()
	switch {
	case a.Op == Embed && a.Embed != nil:
		body, err = json.Marshal(a.Embed)
	case a.Op != Embed && a.Request != nil:
		body = a.Request.AppendJSON(nil)
	default:
		err = errors.New("the front has made no request of the client's")
	}
	if err != nil {
		return nil, nil, err
	}
	head, err = withHead(dialogueHead{Asked: a, Counts: counts, Embeds: embeds, Short: true})
	return head, body, err
}

func parseDialogue(b []byte) (dialogueHead, error) {
	var h dialogueHead
	body, err := splitHead(b, &h)
	if err != nil {
		return h, err
	}
	if h.Op == Embed {
		h.Embed = new(EmbedRequest)
		if err := json.Unmarshal(body, h.Embed); err != nil {
			return h, &frameError{"embed request: " + err.Error()}
		}
		return h, nil
	}
	h.Request, err = openresponses.ReadRequest(body)
	return h, err
}

// parseInErr reads the error that the events of a dialogue end in.
func parseInErr(b []byte) error {
	e := new(apierror.Error)
	if err := json.Unmarshal(b, e); err != nil {
		return &frameError{"error among events: " + err.Error()}
	}
	return e
}

// eventFlags are the flags of the frame that carries an event.
func eventFlags(ev *openresponses.Event) byte {
	var flags byte
	if ev.Usage != nil {
		flags |= eventUsage
	}
	if ev.IsTerminal() {
		flags |= eventTerminal
	}
	return flags
}
