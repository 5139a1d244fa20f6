package main

import (
	"encoding/json"
	"slices"
	"strings"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// chatBody is POST chat/completions.
type chatBody struct {
	Model               string         `json:"model"`
	Messages            []*chatMessage `json:"messages"`
	Tools               []chatTool     `json:"tools,omitempty"`
	ToolChoice          any            `json:"tool_choice,omitempty"`
	ParallelToolCalls   *bool          `json:"parallel_tool_calls,omitempty"`
	MaxCompletionTokens *int64         `json:"max_completion_tokens,omitempty"`
	MaxTokens           *int64         `json:"max_tokens,omitempty"` // compatible servers
	Temperature         *float64       `json:"temperature,omitempty"`
	TopP                *float64       `json:"top_p,omitempty"`
	PresencePenalty     *float64       `json:"presence_penalty,omitempty"`
	FrequencyPenalty    *float64       `json:"frequency_penalty,omitempty"`
	Stop                []string       `json:"stop,omitempty"`
	ReasoningEffort     string         `json:"reasoning_effort,omitempty"`
	ResponseFormat      *chatFormat    `json:"response_format,omitempty"`
	Verbosity           string         `json:"verbosity,omitempty"`
	ServiceTier         string         `json:"service_tier,omitempty"`
	SafetyIdentifier    string         `json:"safety_identifier,omitempty"`
	PromptCacheKey      string         `json:"prompt_cache_key,omitempty"`
	Stream              bool           `json:"stream,omitempty"`
	StreamOptions       *streamOptions `json:"stream_options,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatMessage struct {
	Role       string     `json:"role"`
	Content    any        `json:"content,omitempty"` // string or parts
	Refusal    string     `json:"refusal,omitempty"`
	ToolCalls  []chatCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type chatCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function chatCallBody `json:"function"`
}

type chatCallBody struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type chatTool struct {
	Type     string       `json:"type"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict,omitempty"`
}

type chatFormat struct {
	Type       string       `json:"type"`
	JSONSchema *namedSchema `json:"json_schema,omitempty"`
}

// namedSchema is the inner object of the chat shape of a JSON Schema format.
type namedSchema struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

type chatNamed struct {
	Type     string       `json:"type"`
	Function functionName `json:"function"`
}

type functionName struct {
	Name string `json:"name"`
}

type chatAllowed struct {
	Type         string           `json:"type"`
	AllowedTools chatAllowedInner `json:"allowed_tools"`
}

type chatAllowedInner struct {
	Mode  string      `json:"mode"`
	Tools []chatNamed `json:"tools"`
}

type textPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type chatImage struct {
	Type     string   `json:"type"`
	ImageURL imageURL `json:"image_url"`
}

type imageURL struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

type chatFile struct {
	Type string        `json:"type"`
	File chatFileInner `json:"file"`
}

type chatFileInner struct {
	Filename string `json:"filename"`
	FileData string `json:"file_data"`
}

// maxStop is how many stop sequences the chat API takes.
const maxStop = 4

// chat translates to chat/completions.
func (e *encoder) chat() (*chatBody, error) {
	r := e.request
	e.common()
	c, err := dialogue.Arrange(r, &e.lost)
	if err != nil {
		return nil, err
	}
	b := &chatBody{
		Model: e.model, Stop: r.Stop, Stream: r.Stream, ReasoningEffort: e.effort(),
	}
	takes := e.sampling(b.ReasoningEffort)
	b.Temperature, b.TopP = e.sample(takes, "temperature", r.Temperature, 1), e.sample(takes, "top_p", r.TopP, 1)
	b.PresencePenalty = e.sample(takes, "presence_penalty", r.PresencePenalty, 0)
	b.FrequencyPenalty = e.sample(takes, "frequency_penalty", r.FrequencyPenalty, 0)
	for len(b.Stop) > maxStop {
		e.lost.Add("stop[%d]", len(b.Stop)-1)
		b.Stop = b.Stop[:len(b.Stop)-1]
	}
	if r.Stream {
		b.StreamOptions = &streamOptions{IncludeUsage: true}
	}
	if e.compatible() {
		b.MaxTokens = r.MaxOutputTokens
	} else {
		b.MaxCompletionTokens = r.MaxOutputTokens
	}
	if r.Reasoning != nil {
		e.lose("reasoning.summary", r.Reasoning.Summary != "")
	}
	if err := e.chatFormat(b); err != nil {
		return nil, err
	}
	e.lose("truncation", r.Truncation == "auto")
	e.lose("max_tool_calls", r.MaxToolCalls != nil)
	if e.compatible() {
		e.lose("service_tier", r.ServiceTier != "" && r.ServiceTier != "auto")
		e.lose("safety_identifier", r.SafetyIdentifier != "")
		e.lose("prompt_cache_key", r.PromptCacheKey != "")
	} else {
		b.ServiceTier, b.SafetyIdentifier, b.PromptCacheKey = r.ServiceTier, r.SafetyIdentifier, e.sessionKey()
	}
	e.chatTools(b)
	e.messages(b, c)
	said := len(b.Messages)
	if c.Instructions != "" {
		said--
	}
	if said == 0 {
		return nil, errNothing
	}
	return b, nil
}

func (e *encoder) lose(name string, there bool) {
	if there {
		e.lost.Add("%s", name)
	}
}

func (e *encoder) chatFormat(b *chatBody) error {
	f, err := e.format()
	if err != nil {
		return err
	}
	if f != nil {
		b.ResponseFormat = &chatFormat{Type: f.Type}
		if f.Type == "json_schema" {
			b.ResponseFormat.JSONSchema = &namedSchema{f.Name, f.Description, f.Schema, f.Strict}
		}
	}
	if t := e.request.Text; t != nil && t.Verbosity != "" {
		if e.compatible() {
			e.lost.Add("text.verbosity")
		} else {
			b.Verbosity = t.Verbosity
		}
	}
	return nil
}

func (e *encoder) chatTools(b *chatBody) {
	r, choice := e.request, e.request.ToolChoice
	allowed := choice != nil && len(choice.Names) > 0 && choice.Mode != "none"
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Type != "function" || allowed && e.compatible() && !slices.Contains(choice.Names, t.Name) {
			continue // a compatible server has no allowed_tools: it sees only those
		}
		strict := t.Strict
		if strict != nil && !*strict {
			strict = nil // the default; some servers refuse the field
		}
		b.Tools = append(b.Tools, chatTool{"function", chatFunction{e.names.Out(t.Name), t.Description, e.schema(t.Parameters, i), strict}})
	}
	if len(b.Tools) == 0 {
		return
	}
	b.ParallelToolCalls = r.ParallelToolCalls
	switch {
	case choice == nil:
	case choice.Name != "":
		b.ToolChoice = chatNamed{"function", functionName{e.names.Out(choice.Name)}}
	case allowed && !e.compatible():
		a := chatAllowed{"allowed_tools", chatAllowedInner{Mode: choice.Mode}}
		for _, n := range choice.Names {
			a.AllowedTools.Tools = append(a.AllowedTools.Tools, chatNamed{"function", functionName{e.names.Out(n)}})
		}
		b.ToolChoice = a
	default:
		b.ToolChoice = choice.Mode
	}
}

