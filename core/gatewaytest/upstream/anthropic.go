package upstream

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// Anthropic plays Anthropic's API: /v1/messages and /v1/messages/count_tokens.
func Anthropic(tb testing.TB, key string) *Server {
	tb.Helper()
	return start(tb, key, "", anthropic{})
}

type anthropic struct{}

var (
	cacheControl = nullable(fields(map[string]*shape{"type": oneOf("ephemeral"), "ttl": oneOf("5m", "1h")}, "type"))
	claudeText   = fields(map[string]*shape{"type": text, "text": text, "cache_control": cacheControl, "citations": nullable(list(freeObj))}, "text")
	claudeImage  = fields(map[string]*shape{"type": text, "cache_control": cacheControl, "source": union("type", map[string]*shape{
		"base64": fields(map[string]*shape{"type": text, "media_type": oneOf("image/jpeg", "image/png", "image/gif", "image/webp"), "data": text}, "media_type", "data"),
		"url":    fields(map[string]*shape{"type": text, "url": text}, "url")})}, "source")
	claudeDocument = fields(map[string]*shape{"type": text, "cache_control": cacheControl, "title": textN, "context": textN, "citations": freeObj, "source": union("type", map[string]*shape{
		"base64": fields(map[string]*shape{"type": text, "media_type": oneOf("application/pdf"), "data": text}, "media_type", "data"),
		"text":   fields(map[string]*shape{"type": text, "media_type": oneOf("text/plain"), "data": text}, "media_type", "data"),
		"url":    fields(map[string]*shape{"type": text, "url": text}, "url")})}, "source")
	claudeUser = either(text, list(union("type", map[string]*shape{
		"text": claudeText, "image": claudeImage, "document": claudeDocument,
		"tool_result": fields(map[string]*shape{"type": text, "tool_use_id": text, "is_error": flag, "cache_control": cacheControl,
			"content": either(text, list(union("type", map[string]*shape{"text": claudeText, "image": claudeImage, "document": claudeDocument})))}, "tool_use_id"),
	})))
	claudeAssistant = either(text, list(union("type", map[string]*shape{
		"text":              claudeText,
		"thinking":          fields(map[string]*shape{"type": text, "thinking": text, "signature": text}, "thinking", "signature"),
		"redacted_thinking": fields(map[string]*shape{"type": text, "data": text}, "data"),
		"tool_use":          fields(map[string]*shape{"type": text, "id": text, "name": text, "input": freeObj, "cache_control": cacheControl}, "id", "name", "input"),
	})))
	claudeMessage = union("role", map[string]*shape{
		"user":      fields(map[string]*shape{"role": text, "content": claudeUser}, "content"),
		"assistant": fields(map[string]*shape{"role": text, "content": claudeAssistant}, "content"),
	})
	claudeRequest = fields(map[string]*shape{
		"model": text, "messages": list(claudeMessage), "max_tokens": number, "stream": flag, "temperature": number, "top_k": number, "top_p": number,
		"system":         either(text, list(union("type", map[string]*shape{"text": claudeText}))),
		"stop_sequences": list(text), "metadata": fields(map[string]*shape{"user_id": textN}), "service_tier": oneOf("auto", "standard_only"), "cache_control": cacheControl,
		"thinking": union("type", map[string]*shape{
			"enabled":  fields(map[string]*shape{"type": text, "budget_tokens": number, "display": oneOf("summarized", "omitted")}, "budget_tokens"),
			"adaptive": fields(map[string]*shape{"type": text, "display": oneOf("summarized", "omitted")}), "disabled": fields(map[string]*shape{"type": text})}),
		"tool_choice": union("type", map[string]*shape{
			"auto": fields(map[string]*shape{"type": text, "disable_parallel_tool_use": flag}), "any": fields(map[string]*shape{"type": text, "disable_parallel_tool_use": flag}),
			"tool": fields(map[string]*shape{"type": text, "name": text, "disable_parallel_tool_use": flag}, "name"), "none": fields(map[string]*shape{"type": text})}),
		"tools": list(fields(map[string]*shape{"type": nullable(oneOf("custom")), "name": text, "description": text, "input_schema": freeObj, "cache_control": cacheControl,
			"strict": flag, "eager_input_streaming": flag}, "name", "input_schema")),
		"output_config": fields(map[string]*shape{"effort": oneOf("low", "medium", "high", "xhigh", "max"),
			"format": fields(map[string]*shape{"type": oneOf("json_schema"), "schema": freeObj}, "type", "schema")}),
	}, "model", "messages", "max_tokens")
)

