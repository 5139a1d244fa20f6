package upstream

import (
	"fmt"
	"slices"
	"strings"
)

// responses is OpenAI's Responses API.
type responses struct{}

var (
	openaiImage = fields(map[string]*shape{"type": text, "image_url": textN, "file_id": textN, "detail": oneOf("auto", "low", "high", "original")})
	openaiFile  = fields(map[string]*shape{"type": text, "file_data": text, "file_id": textN, "file_url": text, "filename": text})
	inputText   = fields(map[string]*shape{"type": text, "text": text}, "text")
	inputParts  = union("type", map[string]*shape{"input_text": inputText, "input_image": openaiImage, "input_file": openaiFile})
	citation    = union("type", map[string]*shape{
		"url_citation":  fields(map[string]*shape{"type": text, "url": text, "title": text, "start_index": number, "end_index": number}, "url", "title", "start_index", "end_index"),
		"file_citation": freeObj, "file_path": freeObj, "container_file_citation": freeObj,
	})
	outputParts = union("type", map[string]*shape{
		"output_text": fields(map[string]*shape{"type": text, "text": text, "annotations": list(citation), "logprobs": list(freeObj)}, "text"),
		"refusal":     fields(map[string]*shape{"type": text, "refusal": text}, "refusal"),
	})
	itemStatus  = nullable(oneOf("in_progress", "completed", "incomplete"))
	userMessage = fields(map[string]*shape{"type": text, "role": text, "id": text, "status": itemStatus, "content": either(text, list(inputParts))}, "content")
	messages    = union("role", map[string]*shape{
		"user": userMessage, "system": userMessage, "developer": userMessage,
		"assistant": fields(map[string]*shape{"type": text, "role": text, "id": text, "status": itemStatus, "phase": textN, "content": either(text, list(outputParts))}, "content"),
	})
	responsesItem = union("type", map[string]*shape{
		"message": messages,
		"function_call": fields(map[string]*shape{"type": text, "id": text, "call_id": text, "name": text, "arguments": text, "status": itemStatus},
			"call_id", "name", "arguments"),
		"function_call_output": fields(map[string]*shape{"type": text, "id": textN, "call_id": text, "output": either(text, list(inputParts)), "status": itemStatus},
			"call_id", "output"),
		"reasoning": fields(map[string]*shape{"type": text, "id": text, "encrypted_content": textN,
			"summary": list(fields(map[string]*shape{"type": oneOf("summary_text"), "text": text}, "type", "text")),
			"content": nullable(list(fields(map[string]*shape{"type": oneOf("reasoning_text"), "text": text}, "type", "text")))}, "summary"),
		"item_reference": fields(map[string]*shape{"type": text, "id": text}, "id"),
		"custom_tool_call": fields(map[string]*shape{"type": text, "id": text, "call_id": text, "name": text, "input": text, "status": itemStatus},
			"call_id", "name", "input"),
		"custom_tool_call_output": fields(map[string]*shape{"type": text, "id": textN, "call_id": text, "output": either(text, list(inputParts)), "status": itemStatus},
			"call_id", "output"),
		"web_search_call": fields(map[string]*shape{"type": text, "id": text, "status": text, "action": freeObj}, "id"),
	})
	responsesTool = union("type", map[string]*shape{
		"function":   fields(map[string]*shape{"type": text, "name": text, "description": textN, "parameters": nullable(freeObj), "strict": flagN}, "name"),
		"custom":     fields(map[string]*shape{"type": text, "name": text, "description": textN, "format": freeObj}, "name"),
		"namespace":  fields(map[string]*shape{"type": text, "name": text, "description": textN, "tools": list(freeObj)}, "name", "tools"),
		"web_search": freeObj, "image_generation": freeObj, "local_shell": freeObj,
	})
	responsesRequest = fields(map[string]*shape{
		"model": text, "input": either(text, list(free)), "instructions": textN, "include": nullable(list(oneOf(
			"reasoning.encrypted_content", "message.output_text.logprobs", "message.input_image.image_url",
			"file_search_call.results", "web_search_call.action.sources", "code_interpreter_call.outputs", "computer_call_output.output.image_url"))),
		"max_output_tokens": numberN, "max_tool_calls": numberN, "metadata": nullable(freeObj), "parallel_tool_calls": flagN, "previous_response_id": textN,
		"prompt_cache_key": textN, "prompt_cache_retention": textN, "safety_identifier": textN, "user": textN,
		"reasoning": nullable(fields(map[string]*shape{"effort": nullable(oneOf("none", "minimal", "low", "medium", "high", "xhigh")),
			"summary": nullable(oneOf("auto", "concise", "detailed")), "generate_summary": textN})),
		"service_tier": nullable(oneOf("auto", "default", "flex", "scale", "priority")), "store": flagN, "stream": flagN,
		"stream_options": nullable(fields(map[string]*shape{"include_obfuscation": flag})), "temperature": numberN, "top_p": numberN, "top_logprobs": numberN,
		"text": fields(map[string]*shape{"verbosity": nullable(oneOf("low", "medium", "high")), "format": union("type", map[string]*shape{
			"text": freeObj, "json_object": freeObj,
			"json_schema": fields(map[string]*shape{"type": text, "name": text, "schema": freeObj, "strict": flagN, "description": text}, "name", "schema")})}),
		"tool_choice": either(oneOf("none", "auto", "required"), union("type", map[string]*shape{
			"function": fields(map[string]*shape{"type": text, "name": text}, "name"),
			"allowed_tools": fields(map[string]*shape{"type": text, "mode": oneOf("auto", "required"),
				"tools": list(fields(map[string]*shape{"type": text, "name": text}, "type", "name"))}, "mode", "tools")})),
		"tools": nullable(list(responsesTool)), "truncation": nullable(oneOf("auto", "disabled")), "background": flagN,
		"conversation": free, "prompt": free, "client_metadata": nullable(freeObj),
	}, "model")
)

