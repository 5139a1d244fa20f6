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

// object begins an object in the list that m is writing; its end is the
// list's new end.
func (m *members) object(more bool) members {
	if more {
		return members{b: append(m.b, ',')}
	}
	return members{b: m.b}
}

// text writes a part that is a text into a list.
func (m *members) text(more bool, typ, text string) {
	in := m.object(more)
	in.str("type", typ)
	in.str("text", text)
	m.b = in.end()
}

func (m *members) end() []byte {
	if !m.begun {
		m.b = append(m.b, '{')
	}
	return append(m.b, '}')
}

// room guesses how long the JSON of a request is.
func room(r *or.Request) int {
	n := 512 + len(r.Instructions)
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

func (e *encoder) chatJSON() ([]byte, error) {
	body, err := e.chat()
	if err != nil {
		return nil, err
	}
	return marshal(body)
}

// append writes the options.
func (r *responsesOptions) append(m *members) error {
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
	if r.ToolChoice != nil {
		if err := m.other("tool_choice", r.ToolChoice); err != nil {
			return err
		}
	}
	if r.ParallelToolCalls != nil {
		m.boolean("parallel_tool_calls", *r.ParallelToolCalls)
	}
	m.whole("max_output_tokens", r.MaxOutputTokens)
	m.whole("max_tool_calls", r.MaxToolCalls)
	m.number("temperature", r.Temperature)
	m.number("top_p", r.TopP)
	if r.Reasoning != nil {
		m.key("reasoning")
		in := members{b: m.b}
		in.opt("effort", r.Reasoning.Effort)
		in.opt("summary", r.Reasoning.Summary)
		m.b = in.end()
	}
	if r.Text != nil {
		if err := m.other("text", r.Text); err != nil {
			return err
		}
	}
	m.opt("truncation", r.Truncation)
	m.opt("service_tier", r.ServiceTier)
	m.opt("safety_identifier", r.SafetyIdentifier)
	m.opt("prompt_cache_key", r.PromptCacheKey)
	if len(r.Include) > 0 {
		m.key("include")
		open := byte('[')
		for _, s := range r.Include {
			m.b, open = or.AppendString(append(m.b, open), s), ','
		}
		m.b = append(m.b, ']')
	}
	m.boolean("store", r.Store)
	if r.Stream {
		m.boolean("stream", true)
	}
	return nil
}
