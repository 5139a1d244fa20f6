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
	Counts bool // the Dialogue is a CountWriter
	Embeds bool // the Dialogue is an EmbedWriter
	Short  bool // the plugin knows eventShort
}

// appendAccept appends an ACCEPT payload without the body.
func appendAccept(dst []byte, r ClientRequest) []byte {
	h := beginHead(dst)
	h.str("surface", r.Surface)
	h.str("route", r.Route)
	h.opt("model", r.Model)
	h.flag("stream", r.Stream)
	h.opt("query", r.Query)
	h.header("header", r.Header)
	return h.end()
}

// parseAccept reads an ACCEPT payload; the body shares its memory.
func parseAccept(b []byte) (r ClientRequest, err error) {
	var h headReader
	if r.Body, err = h.head(b); err != nil {
		return r, err
	}
	defer h.close()
	r.Surface, r.Route, r.Model, r.Stream = h.str("surface"), h.str("route"), h.str("model"), h.flag("stream")
	r.Query, r.Header = h.str("query"), h.header("header")
	return r, h.fault
}

// appendDialogue appends a DIALOGUE payload.
func appendDialogue(dst []byte, d Dialogue) ([]byte, error) {
	_, counts := d.(CountWriter)
	_, embeds := d.(EmbedWriter)
	a := d.Asked()
	h := beginHead(dst)
	h.str("op", string(a.Op))
	h.opt("model", a.Model)
	h.flag("stream", a.Stream)
	h.strs("lost", a.Lost)
	h.flag("counts", counts)
	h.flag("embeds", embeds)
	h.flag("short", true)
	switch {
	case a.Op == Embed && a.Embed != nil:
		body, err := json.Marshal(a.Embed)
		return append(h.end(), body...), err
	case a.Op != Embed && a.Request != nil:
		return a.Request.AppendJSON(h.end()), nil
	}
	return nil, errors.New("the front has made no request of the client's")
}

// parseDialogue reads a DIALOGUE payload, and keeps nothing of it.
func parseDialogue(b []byte) (d dialogueHead, err error) {
	var h headReader
	body, err := h.head(b)
	if err != nil {
		return d, err
	}
	d.Op, d.Model, d.Stream, d.Lost = Op(h.str("op")), h.str("model"), h.flag("stream"), h.strs("lost")
	d.Counts, d.Embeds, d.Short = h.flag("counts"), h.flag("embeds"), h.flag("short")
	h.close()
	if h.fault != nil {
		return d, h.fault
	}
	if d.Op == Embed {
		d.Embed = new(EmbedRequest)
		if err := json.Unmarshal(body, d.Embed); err != nil {
			return d, &frameError{"embed request: " + err.Error()}
		}
		return d, nil
	}
	d.Request, err = openresponses.ReadRequest(body)
	return d, err
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
