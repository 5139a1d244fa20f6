package upstream

import (
	"fmt"
	"maps"
)

// reply writes the turn as one response object, or as the event sequence that
// OpenAI streams.
func (responses) reply(s *Server, q *query, t Turn) []string {
	w := &responsesWriter{s: s, q: q, id: s.id("resp_", 48)}
	stored := q.body["store"] != false
	status, incomplete := "completed", any(nil)
	switch t.Stop {
	case MaxTokens:
		status, incomplete = "incomplete", object{"reason": "max_output_tokens"}
	case Filter:
		status, incomplete = "incomplete", object{"reason": "content_filter"}
	}
	w.event("response.created", object{"response": w.response("in_progress", nil, nil)})
	w.event("response.in_progress", object{"response": w.response("in_progress", nil, nil)})
	reasoning := ""
	if t.Reasoning != "" && reasons(q.model) {
		reasoning = w.reasoning(t.Reasoning, stored)
	}
	if t.Text != "" || t.Refusal != "" || len(t.Calls) == 0 {
		w.message(t, status, reasoning, stored)
	}
	for i, c := range t.Calls {
		last := status
		if i < len(t.Calls)-1 {
			last = "completed"
		}
		w.call(c, last, reasoning, stored)
	}
	u := t.Usage.orSmall()
	usage := object{
		"input_tokens": u.fresh() + u.Cached, "input_tokens_details": object{"cached_tokens": u.Cached},
		"output_tokens": u.Output + u.Reasoning, "output_tokens_details": object{"reasoning_tokens": u.Reasoning},
		"total_tokens": u.fresh() + u.Cached + u.Output + u.Reasoning,
	}
	final := w.response(status, incomplete, usage)
	w.event("response."+status, object{"response": final})
	if q.stream {
		return w.frames
	}
	return []string{encode(final)}
}

type responsesWriter struct {
	s      *Server
	q      *query
	id     string
	frames []string
	output []any
}

func (w *responsesWriter) event(typ string, members object) {
	members["type"], members["sequence_number"] = typ, len(w.frames)
	w.frames = append(w.frames, "event: "+typ+"\ndata: "+encode(members)+"\n\n")
}

func (w *responsesWriter) response(status string, incomplete, usage any) object {
	b := w.q.body
	or := func(name string, otherwise any) any {
		if v := b[name]; v != nil {
			return v
		}
		return otherwise
	}
	output := w.output
	if output == nil {
		output = []any{}
	}
	return object{
		"id": w.id, "object": "response", "created_at": unix(), "status": status, "background": false, "error": nil, "incomplete_details": incomplete,
		"instructions": b["instructions"], "max_output_tokens": b["max_output_tokens"], "max_tool_calls": nil, "model": w.q.model + "-2026-01-01", "output": output,
		"parallel_tool_calls": or("parallel_tool_calls", true), "previous_response_id": nil, "prompt_cache_key": b["prompt_cache_key"],
		"reasoning": object{"effort": nil, "summary": nil}, "safety_identifier": nil, "service_tier": "default", "store": or("store", true),
		"temperature": or("temperature", 1.0), "text": or("text", object{"format": object{"type": "text"}}), "tool_choice": or("tool_choice", "auto"),
		"tools": or("tools", []any{}), "top_logprobs": 0, "top_p": or("top_p", 1.0), "truncation": "disabled", "usage": usage, "user": nil, "metadata": or("metadata", object{}),
	}
}

func with(o object, more object) object {
	c := maps.Clone(o)
	maps.Copy(c, more)
	return c
}

func (w *responsesWriter) reasoning(said string, stored bool) string {
	id, index := w.s.id("rs_", 50), len(w.output)
	w.s.memory.items[id] = issued{kind: "reasoning", stored: stored}
	item := object{"id": id, "type": "reasoning", "summary": []any{}}
	first := maps.Clone(item)
	if w.q.state {
		first["encrypted_content"] = "gAAAAAbeginning" // not yet the one to give back
		item["encrypted_content"] = w.s.sealed(id)
	}
	w.event("response.output_item.added", object{"output_index": index, "item": first})
	if w.q.think {
		at := object{"item_id": id, "output_index": index, "summary_index": 0}
		w.event("response.reasoning_summary_part.added", with(at, object{"part": object{"type": "summary_text", "text": ""}}))
		for _, p := range pieces(said) {
			w.event("response.reasoning_summary_text.delta", with(at, object{"delta": p, "obfuscation": "x8"}))
		}
		w.event("response.reasoning_summary_text.done", with(at, object{"text": said}))
		w.event("response.reasoning_summary_part.done", with(at, object{"part": object{"type": "summary_text", "text": said}}))
		item["summary"] = []any{object{"type": "summary_text", "text": said}}
	}
	w.event("response.output_item.done", object{"output_index": index, "item": item})
	w.output = append(w.output, item)
	return id
}

func (w *responsesWriter) message(t Turn, status, reasoning string, stored bool) {
	id, index := w.s.id("msg_", 50), len(w.output)
	w.s.memory.items[id] = issued{kind: "message", reasoning: reasoning, stored: stored}
	if len(t.Calls) > 0 {
		status = "completed"
	}
	head := object{"id": id, "type": "message", "status": "in_progress", "content": []any{}, "role": "assistant"}
	w.event("response.output_item.added", object{"output_index": index, "item": head})
	at := object{"item_id": id, "output_index": index, "content_index": 0}
	kind, member, said := "output_text", "text", t.Text
	part := func(said string) object {
		return object{"type": kind, "annotations": []any{}, "logprobs": []any{}, "text": said}
	}
	if t.Refusal != "" {
		kind, member, said = "refusal", "refusal", t.Refusal
		part = func(said string) object { return object{"type": kind, "refusal": said} }
	}
	if reasoning != "" {
		w.s.memory.texts[reasoning] = said
	}
	w.event("response.content_part.added", with(at, object{"part": part("")}))
	for _, p := range pieces(said) {
		w.event(fmt.Sprintf("response.%s.delta", kind), with(at, object{"delta": p, "logprobs": []any{}, "obfuscation": "k2Jf"}))
	}
	w.event(fmt.Sprintf("response.%s.done", kind), with(at, object{member: said, "logprobs": []any{}}))
	w.event("response.content_part.done", with(at, object{"part": part(said)}))
	item := with(head, object{"status": status, "content": []any{part(said)}})
	w.event("response.output_item.done", object{"output_index": index, "item": item})
	w.output = append(w.output, item)
}

func (w *responsesWriter) call(c Call, status, reasoning string, stored bool) {
	id, callID, index := w.s.id("fc_", 50), w.s.id("call_", 24), len(w.output)
	w.s.memory.items[id] = issued{kind: "function_call", callID: callID, reasoning: reasoning, stored: stored}
	w.s.memory.calls[callID] = issued{kind: c.Name, reasoning: reasoning}
	head := object{"id": id, "type": "function_call", "status": "in_progress", "arguments": "", "call_id": callID, "name": c.Name}
	at := object{"item_id": id, "output_index": index}
	w.event("response.output_item.added", object{"output_index": index, "item": head})
	for _, p := range pieces(c.Arguments) {
		w.event("response.function_call_arguments.delta", with(at, object{"delta": p, "obfuscation": "q"}))
	}
	w.event("response.function_call_arguments.done", with(at, object{"arguments": c.Arguments, "name": c.Name}))
	item := with(head, object{"status": status, "arguments": c.Arguments})
	w.event("response.output_item.done", object{"output_index": index, "item": item})
	w.output = append(w.output, item)
}
