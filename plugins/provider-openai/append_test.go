package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// oddText is a text that JSON has to escape in every way.
const oddText = "a\"b\\c\n\r\t\b\f\x00\u2028<&>é😀\xffz"

// What is written by hand is what the tags of the types say.
func TestResponsesOptionsAreAsTheirTagsSay(t *testing.T) {
	t.Parallel()
	odd := oddText
	yes, n, f := true, int64(7), 1e-7
	full := &responsesOptions{
		Instructions: odd, ToolChoice: named{"function", odd}, ParallelToolCalls: &yes, MaxOutputTokens: &n, MaxToolCalls: &n,
		Temperature: &f, TopP: &f, Reasoning: &reasoning{"low", odd}, Text: &responsesFormat{Format: &format{Type: "json_schema", Name: odd}, Verbosity: "low"},
		Truncation: "auto", ServiceTier: "flex", SafetyIdentifier: odd, PromptCacheKey: odd, Include: []string{"a", odd}, Store: true, Stream: true,
		Tools: []responsesTool{{"function", odd, odd, json.RawMessage(`{"type":"object"}`), true}, {Type: "function", Name: "f"}},
	}
	for name, options := range map[string]*responsesOptions{"full": full, "least": {}, "effort": {Reasoning: &reasoning{Effort: "low"}}, "choice": {ToolChoice: "auto"}} {
		var m members
		if err := options.append(&m); err != nil {
			t.Fatal(err)
		}
		got := m.end()
		want, err := json.Marshal(options)
		if err != nil {
			t.Fatal(err)
		}
		same(t, name, got, want)
		if !bytes.HasSuffix(got, want[len(want)-12:]) {
			t.Errorf("%s: the members have another order:\n%s", name, got)
		}
	}
}

func same(t *testing.T, name string, got, want []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, got)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// Every kind of item and part is written with all its texts, and reasoning
// only where it led to something.
func TestInputIsWhatTheItemsSay(t *testing.T) {
	t.Parallel()
	odd := oddText
	own := func(text string) or.Item {
		data, _ := json.Marshal(state{ID: odd, EncryptedContent: "e" + text})
		return or.Item{Type: or.TypeReasoning, EncryptedContent: or.OpaqueState{Provider: "openai", Family: family, Data: data}.String(),
			Summary: []or.Part{{Type: or.PartSummaryText, Text: odd}, {Type: or.PartSummaryText, Text: text}}}
	}
	type m = map[string]any
	thought := func(text string) m {
		return m{"type": "reasoning", "id": odd, "summary": []any{m{"type": "summary_text", "text": odd}, m{"type": "summary_text", "text": text}}, "encrypted_content": "e" + text}
	}
	text := func(typ string) m { return m{"type": typ, "text": odd} }
	message := func(role string, parts ...or.Part) or.Item {
		return or.Item{Type: or.TypeMessage, Role: role, Content: parts}
	}
	input, output := or.Part{Type: or.PartInputText, Text: odd}, or.Part{Type: or.PartOutputText, Text: odd}
	refusal, picture := or.Part{Type: or.PartRefusal, Refusal: odd}, or.Part{Type: or.PartInputImage, ImageURL: odd}
	lost := or.Part{Type: "acme:thing"}
	call := or.Item{Type: or.TypeFunctionCall, CallID: "c", Name: "f", Arguments: odd}
	result := func(o or.Output) or.Item { return or.Item{Type: or.TypeFunctionCallOutput, CallID: "c", Output: o} }
	called := m{"type": "function_call", "call_id": "c", "name": "f", "arguments": odd}
	resulted := func(o any) m { return m{"type": "function_call_output", "call_id": "c", "output": o} }
	for name, tt := range map[string]struct {
		in   []or.Item
		want []any
	}{
		"parts": {[]or.Item{message("user", lost, input, refusal, picture, or.Part{Type: or.PartInputImage, ImageURL: "u", Detail: "low"}, lost,
			or.Part{Type: or.PartInputFile, FileData: "aGk=", Filename: odd}, or.Part{Type: or.PartInputFile, FileURL: "https://example.com/a"})},
			[]any{m{"type": "message", "role": "user", "content": []any{text("input_text"), text("input_text"), m{"type": "input_image", "image_url": odd, "detail": "auto"},
				m{"type": "input_image", "image_url": "u", "detail": "low"}, m{"type": "input_file", "filename": odd, "file_data": "data:application/octet-stream;base64,aGk="}, m{"type": "input_file", "file_url": "https://example.com/a"}}}}},
		"the model's": {[]or.Item{{Type: or.TypeMessage, Role: "assistant", Phase: odd, Content: []or.Part{picture, output, refusal}}},
			[]any{m{"type": "message", "role": "assistant", "phase": odd, "content": []any{text("output_text"), m{"type": "refusal", "refusal": odd}}}}},
		"a message of nothing is none":      {[]or.Item{message("user", lost), message("user", input)}, []any{m{"type": "message", "role": "user", "content": []any{text("input_text")}}}},
		"a call and its output":             {[]or.Item{call, result(or.Output{Text: odd})}, []any{called, resulted(odd)}},
		"an output of parts":                {[]or.Item{call, result(or.Output{Parts: []or.Part{input}})}, []any{called, resulted([]any{text("input_text")})}},
		"an output of nothing":              {[]or.Item{call, result(or.Output{Parts: []or.Part{lost}})}, []any{called, resulted("")}},
		"reasoning that led to calls":       {[]or.Item{own("1"), own("2"), call, result(or.Output{})}, []any{thought("1"), thought("2"), called, resulted("")}},
		"reasoning first that led to none":  {[]or.Item{own("1"), own("2"), message("user", input)}, []any{m{"type": "message", "role": "user", "content": []any{text("input_text")}}}},
		"reasoning amid that led to none":   {[]or.Item{call, own("1"), result(or.Output{}), own("2")}, []any{called, resulted("")}},
		"reasoning before a message of air": {[]or.Item{own("1"), message("user", lost), call, result(or.Output{})}, []any{thought("1"), called, resulted("")}},
		"nothing":                           {[]or.Item{own("1"), message("user", lost), own("2")}, []any{}},
	} {
		box := newToolbox()
		e := &encoder{request: &or.Request{Input: tt.in}, account: "openai", model: "gpt-5.2", names: &box.names}
		var in members
		if some := e.input(&in); some != (len(tt.want) > 0) {
			t.Errorf("%s: something in it: %v", name, some)
		}
		want, err := json.Marshal(m{"input": tt.want})
		if err != nil {
			t.Fatal(err)
		}
		same(t, name, in.end(), want)
	}
}
