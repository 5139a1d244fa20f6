package openresponses

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// turn is a whole turn: reasoning, a message with a citation, a call.
func turn() []Event {
	cite := Annotation{Type: "url_citation", URL: "u", Title: "t", StartIndex: 1, EndIndex: 2}
	text := Part{Type: PartOutputText, Text: "hi", Annotations: []Annotation{cite}}
	sum, raw := Part{Type: PartSummaryText, Text: "s"}, Part{Type: PartReasoning, Text: "r"}
	return []Event{
		{Type: EventItemAdded, Item: &Item{Type: TypeReasoning, Status: StatusInProgress, Summary: []Part{}}},
		{Type: EventSummaryPartAdded, Part: &Part{Type: PartSummaryText}},
		{Type: EventSummaryDelta, Delta: "s"},
		{Type: EventSummaryDone, Text: "s"},
		{Type: EventSummaryPartDone, Part: &sum},
		{Type: EventPartAdded, Part: &Part{Type: PartReasoning}},
		{Type: EventReasoningDelta, Delta: "r"},
		{Type: EventReasoningDone, Text: "r"},
		{Type: EventPartDone, Part: &raw},
		{Type: EventItemDone, Item: &Item{Type: TypeReasoning, Status: StatusCompleted, Summary: []Part{sum}, Content: []Part{raw}, EncryptedContent: "sp1.a.b.AA"}},
		{Type: EventItemAdded, OutputIndex: 1, Item: &Item{Type: TypeMessage, Role: "assistant", Status: StatusInProgress, Content: []Part{}}, Usage: &Usage{Input: 3, CacheRead: 1}},
		{Type: EventPartAdded, OutputIndex: 1, Part: &Part{Type: PartOutputText}},
		{Type: EventTextDelta, OutputIndex: 1, Delta: "h"},
		{Type: EventTextDelta, OutputIndex: 1, Delta: "i"},
		{Type: EventAnnotationAdded, OutputIndex: 1, Annotation: &cite},
		{Type: EventTextDone, OutputIndex: 1, Text: "hi"},
		{Type: EventPartDone, OutputIndex: 1, Part: &text},
		{Type: EventPartAdded, OutputIndex: 1, ContentIndex: 1, Part: &Part{Type: PartRefusal}},
		{Type: EventRefusalDelta, OutputIndex: 1, ContentIndex: 1, Delta: "no"},
		{Type: EventRefusalDone, OutputIndex: 1, ContentIndex: 1, Text: "no"},
		{Type: EventPartDone, OutputIndex: 1, ContentIndex: 1, Part: &Part{Type: PartRefusal, Refusal: "no"}},
		{Type: EventItemDone, OutputIndex: 1, Item: &Item{Type: TypeMessage, Role: "assistant", Status: StatusCompleted, Content: []Part{text, {Type: PartRefusal, Refusal: "no"}}}},
		{Type: EventItemAdded, OutputIndex: 2, Item: &Item{Type: TypeFunctionCall, CallID: "c", Name: "f", Status: StatusInProgress}},
		{Type: EventArgumentsDelta, OutputIndex: 2, Delta: "{}"},
		{Type: EventArgumentsDone, OutputIndex: 2, Text: "{}"},
		{Type: EventItemDone, OutputIndex: 2, Item: &Item{Type: TypeFunctionCall, CallID: "c", Name: "f", Arguments: "{}", Status: StatusCompleted}},
		{Type: EventCompleted, Usage: &Usage{Input: 3, Output: 4, Reasoning: 5}, Terminal: &Terminal{Status: StatusCompleted, Model: "m", Tier: "flex"}},
	}
}

func TestEventsRoundTrip(t *testing.T) {
	t.Parallel()
	events := append(turn(),
		Event{Type: EventIncomplete, Terminal: &Terminal{Status: StatusIncomplete, Reason: "max_output_tokens"}},
		Event{Type: EventFailed, Terminal: &Terminal{Status: StatusFailed, Error: &apierror.Error{Code: apierror.UpstreamLimited, Message: "m", RetryAfter: 2 * time.Second, Upstream: &apierror.Upstream{Status: 429}}}},
		Event{Type: EventItemDone, Item: &Item{Type: "acme:x", Raw: json.RawMessage(`{"type":"acme:x","y":{"z":1}}`)}},
		Event{Type: EventPartDone, Part: &Part{Type: "acme:p", Raw: json.RawMessage(`{"type":"acme:p","y":1}`)}},
	)
	for _, e := range events {
		wire := e.AppendJSON(nil)
		got, err := ParseEvent(wire)
		if err != nil {
			t.Errorf("ParseEvent(%s): %v", wire, err)
			continue
		}
		if again := got.AppendJSON(nil); string(again) != string(wire) {
			t.Errorf("%s became %s", wire, again)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("event %s is not the same after the wire:\n%#v\n%#v", wire, got, e)
		}
	}
	for _, bad := range []string{``, `7`, `{"type":"response.created"}`, `{"type":"response.output_text.delta","delta":7}`, `{"type":"response.completed"}`,
		`{"type":"response.output_item.added","item":[]}`, `{"type":"response.output_text.delta","output_index":-1,"delta":""}`,
		"{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"acme:x\",\"y\":\"\n\"}}"} {
		if e, err := ParseEvent([]byte(bad)); err == nil {
			t.Errorf("ParseEvent(%s) = %+v", bad, e)
		}
	}
}

