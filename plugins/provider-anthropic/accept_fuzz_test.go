package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// dialogueOf makes a random body of the Messages API, well formed but in any
// order: blocks of every kind, marks, results without calls and the reverse,
// thinking of anybody.
func dialogueOf(r *rand.Rand) []byte {
	pick := func(of ...any) any { return of[r.IntN(len(of))] }
	type m = map[string]any
	data, _ := json.Marshal(block{Type: "redacted_thinking", Data: "Emw="})
	own := or.OpaqueState{Provider: "anthropic", Family: "anthropic", Data: data}.String()
	state := func() any { return pick(own, "EqQB", stateless, "sp1.openai.openai.e30", "") }
	text := func() any { return pick("hello", "", "  ", "<b>\u0001", "é") }
	mark := func(b m) m {
		if r.IntN(4) == 0 {
			b["cache_control"] = pick(m{"type": "ephemeral"}, m{"type": "ephemeral", "ttl": "1h"}, m{"type": "x"}, nil)
		}
		return b
	}
	id := func() any { return fmt.Sprint(pick("toolu_", "toolu_call_", "x."), r.IntN(3)) }
	picture := func() m {
		return mark(m{"type": "image", "source": pick(m{"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}, m{"type": "url", "url": "https://example.com/a.png"}, m{"type": "file", "file_id": "f"})})
	}
	var messages []any
	for range 1 + r.IntN(10) {
		role := pick("user", "user", "assistant", "assistant", "system").(string)
		if r.IntN(4) == 0 {
			messages = append(messages, m{"role": role, "content": text()})
			continue
		}
		content := []any{}
		for range r.IntN(4) {
			if role != "assistant" {
				content = append(content, pick(mark(m{"type": "text", "text": text()}), picture(), m{"type": "unheard_of"},
					mark(m{"type": "document", "title": pick("a", nil), "source": pick(m{"type": "text", "media_type": "text/plain", "data": text()}, m{"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="})}),
					mark(m{"type": "tool_result", "tool_use_id": id(), "is_error": pick(true, false, nil), "content": pick(nil, text(), []any{}, []any{picture(), m{"type": "text", "text": text()}})}),
					mark(m{"type": "tool_result", "tool_use_id": id(), "content": "r"})))
				continue
			}
			content = append(content, pick(mark(m{"type": "text", "text": text()}), m{"type": "thinking", "thinking": text(), "signature": state()}, m{"type": "redacted_thinking", "data": state()},
				mark(m{"type": "tool_use", "id": id(), "name": pick("f", "g", "gone"), "input": pick(m{}, m{"a": text()})}), m{"type": "server_tool_use", "id": "s", "name": "web_search", "input": m{}}))
		}
		messages = append(messages, m{"role": role, "content": content})
	}
	body := m{
		"model": "m", "max_tokens": pick(1, 1500, 64000), "messages": messages, "stream": pick(true, false),
		"system":        pick(nil, "Be brief.", []any{m{"type": "text", "text": billing + " x"}, mark(m{"type": "text", "text": text()}), mark(m{"type": "text", "text": "b"})}),
		"tools":         pick(nil, []any{}, []any{mark(m{"name": "f", "input_schema": m{"type": "object", "$schema": "x"}}), mark(m{"name": "g", "input_schema": m{"type": "object"}, "strict": true}), m{"type": "web_search_20250305", "name": "web_search"}, m{"type": "bash_20250124", "name": "bash"}}),
		"tool_choice":   pick(nil, m{"type": "auto", "disable_parallel_tool_use": true}, m{"type": "any"}, m{"type": "tool", "name": "f"}, m{"type": "none"}),
		"thinking":      pick(nil, m{"type": "adaptive"}, m{"type": "disabled"}, m{"type": "enabled", "budget_tokens": 1499}, m{"type": "enabled", "budget_tokens": 40000}),
		"output_config": pick(nil, m{"effort": pick("low", "max", nil), "format": pick(nil, m{"type": "json_schema", "schema": m{"type": "object", "properties": m{"a": m{"type": "string"}}}})}),
		"temperature":   pick(nil, 0, 0.5, 1), "top_p": pick(nil, 0.5), "top_k": pick(nil, 3),
		"stop_sequences": pick(nil, []any{"x", ""}), "metadata": pick(nil, m{"user_id": "u"}, m{"user_id": `{"session_id":"s"}`}),
	}
	b, _ := json.Marshal(body)
	return b
}

// FuzzDialogue holds that whatever the front accepts, our own translator can
// say to Anthropic.
func FuzzDialogue(f *testing.F) {
	for seed := range uint64(400) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		model, body := models[r.IntN(len(models))], dialogueOf(r)
		d, err := translator{}.Accept(t.Context(), provider.ClientRequest{Route: messagesRoute, Body: body})
		if err != nil {
			if e := apierror.From(err); e.Code != apierror.Invalid && e.Code != apierror.Unsupported || e.Param == "" {
				t.Fatalf("%+v\n%s", e, body)
			}
			return
		}
		request, err := or.ReadRequest(d.Asked().Request.AppendJSON(nil))
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if !paired(request.Input) {
			t.Fatalf("calls and outputs do not pair up\n%s", body)
		}
		for _, op := range []provider.Op{provider.Generate, provider.CountTokens} {
			x, err := translator{}.Begin(t.Context(), provider.Turn{Op: op, Model: model, Account: provider.Account{Name: "anthropic"}, Request: request})
			if err != nil {
				if code := apierror.CodeOf(err); code != apierror.Invalid && code != apierror.Unsupported {
					t.Fatalf("%s: %v\n%s", model, err, body)
				}
				return
			}
			if op == provider.Generate {
				if err := strict(x.Upstream().Body); err != nil {
					t.Fatalf("%s: %v\nbody %s\nupstream %s", model, err, body, x.Upstream().Body)
				}
			}
		}
	})
}
