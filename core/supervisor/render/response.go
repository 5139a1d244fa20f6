package render

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Function is a hosted function as the model sees it.
type Function struct {
	Tool     openresponses.Tool // a function tool
	Label    string             // tool type or connection: the `server_label` of the openai dialect
	Kind     Kind               // never Client
	Approval bool               // a call of it waits for a person
	ReadOnly bool               // it changes nothing
}

// Head is what a response says of its request. It does not change during the
// run.
type Head struct {
	ID      string
	Created time.Time
	Dialect Dialect
	Request *openresponses.Request
	Hosted  []Function // in the order the model sees them
	Listed  []string   // labels whose mcp_list_tools the history already holds
}

// Outcome is how a run ended.
type Outcome struct {
	Status string          // completed, incomplete, failed
	Reason string          // incomplete: max_output_tokens, content_filter, max_turns
	Error  *apierror.Error // failed
	Usage  *openresponses.Usage
	Tier   string // the service tier that the provider said; "" if unknown
	At     time.Time
}

// appendOpening appends the members that are known from the start, from the
// opening brace to created_at.
func (h *Head) appendOpening(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, h.ID)
	b = append(b, `,"object":"response","created_at":`...)
	return strconv.AppendInt(b, h.Created.Unix(), 10)
}

// appendEcho appends the members that repeat the request, each after a comma.
func (h *Head) appendEcho(b []byte) []byte {
	r := h.Request
	b = append(b, `,"model":`...)
	b = appendString(b, r.Model)
	b = append(b, `,"instructions":`...)
	b = appendNullable(b, r.Instructions)
	b = append(b, `,"tools":`...)
	b = h.appendTools(b)
	b = append(b, `,"tool_choice":`...)
	b = appendToolChoice(b, r.ToolChoice)
	b = append(b, `,"truncation":`...)
	b = appendString(b, or(r.Truncation, "disabled"))
	b = append(b, `,"parallel_tool_calls":`...)
	b = appendBool(b, r.ParallelToolCalls == nil || *r.ParallelToolCalls)
	b = append(b, `,"text":`...)
	b = h.appendText(b, r.Text)
	b = append(b, `,"temperature":`...)
	b = appendFloatOr(b, r.Temperature, 1)
	b = append(b, `,"top_p":`...)
	b = appendFloatOr(b, r.TopP, 1)
	b = append(b, `,"presence_penalty":`...)
	b = appendFloatOr(b, r.PresencePenalty, 0)
	b = append(b, `,"frequency_penalty":`...)
	b = appendFloatOr(b, r.FrequencyPenalty, 0)
	b = append(b, `,"top_logprobs":`...)
	var logprobs int64
	if r.TopLogprobs != nil {
		logprobs = *r.TopLogprobs
	}
	b = strconv.AppendInt(b, logprobs, 10)
	b = append(b, `,"reasoning":`...)
	b = appendReasoning(b, r.Reasoning)
	b = append(b, `,"max_output_tokens":`...)
	b = appendIntOrNull(b, r.MaxOutputTokens)
	b = append(b, `,"max_tool_calls":`...)
	b = appendIntOrNull(b, r.MaxToolCalls)
	b = append(b, `,"store":`...)
	b = appendBool(b, r.Store != nil && *r.Store)
	b = append(b, `,"background":`...)
	b = appendBool(b, r.Background)
	b = append(b, `,"metadata":`...)
	b = appendMetadata(b, r.Metadata)
	b = append(b, `,"previous_response_id":`...)
	b = appendNullable(b, r.PreviousResponseID)
	b = append(b, `,"safety_identifier":`...)
	b = appendNullable(b, r.SafetyIdentifier)
	b = append(b, `,"prompt_cache_key":`...)
	return appendNullable(b, r.PromptCacheKey)
}

// appendTools echoes the declared tools: function tools with all their
// members; hosted ones as they came, or as the tools that the dialect's
// clients know: MCP servers for OpenAI's, and the functions that the model
// sees for the specification's, which has no hosted tools.
func (h *Head) appendTools(b []byte) []byte {
	b = append(b, '[')
	first := true
	comma := func() {
		if !first {
			b = append(b, ',')
		}
		first = false
	}
	for i := range h.Request.Tools {
		t := &h.Request.Tools[i]
		switch {
		case t.Type == "function":
			comma()
			b = appendFunctionTool(b, t)
		case h.Dialect == Databricks:
			comma()
			b = appendRaw(b, t.Raw, "null")
		}
	}
	shown := map[string]bool{}
	for i := range h.Hosted {
		f := &h.Hosted[i]
		switch {
		case h.Dialect == OpenResponses:
			comma()
			b = appendFunctionTool(b, &f.Tool)
		case h.Dialect == OpenAI && !shown[f.Label]:
			shown[f.Label] = true
			comma()
			b = appendHostedTool(b, f)
		}
	}
	return append(b, ']')
}

// appendHostedTool appends the tool whose items OpenAI's clients are shown for
// calls of f.
func appendHostedTool(b []byte, f *Function) []byte {
	switch f.Kind {
	case WebSearch:
		return append(b, `{"type":"web_search"}`...)
	case Code:
		return append(b, `{"type":"code_interpreter","container":{"type":"auto"}}`...)
	}
	b = append(b, `{"type":"mcp","server_label":`...)
	b = appendString(b, f.Label)
	b = append(b, `,"require_approval":`...)
	if f.Approval {
		return append(b, `"always"}`...)
	}
	return append(b, `"never"}`...)
}

