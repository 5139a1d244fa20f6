package upstream

import (
	"fmt"
	"strings"
)

// chat is OpenAI's chat/completions API.
type chat struct{}

var (
	chatText      = fields(map[string]*shape{"type": text, "text": text}, "text")
	chatTextParts = either(text, list(union("type", map[string]*shape{"text": chatText})))
	chatUserParts = either(text, list(union("type", map[string]*shape{
		"text":      chatText,
		"image_url": fields(map[string]*shape{"type": text, "image_url": fields(map[string]*shape{"url": text, "detail": oneOf("auto", "low", "high")}, "url")}, "image_url"),
		"file":      fields(map[string]*shape{"type": text, "file": fields(map[string]*shape{"file_data": text, "file_id": text, "filename": text})}, "file"),
	})))
	chatSystem  = fields(map[string]*shape{"role": text, "name": text, "content": chatTextParts}, "content")
	chatMessage = union("role", map[string]*shape{
		"system": chatSystem, "developer": chatSystem,
		"user": fields(map[string]*shape{"role": text, "name": text, "content": chatUserParts}, "content"),
		"assistant": fields(map[string]*shape{"role": text, "name": text, "refusal": textN, "content": nullable(either(text, list(union("type", map[string]*shape{
			"text": chatText, "refusal": fields(map[string]*shape{"type": text, "refusal": text}, "refusal")})))),
			"tool_calls": list(fields(map[string]*shape{"id": text, "type": oneOf("function"),
				"function": fields(map[string]*shape{"name": text, "arguments": text}, "name", "arguments")}, "id", "type", "function"))}),
		"tool": fields(map[string]*shape{"role": text, "content": chatTextParts, "tool_call_id": text}, "content", "tool_call_id"),
	})
	chatRequest = fields(map[string]*shape{
		"model": text, "messages": list(chatMessage), "frequency_penalty": numberN, "logit_bias": nullable(freeObj), "logprobs": flagN, "top_logprobs": numberN,
		"max_tokens": numberN, "max_completion_tokens": numberN, "metadata": nullable(freeObj), "modalities": nullable(list(text)), "n": numberN, "parallel_tool_calls": flag,
		"presence_penalty": numberN, "prediction": free, "prompt_cache_key": text, "prompt_cache_retention": textN, "reasoning_effort": nullable(oneOf("none", "minimal", "low", "medium", "high", "xhigh")),
		"response_format": union("type", map[string]*shape{"text": freeObj, "json_object": freeObj, "json_schema": fields(map[string]*shape{"type": text,
			"json_schema": fields(map[string]*shape{"name": text, "schema": freeObj, "strict": flagN, "description": text}, "name")}, "json_schema")}),
		"safety_identifier": text, "seed": numberN, "service_tier": nullable(oneOf("auto", "default", "flex", "scale", "priority")), "stop": free, "store": flagN, "stream": flagN,
		"stream_options": nullable(fields(map[string]*shape{"include_usage": flag, "include_obfuscation": flag})), "temperature": numberN, "top_p": numberN,
		"tool_choice": either(oneOf("none", "auto", "required"), union("type", map[string]*shape{
			"function": fields(map[string]*shape{"type": text, "function": fields(map[string]*shape{"name": text}, "name")}, "function"),
			"allowed_tools": fields(map[string]*shape{"type": text, "allowed_tools": fields(map[string]*shape{"mode": oneOf("auto", "required"),
				"tools": list(fields(map[string]*shape{"type": text, "function": fields(map[string]*shape{"name": text}, "name")}, "type", "function"))}, "mode", "tools")}, "allowed_tools")})),
		"tools": list(fields(map[string]*shape{"type": oneOf("function"), "function": fields(map[string]*shape{
			"name": text, "description": text, "parameters": freeObj, "strict": flagN}, "name")}, "type", "function")),
		"user": text, "verbosity": nullable(oneOf("low", "medium", "high")), "web_search_options": freeObj,
	}, "model", "messages")
)

