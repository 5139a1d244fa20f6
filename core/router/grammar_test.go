package router

import (
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func TestGrammar(t *testing.T) {
	t.Parallel()
	item := func(typ string, index int) or.Event {
		return or.Event{Type: or.EventItemAdded, OutputIndex: index, Item: &or.Item{Type: typ, CallID: "c", Name: "f"}}
	}
	done := func(typ string, index int) or.Event {
		return or.Event{Type: or.EventItemDone, OutputIndex: index, Item: &or.Item{Type: typ}}
	}
	part := func(typ string, index int) or.Event {
		return or.Event{Type: or.EventPartAdded, ContentIndex: index, Part: &or.Part{Type: typ}}
	}
	partDone := or.Event{Type: or.EventPartDone, Part: &or.Part{}}
	text := or.Event{Type: or.EventTextDelta, Delta: "x"}
	args := or.Event{Type: or.EventArgumentsDelta, Delta: "{}"}
	end := or.Event{Type: or.EventCompleted, Terminal: &or.Terminal{Status: or.StatusCompleted}}
	tests := []struct {
		name string
		in   []or.Event
		want string // "" when all is well; else part of the fault of the last event
	}{
		{"nothing but an end", []or.Event{end}, ""},
		{"a message", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), text, partDone, done(or.TypeMessage, 0), end}, ""},
		{"two items", []or.Event{item(or.TypeMessage, 0), done(or.TypeMessage, 0), item(or.TypeFunctionCall, 1), {Type: or.EventArgumentsDelta, OutputIndex: 1}, done(or.TypeFunctionCall, 1), end}, ""},
		{"two parts", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), partDone, part(or.PartRefusal, 1), {Type: or.EventRefusalDelta, ContentIndex: 1}}, ""},
		{"reasoning", []or.Event{item(or.TypeReasoning, 0), part(or.PartReasoning, 0), {Type: or.EventReasoningDelta}, partDone,
			{Type: or.EventSummaryPartAdded}, {Type: or.EventSummaryDelta}, {Type: or.EventSummaryPartDone}, done(or.TypeReasoning, 0)}, ""},
		{"failed in the middle", []or.Event{item(or.TypeMessage, 0), {Type: or.EventFailed}}, ""},
		{"after the end", []or.Event{end, text}, "follows the terminal event"},
		{"end inside an item", []or.Event{item(or.TypeMessage, 0), end}, "while an item is still open"},
		{"end without a terminal", []or.Event{{Type: or.EventCompleted}}, "without a terminal of that status"},
		{"end of another status", []or.Event{{Type: or.EventIncomplete, Terminal: end.Terminal}}, "without a terminal of that status"},
		{"item inside an item", []or.Event{item(or.TypeMessage, 0), item(or.TypeMessage, 1)}, "while another is open"},
		{"item without itself", []or.Event{{Type: or.EventItemAdded}}, "without an item"},
		{"item without a type", []or.Event{item("", 0)}, "without a type"},
		{"item of the wrong index", []or.Event{item(or.TypeMessage, 1)}, "item 0 was added with index 1"},
		{"call without a name", []or.Event{{Type: or.EventItemAdded, Item: &or.Item{Type: or.TypeFunctionCall, CallID: "c"}}}, "call id and name"},
		{"text outside of an item", []or.Event{text}, "outside of an item"},
		{"text outside of a part", []or.Event{item(or.TypeMessage, 0), text}, "outside of a part"},
		{"text of another item", []or.Event{item(or.TypeMessage, 0), {Type: or.EventTextDelta, OutputIndex: 3}}, "has output index 3"},
		{"text of another part", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), {Type: or.EventTextDelta, ContentIndex: 2}}, "has content index 2"},
		{"text in a refusal", []or.Event{item(or.TypeMessage, 0), part(or.PartRefusal, 0), text}, "in a part of type refusal"},
		{"reasoning in a message", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), {Type: or.EventReasoningDelta}}, "in a part of type output_text"},
		{"arguments in a message", []or.Event{item(or.TypeMessage, 0), args}, "in an item of type message"},
		{"part inside a part", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), part(or.PartOutputText, 1)}, "a part is added while another is open"},
		{"part of the wrong index", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 1)}, "part 0 was added with index 1"},
		{"part without itself", []or.Event{item(or.TypeMessage, 0), {Type: or.EventPartAdded}}, "without a part"},
		{"part without a type", []or.Event{item(or.TypeMessage, 0), part("", 0)}, "without a type"},
		{"part done without itself", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), {Type: or.EventPartDone}}, "without a part"},
		{"part done twice", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), partDone, partDone}, "outside of a part"},
		{"item done inside a part", []or.Event{item(or.TypeMessage, 0), part(or.PartOutputText, 0), done(or.TypeMessage, 0)}, "while a part is still open"},
		{"item done as another", []or.Event{item(or.TypeMessage, 0), done(or.TypeReasoning, 0)}, "added as message and done as reasoning"},
		{"item done without itself", []or.Event{item(or.TypeMessage, 0), {Type: or.EventItemDone}}, "without an item"},
		{"summary outside of a part", []or.Event{item(or.TypeReasoning, 0), {Type: or.EventSummaryDelta}}, "outside of a summary part"},
		{"summary in a message", []or.Event{item(or.TypeMessage, 0), {Type: or.EventSummaryPartAdded}}, "in an item of type message"},
		{"summary inside a summary", []or.Event{item(or.TypeReasoning, 0), {Type: or.EventSummaryPartAdded}, {Type: or.EventSummaryPartAdded, SummaryIndex: 1}}, "while another is open"},
		{"summary of the wrong index", []or.Event{item(or.TypeReasoning, 0), {Type: or.EventSummaryPartAdded, SummaryIndex: 1}}, "summary part 0 was added with index 1"},
		{"summary of another part", []or.Event{item(or.TypeReasoning, 0), {Type: or.EventSummaryPartAdded}, {Type: or.EventSummaryDelta, SummaryIndex: 1}}, "has summary index 1"},
		{"unknown event", []or.Event{item(or.TypeMessage, 0), {Type: "response.dance"}}, `unknown type "response.dance"`},
		{"renderer's event", []or.Event{{Type: "response.created"}}, "outside of an item"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var g grammar
			for i := range tt.in {
				got := g.check(&tt.in[i])
				switch last := i == len(tt.in)-1; {
				case !last && got != "":
					t.Fatalf("event %d: %q, want no fault before the last event", i, got)
				case last && tt.want == "" && got != "":
					t.Errorf("fault = %q, want none", got)
				case last && !strings.Contains(got, tt.want):
					t.Errorf("fault = %q, want %q", got, tt.want)
				}
			}
		})
	}
}