func (d responses) accept(s *Server, o object) (*query, *refusal) {
	if w := responsesRequest.check(o); w != nil {
		return nil, openaiWrong(w)
	}
	if r := d.checkParameters(o); r != nil {
		return nil, r
	}
	if r := d.checkInput(s, o); r != nil {
		return nil, r
	}
	include, _ := o["include"].([]any)
	reasoning, _ := o["reasoning"].(object)
	return &query{body: o, model: str(o, "model"), stream: truth(o, "stream"),
		think: reasoning["summary"] != nil, state: slices.Contains(include, any("reasoning.encrypted_content"))}, nil
}

func (responses) checkParameters(o object) *refusal {
	model := str(o, "model")
	reasoning, _ := o["reasoning"].(object)
	effort := str(reasoning, "effort")
	if len(reasoning) > 0 && !reasons(model) {
		return &refusal{status: 400, param: "reasoning.effort", code: "unsupported_parameter", message: "Unsupported parameter: 'reasoning.effort' is not supported with this model."}
	}
	if r := sampling(o, model, effort, "temperature", "top_p", "top_logprobs"); r != nil {
		return r
	}
	if n, ok := integer(o, "max_output_tokens"); o["max_output_tokens"] != nil && (!ok || n < 16) {
		return &refusal{status: 400, param: "max_output_tokens", code: "integer_below_min_value",
			message: fmt.Sprintf("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got %v instead.", o["max_output_tokens"])}
	}
	if o["stream_options"] != nil && !truth(o, "stream") {
		return &refusal{status: 400, param: "stream_options", message: "The 'stream_options' parameter is only allowed when 'stream' is enabled."}
	}
	if id := str(o, "previous_response_id"); id != "" {
		return &refusal{status: 400, param: "previous_response_id", code: "previous_response_not_found", message: fmt.Sprintf("Previous response with id '%s' not found.", id)}
	}
	seen := map[string]bool{}
	for i, t := range objects(o, "tools") {
		switch t["type"] {
		case "function":
			if r := checkFunction(t, fmt.Sprintf("tools[%d]", i), seen); r != nil {
				return r
			}
		case "custom":
			seen[str(t, "name")] = true
		}
	}
	choice, _ := o["tool_choice"].(object)
	if n := str(choice, "name"); n != "" && !seen[n] {
		return invalid("tool_choice", "Tool choice '%s' not found in 'tools' parameter.", n)
	}
	for _, t := range objects(choice, "tools") {
		if !seen[str(t, "name")] {
			return invalid("tool_choice", "Tool choice '%s' not found in 'tools' parameter.", str(t, "name"))
		}
	}
	if o["tool_choice"] == "required" && len(seen) == 0 {
		return invalid("tool_choice", "Tool choice 'required' must be specified with 'tools' parameter.")
	}
	return nil
}

func (d responses) checkInput(s *Server, o object) *refusal {
	if in, ok := o["input"].(string); ok || o["input"] == nil {
		if in == "" {
			return &refusal{status: 400, param: "input", code: "missing_required_parameter", message: "Missing required parameter: 'input'."}
		}
		return nil
	}
	items := objects(o, "input")
	if len(items) == 0 {
		return &refusal{status: 400, param: "input", message: "Input must have at least one item."}
	}
	open, ids := map[string]bool{}, map[string]bool{}
	for i, it := range items {
		at := fmt.Sprintf("input[%d]", i)
		sh := responsesItem
		if it["type"] == nil && it["role"] != nil {
			sh = messages
		}
		if w := sh.check(any(it), "input", i); w != nil {
			return openaiWrong(w)
		}
		if id := str(it, "id"); id != "" {
			if ids[id] {
				return invalid("input", "Duplicate item found with id %s. Remove duplicate items from your input and try again.", id)
			}
			ids[id] = true
		}
		var r *refusal
		switch it["type"] {
		case "function_call":
			if r = callID(it, at); r == nil {
				open[str(it, "call_id")] = true
				r = d.checkIssued(s, at, it, items[:i], "fc")
			}
			if r == nil && !openaiName.MatchString(str(it, "name")) {
				r = invalid(at+".name", "Invalid '%s.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", at)
			}
		case "custom_tool_call":
			if r = callID(it, at); r == nil {
				open[str(it, "call_id")] = true
			}
		case "function_call_output", "custom_tool_call_output":
			id := str(it, "call_id")
			if _, ok := open[id]; !ok {
				return &refusal{status: 400, param: "input", message: fmt.Sprintf("No tool call found for function call output with call_id %s.", id)}
			}
			open[id] = false
			r = callID(it, at)
		case "reasoning":
			if it["id"] != nil || it["encrypted_content"] != nil { // else it is empty, and let be
				r = d.checkReasoning(s, at, it, items[i+1:])
			}
		case "item_reference":
			return &refusal{status: 404, param: "input", message: fmt.Sprintf("Item with id '%s' not found.", str(it, "id"))}
		default:
			if it["role"] == "assistant" {
				r = d.checkIssued(s, at, it, items[:i], "msg")
			}
		}
		if r != nil {
			return r
		}
	}
	for _, it := range items {
		if id := str(it, "call_id"); open[id] {
			return &refusal{status: 400, param: "input", message: fmt.Sprintf("No tool output found for function call %s.", id)}
		}
	}
	return nil
}

