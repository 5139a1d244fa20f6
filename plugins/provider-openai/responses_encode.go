package main

import (
	"encoding/json"
	"fmt"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// responsesBody is POST responses. Nothing is stored: state comes back to us
// encrypted and travels with the conversation.
type responsesBody struct {
	Model             string           `json:"model"`
	Input             []any            `json:"input"`
	Instructions      string           `json:"instructions,omitempty"`
	Tools             []responsesTool  `json:"tools,omitempty"`
	ToolChoice        any              `json:"tool_choice,omitempty"`
	ParallelToolCalls *bool            `json:"parallel_tool_calls,omitempty"`
	MaxOutputTokens   *int64           `json:"max_output_tokens,omitempty"`
	MaxToolCalls      *int64           `json:"max_tool_calls,omitempty"`
	Temperature       *float64         `json:"temperature,omitempty"`
	TopP              *float64         `json:"top_p,omitempty"`
	Reasoning         *reasoning       `json:"reasoning,omitempty"`
	Text              *responsesFormat `json:"text,omitempty"`
	Truncation        string           `json:"truncation,omitempty"`
	ServiceTier       string           `json:"service_tier,omitempty"`
	SafetyIdentifier  string           `json:"safety_identifier,omitempty"`
	PromptCacheKey    string           `json:"prompt_cache_key,omitempty"`
	Include           []string         `json:"include,omitempty"`
	Store             bool             `json:"store"`
	Stream            bool             `json:"stream,omitempty"`
}

type reasoning struct {
	Effort  string `json:"effort,omitempty"`
	Summary string `json:"summary,omitempty"`
}

type responsesFormat struct {
	Format    *format `json:"format,omitempty"`
	Verbosity string  `json:"verbosity,omitempty"`
}

type responsesTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict"` // always said: left out, OpenAI would make the schema strict
}

type named struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

type allowedTools struct {
	Type  string  `json:"type"`
	Mode  string  `json:"mode"`
	Tools []named `json:"tools"`
}

type inputMessage struct {
	Type    string `json:"type"`
	Role    string `json:"role"`
	Content []any  `json:"content"`
	Phase   string `json:"phase,omitempty"`
}

