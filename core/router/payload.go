package router

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// asked is the JSON of a turn as it was asked of the model: what the payload
// table keeps as the request. Of a request that is larger than the table
// takes, no more is written than is needed to see that.
func asked(r *openresponses.Request, m *model) []byte {
	turn, most := *r, m.payloadMax
	turn.Model = m.name
	if most == 0 {
		most = usage.DefaultPayloadMax
	}
	n := int64(0)
	for i := range r.Input {
		if n += int64(itemSize(&r.Input[i])); n > most {
			turn.Input = r.Input[:i+1]
			break
		}
	}
	return turn.AppendJSON(make([]byte, 0, min(int64(size(&turn)), most)+1<<10))
}

// size is about how many bytes of JSON a request is, without making it.
func size(r *openresponses.Request) int {
	n := len(r.Instructions)
	for i := range r.Input {
		n += itemSize(&r.Input[i])
	}
	for i := range r.Tools {
		t := &r.Tools[i]
		n += max(len(t.Raw), len(t.Name)+len(t.Description)+len(t.Parameters))
	}
	if r.Text != nil {
		n += len(r.Text.Format)
	}
	return n
}

func itemSize(it *openresponses.Item) int {
	if it.Raw != nil {
		return len(it.Raw)
	}
	const frame = 32 // names and quotes
	n := frame + len(it.Name) + len(it.Arguments) + len(it.Output.Text) + len(it.EncryptedContent)
	for _, parts := range [...][]openresponses.Part{it.Content, it.Output.Parts, it.Summary} {
		for i := range parts {
			p := &parts[i]
			n += frame + max(len(p.Raw), len(p.Text)+len(p.Refusal)+len(p.ImageURL)+len(p.FileData)+len(p.FileURL))
		}
	}
	return n
}

// capture writes a model's reply into the payload of its call while it passes:
// one JSON object of the OpenResponses dialect. It holds no more than the item
// that is being written, and of that at most maxOpen bytes. A nil one does
// nothing.
type capture struct {
	to     *usage.Payload
	scrub  func(string) string // takes out the key of the provider that answers
	buf    []byte
	items  int
	reason string // why the reply is incomplete, by the provider's word

	open  *openresponses.Item // announced and not done
	parts []openresponses.Part
	part  string // type of the part that is open
	text  []byte // of it, or of the call's arguments
}

// maxOpen bounds what is kept of an item that is never done.
const maxOpen = 1 << 20

func newCapture(to *usage.Payload, id, model string, at time.Time) *capture {
	c := &capture{to: to, buf: make([]byte, 0, 1<<10)}
	c.buf = append(append(c.buf, `{"id":`...), quoted(id)...)
	c.buf = strconv.AppendInt(append(c.buf, `,"object":"response","created_at":`...), at.Unix(), 10)
	c.buf = append(append(c.buf, `,"model":`...), quoted(model)...)
	c.buf = append(c.buf, `,"output":[`...)
	c.flush()
	return c
}

// restart forgets what an attempt began to say that was given up. scrub is that
// of the next attempt.
func (c *capture) restart(scrub func(string) string) {
	if c != nil {
		c.scrub = scrub
		c.open, c.parts, c.part, c.text, c.reason = nil, nil, "", c.text[:0], ""
	}
}

// see takes the next event of the reply.
func (c *capture) see(ev *openresponses.Event) {
	if c == nil {
		return
	}
	switch ev.Type {
	case openresponses.EventItemAdded:
		c.open, c.parts, c.part, c.text = ev.Item, nil, "", c.text[:0]
	case openresponses.EventPartAdded, openresponses.EventSummaryPartAdded:
		if ev.Part != nil {
			c.part, c.text = ev.Part.Type, c.text[:0]
		}
	case openresponses.EventTextDelta, openresponses.EventRefusalDelta, openresponses.EventArgumentsDelta,
		openresponses.EventReasoningDelta, openresponses.EventSummaryDelta:
		if len(c.text) < maxOpen {
			c.text = append(c.text, ev.Delta...)
		}
	case openresponses.EventPartDone, openresponses.EventSummaryPartDone:
		if ev.Part != nil {
			c.parts = append(c.parts, *ev.Part)
		}
		c.part, c.text = "", c.text[:0]
	case openresponses.EventItemDone:
		c.item(ev.Item)
		c.open, c.parts, c.part, c.text = nil, nil, "", c.text[:0]
	case openresponses.EventIncomplete:
		if ev.Terminal != nil {
			c.reason = ev.Terminal.Reason
		}
	}
}

// item writes one item of the output.
func (c *capture) item(it *openresponses.Item) {
	if it == nil {
		return
	}
	if c.items++; c.items > 1 {
		c.buf = append(c.buf, ',')
	}
	c.buf = it.AppendJSON(c.buf)
	c.flush()
}

// end writes the rest. What a reply that was cut said of its last item is
// there, as an item that is incomplete.
func (c *capture) end(status string, err *apierror.Error, spent openresponses.Usage) {
	if c == nil {
		return
	}
	if it := c.unfinished(); it != nil {
		c.item(it)
	}
	c.buf = append(append(c.buf, `],"status":`...), quoted(status)...)
	if c.reason != "" {
		c.buf = append(append(append(c.buf, `,"incomplete_details":{"reason":`...), quoted(c.reason)...), '}')
	} else {
		c.buf = append(c.buf, `,"incomplete_details":null`...)
	}
	c.buf = spent.AppendJSON(append(c.buf, `,"usage":`...))
	if err != nil {
		c.buf = append(append(c.buf, `,"error":{"code":`...), quoted(string(err.Code))...)
		c.buf = append(append(append(c.buf, `,"message":`...), quoted(err.Message)...), '}')
	} else {
		c.buf = append(c.buf, `,"error":null`...)
	}
	c.buf = append(c.buf, '}')
	c.flush()
}

// unfinished is the item that was begun and not done, nil when nothing of it
// is known.
func (c *capture) unfinished() *openresponses.Item {
	if c.open == nil || len(c.parts) == 0 && len(c.text) == 0 {
		return nil
	}
	it := *c.open
	it.Raw, it.Status = nil, openresponses.StatusIncomplete
	text := string(c.text)
	if it.Type == openresponses.TypeFunctionCall {
		it.Arguments = text
		return &it
	}
	parts := c.parts
	if c.part != "" {
		p := openresponses.Part{Type: c.part, Text: text}
		if c.part == openresponses.PartRefusal {
			p.Text, p.Refusal = "", text
		}
		parts = append(parts, p)
	}
	it.Content, it.Summary = nil, nil
	for _, p := range parts {
		if p.Type == openresponses.PartSummaryText {
			it.Summary = append(it.Summary, p)
		} else {
			it.Content = append(it.Content, p)
		}
	}
	return &it
}

func (c *capture) flush() {
	kept := c.buf
	if c.scrub != nil { // a provider may say the key back
		kept = []byte(c.scrub(string(kept)))
	}
	_, _ = c.to.Write(kept) // what cannot be kept is said in the row
	if cap(c.buf) > 64<<10 {
		c.buf = nil
	}
	c.buf = c.buf[:0]
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return []byte(`""`)
	}
	return b
}
