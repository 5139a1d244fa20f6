package render

import (
	"strconv"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// model renders an event whose turn it is.
func (w *Writer) model(ev *openresponses.Event) error {
	switch ev.Type {
	case openresponses.EventItemAdded:
		return w.open(ev.Item)
	case openresponses.EventItemDone:
		return w.closeItem(ev.Item)
	}
	if w.emit == nil || w.cur.shape == unknown || w.cur.shape == closed {
		return nil
	}
	switch ev.Type {
	case openresponses.EventPartAdded, openresponses.EventPartDone:
		return w.part(ev)
	case openresponses.EventTextDelta:
		return w.content(ev, ev.Type, "delta", ev.Delta, true)
	case openresponses.EventTextDone:
		return w.content(ev, ev.Type, "text", ev.Text, true)
	case openresponses.EventRefusalDelta:
		return w.content(ev, ev.Type, "delta", ev.Delta, false)
	case openresponses.EventRefusalDone:
		return w.content(ev, ev.Type, "refusal", ev.Text, false)
	case openresponses.EventReasoningDelta:
		return w.content(ev, w.reasoningType(".delta"), "delta", ev.Delta, false)
	case openresponses.EventReasoningDone:
		return w.content(ev, w.reasoningType(".done"), "text", ev.Text, false)
	case openresponses.EventAnnotationAdded:
		return w.annotation(ev)
	case openresponses.EventSummaryPartAdded, openresponses.EventSummaryPartDone:
		return w.part(ev)
	case openresponses.EventSummaryDelta:
		return w.summary(ev, "delta", ev.Delta)
	case openresponses.EventSummaryDone:
		return w.summary(ev, "text", ev.Text)
	case openresponses.EventArgumentsDelta:
		return w.argumentsDelta(ev.Delta)
	case openresponses.EventArgumentsDone:
		return w.argumentsDone(ev.Text)
	}
	return nil
}

// reasoningType is the one event name in which the specification and OpenAI's
// clients differ; each throws at the other's.
func (w *Writer) reasoningType(suffix string) string {
	if w.head.Dialect == OpenResponses {
		return "response.reasoning" + suffix
	}
	return "response.reasoning_text" + suffix
}

// open starts an output item in the form that the dialect has for it.
func (w *Writer) open(it *openresponses.Item) error {
	w.cur = current{}
	switch it.Type {
	case openresponses.TypeMessage:
		w.cur.shape, w.cur.id = message, NewID("msg_")
		if w.emit == nil {
			return nil
		}
		return w.added(w.appendMessage(nil, w.cur.id, openresponses.StatusInProgress, &openresponses.Item{Phase: it.Phase}))
	case openresponses.TypeReasoning:
		w.cur.shape, w.cur.id = reasoning, NewID("rs_")
		if w.emit == nil {
			return nil
		}
		return w.added(w.appendReasoningItem(nil, w.cur.id, openresponses.StatusInProgress, &openresponses.Item{}))
	case openresponses.TypeCompaction:
		w.cur.shape, w.cur.id = compaction, NewID("cmp_")
		if w.emit == nil {
			return nil
		}
		return w.added(appendCompaction(nil, w.cur.id, openresponses.StatusInProgress, &openresponses.Item{}))
	case openresponses.TypeFunctionCall:
		return w.openCall(it)
	}
	w.cur.shape = unknown
	return nil
}

func (w *Writer) openCall(it *openresponses.Item) error {
	w.cur.callID, w.cur.name = it.CallID, it.Name
	w.cur.fn = w.head.hosted(it.Name)
	switch {
	case w.cur.fn != nil && w.cur.fn.Approval:
		w.cur.shape = approval
		return nil
	case w.cur.fn != nil && w.head.Dialect == OpenAI:
		return w.openHosted()
	}
	w.cur.shape, w.cur.id = call, NewID("fc_")
	if w.emit == nil {
		return nil
	}
	return w.added(appendFunctionCall(nil, w.cur.id, openresponses.StatusInProgress, it.CallID, it.Name, ""))
}

// closeItem ends the open item. The whole item rides on the model's event, so
// nothing was gathered on the way.
func (w *Writer) closeItem(it *openresponses.Item) error {
	status := openresponses.StatusCompleted
	if it.Status == openresponses.StatusIncomplete {
		status = it.Status
	}
	switch w.cur.shape {
	case message:
		return w.done(w.appendMessage(nil, w.cur.id, status, it))
	case reasoning:
		return w.done(w.appendReasoningItem(nil, w.cur.id, status, it))
	case compaction:
		return w.done(appendCompaction(nil, w.cur.id, status, it))
	case call:
		return w.done(appendFunctionCall(nil, w.cur.id, status, w.cur.callID, w.cur.name, it.Arguments))
	case approval:
		if status == openresponses.StatusIncomplete {
			break // nobody can agree to half a call
		}
		w.cur.arguments = it.Arguments
		return w.approvalRequest()
	case mcpCall, codeCall, searchCall:
		w.cur.arguments = it.Arguments
		if status == openresponses.StatusIncomplete {
			return w.done(w.appendHosted(nil, status, nil))
		}
		w.cur.waiting = true
		return w.startHosted()
	}
	w.cur = current{}
	return nil
}

// content sends an event of one content part. Text events carry logprobs,
// which OpenAI's Python client reads without asking.
func (w *Writer) content(ev *openresponses.Event, typ, member, s string, logprobs bool) error {
	b := w.startAt(typ, len(s)+len(s)/8)
	b = append(b, `,"content_index":`...)
	b = strconv.AppendInt(b, int64(ev.ContentIndex), 10)
	b = append(b, `,"`...)
	b = append(b, member...)
	b = append(b, `":`...)
	b = appendString(b, s)
	if logprobs {
		b = append(b, `,"logprobs":[]`...)
	}
	return w.send(typ, b)
}

func (w *Writer) summary(ev *openresponses.Event, member, s string) error {
	b := w.startAt(ev.Type, len(s)+len(s)/8)
	b = append(b, `,"summary_index":`...)
	b = strconv.AppendInt(b, int64(ev.SummaryIndex), 10)
	b = append(b, `,"`...)
	b = append(b, member...)
	b = append(b, `":`...)
	return w.send(ev.Type, appendString(b, s))
}

// part sends the opening or closing of a content or summary part.
func (w *Writer) part(ev *openresponses.Event) error {
	p := openresponses.Part{Type: openresponses.PartOutputText}
	if ev.Part != nil {
		p = *ev.Part
	}
	b := w.startAt(ev.Type, len(p.Text)+len(p.Refusal)+64)
	if ev.Type == openresponses.EventSummaryPartAdded || ev.Type == openresponses.EventSummaryPartDone {
		b = append(b, `,"summary_index":`...)
		b = strconv.AppendInt(b, int64(ev.SummaryIndex), 10)
	} else {
		w.cur.annotations = 0
		b = append(b, `,"content_index":`...)
		b = strconv.AppendInt(b, int64(ev.ContentIndex), 10)
	}
	b = append(b, `,"part":`...)
	return w.send(ev.Type, w.appendPart(b, &p))
}

func (w *Writer) annotation(ev *openresponses.Event) error {
	if ev.Annotation == nil || !w.shows(ev.Annotation) {
		return nil
	}
	b := w.startAt(ev.Type, 256)
	b = append(b, `,"content_index":`...)
	b = strconv.AppendInt(b, int64(ev.ContentIndex), 10)
	b = append(b, `,"annotation_index":`...)
	b = strconv.AppendInt(b, int64(w.cur.annotations), 10)
	w.cur.annotations++
	b = append(b, `,"annotation":`...)
	return w.send(ev.Type, appendAnnotation(b, ev.Annotation))
}

func (w *Writer) argumentsDelta(s string) error {
	switch w.cur.shape {
	case call:
		return w.text(openresponses.EventArgumentsDelta, "delta", s)
	case mcpCall:
		return w.text("response.mcp_call_arguments.delta", "delta", s)
	}
	return nil
}

func (w *Writer) argumentsDone(s string) error {
	switch w.cur.shape {
	case call:
		b := w.startAt(openresponses.EventArgumentsDone, len(s)+len(s)/8)
		b = append(b, `,"name":`...)
		b = appendString(b, w.cur.name)
		b = append(b, `,"arguments":`...)
		return w.send(openresponses.EventArgumentsDone, appendString(b, s))
	case mcpCall:
		return w.text("response.mcp_call_arguments.done", "arguments", s)
	}
	return nil
}
