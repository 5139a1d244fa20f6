package main

import (
	"encoding/json"
	"fmt"
	"slices"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// responsesOptions is POST responses behind its model and input. Nothing is
// stored: state comes back to us encrypted and travels with the conversation.
type responsesOptions struct {
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

// state is the content of our opaque state: what OpenAI calls the item, and
// what only it can read.
type state struct {
	ID               string `json:"id,omitempty"`
	EncryptedContent string `json:"encrypted_content"`
}

// minOutput is the least that the Responses API takes as max_output_tokens.
const minOutput = 16

// includeState asks for reasoning that can be sent back.
var includeState = []string{"reasoning.encrypted_content"}

// responsesJSON translates to the Responses API.
func (e *encoder) responsesJSON() ([]byte, error) {
	options, err := e.responses()
	if err != nil {
		return nil, err
	}
	m := members{b: make([]byte, 0, room(e.request))}
	m.str("model", e.model)
	if !e.input(&m) {
		return nil, errNothing
	}
	err = options.append(&m)
	return m.end(), err
}

// responses gathers all but the input.
func (e *encoder) responses() (responsesOptions, error) {
	r := e.request
	e.common()
	// What the provider would refuse: orphan outputs, calls without one, items
	// that cannot be said. The order stays the client's.
	if err := dialogue.Check(r, &e.lost); err != nil {
		return responsesOptions{}, err
	}
	b := responsesOptions{
		Instructions: r.Instructions, MaxOutputTokens: r.MaxOutputTokens, Stream: r.Stream,
		Truncation: r.Truncation, ServiceTier: r.ServiceTier, SafetyIdentifier: r.SafetyIdentifier, PromptCacheKey: e.sessionKey(),
	}
	if n := b.MaxOutputTokens; n != nil && *n < minOutput {
		least := int64(minOutput)
		b.MaxOutputTokens = &least
	}
	if e.settings.reasons(e.model) {
		b.Include = includeState
	}
	ask := reasoning{Effort: e.effort()}
	if r.Reasoning != nil && e.settings.reasons(e.model) {
		ask.Summary = r.Reasoning.Summary
	} else if r.Reasoning != nil {
		e.lose("reasoning.summary", r.Reasoning.Summary != "")
	}
	if ask != (reasoning{}) {
		b.Reasoning = &reasoning{ask.Effort, ask.Summary}
	}
	takes := e.sampling(ask.Effort)
	b.Temperature, b.TopP = e.sample(takes, "temperature", r.Temperature, 1), e.sample(takes, "top_p", r.TopP, 1)
	f, err := e.format()
	if err != nil {
		return responsesOptions{}, err
	}
	if r.Text != nil && (f != nil || r.Text.Verbosity != "") {
		b.Text = &responsesFormat{f, r.Text.Verbosity}
	}
	e.lose("presence_penalty", r.PresencePenalty != nil)
	e.lose("frequency_penalty", r.FrequencyPenalty != nil)
	e.lose("stop", len(r.Stop) > 0)
	e.responsesTools(&b)
	return b, nil
}

func (e *encoder) responsesTools(b *responsesOptions) {
	r := e.request
	b.Tools = slices.Grow(b.Tools, len(r.Tools))
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Type == "function" {
			b.Tools = append(b.Tools, responsesTool{"function", e.names.Out(t.Name), t.Description, e.schema(t.Parameters, i), t.Strict != nil && *t.Strict})
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

// input writes the conversation, and reports whether there is anything in it.
func (e *encoder) input(m *members) bool {
	m.key("input")
	m.b = append(m.b, '[')
	start := len(m.b)
	held := -1 // where reasoning begins that has not led to anything yet: OpenAI refuses reasoning alone
	for i := range e.request.Input {
		it := &e.request.Input[i]
		begin := len(m.b)
		led := true // reasoning may stand before it
		in := m.object(begin > start)
		in.str("type", it.Type)
		switch it.Type {
		case or.TypeMessage:
			led = it.Role == "assistant"
			in.str("role", it.Role)
			in.key("content")
			if !e.parts(&in, it.Content, spot{i, "content"}, led) {
				continue
			}
			in.opt("phase", it.Phase)
		case or.TypeFunctionCall:
			in.str("call_id", callID(it.CallID))
			in.str("name", e.names.Out(it.Name))
			in.str("arguments", it.Arguments)
		case or.TypeFunctionCallOutput:
			led = false
			in.str("call_id", callID(it.CallID))
			in.key("output")
			switch {
			case it.Output.Parts == nil:
				in.b = or.AppendString(in.b, it.Output.Text)
			case !e.parts(&in, it.Output.Parts, spot{i, "output"}, false):
				in.b = append(in.b, `""`...)
			}
		case or.TypeReasoning:
			own, ok := e.ownReasoning(it)
			if !ok {
				continue
			}
			own.append(&in, it.Summary)
			if m.b = in.end(); held < 0 {
				held = begin
			}
			continue
		default:
			continue // Check named what is lost
		}
		m.b = in.end()
		if held >= 0 && !led {
			if held == start {
				begin++ // the comma, too
			}
			m.b = slices.Delete(m.b, held, begin)
		}
		held = -1
	}
	if held >= 0 {
		m.b = m.b[:held]
	}
	some := len(m.b) > start
	m.b = append(m.b, ']')
	return some
}

// ownReasoning is the state of a reasoning item of this very account. Any other
// means nothing to it, and is left out; a model that does not reason refuses
// all.
func (e *encoder) ownReasoning(it *or.Item) (state, bool) {
	st, ok := or.ParseOpaqueState(it.EncryptedContent)
	if !ok || st.Provider != e.account || st.Family != family || !e.settings.reasons(e.model) {
		return state{}, false
	}
	var s state
	if json.Unmarshal(st.Data, &s) != nil || s.EncryptedContent == "" {
		return state{}, false
	}
	return s, true
}

func (s *state) append(in *members, summary []or.Part) {
	in.opt("id", s.ID)
	in.key("summary")
	in.b = append(in.b, '[')
	for i := range summary {
		in.text(i > 0, "summary_text", summary[i].Text)
	}
	in.b = append(in.b, ']')
	in.str("encrypted_content", s.EncryptedContent)
}

// spot is a list of parts in the input. It is only spelt out for a loss.
type spot struct {
	item int
	list string
}

func (s spot) part(i int) string { return fmt.Sprintf("input[%d].%s[%d]", s.item, s.list, i) }

// parts writes the parts as a list, if there is anything to write.
func (e *encoder) parts(m *members, ps []or.Part, place spot, assistant bool) bool {
	before := len(m.b)
	m.b = append(m.b, '[')
	start := len(m.b)
	for i := range ps {
		p, more := &ps[i], len(m.b) > start
		switch p.Type {
		case or.PartInputText, or.PartOutputText, "text":
			typ := "input_text"
			if assistant {
				typ = "output_text"
			}
			m.text(more, typ, p.Text)
		case or.PartRefusal:
			if assistant {
				in := m.object(more)
				in.str("type", "refusal")
				in.str("refusal", p.Refusal)
				m.b = in.end()
			} else {
				m.text(more, "input_text", p.Refusal)
			}
		case or.PartInputImage:
			if assistant {
				e.lost.Add("%s", place.part(i))
			} else if e.image(p, place.part(i)) {
				detail := p.Detail
				if detail == "" {
					detail = "auto"
				}
				in := m.object(more)
				in.str("type", "input_image")
				in.str("image_url", p.ImageURL)
				in.str("detail", detail)
				m.b = in.end()
			}
		case or.PartInputFile:
			data, ok := fileData(p)
			in := m.object(more)
			in.str("type", "input_file")
			switch {
			case assistant:
				e.lost.Add("%s", place.part(i))
			case ok:
				in.str("filename", fileName(p))
				in.str("file_data", data)
				m.b = in.end()
			case dialogue.IsHTTPS(p.FileURL):
				in.str("file_url", p.FileURL)
				m.b = in.end()
			default:
				e.lost.Add("%s", place.part(i))
			}
		default:
			e.lost.Add("%s", place.part(i))
		}
	}
	if len(m.b) == start {
		m.b = m.b[:before]
		return false
	}
	m.b = append(m.b, ']')
	return true
}
