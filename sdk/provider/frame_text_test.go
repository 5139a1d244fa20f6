package provider

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// turnOf has the events of a turn with every kind of text.
func turnOf(s string) []openresponses.Event {
	var all []openresponses.Event
	out := NewOutput(func(ev openresponses.Event, _ error) bool { all = append(all, ev); return true })
	half := len(s) / 2
	for _, step := range []func(string) bool{out.Summary, out.Summary} {
		step(s[:half])
		step(s[half:])
		out.ClosePart()
	}
	out.Reasoning(s)
	out.ReasoningState(openresponses.OpaqueState{Provider: "p", Family: "f", Data: []byte("x")})
	out.Text(s[:half])
	out.Text(s[half:])
	out.Annotate(openresponses.Annotation{Type: "url_citation", URL: "https://example.com", EndIndex: 1})
	out.ClosePart()
	out.Refusal(s)
	out.Text("short")
	out.Call("0", "call_1", "f")
	out.Arguments("0", `{"a":"`)
	out.Arguments("0", strings.Repeat("b", len(s))+`"}`)
	out.CloseCall("0")
	out.Text(s)
	out.Usage(openresponses.Usage{Input: 1, Output: 2})
	out.Finish(openresponses.Terminal{})
	return all
}

// TestShortEvents: what goes through frames that leave out texts is what went in,
// and what the other end would have read without that.
func TestShortEvents(t *testing.T) {
	long := strings.Repeat("æ\"\n word", 100)
	raw := func(typ string, item *openresponses.Item, part *openresponses.Part) openresponses.Event {
		return openresponses.Event{Type: typ, Item: item, Part: part}
	}
	opened := func(delta string) []openresponses.Event {
		return []openresponses.Event{
			raw(openresponses.EventItemAdded, &openresponses.Item{Type: "message", Role: "assistant"}, nil),
			raw(openresponses.EventPartAdded, nil, &openresponses.Part{Type: "output_text"}),
			{Type: openresponses.EventTextDelta, Delta: delta},
		}
	}
	done := func(delta, text string) []openresponses.Event {
		part := openresponses.Part{Type: "output_text", Text: text}
		return append(opened(delta), openresponses.Event{Type: openresponses.EventTextDone, Text: text},
			raw(openresponses.EventPartDone, nil, &part),
			raw(openresponses.EventItemDone, &openresponses.Item{Type: "message", Role: "assistant", Status: "completed", Content: []openresponses.Part{part}}, nil))
	}
	tooLong := strings.Repeat("x", maxFollowed+1)
	rawPart := openresponses.Part{Type: "output_text", Text: long, Raw: []byte(`{"type":"output_text","text":"other","x":1}`)}
	for _, c := range []struct {
		name   string
		events []openresponses.Event
		left   int // how many events are without their text
	}{
		{"every kind", turnOf(long), 17},
		{"short", turnOf("hello"), 0},
		{"as long as is followed", turnOf(strings.Repeat("x", maxFollowed/4)), 17},
		{"longer than is followed", done(tooLong, tooLong), 0},
		{"another text than the deltas'", done(long, strings.ToUpper(long)), 2}, // the part's and the item's are what the text's was
		{"raw part", append(opened(long), openresponses.Event{Type: openresponses.EventTextDone, Text: long}, raw(openresponses.EventPartDone, nil, &rawPart),
			raw(openresponses.EventItemDone, &openresponses.Item{Type: "message", Content: []openresponses.Part{{Type: "output_text", Text: long}}}, nil)), 1},
		{"not UTF-8", append(done(long[:298], long[:298]), done(long, long)...), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var from, to texts
			left := 0
			for _, ev := range c.events {
				b := from.appendEvent(nil, &ev)
				if b[0]&eventShort != 0 {
					left++
				}
				var none *texts
				want, err := openresponses.ParseEvent(none.appendEvent(nil, &ev)[1:])
				if err != nil {
					t.Fatal(err)
				}
				got, err := to.parseEvent(b)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("event %s: got %.300s\nwant %.300s", ev.Type, got.AppendJSON(nil), want.AppendJSON(nil))
				}
			}
			if left != c.left {
				t.Errorf("%d events without their texts, want %d", left, c.left)
			}
		})
	}
}

// TestShortEventsRefused: a plugin that leaves out what cannot be put back breaks
// the format.
func TestShortEventsRefused(t *testing.T) {
	for name, event := range map[string]string{
		"no text":       `{"type":"response.output_item.added","output_index":0,"item":{"type":"message","role":"assistant"}}`,
		"no item":       `{"type":"response.output_item.done","output_index":0}`,
		"no part":       `{"type":"response.content_part.done","output_index":0,"content_index":0}`,
		"unknown parts": `{"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":""}]}}`,
		"terminal":      `{"type":"response.completed","response":{"status":"completed"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var to texts
			_, err := to.parseEvent(append([]byte{eventShort}, event...))
			if err == nil {
				t.Fatal("taken")
			}
			if _, ok := err.(*frameError); !ok || apierror.From(err).Code != apierror.Internal {
				t.Errorf("got %T %v", err, err)
			}
		})
	}
}