func appendFunctionTool(b []byte, t *openresponses.Tool) []byte {
	b = append(b, `{"type":"function","name":`...)
	b = appendString(b, t.Name)
	b = append(b, `,"description":`...)
	b = appendNullable(b, t.Description)
	b = append(b, `,"parameters":`...)
	b = appendRaw(b, t.Parameters, "null")
	b = append(b, `,"strict":`...)
	if t.Strict == nil {
		b = append(b, "null"...)
	} else {
		b = appendBool(b, *t.Strict)
	}
	return append(b, '}')
}

func appendToolChoice(b []byte, c *openresponses.ToolChoice) []byte {
	switch {
	case c == nil:
		return append(b, `"auto"`...)
	case c.Name != "":
		b = append(b, `{"type":"function","name":`...)
		b = appendString(b, c.Name)
		return append(b, '}')
	case c.Names != nil:
		b = append(b, `{"type":"allowed_tools","tools":[`...)
		for i, n := range c.Names {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"type":"function","name":`...)
			b = appendString(b, n)
			b = append(b, '}')
		}
		b = append(b, `],"mode":`...)
		b = appendString(b, or(c.Mode, "auto"))
		return append(b, '}')
	}
	return appendString(b, or(c.Mode, "auto"))
}

func (h *Head) appendText(b []byte, t *openresponses.TextOptions) []byte {
	const plain = `{"type":"text"}`
	if t == nil {
		return append(b, `{"format":`+plain+`}`...)
	}
	b = append(b, `{"format":`...)
	if h.Dialect == OpenResponses {
		b = appendStrictFormat(b, t.Format)
	} else {
		b = appendRaw(b, t.Format, plain)
	}
	if t.Verbosity != "" {
		b = append(b, `,"verbosity":`...)
		b = appendString(b, t.Verbosity)
	}
	return append(b, '}')
}

// appendStrictFormat echoes a format as the specification's schema describes
// the one in a response: all five members of json_schema there, and null in the
// place of the schema itself. Source: openapi.json, JsonSchemaResponseFormat.
func appendStrictFormat(b []byte, format json.RawMessage) []byte {
	var f struct {
		Type, Name, Description string
		Strict                  bool
	}
	if json.Unmarshal(format, &f) != nil || f.Type != "json_schema" {
		return appendRaw(b, format, `{"type":"text"}`)
	}
	b = append(b, `{"type":"json_schema","name":`...)
	b = appendString(b, f.Name)
	b = append(b, `,"description":`...)
	b = appendNullable(b, f.Description)
	b = append(b, `,"schema":null,"strict":`...)
	b = appendBool(b, f.Strict)
	return append(b, '}')
}

func appendReasoning(b []byte, r *openresponses.Reasoning) []byte {
	if r == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"effort":`...)
	b = appendNullable(b, r.Effort)
	b = append(b, `,"summary":`...)
	b = appendNullable(b, r.Summary)
	return append(b, '}')
}

func appendMetadata(b []byte, m map[string]string) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k)
		b = append(b, ':')
		b = appendString(b, m[k])
	}
	return append(b, '}')
}

// appendState appends the members that change during the run, each after a
// comma, and the closing brace.
func appendState(b []byte, d Dialect, o *Outcome, items [][]byte, requested string) []byte {
	b = append(b, `,"status":`...)
	b = appendString(b, o.Status)
	b = append(b, `,"completed_at":`...)
	if o.Status == openresponses.StatusCompleted {
		b = strconv.AppendInt(b, o.At.Unix(), 10)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"incomplete_details":`...)
	if o.Status == openresponses.StatusIncomplete {
		b = append(b, `{"reason":`...)
		b = appendString(b, or(o.Reason, "max_output_tokens"))
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"error":`...)
	if o.Error == nil {
		b = append(b, "null"...)
	} else {
		b = AppendError(b, d, o.Error)
	}
	b = append(b, `,"service_tier":`...)
	b = appendString(b, or(o.Tier, or(requested, "default")))
	b = append(b, `,"output":[`...)
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, it...)
	}
	b = append(b, `],"usage":`...)
	b = appendUsage(b, o.Usage)
	return append(b, '}')
}

func appendUsage(b []byte, u *openresponses.Usage) []byte {
	if u == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, u.InputTotal(), 10)
	b = append(b, `,"input_tokens_details":{"cached_tokens":`...)
	b = strconv.AppendInt(b, u.CacheRead, 10)
	b = append(b, `},"output_tokens":`...)
	b = strconv.AppendInt(b, u.OutputTotal(), 10)
	b = append(b, `,"output_tokens_details":{"reasoning_tokens":`...)
	b = strconv.AppendInt(b, u.Reasoning, 10)
	b = append(b, `},"total_tokens":`...)
	b = strconv.AppendInt(b, u.Total(), 10)
	return append(b, '}')
}

// hosted finds the hosted function of that name; nil means a client function.
func (h *Head) hosted(name string) *Function {
	for i := range h.Hosted {
		if h.Hosted[i].Tool.Name == name {
			return &h.Hosted[i]
		}
	}
	return nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
