package upstream

import (
	"encoding/json"
	"strings"
)

// reply writes the turn as one response, or as chunks of one.
func (gemini) reply(s *Server, q *query, t Turn) []string {
	var parts []object
	if t.Reasoning != "" && q.think {
		for _, p := range pieces(t.Reasoning) {
			parts = append(parts, object{"text": p, "thought": true})
		}
	}
	for _, p := range pieces(t.Text) {
		parts = append(parts, object{"text": p})
	}
	if t.Reasoning != "" && t.Text != "" && len(t.Calls) == 0 {
		parts = append(parts, object{"text": "", "thoughtSignature": s.partSignature(object{})})
	}
	for i, c := range t.Calls {
		call := object{"name": c.Name, "args": normal(c.Arguments)}
		part := object{"functionCall": call}
		if i == 0 && t.Reasoning != "" { // of parallel calls only the first one has it
			part["thoughtSignature"] = s.partSignature(part)
			s.memory.calls[c.Name+" "+encode(call["args"])] = issued{reasoning: part["thoughtSignature"].(string)}
		}
		parts = append(parts, part)
	}
	finish := "STOP"
	switch {
	case t.Refusal != "" || t.Stop == Filter:
		finish = "SAFETY"
	case t.Stop == MaxTokens:
		finish = "MAX_TOKENS"
	}
	u := t.Usage.orSmall()
	usage := object{"promptTokenCount": u.fresh() + u.Cached, "candidatesTokenCount": u.Output, "totalTokenCount": u.fresh() + u.Cached + u.Output + u.Reasoning,
		"promptTokensDetails": []any{object{"modality": "TEXT", "tokenCount": u.fresh() + u.Cached}}}
	if u.Cached > 0 {
		usage["cachedContentTokenCount"] = u.Cached
	}
	if u.Reasoning > 0 {
		usage["thoughtsTokenCount"] = u.Reasoning
	}
	id := s.id("", 22)
	document := func(parts []object, finish any, usage object) string {
		candidate := object{"index": 0}
		if finish == nil || finish != "SAFETY" {
			if parts == nil {
				parts = []object{}
			}
			candidate["content"] = object{"parts": parts, "role": "model"}
		}
		if finish != nil {
			candidate["finishReason"] = finish
		}
		return encode(object{"candidates": []any{candidate}, "usageMetadata": usage, "modelVersion": q.model, "responseId": id})
	}
	if !q.stream {
		return []string{document(merged(parts), finish, usage)}
	}
	var frames []string
	frame := func(text string) {
		switch {
		case !q.list:
			text = "data: " + text + "\r\n\r\n"
		case len(frames) == 0:
			text = "[" + text
		default:
			text = "\r\n,\r\n" + text
		}
		frames = append(frames, text)
	}
	for _, p := range parts {
		frame(document([]object{p}, nil, object{"promptTokenCount": u.fresh() + u.Cached, "totalTokenCount": u.fresh() + u.Cached}))
	}
	frame(document([]object{{"text": ""}}, finish, usage))
	if q.list {
		frames[len(frames)-1] += "\r\n]\r\n"
	}
	return frames
}

// merged joins neighbouring texts of one kind, as a reply that is not streamed
// has them.
func merged(parts []object) []object {
	var out []object
	for _, p := range parts {
		n := len(out) - 1
		text, isText := p["text"].(string)
		if n >= 0 && isText {
			if before, ok := out[n]["text"].(string); ok && out[n]["thought"] == p["thought"] && out[n]["thoughtSignature"] == nil {
				j := with(out[n], p)
				j["text"] = strings.Join([]string{before, text}, "")
				out[n] = j
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

// normal is JSON text as encode would write it after a round trip.
func normal(text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic("upstream: the arguments of a scripted call are not JSON: " + text)
	}
	return v
}