func callID(it object, at string) *refusal {
	id := str(it, "call_id")
	if id == "" {
		return &refusal{status: 400, param: at + ".call_id", code: "empty_string", message: fmt.Sprintf("Invalid '%s.call_id': empty string. Expected a string with minimum length 1, but got an empty string instead.", at)}
	}
	if len(id) > 64 {
		return &refusal{status: 400, param: at + ".call_id", code: "string_above_max_length",
			message: fmt.Sprintf("Invalid '%s.call_id': string too long. Expected a string with maximum length 64, but got a string with length %d instead.", at, len(id))}
	}
	return nil
}

// checkIssued checks the id of an item that a model made.
func (responses) checkIssued(s *Server, at string, it object, before []object, prefix string) *refusal {
	id := str(it, "id")
	if id == "" {
		return nil
	}
	if !strings.HasPrefix(id, prefix) {
		return invalid(at+".id", "Invalid '%s.id': '%s'. Expected an ID that begins with '%s'.", at, id, prefix)
	}
	known, ok := s.memory.items[id]
	if !ok && s.anyIDs {
		return nil
	}
	if !ok || known.callID != str(it, "call_id") {
		return &refusal{status: 404, param: "input", message: fmt.Sprintf("Item with id '%s' not found.", id)}
	}
	if known.reasoning == "" || slices.ContainsFunc(before, func(b object) bool { return b["type"] == "reasoning" && s.reasoningID(b) == known.reasoning }) {
		return nil
	}
	return &refusal{status: 400, param: "input", message: fmt.Sprintf("Item '%s' of type '%s' was provided without its required 'reasoning' item: '%s'.", id, known.kind, known.reasoning)}
}

// sealed is the encrypted content of a reasoning item: what the provider needs
// to know it again.
func (s *Server) sealed(id string) string { return "gAAAAA" + s.sign("sealed", id) + "." + id }

// reasoningID is the id that a reasoning item was issued under.
func (s *Server) reasoningID(it object) string {
	_, id, _ := strings.Cut(str(it, "encrypted_content"), ".")
	if id == "" {
		return str(it, "id")
	}
	return id
}

func (responses) checkReasoning(s *Server, at string, it object, after []object) *refusal {
	id, sealed := str(it, "id"), str(it, "encrypted_content")
	if id != "" && !strings.HasPrefix(id, "rs") {
		return invalid(at+".id", "Invalid '%s.id': '%s'. Expected an ID that begins with 'rs'.", at, id)
	}
	own := s.reasoningID(it)
	known, ok := s.memory.items[own]
	switch {
	case sealed != "" && (!ok || sealed != s.sealed(own)):
		return &refusal{status: 400, code: "invalid_encrypted_content", message: fmt.Sprintf("The encrypted content %.4s...%s could not be verified. Reason: Encrypted content could not be decrypted or parsed.", sealed, sealed[max(0, len(sealed)-4):])}
	case sealed != "" && id != "" && id != own:
		return &refusal{status: 400, code: "invalid_encrypted_content", message: fmt.Sprintf("The encrypted content for item %s could not be verified. Reason: Encrypted content item_id did not match the target item id.", id)}
	case sealed == "" && !known.stored:
		return &refusal{status: 404, param: "input", message: fmt.Sprintf("Item with id '%s' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input.", id)}
	}
	if len(after) > 0 {
		next := after[0]
		switch {
		case next["type"] == "reasoning":
			return nil
		case next["type"] == "function_call" && s.memory.calls[str(next, "call_id")].reasoning == own:
			return nil
		case next["role"] == "assistant" && s.memory.texts[own] == messageText(next):
			return nil
		}
	}
	return &refusal{status: 400, param: "input", message: fmt.Sprintf("Item '%s' of type 'reasoning' was provided without its required following item.", own)}
}

// messageText is the text of a message, however it is written.
func messageText(m object) string {
	if t, ok := m["content"].(string); ok {
		return t
	}
	var b strings.Builder
	for _, p := range objects(m, "content") {
		b.WriteString(str(p, "text") + str(p, "refusal"))
	}
	return b.String()
}
