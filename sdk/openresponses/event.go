package openresponses

import "github.com/sallyport-gateway/sallyport/sdk/apierror"

// Event types a translator emits. Of the `response.*` envelope events only the
// three terminal ones occur between translator and core; the others, ids, and
// sequence numbers are made by the renderer.
const (
	EventItemAdded        = "response.output_item.added"
	EventItemDone         = "response.output_item.done"
	EventPartAdded        = "response.content_part.added"
	EventPartDone         = "response.content_part.done"
	EventTextDelta        = "response.output_text.delta"
	EventTextDone         = "response.output_text.done"
	EventAnnotationAdded  = "response.output_text.annotation.added"
	EventRefusalDelta     = "response.refusal.delta"
	EventRefusalDone      = "response.refusal.done"
	EventArgumentsDelta   = "response.function_call_arguments.delta"
	EventArgumentsDone    = "response.function_call_arguments.done"
	EventReasoningDelta   = "response.reasoning.delta"
	EventReasoningDone    = "response.reasoning.done"
	EventSummaryPartAdded = "response.reasoning_summary_part.added"
	EventSummaryPartDone  = "response.reasoning_summary_part.done"
	EventSummaryDelta     = "response.reasoning_summary_text.delta"
	EventSummaryDone      = "response.reasoning_summary_text.done"
	EventCompleted        = "response.completed"
	EventIncomplete       = "response.incomplete"
	EventFailed           = "response.failed"
)

// Event is one step of a turn's output as translators emit it: item and
// content events, then one terminal event. Indexes are local to the turn.
type Event struct {
	Type         string
	OutputIndex  int
	ContentIndex int // content part of a message or reasoning item
	SummaryIndex int // summary part of a reasoning item

	Item       *Item       // item added (empty content, zero strings) and done (whole)
	Part       *Part       // part added (empty) and done (whole)
	Delta      string      // *.delta
	Text       string      // *.done: the whole text, refusal or arguments
	Annotation *Annotation // annotation added

	// More tells that another event is there already, so that whoever writes
	// this one may wait for it. It is a hint within a process and never on the
	// wire.
	More bool

	Usage    *Usage    // cumulative for the turn; may ride on any event, the last one counts
	Terminal *Terminal // with the three terminal types
}

// Terminal says how a turn ended.
type Terminal struct {
	Status string          // completed, incomplete, failed
	Reason string          // incomplete: max_output_tokens, content_filter
	Error  *apierror.Error // failed
	Model  string          // the model that answered, as the provider names it
	Tier   string          // service tier the provider said
}

// IsTerminal reports whether the event ends its turn.
func (e *Event) IsTerminal() bool {
	return e.Type == EventCompleted || e.Type == EventIncomplete || e.Type == EventFailed
}

// IsDelta reports whether the event carries a piece of text.
func (e *Event) IsDelta() bool {
	switch e.Type {
	case EventTextDelta, EventRefusalDelta, EventArgumentsDelta, EventReasoningDelta, EventSummaryDelta:
		return true
	}
	return false
}
