package main

import (
	"encoding/json"
	"strconv"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// members writes the members of one JSON object. Conversations are long, and
// encoding/json takes a microsecond for each thousand letters of them.
type members struct {
	b     []byte
	begun bool
}

func (m *members) key(name string) {
	c := byte(',')
	if !m.begun {
		m.begun, c = true, '{'
	}
	m.b = append(append(append(m.b, c, '"'), name...), '"', ':')
}

func (m *members) str(name, s string) { m.key(name); m.b = or.AppendString(m.b, s) }

func (m *members) opt(name, s string) {
	if s != "" {
		m.str(name, s)
	}
}

func (m *members) boolean(name string, v bool) { m.key(name); m.b = strconv.AppendBool(m.b, v) }

func (m *members) whole(name string, n *int64) {
	if n != nil {
		m.key(name)
		m.b = strconv.AppendInt(m.b, *n, 10)
	}
}

func (m *members) number(name string, f *float64) {
	if f != nil {
		m.key(name)
		m.b = strconv.AppendFloat(m.b, *f, 'g', -1, 64)
	}
}

func (m *members) raw(name string, v json.RawMessage) {
	m.key(name)
	if v == nil {
		v = json.RawMessage("null")
	}
	m.b = append(m.b, v...)
}

// other writes what is small, or rare.
func (m *members) other(name string, v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	m.raw(name, b)
	return nil
}

// list writes items or parts of the input.
func (m *members) list(name string, all []any) {
	m.key(name)
	m.b = append(m.b, '[')
	for i, v := range all {
		if i > 0 {
			m.b = append(m.b, ',')
		}
		in := members{b: m.b}
		in.item(v)
		m.b = in.end()
	}
	m.b = append(m.b, ']')
}

// item writes the members of an item or a part.
func (m *members) item(v any) {
	switch v := v.(type) {
	case inputMessage:
		m.str("type", v.Type)
		m.str("role", v.Role)
		m.list("content", v.Content)
		m.opt("phase", v.Phase)
	case inputCall:
		m.str("type", v.Type)
		m.str("call_id", v.CallID)
		m.str("name", v.Name)
		m.str("arguments", v.Arguments)
	case inputOutput:
		m.str("type", v.Type)
		m.str("call_id", v.CallID)
		if text, ok := v.Output.(string); ok {
			m.str("output", text)
		} else {
			parts, _ := v.Output.([]any) // it is one of the two
			m.list("output", parts)
		}
	case inputReasoning:
		m.str("type", v.Type)
		m.opt("id", v.ID)
		m.list("summary", v.Summary)
		m.str("encrypted_content", v.EncryptedContent)
	case textPart:
		m.str("type", v.Type)
		m.str("text", v.Text)
	case refusalPart:
		m.str("type", v.Type)
		m.str("refusal", v.Refusal)
	case imagePart:
		m.str("type", v.Type)
		m.str("image_url", v.ImageURL)
		m.str("detail", v.Detail)
	case filePart:
		m.str("type", v.Type)
		m.opt("filename", v.Filename)
		m.opt("file_data", v.FileData)
		m.opt("file_url", v.FileURL)
	}
}

func (m *members) end() []byte {
	if !m.begun {
		m.b = append(m.b, '{')
	}
	return append(m.b, '}')
}

// room guesses how long the JSON of a request is.
func room(r *or.Request) int {
	n := 1<<10 + len(r.Instructions)
	for i := range r.Input {
		it := &r.Input[i]
		n += 128 + len(it.Arguments) + len(it.Output.Text) + len(it.EncryptedContent)
		for _, parts := range [][]or.Part{it.Content, it.Output.Parts} {
			for j := range parts {
				p := &parts[j]
				n += 64 + len(p.Text) + len(p.Refusal) + len(p.ImageURL) + len(p.FileData)
			}
		}
	}
	for i := range r.Tools {
		n += 128 + len(r.Tools[i].Description) + len(r.Tools[i].Parameters)
	}
	return n + n/16 // for escapes
}

func (e *encoder) responsesJSON() ([]byte, error) {
	body, err := e.responses()
	if err != nil {
		return nil, err
	}
	return body.json(room(e.request))
}

func (e *encoder) chatJSON() ([]byte, error) {
	body, err := e.chat()
	if err != nil {
		return nil, err
	}
	return marshal(body)
}

// json is the body as the API takes it; room is how long it may be.
func (r *responsesBody) json(room int) ([]byte, error) {
	m := members{b: make([]byte, 0, room)}
	m.str("model", r.Model)
	m.list("input", r.Input)
	m.opt("instructions", r.Instructions)
	if len(r.Tools) > 0 {
		m.key("tools")
		open := byte('[')
		for _, t := range r.Tools {
			in := members{b: append(m.b, open)}
			in.str("type", t.Type)
			in.str("name", t.Name)
			in.opt("description", t.Description)
			in.raw("parameters", t.Parameters)
			in.boolean("strict", t.Strict)
			m.b, open = in.end(), ','
		}
		m.b = append(m.b, ']')
	}
	var err error
	other := func(name string, v any, is bool) {
		if is && err == nil {
			err = m.other(name, v)
		}
	}
	other("tool_choice", r.ToolChoice, r.ToolChoice != nil)
	if r.ParallelToolCalls != nil {
		m.boolean("parallel_tool_calls", *r.ParallelToolCalls)
	}
	m.whole("max_output_tokens", r.MaxOutputTokens)
	m.whole("max_tool_calls", r.MaxToolCalls)
	m.number("temperature", r.Temperature)
	m.number("top_p", r.TopP)
	other("reasoning", r.Reasoning, r.Reasoning != nil)
	other("text", r.Text, r.Text != nil)
	m.opt("truncation", r.Truncation)
	m.opt("service_tier", r.ServiceTier)
	m.opt("safety_identifier", r.SafetyIdentifier)
	m.opt("prompt_cache_key", r.PromptCacheKey)
	other("include", r.Include, len(r.Include) > 0)
	m.boolean("store", r.Store)
	if r.Stream {
		m.boolean("stream", true)
	}
	return m.end(), err
}