func TestAccumulator(t *testing.T) {
	t.Parallel()
	var a Accumulator
	for i, e := range turn() {
		if err := a.Add(e); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	if n := len(a.Items()); n != 3 || a.Items()[2].Arguments != "{}" || a.Items()[0].EncryptedContent == "" {
		t.Errorf("items: %+v", a.Items())
	}
	if u, ok := a.Usage(); !ok || u.OutputTotal() != 9 {
		t.Errorf("usage %+v, %v", u, ok)
	}
	if a.Terminal() == nil || a.Terminal().Model != "m" {
		t.Errorf("terminal %+v", a.Terminal())
	}
}

// TestAccumulatorRefuses breaks one rule at a time in a good turn.
func TestAccumulatorRefuses(t *testing.T) {
	t.Parallel()
	edit := func(at int, change func(*Event)) func([]Event) []Event {
		return func(es []Event) []Event { change(&es[at]); return es }
	}
	drop := func(at int) func([]Event) []Event {
		return func(es []Event) []Event { return append(es[:at], es[at+1:]...) }
	}
	tests := []struct {
		name string
		edit func([]Event) []Event
		says string
	}{
		{"text is not its deltas", edit(15, func(e *Event) { e.Text = "ho" }), "not what the deltas said"},
		{"done part differs", edit(16, func(e *Event) { e.Part = &Part{Type: PartOutputText, Text: "hi"} }), "not what the deltas said"},
		{"done item differs", edit(21, func(e *Event) { e.Item = &Item{Type: TypeMessage, Role: "assistant", Status: StatusCompleted} }), "not what the events said"},
		{"done call differs", edit(25, func(e *Event) {
			e.Item = &Item{Type: TypeFunctionCall, CallID: "c", Name: "f", Status: StatusCompleted}
		}), "not what the events said"},
		{"index jumps", edit(10, func(e *Event) { e.OutputIndex = 2 }), "output_index 2, want 1"},
		{"delta for another item", edit(12, func(e *Event) { e.OutputIndex = 0 }), "output_index 0"},
		{"part index jumps", edit(11, func(e *Event) { e.ContentIndex = 1 }), "index 1, want 0"},
		{"item opens while one is open", drop(9), "still open"},
		{"part not closed", drop(16), "still open"},
		{"part without its text", drop(15), "before its text"},
		{"delta without part", drop(11), "no part of type"},
		{"call without arguments done", drop(24), "before its arguments"},
		{"arguments of a message", edit(12, func(e *Event) { e.Type = EventArgumentsDelta }), `of type "message"`},
		{"item opens full", edit(22, func(e *Event) { e.Item.Arguments = "{" }), "opens empty"},
		{"call without id", edit(22, func(e *Event) { e.Item.CallID = "" }), "call_id and name"},
		{"user message", edit(10, func(e *Event) { e.Item.Role = "user" }), "want assistant"},
		{"reasoning part in a message", edit(11, func(e *Event) { e.Part.Type = PartReasoning }), "does not belong"},
		{"in progress at the end", edit(25, func(e *Event) { e.Item.Status = StatusInProgress }), "want completed or incomplete"},
		{"incomplete in the middle", edit(21, func(e *Event) { e.Item.Status = StatusIncomplete }), "must be the last"},
		{"incomplete item, completed turn", edit(25, func(e *Event) { e.Item.Status = StatusIncomplete }), "so the turn is"},
		{"status is not the type", edit(26, func(e *Event) { e.Terminal.Status = "failed" }), "how the turn ended"},
		{"failure without reason", edit(26, func(e *Event) { e.Type = EventFailed; e.Terminal.Status = "failed" }), "says why"},
		{"after the end", func(es []Event) []Event { return append(es, es[26]) }, "after the terminal"},
		{"negative usage", edit(26, func(e *Event) { e.Usage.Output = -1 }), "negative"},
		{"unknown event", edit(12, func(e *Event) { e.Type = "response.created" }), "unknown type"},
		{"call id twice", func(es []Event) []Event {
			again := append([]Event{}, es[22:26]...)
			for i := range again {
				again[i].OutputIndex = 3
			}
			return append(append(es[:26:26], again...), es[26])
		}, "used twice"},
	}
	for _, tt := range tests {
		var a Accumulator
		var err error
		for _, e := range tt.edit(turn()) {
			if err = a.Add(e); err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want one that says %q", tt.name, err, tt.says)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	for _, e := range turn() {
		f.Add(e.AppendJSON(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvent(b)
		if err != nil {
			return
		}
		once := e.AppendJSON(nil)
		again, err := ParseEvent(once)
		if err != nil {
			t.Fatalf("%q was written as %q: %v", b, once, err)
		}
		if twice := again.AppendJSON(nil); string(twice) != string(once) {
			t.Fatalf("not stable:\n%q\n%q", once, twice)
		}
		if !json.Valid(once) {
			t.Fatalf("not JSON: %q", once)
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	e := Event{Type: EventTextDelta, OutputIndex: 1, Delta: "Hello there"}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
		if _, err := ParseEvent(buf); err != nil {
			b.Fatal(err)
		}
	}
}