func (anthropic) accept(s *Server, r *http.Request, body []byte) (*query, *refusal) {
	counts := r.URL.Path == "/v1/messages/count_tokens"
	if r.URL.Path != "/v1/messages" && !counts {
		return nil, &refusal{status: 404, message: "Not Found"}
	}
	if r.Method != http.MethodPost {
		return nil, &refusal{status: 405, message: "Method Not Allowed"}
	}
	switch key := r.Header.Get("X-Api-Key"); {
	case key == "":
		return nil, &refusal{status: 401, message: "x-api-key header is required"}
	case key != s.key:
		return nil, &refusal{status: 401, message: "invalid x-api-key"}
	case r.Header.Get("Authorization") != "":
		return nil, &refusal{status: 401, message: "Invalid bearer token"}
	}
	switch v := r.Header.Get("Anthropic-Version"); v {
	case "2023-06-01", "2023-01-01":
	case "":
		return nil, &refusal{status: 400, message: "anthropic-version: header is required"}
	default:
		return nil, &refusal{status: 400, message: fmt.Sprintf("anthropic-version: %q is not a valid version. See https://docs.anthropic.com/en/api/versioning for a list of valid versions.", v)}
	}
	o, err := decode(body)
	if err != nil {
		return nil, &refusal{status: 400, message: "The request body is not valid JSON: " + err.Error()}
	}
	for _, m := range objects(o, "messages") { // the real service has its own words for this one
		if m["role"] == "system" && strings.Contains(r.Header.Get("Anthropic-Beta"), "mid-conversation-system") {
			m["role"] = "user" // for the checks below
		} else if m["role"] == "system" {
			return nil, claude(`messages: Unexpected role "system". The Messages API accepts a top-level ` + "`system` parameter, not \"system\" as an input message role.")
		}
	}
	sh := *claudeRequest
	if counts {
		sh.need = []string{"model", "messages"}
	}
	if w := sh.check(o); w != nil {
		return nil, claudeWrong(w)
	}
	if counts {
		for _, name := range []string{"max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata"} {
			if o[name] != nil {
				return nil, claude("%s: Extra inputs are not permitted", name)
			}
		}
		for _, check := range []func(*Server, object) *refusal{claudeTools, claudeBlocks, claudePairs} {
			if no := check(s, o); no != nil {
				return nil, no
			}
		}
		return &query{op: count, body: o, model: str(o, "model")}, nil
	}
	for _, check := range []func(*Server, object) *refusal{claudeParameters, claudeTools, claudeBlocks, claudePairs, claudeThinking} {
		if no := check(s, o); no != nil {
			return nil, no
		}
	}
	return &query{body: o, model: str(o, "model"), stream: truth(o, "stream"), think: claudeThinks(o)}, nil
}

func claude(format string, args ...any) *refusal {
	return &refusal{status: 400, message: fmt.Sprintf(format, args...)}
}

func claudeWrong(w *wrong) *refusal {
	p := dotted(w.path)
	switch w.what {
	case "unknown":
		return claude("%s: Extra inputs are not permitted", p)
	case "missing":
		return claude("%s: Field required", p)
	case "type":
		return claude("%s: Input should be a valid %s", p, map[string]string{"string": "string", "number": "integer", "boolean": "boolean", "array": "list", "object": "dictionary"}[w.want])
	}
	if strings.HasSuffix(p, ".type") {
		return claude("%s: Input tag '%v' found using 'type' does not match any of the expected tags: '%s'", strings.TrimSuffix(p, ".type"), w.got, strings.Join(w.known, "', '"))
	}
	return claude("%s: Input should be '%s'", p, strings.Join(w.known, "' or '"))
}

