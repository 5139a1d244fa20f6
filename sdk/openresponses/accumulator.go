package openresponses

import (
	"fmt"
	"slices"
	"strings"
)

// Accumulator follows the events of one turn, checks their grammar and
// rebuilds the items they tell of. The zero value is ready.
//
// The grammar: items open one after another with consecutive indexes, each
// closed before the next opens; inside a message or reasoning item the parts
// likewise; deltas belong to the open part (or, for arguments, to the open
// call) and add up to the text of its done event; the done item says what the
// deltas said; one terminal event ends the turn, and nothing follows. An item
// may end incomplete only as the last one of a turn that does.
type Accumulator struct {
	items []Item
	calls map[string]bool // call ids seen
	usage *Usage
	end   *Terminal

	open    *Item // as the deltas tell it
	part    *Part // of open, while it is open
	summary bool  // part is a summary part
	closed  bool  // part has had its *.done event; for a call: its arguments
	text    strings.Builder
}

// Add takes the next event. An error says which rule the event breaks; the
// Accumulator is then of no more use.
func (a *Accumulator) Add(e Event) error {
	if err := a.add(&e); err != nil {
		return fmt.Errorf("event %q: %w", e.Type, err)
	}
	if e.Usage != nil {
		u := *e.Usage
		if min(u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning) < 0 {
			return fmt.Errorf("event %q: negative token count", e.Type)
		}
		a.usage = &u
	}
	return nil
}

func (a *Accumulator) add(e *Event) error {
	if a.end != nil {
		return fmt.Errorf("comes after the terminal event")
	}
	if e.IsTerminal() {
		return a.terminal(e)
	}
	if e.Type == EventItemAdded {
		return a.added(e)
	}
	if a.open == nil {
		return fmt.Errorf("no item is open")
	}
	if e.OutputIndex != len(a.items) {
		return fmt.Errorf("output_index %d, but the open item has %d", e.OutputIndex, len(a.items))
	}
	switch e.Type {
	case EventItemDone:
		return a.done(e)
	case EventPartAdded, EventSummaryPartAdded:
		return a.partAdded(e)
	case EventArgumentsDelta, EventArgumentsDone:
		return a.arguments(e)
	case EventPartDone, EventSummaryPartDone:
		return a.partDone(e)
	case EventTextDelta, EventTextDone, EventAnnotationAdded:
		return a.content(e, PartOutputText)
	case EventRefusalDelta, EventRefusalDone:
		return a.content(e, PartRefusal)
	case EventReasoningDelta, EventReasoningDone:
		return a.content(e, PartReasoning)
	case EventSummaryDelta, EventSummaryDone:
		return a.content(e, PartSummaryText)
	}
	return fmt.Errorf("unknown type")
}

func (a *Accumulator) added(e *Event) error {
	switch {
	case a.open != nil:
		return fmt.Errorf("item %d is still open", len(a.items))
	case e.OutputIndex != len(a.items):
		return fmt.Errorf("output_index %d, want %d", e.OutputIndex, len(a.items))
	case e.Item == nil || e.Item.Type == "":
		return fmt.Errorf("no item, or one without a type")
	case len(a.items) > 0 && a.items[len(a.items)-1].Status == StatusIncomplete:
		return fmt.Errorf("the item before ended incomplete, so it must be the last")
	}
	it := *e.Item
	if len(it.Content) > 0 || len(it.Summary) > 0 || it.Arguments != "" && it.Type == TypeFunctionCall {
		return fmt.Errorf("an item opens empty; its content comes in events")
	}
	if it.Type == TypeFunctionCall {
		if it.CallID == "" || it.Name == "" {
			return fmt.Errorf("a function call opens with its call_id and name")
		}
		if a.calls[it.CallID] {
			return fmt.Errorf("call_id %q is used twice", it.CallID)
		}
		if a.calls == nil {
			a.calls = make(map[string]bool)
		}
		a.calls[it.CallID] = true
	}
	if it.Type == TypeMessage && it.Role != "assistant" {
		return fmt.Errorf("message of role %q, want assistant", it.Role)
	}
	a.open, a.closed = &it, false
	a.text.Reset()
	return nil
}

func (a *Accumulator) partAdded(e *Event) error {
	summary := e.Type == EventSummaryPartAdded
	index, parts := e.ContentIndex, &a.open.Content
	if summary {
		index, parts = e.SummaryIndex, &a.open.Summary
	}
	switch {
	case a.part != nil:
		return fmt.Errorf("the part before is still open")
	case e.Part == nil:
		return fmt.Errorf("no part")
	case index != len(*parts):
		return fmt.Errorf("index %d, want %d", index, len(*parts))
	case e.Part.Text != "" || e.Part.Refusal != "" || len(e.Part.Annotations) > 0:
		return fmt.Errorf("a part opens empty; its text comes in deltas")
	}
	var ok bool
	switch e.Part.Type {
	case PartOutputText, PartRefusal:
		ok = a.open.Type == TypeMessage && !summary
	case PartReasoning:
		ok = a.open.Type == TypeReasoning && !summary
	case PartSummaryText:
		ok = a.open.Type == TypeReasoning && summary
	}
	if !ok {
		return fmt.Errorf("part %q does not belong there in an item of type %q", e.Part.Type, a.open.Type)
	}
	p := *e.Part
	a.part, a.summary, a.closed = &p, summary, false
	a.text.Reset()
	return nil
}

