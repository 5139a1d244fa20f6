package upstream

import "encoding/json"

// reply writes the turn as one message, or as the events of one.
func (anthropic) reply(s *Server, q *query, t Turn) []string {
	var blocks []object
	signature := ""
	switch {
	case t.Reasoning != "" && q.think && t.Redacted:
		signature = s.sign("redacted", t.Reasoning)
		s.memory.items[signature] = issued{kind: "redacted"}
		blocks = append(blocks, object{"type": "redacted_thinking", "data": signature})
	case t.Reasoning != "" && q.think:
		signature = s.sign("thinking", t.Reasoning)
		blocks = append(blocks, object{"type": "thinking", "thinking": t.Reasoning, "signature": signature})
	}
	stop := "end_turn"
	if said := t.Text + t.Refusal; said != "" {
		blocks = append(blocks, object{"type": "text", "text": said})
	}
	for _, c := range t.Calls {
		id := s.id("toolu_01", 22)
		s.memory.calls[id] = issued{kind: c.Name, reasoning: signature}
		blocks = append(blocks, object{"type": "tool_use", "id": id, "name": c.Name, "input": json.RawMessage(c.Arguments)})
		stop = "tool_use"
	}
	switch {
	case t.Refusal != "" || t.Stop == Filter:
		stop = "refusal"
	case t.Stop == MaxTokens:
		stop = "max_tokens"
	}
	u := t.Usage.orSmall()
	begun := object{"input_tokens": u.Input, "cache_creation_input_tokens": u.Cached5m + u.Cached1h, "cache_read_input_tokens": u.Cached,
		"cache_creation": object{"ephemeral_5m_input_tokens": u.Cached5m, "ephemeral_1h_input_tokens": u.Cached1h}, "output_tokens": 1, "service_tier": "standard"}
	spent := object{"output_tokens": u.Output + u.Reasoning}
	if u.Reasoning > 0 {
		spent["output_tokens_details"] = object{"thinking_tokens": u.Reasoning}
	}
	message := object{"id": s.id("msg_01", 22), "type": "message", "role": "assistant", "model": q.model, "content": []any{}, "stop_reason": nil, "stop_sequence": nil, "usage": begun}
	if !q.stream {
		content := make([]any, len(blocks))
		for i, b := range blocks {
			content[i] = b
		}
		return []string{encode(with(message, object{"content": content, "stop_reason": stop, "usage": with(begun, spent)}))}
	}
	var frames []string
	event := func(typ string, members object) {
		members["type"] = typ
		frames = append(frames, "event: "+typ+"\ndata: "+encode(members)+"\n\n")
	}
	event("message_start", object{"message": message})
	event("ping", object{})
	for i, b := range blocks {
		claudeBlock(event, i, b)
	}
	event("message_delta", object{"delta": object{"stop_reason": stop, "stop_sequence": nil}, "usage": with(spent, object{"input_tokens": u.Input,
		"cache_creation_input_tokens": u.Cached5m + u.Cached1h, "cache_read_input_tokens": u.Cached})})
	event("message_stop", object{})
	return frames
}

// claudeBlock writes the events of one content block.
func claudeBlock(event func(string, object), i int, b object) {
	begin := func(block object) { event("content_block_start", object{"index": i, "content_block": block}) }
	delta := func(d object) { event("content_block_delta", object{"index": i, "delta": d}) }
	switch b["type"] {
	case "thinking":
		begin(object{"type": "thinking", "thinking": "", "signature": ""})
		for _, p := range pieces(str(b, "thinking")) {
			delta(object{"type": "thinking_delta", "thinking": p})
		}
		delta(object{"type": "signature_delta", "signature": b["signature"]})
	case "redacted_thinking":
		begin(b)
	case "text":
		begin(object{"type": "text", "text": ""})
		for _, p := range pieces(str(b, "text")) {
			delta(object{"type": "text_delta", "text": p})
		}
	case "tool_use":
		begin(object{"type": "tool_use", "id": b["id"], "name": b["name"], "input": object{}})
		delta(object{"type": "input_json_delta", "partial_json": ""})
		for _, p := range pieces(string(b["input"].(json.RawMessage))) {
			delta(object{"type": "input_json_delta", "partial_json": p})
		}
	}
	event("content_block_stop", object{"index": i})
}
