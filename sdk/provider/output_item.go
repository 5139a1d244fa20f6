package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// tell makes the events of p, which happened to the open item.
func (o *Output) tell(p op) bool {
	switch p.kind {
	case opText:
		return o.delta(openresponses.PartOutputText, openresponses.EventTextDelta, p.delta)
	case opRefusal:
		return o.delta(openresponses.PartRefusal, openresponses.EventRefusalDelta, p.delta)
	case opReasoning:
		return o.delta(openresponses.PartReasoning, openresponses.EventReasoningDelta, p.delta)
	case opSummary:
		return o.delta(openresponses.PartSummaryText, openresponses.EventSummaryDelta, p.delta)
	case opState:
		o.item.EncryptedContent = p.delta
		return true
	case opPhase:
		o.item.Phase = p.delta
		return true
	case opAnnotate:
		if !o.openPart(openresponses.PartOutputText) {
			return false
		}
		o.part.Annotations = append(o.part.Annotations, p.note)
		note := p.note
		return o.emit(openresponses.Event{
			Type: openresponses.EventAnnotationAdded, OutputIndex: o.index, ContentIndex: len(o.item.Content), Annotation: &note,
		})
	case opArguments:
		o.text.add(p.delta)
		return o.emit(openresponses.Event{Type: openresponses.EventArgumentsDelta, OutputIndex: o.index, Delta: p.delta})
	}
	return o.closePart()
}

func (o *Output) delta(part, event, delta string) bool {
	if !o.openPart(part) {
		return false
	}
	o.text.add(delta)
	return o.emit(o.placed(openresponses.Event{Type: event, Delta: delta}))
}

// placed fills in the indexes of the open part.
func (o *Output) placed(e openresponses.Event) openresponses.Event {
	e.OutputIndex = o.index
	if o.summary {
		e.SummaryIndex = len(o.item.Summary)
	} else {
		e.ContentIndex = len(o.item.Content)
	}
	return e
}

// openPart makes sure that a part of that type is open.
func (o *Output) openPart(typ string) bool {
	if o.part.Type == typ {
		return true
	}
	if !o.closePart() {
		return false
	}
	o.part, o.summary = openresponses.Part{Type: typ}, typ == openresponses.PartSummaryText
	o.text = gathered{}
	event := openresponses.EventPartAdded
	if o.summary {
		event = openresponses.EventSummaryPartAdded
	}
	return o.emit(o.placed(openresponses.Event{Type: event, Part: &openresponses.Part{Type: typ}}))
}

// partEvents are the two done events of a part type.
var partEvents = map[string][2]string{
	openresponses.PartOutputText:  {openresponses.EventTextDone, openresponses.EventPartDone},
	openresponses.PartRefusal:     {openresponses.EventRefusalDone, openresponses.EventPartDone},
	openresponses.PartReasoning:   {openresponses.EventReasoningDone, openresponses.EventPartDone},
	openresponses.PartSummaryText: {openresponses.EventSummaryDone, openresponses.EventSummaryPartDone},
}

func (o *Output) closePart() bool {
	if o.part.Type == "" {
		return true
	}
	p, text := o.part, o.text.text()
	done := partEvents[p.Type]
	if p.Type == openresponses.PartRefusal {
		p.Refusal = text
	} else {
		p.Text = text
	}
	if !o.emit(o.placed(openresponses.Event{Type: done[0], Text: text})) ||
		!o.emit(o.placed(openresponses.Event{Type: done[1], Part: &p})) {
		return false
	}
	if o.summary {
		o.item.Summary = append(o.item.Summary, p)
	} else {
		o.item.Content = append(o.item.Content, p)
	}
	o.part = openresponses.Part{}
	return true
}

// close ends the open item with that status and opens the next in the queue.
func (o *Output) close(status string) bool {
	if !o.closePart() {
		return false
	}
	if o.item.Type == openresponses.TypeFunctionCall {
		o.item.Arguments = o.text.text()
		if !o.emit(openresponses.Event{Type: openresponses.EventArgumentsDone, OutputIndex: o.index, Text: o.item.Arguments}) {
			return false
		}
	}
	it := o.item
	it.Status = status
	if !o.emit(openresponses.Event{Type: openresponses.EventItemDone, OutputIndex: o.index, Item: &it}) {
		return false
	}
	o.item = openresponses.Item{}
	o.index++
	o.queue = o.queue[1:]
	return o.start()
}

func (o *Output) emit(e openresponses.Event) bool {
	if o.ended {
		return false
	}
	if o.usage != nil {
		e.Usage, o.last, o.usage = o.usage, *o.usage, nil
	}
	if !o.yield(e, nil) {
		o.ended = true
		return false
	}
	return true
}

// callID gives id, or one that fits in its place.
func (o *Output) callID(id string) string {
	if len(id) > 64 {
		sum := sha256.Sum256([]byte(id))
		id = "call_" + hex.EncodeToString(sum[:16])
	}
	for n := o.index; id == "" || o.calls[id]; n++ {
		id = "call_" + strconv.Itoa(n)
	}
	if o.calls == nil {
		o.calls = make(map[string]bool)
	}
	o.calls[id] = true
	return id
}

// whole reports whether arguments may be all there: providers that send calls one
// after another do not say where one ends.
func whole(arguments string) bool { return arguments == "" || json.Valid([]byte(arguments)) }