// role is the role a server knows: older ones have no developer.
func (e *encoder) role(r string) string {
	if r == "developer" && e.compatible() {
		return "system"
	}
	return r
}

func (e *encoder) messages(b *chatBody, c *dialogue.Conversation) {
	if c.Instructions != "" {
		b.Messages = append(b.Messages, &chatMessage{Role: "system", Content: c.Instructions})
	}
	for _, s := range c.System {
		e.message(b, s)
	}
	for _, t := range c.Turns {
		if t.Model {
			e.modelTurn(b, t)
			continue
		}
		var pictures []any
		for _, r := range t.Results {
			pictures = append(pictures, e.result(b, r)...)
		}
		if len(pictures) > 0 { // tool messages hold text only
			b.Messages = append(b.Messages, &chatMessage{Role: "user", Content: pictures})
		}
		for _, m := range t.Entries {
			if e.compatible() && m.Item.Role != "user" {
				e.framed(b, m) // their templates take a system message at the start only
				continue
			}
			e.message(b, m)
		}
	}
}

func (e *encoder) message(b *chatBody, m dialogue.Entry) {
	parts := e.chatParts(m.Item.Content, m, "content")
	if len(parts) > 0 {
		b.Messages = append(b.Messages, &chatMessage{Role: e.role(m.Item.Role), Content: plain(parts)})
	}
}