// content takes what happens inside the open part.
func (a *Accumulator) content(e *Event, typ string) error {
	if a.part == nil || a.part.Type != typ {
		return fmt.Errorf("no part of type %q is open", typ)
	}
	if a.closed {
		return fmt.Errorf("the part has had its text already")
	}
	if err := a.index(e); err != nil {
		return err
	}
	switch {
	case e.Type == EventAnnotationAdded:
		if e.Annotation == nil {
			return fmt.Errorf("no annotation")
		}
		a.part.Annotations = append(a.part.Annotations, *e.Annotation)
	case e.IsDelta():
		a.text.WriteString(e.Delta)
	case e.Text != a.text.String():
		return fmt.Errorf("the text is not what the deltas said")
	default:
		a.closed = true
		if typ == PartRefusal {
			a.part.Refusal = e.Text
		} else {
			a.part.Text = e.Text
		}
	}
	return nil
}

func (a *Accumulator) index(e *Event) error {
	got, want := e.ContentIndex, len(a.open.Content)
	if a.summary {
		got, want = e.SummaryIndex, len(a.open.Summary)
	}
	if got != want {
		return fmt.Errorf("index %d, but the open part has %d", got, want)
	}
	return nil
}

func (a *Accumulator) partDone(e *Event) error {
	if a.part == nil || a.summary != (e.Type == EventSummaryPartDone) {
		return fmt.Errorf("no such part is open")
	}
	if err := a.index(e); err != nil {
		return err
	}
	if !a.closed {
		return fmt.Errorf("the part ends before its text")
	}
	if e.Part == nil || !samePart(*e.Part, *a.part) {
		return fmt.Errorf("the part is not what the deltas said")
	}
	if a.summary {
		a.open.Summary = append(a.open.Summary, *e.Part)
	} else {
		a.open.Content = append(a.open.Content, *e.Part)
	}
	a.part = nil
	return nil
}

func (a *Accumulator) arguments(e *Event) error {
	switch {
	case a.open.Type != TypeFunctionCall:
		return fmt.Errorf("the open item is of type %q", a.open.Type)
	case a.closed:
		return fmt.Errorf("the call has had its arguments already")
	case e.IsDelta():
		a.text.WriteString(e.Delta)
	case e.Text != a.text.String():
		return fmt.Errorf("the arguments are not what the deltas said")
	default:
		a.closed = true
		a.open.Arguments = e.Text
	}
	return nil
}

func (a *Accumulator) done(e *Event) error {
	it := e.Item
	switch {
	case a.part != nil:
		return fmt.Errorf("a part is still open")
	case it == nil:
		return fmt.Errorf("no item")
	case it.Type != a.open.Type:
		return fmt.Errorf("type %q, but it opened as %q", it.Type, a.open.Type)
	case it.Status != StatusCompleted && it.Status != StatusIncomplete:
		return fmt.Errorf("status %q, want completed or incomplete", it.Status)
	case it.Type == TypeFunctionCall && !a.closed:
		return fmt.Errorf("the call ends before its arguments")
	case it.Type == TypeFunctionCall && (it.CallID != a.open.CallID || it.Name != a.open.Name || it.Arguments != a.open.Arguments):
		return fmt.Errorf("the call is not what the events said")
	case !slices.EqualFunc(it.Content, a.open.Content, samePart) || !slices.EqualFunc(it.Summary, a.open.Summary, samePart):
		return fmt.Errorf("the content is not what the events said")
	case it.Role != a.open.Role:
		return fmt.Errorf("role %q, but it opened as %q", it.Role, a.open.Role)
	}
	a.items = append(a.items, *it)
	a.open = nil
	return nil
}

func samePart(a, b Part) bool {
	return a.Type == b.Type && a.Text == b.Text && a.Refusal == b.Refusal &&
		slices.EqualFunc(a.Annotations, b.Annotations, func(x, y Annotation) bool {
			return string(x.AppendJSON(nil)) == string(y.AppendJSON(nil))
		})
}

func (a *Accumulator) terminal(e *Event) error {
	if a.open != nil {
		return fmt.Errorf("item %d is still open", len(a.items))
	}
	if e.Terminal == nil || "response."+e.Terminal.Status != e.Type {
		return fmt.Errorf("the terminal does not say how the turn ended")
	}
	if n := len(a.items); n > 0 && a.items[n-1].Status == StatusIncomplete && e.Type == EventCompleted {
		return fmt.Errorf("the last item is incomplete, so the turn is")
	}
	if e.Type == EventFailed && e.Terminal.Error == nil {
		return fmt.Errorf("a failed turn says why")
	}
	a.end = e.Terminal
	return nil
}

// Items returns the items that are done, in output order.
func (a *Accumulator) Items() []Item { return a.items }

// Usage returns the last usage an event carried.
func (a *Accumulator) Usage() (Usage, bool) {
	if a.usage == nil {
		return Usage{}, false
	}
	return *a.usage, true
}

// Terminal returns how the turn ended, nil while it has not.
func (a *Accumulator) Terminal() *Terminal { return a.end }
