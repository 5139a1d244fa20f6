package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// conversation makes a random request whose calls have their outputs, in any
// order, with reasoning of anybody anywhere.
func conversation(r *rand.Rand) []byte {
	pick := func(of ...any) any { return of[r.IntN(len(of))] }
	state := func() string {
		b := pick(mark{Signature: "CiA="}, mark{Signature: "CiE=", Thought: "hm"}, mark{Signature: "CiI=", Call: fmt.Sprint("gemini_", r.IntN(4))}, mark{})
		data, _ := json.Marshal(b)
		return or.OpaqueState{Provider: pick("gemini", "gemini", "gemini", "other").(string), Family: pick("gemini", "gemini", "anthropic").(string), Data: data}.String()
	}
	texts := []any{"hello", "", "  ", "sp2", "<b>"}
	var input []any
	var open []string
	ids := 0
	for range r.IntN(12) {
		switch r.IntN(7) {
		case 0:
			input = append(input, map[string]any{"role": "user", "content": pick(texts...)})
		case 1:
			input = append(input, map[string]any{"role": pick("system", "developer"), "content": pick(texts...)})
		case 2:
			input = append(input, map[string]any{"role": "assistant", "content": []any{
				map[string]any{"type": "output_text", "text": pick(texts...), "annotations": []any{}}, map[string]any{"type": "refusal", "refusal": pick(texts...)}}})
		case 3:
			input = append(input, map[string]any{"type": "reasoning", "summary": []any{}, "encrypted_content": pick(state(), state(), "gAAAA", nil)})
		case 4, 5:
			ids++
			id := fmt.Sprint(pick("gemini_", "call_", "fc.", "é"), ids)
			open = append(open, id)
			input = append(input, map[string]any{"type": "function_call", "call_id": id, "name": pick("f", "g", "not_declared"), "arguments": pick("{}", "", "[1]", `{"a":"b"}`, "{")})
		case 6:
			r.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
			for _, id := range open[:r.IntN(len(open)+1)] {
				input = append(input, outputItem(id, pick))
				open = open[1:]
			}
		}
	}
	for _, id := range open {
		input = append(input, outputItem(id, pick))
	}
	schema := pick(nil, map[string]any{}, map[string]any{"type": "object", "properties": map[string]any{"a": map[string]any{"type": "string", "minLength": 1}}}, map[string]any{"anyOf": []any{}, "$schema": "x"})
	req := map[string]any{
		"model": "m", "input": input, "stream": r.IntN(2) == 0, "instructions": pick(nil, "", "Be brief."),
		"tools":       pick(nil, []any{map[string]any{"type": "function", "name": "f", "parameters": schema}, map[string]any{"type": "function", "name": "g", "strict": true}, map[string]any{"type": "web_search"}}),
		"tool_choice": pick(nil, "auto", "none", "required", map[string]any{"type": "function", "name": "f"}, map[string]any{"type": "allowed_tools", "mode": pick("auto", "required"), "tools": []any{map[string]any{"type": "function", "name": "g"}}}),
		"reasoning":   pick(nil, map[string]any{"effort": pick("none", "minimal", "low", "medium", "high", "xhigh", nil), "summary": pick(nil, "auto")}),
		"temperature": pick(nil, 0.0, 1.0, 2.0), "top_p": pick(nil, 0.5, 1.0), "max_output_tokens": pick(nil, 16, 1500, 100000), "parallel_tool_calls": pick(nil, true, false),
		"text": pick(nil, map[string]any{"format": map[string]any{"type": "json_object"}}, map[string]any{"format": map[string]any{"type": "json_schema", "name": "n", "schema": schema}}),
	}
	b, _ := json.Marshal(req)
	return b
}

func outputItem(id string, pick func(...any) any) map[string]any {
	return map[string]any{"type": "function_call_output", "call_id": id, "output": pick("", "r", []any{}, []any{map[string]any{"type": "input_text", "text": "r"}, map[string]any{"type": "input_image", "image_url": "https://example.com/a.png"}})}
}

// A client whose history has no call ids, as OpenAI's mcp_call, gives calls
// back under new ones. The signature finds the call that it stands before.
func TestSignatureOfRenamedCall(t *testing.T) {
	t.Parallel()
	state := func(call string) *or.Item {
		data, err := json.Marshal(mark{Signature: "CiI=", Call: call})
		if err != nil {
			t.Fatal(err)
		}
		return &or.Item{Type: or.TypeReasoning, EncryptedContent: or.OpaqueState{Provider: "gemini", Family: "gemini", Data: data}.String()}
	}
	call := func(id string) *or.Item { return &or.Item{Type: or.TypeFunctionCall, CallID: id, Name: "f"} }
	for name, tc := range map[string]struct {
		items []*or.Item
		want  map[string]string
	}{
		"kept":               {[]*or.Item{state("a"), call("a"), call("b")}, map[string]string{"a": "CiI="}},
		"kept, in any order": {[]*or.Item{call("a"), state("a"), call("b")}, map[string]string{"a": "CiI="}},
		"renamed":            {[]*or.Item{state("a"), call("mcp_1"), call("mcp_2")}, map[string]string{"mcp_1": "CiI="}},
		"gone":               {[]*or.Item{call("mcp_1"), state("a")}, map[string]string{}},
	} {
		var turn dialogue.Turn
		for _, it := range tc.items {
			turn.Entries = append(turn.Entries, dialogue.Entry{Item: it})
		}
		if got := (&encoder{account: "gemini"}).signatures(turn); !maps.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// FuzzConversation is FuzzBegin with requests that have a meaning.
func FuzzConversation(f *testing.F) {
	for seed := range uint64(400) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		model := models[r.IntN(len(models))]
		request := conversation(r)
		up := begin(t, model, request)
		if up == nil {
			return
		}
		if err := strict(model, up.Body); err != nil {
			t.Fatalf("%s: %v\nrequest %s\nbody %s", model, err, request, up.Body)
		}
	})
}
