package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// conversation makes a random request whose calls have their outputs, in any
// order, with reasoning of anybody anywhere.
func conversation(r *rand.Rand) []byte {
	pick := func(of ...any) any { return of[r.IntN(len(of))] }
	state := func() string {
		text := "hm"
		b := pick(block{Type: "thinking", Thinking: &text, Signature: "EqQ="}, block{Type: "redacted_thinking", Data: "Emw="}, block{Type: "thinking", Thinking: &text}, block{Type: "text", Text: "x"})
		data, _ := json.Marshal(b)
		return or.OpaqueState{Provider: pick("anthropic", "anthropic", "anthropic", "other").(string), Family: pick("anthropic", "anthropic", "gemini").(string), Data: data}.String()
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
			id := fmt.Sprint(pick("toolu_", "call_", "fc.", "é"), ids)
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
		if err := strict(up.Body); err != nil {
			t.Fatalf("%s: %v\nrequest %s\nbody %s", model, err, request, up.Body)
		}
	})
}