type inputCall struct {
	Type      string `json:"type"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type inputOutput struct {
	Type   string `json:"type"`
	CallID string `json:"call_id"`
	Output any    `json:"output"` // string or parts
}

type inputReasoning struct {
	Type             string `json:"type"`
	ID               string `json:"id,omitempty"`
	Summary          []any  `json:"summary"`
	EncryptedContent string `json:"encrypted_content"`
}

type textPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type refusalPart struct {
	Type    string `json:"type"`
	Refusal string `json:"refusal"`
}

type imagePart struct {
	Type     string `json:"type"`
	ImageURL string `json:"image_url"`
	Detail   string `json:"detail"`
}

type filePart struct {
	Type     string `json:"type"`
	Filename string `json:"filename,omitempty"`
	FileData string `json:"file_data,omitempty"`
	FileURL  string `json:"file_url,omitempty"`
}

// state is the content of our opaque state: what OpenAI calls the item, and
// what only it can read.
type state struct {
	ID               string `json:"id,omitempty"`
	EncryptedContent string `json:"encrypted_content"`
}

// minOutput is the least that the Responses API takes as max_output_tokens.
const minOutput = 16

// responses translates to the Responses API.
func (e *encoder) responses() (*responsesBody, error) {
	r := e.request
	e.common()
	// Arrange checks what the provider would refuse: orphan outputs, calls
	// without one, items that cannot be said. The order stays the client's.
	if _, err := dialogue.Arrange(r, &e.lost); err != nil {
		return nil, err
	}
	b := &responsesBody{
		Model: e.model, Instructions: r.Instructions, MaxOutputTokens: r.MaxOutputTokens, Stream: r.Stream,
		Truncation: r.Truncation, ServiceTier: r.ServiceTier, SafetyIdentifier: r.SafetyIdentifier, PromptCacheKey: e.sessionKey(),
	}
	if n := b.MaxOutputTokens; n != nil && *n < minOutput {
		least := int64(minOutput)
		b.MaxOutputTokens = &least
	}
	if e.settings.reasons(e.model) {
		b.Include = []string{"reasoning.encrypted_content"}
	}
	ask := reasoning{Effort: e.effort()}
	if r.Reasoning != nil && e.settings.reasons(e.model) {
		ask.Summary = r.Reasoning.Summary
	} else if r.Reasoning != nil {
		e.lose("reasoning.summary", r.Reasoning.Summary != "")
	}
	if ask != (reasoning{}) {
		b.Reasoning = &ask
	}
	takes := e.sampling(ask.Effort)
	b.Temperature, b.TopP = e.sample(takes, "temperature", r.Temperature, 1), e.sample(takes, "top_p", r.TopP, 1)
	f, err := e.format()
	if err != nil {
		return nil, err
	}
	if t := (responsesFormat{Format: f}); r.Text != nil {
		if t.Verbosity = r.Text.Verbosity; t != (responsesFormat{}) {
			b.Text = &t
		}
	}
	e.lose("presence_penalty", r.PresencePenalty != nil)
	e.lose("frequency_penalty", r.FrequencyPenalty != nil)
	e.lose("stop", len(r.Stop) > 0)
	e.responsesTools(b)
	e.responsesInput(b)
	if len(b.Input) == 0 {
		return nil, errNothing
	}
	return b, nil
}

func (e *encoder) responsesTools(b *responsesBody) {
	r := e.request
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Type == "function" {
			b.Tools = append(b.Tools, responsesTool{"function", e.names.Out(t.Name), t.Description, e.schema(t.Parameters, fmt.Sprintf("tools[%d].parameters", i)), t.Strict != nil && *t.Strict})
		}
	}
	if len(b.Tools) == 0 {
		return // OpenAI refuses a choice among no tools
	}
	b.ParallelToolCalls, b.MaxToolCalls = r.ParallelToolCalls, r.MaxToolCalls
	switch c := r.ToolChoice; {
	case c == nil:
	case c.Name != "":
		b.ToolChoice = named{"function", e.names.Out(c.Name)}
	case len(c.Names) > 0 && c.Mode != "none":
		a := allowedTools{Type: "allowed_tools", Mode: c.Mode}
		for _, n := range c.Names {
			a.Tools = append(a.Tools, named{"function", e.names.Out(n)})
		}
		b.ToolChoice = a
	default:
		b.ToolChoice = c.Mode
	}
}

func (e *encoder) responsesInput(b *responsesBody) {
	var held []any // reasoning, until what it led to comes: OpenAI refuses reasoning alone
	for i := range e.request.Input {
		it := &e.request.Input[i]
		place := fmt.Sprintf("input[%d]", i)
		var said any
		led := true // reasoning may stand before it
		switch it.Type {
		case or.TypeMessage:
			led = it.Role == "assistant"
			parts := e.parts(it.Content, place+".content", led)
			if len(parts) == 0 {
				continue
			}
			said = inputMessage{"message", it.Role, parts, it.Phase}
		case or.TypeFunctionCall:
			said = inputCall{"function_call", callID(it.CallID), e.names.Out(it.Name), it.Arguments}
		case or.TypeFunctionCallOutput:
			led = false
			said = inputOutput{"function_call_output", callID(it.CallID), e.output(it, place)}
		case or.TypeReasoning:
			if own, ok := e.ownReasoning(it); ok {
				held = append(held, own)
			}
			continue
		default:
			continue // Arrange named what is lost
		}
		if led {
			b.Input = append(b.Input, held...)
		}
		held = nil
		b.Input = append(b.Input, said)
	}
}

// ownReasoning is a reasoning item of this very account. Any other means
// nothing to it, and is left out; a model that does not reason refuses all.
func (e *encoder) ownReasoning(it *or.Item) (inputReasoning, bool) {
	st, ok := or.ParseOpaqueState(it.EncryptedContent)
	if !ok || st.Provider != e.account || st.Family != family || !e.settings.reasons(e.model) {
		return inputReasoning{}, false
	}
	var s state
	if json.Unmarshal(st.Data, &s) != nil || s.EncryptedContent == "" {
		return inputReasoning{}, false
	}
	own := inputReasoning{"reasoning", s.ID, []any{}, s.EncryptedContent}
	for _, p := range it.Summary {
		own.Summary = append(own.Summary, textPart{"summary_text", p.Text})
	}
	return own, true
}

// output is a function's output: a string, or parts when it has pictures.
func (e *encoder) output(it *or.Item, place string) any {
	if it.Output.Parts == nil {
		return it.Output.Text
	}
	parts := e.parts(it.Output.Parts, place+".output", false)
	if len(parts) == 0 {
		return ""
	}
	return parts
}

func (e *encoder) parts(ps []or.Part, place string, assistant bool) []any {
	var out []any
	for i := range ps {
		p, here := &ps[i], fmt.Sprintf("%s[%d]", place, i)
		switch p.Type {
		case or.PartInputText, or.PartOutputText, "text":
			typ := "input_text"
			if assistant {
				typ = "output_text"
			}
			out = append(out, textPart{typ, p.Text})
		case or.PartRefusal:
			if assistant {
				out = append(out, refusalPart{"refusal", p.Refusal})
			} else {
				out = append(out, textPart{"input_text", p.Refusal})
			}
		case or.PartInputImage:
			if assistant {
				e.lost.Add("%s", here)
			} else if e.image(p, here) {
				detail := p.Detail
				if detail == "" {
					detail = "auto"
				}
				out = append(out, imagePart{"input_image", p.ImageURL, detail})
			}
		case or.PartInputFile:
			data, ok := fileData(p)
			switch {
			case assistant:
				e.lost.Add("%s", here)
			case ok:
				out = append(out, filePart{Type: "input_file", Filename: fileName(p), FileData: data})
			case dialogue.IsHTTPS(p.FileURL):
				out = append(out, filePart{Type: "input_file", FileURL: p.FileURL})
			default:
				e.lost.Add("%s", here)
			}
		default:
			e.lost.Add("%s", here)
		}
	}
	return out
}
