package openresponses

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What our own processes write is read without the parser, but for what few
// events have.
func TestOwnEventsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	events := append(turn(),
		Event{Type: EventTextDelta, Delta: "a \"quoted\" \\ line\n\ttab\r, é and \U0001F600, " + strings.Repeat("long enough ", 40) + "\n"},
		Event{Type: EventIncomplete, Terminal: &Terminal{Status: StatusIncomplete, Reason: "max_output_tokens"}, Usage: &Usage{Input: 1, CacheRead: 2, CacheWrite: 3, CacheWrite1h: 4, Estimated: true}},
		Event{Type: EventItemAdded, Item: &Item{Type: TypeMessage, ID: "i", Status: "s", Role: "r", Phase: "p", Content: []Part{}}},
	)
	for _, e := range events {
		wire := e.AppendJSON(nil)
		r := own{b: wire}
		got, ok := r.event()
		rare := e.Annotation != nil || strings.Contains(string(wire), "url_citation")
		if ok == rare {
			t.Errorf("%s: read as our own is %v", wire, ok)
		}
		if ok && !reflect.DeepEqual(got, e) {
			t.Errorf("%s was read as\n%#v, want\n%#v", wire, got, e)
		}
	}
}

// Whatever is not exactly ours is the parser's, also where it looks alike.
func TestWhatIsNotOurOwnIsLeftToTheParser(t *testing.T) {
	t.Parallel()
	const delta = `{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":`
	const done = `{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[`
	for _, b := range []string{
		``, `{`, `{"type":`, `{"type":"response.created"}`, delta, delta + `"`, delta + `"x`, delta + `"x"`, delta + `"x"} `, delta + `"x"}}`, delta + `"x","delta":"y"}`,
		delta + `"\u0041"}`, delta + `"\x"}`, delta + `"\`, delta + `null}`, delta + `7}`, `{"type":"response.output_text.delta","content_index":0,"output_index":0,"delta":""}`,
		strings.Replace(delta, `:0`, `:00`, 1) + `""}`, strings.Replace(delta, `:0`, `:2147483648`, 1) + `""}`, strings.Replace(delta, `:0`, `:-1`, 1) + `""}`,
		strings.Replace(delta, `:0`, `:1234567890123456789`, 1) + `""}`, strings.Replace(delta, `:0`, `:1.0`, 1) + `""}`,
		done, done + `]`, done + `]}`, done + `,]}}`, done + `{"type":"acme","text":"x"}]}}`, done + `{"type":"output_text","text":"x","annotations":[],"logprobs":[]}]}}`,
		done + `{"type":"output_text","text":"x","annotations":[]}{"type":"output_text","text":"x","annotations":[]}]}}`,
		`{"type":"response.completed","response":{"status":"completed","usage":null}}`, `{"type":"response.failed","response":{"status":"failed","error":{"code":"internal"}}}`,
	} {
		r := own{b: []byte(b)}
		if e, ok := r.event(); ok {
			t.Errorf("%s was read as our own: %+v", b, e)
		}
	}
}

// FuzzOwnRequest holds the two readers of requests together.
func FuzzOwnRequest(f *testing.F) {
	for _, s := range append(slices.Clone(echoes), ours...) {
		f.Add([]byte(`{"model":"m","input":[` + s + `],"max_output_tokens":1000,"metadata":{"a":"b"},"x":[1, 2]}`))
	}
	f.Add([]byte(` { "input" : [ ` + strings.Join(ours, " , ") + ` , 7 ] , "model" : null }`))
	f.Fuzz(func(t *testing.T, b []byte) {
		clean, err := check(b)
		if err != nil {
			return
		}
		got := new(Request)
		done, err := new(decoder).ours(clean, got)
		if !done {
			return
		}
		want := new(Request)
		if fault := readRequest(clean, false, want); fmt.Sprint(fault) != fmt.Sprint(err) {
			t.Fatalf("%q: %v, by the parser %v", b, err, fault)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q was read as\n%#v, by the parser as\n%#v", b, got, want)
		}
	})
}

// ours are items as AppendJSON writes them.
var ours = []string{
	`{"type":"message","role":"user","content":[{"type":"input_text","text":"a\n\"b\""},{"type":"input_text","text":""}]}`,
	`{"type":"message","id":"m","status":"completed","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"x","annotations":[]},{"type":"refusal","refusal":"no"}]}`,
	`{"type":"function_call","id":"f","call_id":"c","name":"n","arguments":"{\"a\":1}","status":"completed"}`,
	`{"type":"function_call_output","call_id":"c","output":"42"}`,
	`{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}],"content":[],"encrypted_content":"sp1.a.b.AA"}`,
	`{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:,"}]}`,
}

// Items as we write them keep their JSON and that of their parts, and are read
// without the parser unless they are rare.
func TestOwnItemsKeepTheirJSON(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"m","input":[` + strings.Join(ours, ",") + `]}`)
	r, err := ReadRequest(body)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range ours {
		if got := string(r.Input[i].Raw); got != want {
			t.Errorf("item %d keeps %s, want %s", i, got, want)
		}
		in := own{b: []byte(want), keep: []byte(want)}
		if in.item(); in.other != strings.Contains(want, "input_image") {
			t.Errorf("%s: left to the parser is %v", want, in.other)
		}
	}
	if got, want := string(r.Input[0].Content[0].Raw), `{"type":"input_text","text":"a\n\"b\""}`; got != want {
		t.Errorf("a part keeps %s, want %s", got, want)
	}
	if got := r.AppendJSON(nil); string(got) != string(body) {
		t.Errorf("%s was written as %s", body, got)
	}
	clear(body)
	if r.Model != "m" || r.Input[3].Output.Text != "42" || string(r.Input[3].Raw) != ours[3] {
		t.Error("what was read shares the memory of the body")
	}
}

// FuzzOwnEvent holds the two readers together.
func FuzzOwnEvent(f *testing.F) {
	for _, e := range turn() {
		f.Add(e.AppendJSON(nil))
	}
	f.Add([]byte(`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\n\"\\\/\b\u0041"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := own{b: b}
		got, ok := r.event()
		if !ok {
			return
		}
		want, err := parseEvent(b)
		if err != nil {
			t.Fatalf("%q is our own, and the parser says %v", b, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q was read as\n%#v, by the parser as\n%#v", b, got, want)
		}
	})
}