func (d chat) accept(s *Server, o object) (*query, *refusal) {
	if w := chatRequest.check(o); w != nil {
		return nil, openaiWrong(w)
	}
	model := str(o, "model")
	if r := sampling(o, model, str(o, "reasoning_effort"), "temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"); r != nil {
		return nil, r
	}
	only := func(ok bool, name, format string, args ...any) *refusal {
		if ok || o[name] == nil {
			return nil
		}
		return &refusal{status: 400, param: name, message: fmt.Sprintf(format, args...)}
	}
	_, hasTools := o["tools"]
	seen := map[string]bool{}
	for _, r := range []*refusal{
		only(!reasons(model), "max_tokens", "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
		only(reasons(model), "reasoning_effort", "Unrecognized request argument supplied: reasoning_effort"),
		only(truth(o, "stream"), "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled."),
		only(hasTools, "tool_choice", "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."),
		only(hasTools, "parallel_tool_calls", "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified."),
		only(len(objects(o, "tools")) > 0, "tools", "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead."),
		only(truth(o, "store"), "metadata", "The 'metadata' parameter is only allowed when 'store' is enabled."),
	} {
		if r != nil {
			return nil, r
		}
	}
	for i, t := range objects(o, "tools") {
		f, _ := t["function"].(object)
		if r := checkFunction(f, fmt.Sprintf("tools[%d].function", i), seen); r != nil {
			return nil, r
		}
	}
	if r := d.checkMessages(objects(o, "messages")); r != nil {
		return nil, r
	}
	return &query{body: o, model: model, stream: truth(o, "stream")}, nil
}

func (chat) checkMessages(ms []object) *refusal {
	if len(ms) == 0 {
		return &refusal{status: 400, param: "messages", code: "empty_array", message: "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."}
	}
	waiting := map[string]bool{} // calls of the last assistant message
	answered := func(at int) *refusal {
		if len(waiting) == 0 {
			return nil
		}
		var ids []string
		for id := range waiting {
			ids = append(ids, id)
		}
		return &refusal{status: 400, param: fmt.Sprintf("messages.[%d].role", at),
			message: "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: " + strings.Join(ids, ", ")}
	}
	for i, m := range ms {
		if m["role"] == "tool" {
			id := str(m, "tool_call_id")
			if !waiting[id] {
				return &refusal{status: 400, param: fmt.Sprintf("messages.[%d].role", i), message: "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."}
			}
			delete(waiting, id)
			continue
		}
		if r := answered(i); r != nil {
			return r
		}
		calls := objects(m, "tool_calls")
		if m["role"] == "assistant" {
			if _, ok := m["tool_calls"]; ok && len(calls) == 0 {
				return &refusal{status: 400, param: fmt.Sprintf("messages[%d].tool_calls", i), code: "empty_array", message: fmt.Sprintf("Invalid 'messages[%d].tool_calls': empty array. Expected an array with minimum length 1, but got an empty array instead.", i)}
			}
			if m["content"] == nil && len(calls) == 0 && m["refusal"] == nil {
				return invalid(fmt.Sprintf("messages.[%d].content", i), "Invalid value for 'content': expected a string, got null.")
			}
		}
		for j, c := range calls {
			f, _ := c["function"].(object)
			if r := callID(object{"call_id": c["id"]}, fmt.Sprintf("messages[%d].tool_calls[%d]", i, j)); r != nil {
				return r
			}
			if !openaiName.MatchString(str(f, "name")) {
				return invalid(fmt.Sprintf("messages[%d].tool_calls[%d].function.name", i, j), "Invalid 'messages[%d].tool_calls[%d].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", i, j)
			}
			waiting[str(c, "id")] = true
		}
	}
	return answered(len(ms))
}

// reply writes the turn as a completion, or as chunks of one.
func (chat) reply(s *Server, q *query, t Turn) []string {
	id := s.id("chatcmpl-", 29)
	head := object{"id": id, "created": unix(), "model": q.model + "-2026-01-01", "service_tier": "default", "system_fingerprint": nil}
	finish := "stop"
	var calls []any
	for i, c := range t.Calls {
		finish = "tool_calls"
		calls = append(calls, object{"index": i, "id": s.id("call_", 24), "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}})
	}
	switch t.Stop {
	case MaxTokens:
		finish = "length"
	case Filter:
		finish = "content_filter"
	}
	u := t.Usage.orSmall()
	usage := object{
		"prompt_tokens": u.fresh() + u.Cached, "completion_tokens": u.Output + u.Reasoning, "total_tokens": u.fresh() + u.Cached + u.Output + u.Reasoning,
		"prompt_tokens_details":     object{"cached_tokens": u.Cached, "audio_tokens": 0},
		"completion_tokens_details": object{"reasoning_tokens": u.Reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
	}
	if !q.stream {
		m := object{"role": "assistant", "content": orNull(t.Text), "refusal": orNull(t.Refusal), "annotations": []any{}}
		if calls != nil {
			for _, c := range calls {
				delete(c.(object), "index")
			}
			m["tool_calls"] = calls
		}
		return []string{encode(with(head, object{"object": "chat.completion", "usage": usage,
			"choices": []any{object{"index": 0, "message": m, "logprobs": nil, "finish_reason": finish}}}))}
	}
	options, _ := q.body["stream_options"].(object)
	counted := truth(options, "include_usage")
	var frames []string
	chunk := func(more object) {
		c := with(head, object{"object": "chat.completion.chunk"})
		if counted {
			c["usage"] = nil
		}
		frames = append(frames, "data: "+encode(with(c, more))+"\n\n")
	}
	delta := func(d object, finish any) {
		chunk(object{"choices": []any{object{"index": 0, "delta": d, "logprobs": nil, "finish_reason": finish}}, "obfuscation": "R7"})
	}
	delta(object{"role": "assistant", "content": "", "refusal": nil}, nil)
	for _, p := range pieces(t.Text) {
		delta(object{"content": p}, nil)
	}
	for _, p := range pieces(t.Refusal) {
		delta(object{"refusal": p}, nil)
	}
	for i, c := range calls {
		f := c.(object)["function"].(object)
		delta(object{"tool_calls": []any{with(c.(object), object{"function": object{"name": f["name"], "arguments": ""}})}}, nil)
		for _, p := range pieces(f["arguments"].(string)) {
			delta(object{"tool_calls": []any{object{"index": i, "function": object{"arguments": p}}}}, nil)
		}
	}
	delta(object{}, finish)
	if counted {
		chunk(object{"choices": []any{}, "usage": usage})
	}
	return append(frames, "data: [DONE]\n\n")
}