// framed says a system message of mid-conversation as the user.
func (e *encoder) framed(b *chatBody, m dialogue.Entry) {
	var all []string
	for _, p := range e.chatParts(m.Item.Content, m, "content") {
		if t, ok := p.(textPart); ok {
			all = append(all, t.Text)
		}
	}
	if len(all) > 0 {
		b.Messages = append(b.Messages, &chatMessage{Role: "user", Content: "<system_message>\n" + strings.Join(all, "\n\n") + "\n</system_message>"})
	}
}

// modelTurn puts what the model said and called into one message: its calls
// must stand in the message right before their results.
func (e *encoder) modelTurn(b *chatBody, t dialogue.Turn) {
	m := &chatMessage{Role: "assistant"}
	var text []string
	for _, entry := range t.Entries {
		it := entry.Item
		switch it.Type {
		case or.TypeFunctionCall:
			m.ToolCalls = append(m.ToolCalls, chatCall{callID(it.CallID), "function", chatCallBody{e.names.Out(it.Name), it.Arguments}})
		case or.TypeMessage:
			e.lose(entry.Param()+".phase", it.Phase != "")
			for i, p := range it.Content {
				switch {
				case p.Type == or.PartRefusal && !e.compatible():
					m.Refusal += p.Refusal
				case p.Type == or.PartRefusal:
					text = append(text, p.Refusal)
				case p.Type == or.PartOutputText || p.Type == or.PartInputText || p.Type == "text":
					text = append(text, p.Text)
				default:
					e.lost.Add("%s", entry.Part("content", i))
				}
			}
		}
	}
	if len(text) > 0 {
		m.Content = strings.Join(text, "\n\n")
	}
	if m.Content != nil || m.Refusal != "" || len(m.ToolCalls) > 0 {
		b.Messages = append(b.Messages, m)
	}
}

// result adds a tool message and returns the pictures it has no place for.
func (e *encoder) result(b *chatBody, r dialogue.Result) (pictures []any) {
	it := r.Output.Item
	m := &chatMessage{Role: "tool", ToolCallID: callID(it.CallID), Content: it.Output.Text}
	if it.Output.Parts != nil {
		var text []string
		for i, p := range e.chatParts(it.Output.Parts, r.Output, "output") {
			if t, ok := p.(textPart); ok {
				text = append(text, t.Text)
				continue
			}
			if i == 0 || len(pictures) == 0 {
				pictures = append(pictures, textPart{"text", "Attached to the result of " + r.Call.Item.Name + " (" + callID(it.CallID) + "):"})
			}
			pictures = append(pictures, p)
		}
		if len(pictures) > 0 && len(text) == 0 {
			text = append(text, "The result is attached below.")
		}
		m.Content = strings.Join(text, "\n")
	}
	b.Messages = append(b.Messages, m)
	return pictures
}

func (e *encoder) chatParts(ps []or.Part, at dialogue.Entry, list string) []any {
	var out []any
	for i := range ps {
		p := &ps[i]
		switch p.Type {
		case or.PartInputText, or.PartOutputText, "text":
			out = append(out, textPart{"text", p.Text})
		case or.PartInputImage:
			if e.image(p, at.Part(list, i)) {
				out = append(out, chatImage{"image_url", imageURL{p.ImageURL, p.Detail}})
			}
		case or.PartInputFile:
			if data, ok := fileData(p); ok {
				out = append(out, chatFile{"file", chatFileInner{fileName(p), data}})
			} else {
				e.lost.Add("%s", at.Part(list, i))
			}
		default:
			e.lost.Add("%s", at.Part(list, i))
		}
	}
	return out
}

// plain is the parts as a string when they are one text, which every server
// takes.
func plain(parts []any) any {
	if len(parts) == 1 {
		if t, ok := parts[0].(textPart); ok {
			return t.Text
		}
	}
	return parts
}
