package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// What is written by hand is what the tags of the types say.
func TestResponsesBodyIsAsItsTagsSay(t *testing.T) {
	t.Parallel()
	odd := "a\"b\\c\n\r\t\b\f\x00\u2028<&>é😀\xffz"
	yes, n, f := true, int64(7), 1e-7
	full := &responsesBody{
		Model: odd, Instructions: odd, ToolChoice: named{"function", odd}, ParallelToolCalls: &yes, MaxOutputTokens: &n, MaxToolCalls: &n,
		Temperature: &f, TopP: &f, Reasoning: &reasoning{"low", "auto"}, Text: &responsesFormat{Format: &format{Type: "json_schema", Name: odd}, Verbosity: "low"},
		Truncation: "auto", ServiceTier: "flex", SafetyIdentifier: odd, PromptCacheKey: odd, Include: []string{"a", odd}, Store: true, Stream: true,
		Tools: []responsesTool{{"function", odd, odd, json.RawMessage(`{"type":"object"}`), true}, {Type: "function", Name: "f"}},
		Input: []any{
			inputMessage{"message", "user", []any{
				textPart{"input_text", odd}, refusalPart{"refusal", odd}, imagePart{"input_image", odd, "auto"},
				filePart{"input_file", odd, odd, odd}, filePart{Type: "input_file"},
			}, odd},
			inputMessage{Type: "message", Role: "user", Content: []any{}},
			inputCall{"function_call", odd, odd, odd},
			inputOutput{"function_call_output", odd, odd},
			inputOutput{"function_call_output", odd, []any{textPart{"input_text", odd}}},
			inputReasoning{"reasoning", odd, []any{textPart{"summary_text", odd}}, odd},
			inputReasoning{Type: "reasoning", Summary: []any{}},
		},
	}
	for name, body := range map[string]*responsesBody{"full": full, "least": {Model: "m", Input: []any{}}} {
		got, err := body.json(0)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
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
		if !bytes.HasPrefix(got, []byte(`{"model":`)) || !bytes.HasSuffix(got, want[len(want)-12:]) {
			t.Errorf("%s: the members have another order:\n%s", name, got)
		}
	}
}
