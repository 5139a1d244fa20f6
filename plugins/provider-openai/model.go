package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"
)

// efforts are the words for how hard to think, from least to most.
var efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh"}

// takes gives the words that a model takes. OpenAI refuses the others, and the
// words differ from model to model. Source: OpenAI, "Reasoning", and the pages
// of the models. A name that says nothing gets the words that all take.
func takes(model string) []string {
	major, minor := generation(model)
	codex := strings.Contains(model, "-codex")
	switch {
	case major == 5 && minor == 0 && strings.Contains(model, "-pro"):
		return efforts[4:5]
	case major == 5 && minor == 0 && !codex:
		return efforts[1:5]
	case major == 5 && minor == 1 && !codex:
		return []string{"none", "low", "medium", "high"}
	case (major > 5 || major == 5 && minor >= 2) && strings.Contains(model, "-pro"):
		return efforts[3:]
	case (major > 5 || major == 5 && minor >= 2) && !codex:
		return []string{"none", "low", "medium", "high", "xhigh"}
	case strings.Contains(model, "-codex-max"), codex && (major > 5 || major == 5 && minor >= 2):
		return efforts[2:]
	}
	return efforts[2:5]
}

// generation reads the version in "gpt-5.2-codex"; zeros for any other name.
func generation(model string) (major, minor int) {
	model = model[strings.LastIndexByte(model, '/')+1:]
	rest, ok := strings.CutPrefix(model, "gpt-")
	if !ok {
		return 0, 0
	}
	rest, _, _ = strings.Cut(rest, "-")
	a, b, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(a)
	if err != nil {
		return 0, 0
	}
	minor, _ = strconv.Atoi(b) // none is 0
	return major, minor
}

// effort is the request's word for the effort as the model takes it: the same,
// or the next one that it knows. Too little is rounded up, too much down.
func (e *encoder) effort() string {
	r := e.request.Reasoning
	if r == nil || r.Effort == "" {
		return ""
	}
	if e.compatible() { // they know the middle, and no way to turn it off
		switch r.Effort {
		case "none":
			e.lost.Add("reasoning.effort")
			return ""
		case "minimal":
			return "low"
		case "xhigh":
			return "high"
		}
		return r.Effort
	}
	if !e.settings.reasons(e.model) {
		e.lose("reasoning.effort", r.Effort != "none")
		return ""
	}
	known, want := takes(e.model), slices.Index(efforts, r.Effort)
	for _, w := range known {
		if slices.Index(efforts, w) >= want {
			return w
		}
	}
	return known[len(known)-1]
}

// sampling reports whether the model takes temperature and its kin: one that
// reasons does so only when told not to.
func (e *encoder) sampling(effort string) bool {
	return e.compatible() || !e.settings.reasons(e.model) || effort == "none"
}

// sample is v, or nil where the model does not take it. What it would do
// anyway is no loss.
func (e *encoder) sample(takes bool, name string, v *float64, usual float64) *float64 {
	if takes || v == nil {
		return v
	}
	e.lose(name, *v != usual)
	return nil
}

// topLevel are the members of a schema that OpenAI refuses at the top of a
// function's parameters.
var topLevel = []string{"oneOf", "anyOf", "allOf", "enum", "not"}

// schema is the parameters of a function: both APIs want an object, and OpenAI
// one that says so itself.
func (e *encoder) schema(p json.RawMessage, tool int) json.RawMessage {
	if len(p) == 0 {
		return json.RawMessage(`{"type":"object","properties":{}}`)
	}
	if e.takesSchema(p) {
		return p
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(p, &m) != nil {
		return p
	}
	changed := false
	if string(m["type"]) != `"object"` {
		m["type"], changed = json.RawMessage(`"object"`), true
	}
	if !e.compatible() {
		for _, name := range topLevel {
			if _, there := m[name]; there {
				e.lost.Add("tools[%d].parameters.%s", tool, name)
				delete(m, name)
				changed = true
			}
		}
	}
	if !changed {
		return p
	}
	if m["properties"] == nil {
		m["properties"] = json.RawMessage("{}")
	}
	b, err := marshal(m)
	if err != nil {
		return p
	}
	return b
}

// takesSchema reports whether a schema certainly goes as it is: that takes no
// map of it, and nearly all go so.
func (e *encoder) takesSchema(p json.RawMessage) bool {
	parser := parsers.Get()
	if len(p) <= pooled {
		defer parsers.Put(parser)
	}
	v, err := parser.ParseBytes(p)
	if err != nil {
		return false
	}
	types, refused := 0, false
	v.GetObject().Visit(func(key []byte, v *fastjson.Value) {
		switch name := string(key); {
		case name == "type":
			types++
			refused = refused || string(v.GetStringBytes()) != "object"
		case !e.compatible() && slices.Contains(topLevel, name):
			refused = true
		}
	})
	return types == 1 && !refused
}

// sessionKey is the key of the provider's cache: the client's, or the session
// that its headers name.
func (e *encoder) sessionKey() string {
	if k := e.request.PromptCacheKey; k != "" {
		return key64(k)
	}
	for _, name := range sessionHeaders {
		for _, v := range e.carry[name] { // as it came: one of them has an underscore
			if v != "" {
				return key64(v)
			}
		}
	}
	return ""
}