func (anthropic) failure(f *refusal) string {
	typ := map[int]string{400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
		413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error"}[f.status]
	if typ == "" {
		typ = "api_error"
	}
	return encode(object{"type": "error", "error": object{"type": typ, "message": f.message}, "request_id": "req_upstream"})
}

func (anthropic) broken(*query) string {
	return "event: error\ndata: " + encode(object{"type": "error", "error": object{"type": "overloaded_error", "message": "Overloaded"}}) + "\n\n"
}

func (anthropic) counted(tokens int) string { return encode(object{"input_tokens": tokens}) }

func (anthropic) embedded(*query) string { return "" } // it has no such thing

func claudeThinks(o object) bool {
	t, _ := o["thinking"].(object)
	return t["type"] == "enabled" || t["type"] == "adaptive"
}

// adaptive tells whether a model takes adaptive thinking and effort.
func adaptive(model string) bool {
	return strings.Contains(model, "-4-6") || strings.Contains(model, "-4-7") || strings.Contains(model, "-4-8")
}

func claudeParameters(_ *Server, o object) *refusal {
	model := str(o, "model")
	most := int64(64000)
	limit, ok := integer(o, "max_tokens")
	if !ok || limit < 1 {
		return claude("max_tokens: Input should be greater than or equal to 1")
	}
	if limit > most {
		return claude("max_tokens: %d > %d, which is the maximum allowed number of output tokens for %s", limit, most, model)
	}
	if out, _ := o["output_config"].(object); out["effort"] != nil && !adaptive(model) && !strings.Contains(model, "opus-4-5") {
		return claude("This model does not support the effort parameter.")
	}
	thinking, _ := o["thinking"].(object)
	choice, _ := o["tool_choice"].(object)
	if thinking["type"] == "adaptive" && !adaptive(model) {
		return claude("adaptive thinking is not supported on this model")
	}
	if budget, ok := integer(thinking, "budget_tokens"); thinking["type"] == "enabled" {
		switch {
		case !ok || budget < 1024:
			return claude("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
		case budget >= limit:
			return claude("`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size")
		}
	}
	if claudeThinks(o) {
		if t := o["temperature"]; t != nil && fmt.Sprint(t) != "1" && fmt.Sprint(t) != "1.0" {
			return claude("`temperature` may only be set to 1 when thinking is enabled.")
		}
		if o["top_k"] != nil {
			return claude("`top_k` must be unset when thinking is enabled.")
		}
		if choice["type"] == "any" || choice["type"] == "tool" {
			return claude("Thinking may not be enabled when tool_choice forces tool use.")
		}
	}
	if o["temperature"] != nil && o["top_p"] != nil && strings.Contains(model, "-4-5") {
		return claude("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
	}
	if choice != nil && len(objects(o, "tools")) == 0 {
		return claude("tool_choice may only be specified while providing tools.")
	}
	return nil
}

var claudeName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func claudeTools(_ *Server, o object) *refusal {
	seen := map[string]bool{}
	for i, t := range objects(o, "tools") {
		name := str(t, "name")
		switch schema, _ := t["input_schema"].(object); {
		case !claudeName.MatchString(name):
			return claude("tools.%d.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'", i)
		case seen[name]:
			return claude("tools: Tool names must be unique.")
		case schema["type"] == nil:
			return claude("tools.%d.custom.input_schema.type: Field required", i)
		case schema["type"] != "object":
			return claude("tools.%d.custom.input_schema.type: Input should be 'object'", i)
		default:
			if err := checkSchema(schema, "input_schema"); err != nil {
				return claude("tools.%d.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12 (%v). Learn more about tool use at https://docs.claude.com/en/docs/tool-use.", i, err)
			}
			for _, key := range []string{"oneOf", "anyOf", "allOf"} {
				if schema[key] != nil {
					return claude("tools.%d.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level", i)
				}
			}
		}
		seen[name] = true
	}
	choice, _ := o["tool_choice"].(object)
	if n := str(choice, "name"); n != "" && !seen[n] {
		return claude("Tool '%s' not found in provided tools", n)
	}
	return nil
}

// claudeBlocks checks each content block by itself.
func claudeBlocks(s *Server, o object) *refusal {
	ms := objects(o, "messages")
	if len(ms) == 0 {
		return claude("messages: at least one message is required")
	}
	if ms[0]["role"] != "user" {
		return claude("messages: first message must use the \"user\" role")
	}
	if o["system"] == "" {
		return claude("system: text content blocks must be non-empty")
	}
	for _, b := range objects(o, "system") {
		if str(b, "text") == "" {
			return claude("system: text content blocks must be non-empty")
		}
	}
	for i, m := range ms {
		blocks := objects(m, "content")
		last := i == len(ms)-1
		if t, isText := m["content"].(string); isText {
			blocks = []object{{"type": "text", "text": t}}
			if t == "" {
				blocks = nil
			}
		}
		if len(blocks) == 0 && !(last && m["role"] == "assistant") {
			return claude("messages.%d: all messages must have non-empty content except for the optional final assistant message", i)
		}
		for j, b := range blocks {
			said := str(b, "text")
			switch b["type"] {
			case "text":
				if said == "" {
					return claude("messages: text content blocks must be non-empty")
				}
				if strings.TrimSpace(said) == "" {
					return claude("messages: text content blocks must contain non-whitespace text")
				}
				if last && m["role"] == "assistant" && j == len(blocks)-1 && strings.TrimRight(said, " \t\n") != said {
					return claude("messages: final assistant content cannot end with trailing whitespace")
				}
			case "thinking":
				if str(b, "signature") != s.sign("thinking", str(b, "thinking")) {
					return claude("messages.%d.content.%d: Invalid `signature` in `thinking` block", i, j)
				}
			case "redacted_thinking":
				if s.memory.items[str(b, "data")].kind == "redacted" {
					continue
				}
				return claude("messages.%d.content.%d: Invalid `data` in `redacted_thinking` block", i, j)
			case "tool_use":
				if !regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(str(b, "id")) {
					return claude("messages.%d.content.%d.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", i, j)
				}
				if !claudeName.MatchString(str(b, "name")) {
					return claude("messages.%d.content.%d.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'", i, j)
				}
			case "tool_result":
				for k, p := range objects(b, "content") {
					if p["type"] == "text" && str(p, "text") == "" {
						return claude("messages.%d.content.%d.tool_result.content.%d: text content blocks must be non-empty", i, j, k)
					}
				}
			}
		}
	}
	return nil
}
