package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// maxKey is the longest cache key and safety identifier that providers take.
const maxKey = 64

// reasoning reads thinking and output_config.effort. Thinking is something the
// client shows, so a summary of it is asked for.
func (a *accepter) reasoning(v *fastjson.Value) error {
	config, err := objectOf(v, "", "output_config")
	if err != nil {
		return err
	}
	var effort string
	if config != nil {
		if effort, err = textOf(config, "output_config", "effort"); err != nil {
			return err
		}
		a.unknown("output_config", config, "effort", "format")
	}
	switch effort {
	case "", "low", "medium", "high", "xhigh":
	case "max":
		a.hint.Effort = effort
		effort = "xhigh"
	default:
		return apierror.At(apierror.Invalid, "output_config.effort", "output_config.effort is %q; it must be low, medium, high, xhigh or max.", clipped(effort))
	}
	t, err := objectOf(v, "", "thinking")
	if err != nil {
		return err
	}
	if t == nil {
		if effort != "" {
			a.out.Reasoning = &or.Reasoning{Effort: effort}
		}
		return nil
	}
	kind, err := textOf(t, "thinking", "type")
	if err != nil {
		return err
	}
	display, err := textOf(t, "thinking", "display")
	if err != nil {
		return err
	}
	a.unknown("thinking", t, "type", "budget_tokens", "display")
	a.hint.Thinking = kind
	r := &or.Reasoning{Effort: effort, Summary: "auto"}
	if display == "omitted" {
		r.Summary = ""
	}
	switch kind {
	case "disabled":
		r.Effort, r.Summary = "none", ""
	case "adaptive":
	case "enabled":
		budget, err := integerOf(t, "thinking", "budget_tokens", 1)
		if err != nil {
			return err
		}
		if budget == nil {
			return apierror.At(apierror.Invalid, "thinking.budget_tokens", "thinking.budget_tokens: Field required. Say how many tokens the model may think, at least 1024.")
		}
		a.hint.Budget = *budget
		if effort == "" {
			r.Effort = effortOf(*budget)
		}
	default:
		return apierror.At(apierror.Invalid, "thinking.type", "thinking.type is %q; it must be enabled, adaptive or disabled.", clipped(kind))
	}
	if *r != (or.Reasoning{}) {
		a.out.Reasoning = r
	}
	return nil
}

// effortOf is the effort for a budget of thinking: the other way round than
// budgets, with what lies between going to the nearer one.
func effortOf(budget int64) string {
	switch {
	case budget < 4096:
		return "low"
	case budget < 16384:
		return "medium"
	case budget < 40960:
		return "high"
	}
	return "xhigh"
}

// format reads output_config.format, or output_format as it was called first.
func (a *accepter) format(v *fastjson.Value) error {
	at, parent := "output_config.format", memberOf(v, "output_config")
	f, err := objectOf(v, "", "output_format")
	if err != nil {
		return err
	}
	if f != nil {
		at = "output_format"
	} else if parent != nil {
		if f, err = objectOf(parent, "output_config", "format"); err != nil {
			return err
		}
	}
	if f == nil {
		return nil
	}
	kind, err := textOf(f, at, "type")
	if err != nil {
		return err
	}
	schema, err := objectOf(f, at, "schema")
	if err != nil {
		return err
	}
	a.unknown(at, f, "type", "schema", "name")
	if kind != "json_schema" || schema == nil {
		return apierror.At(apierror.Invalid, at, "%s must be {\"type\":\"json_schema\",\"schema\":{…}}.", at)
	}
	b := append([]byte(`{"type":"json_schema","name":"output","schema":`), schema.MarshalTo(nil)...)
	b = append(b, `,"strict":`...)
	b = strconv.AppendBool(b, strictable(schema))
	a.out.Text = &or.TextOptions{Format: append(b, '}')}
	return nil
}

// strictable reports whether a schema is one that every provider can hold a
// model to: each object lists all its properties as required and takes no
// others.
func strictable(v *fastjson.Value) bool {
	if all, err := v.Array(); err == nil {
		return !slices.ContainsFunc(all, func(v *fastjson.Value) bool { return !strictable(v) })
	}
	o, err := v.Object()
	if err != nil {
		return true
	}
	ok := true
	if props := v.GetObject("properties"); props != nil {
		required := map[string]bool{}
		for _, r := range v.GetArray("required") {
			required[string(r.GetStringBytes())] = true
		}
		more := v.Get("additionalProperties")
		ok = more != nil && more.Type() == fastjson.TypeFalse && len(required) == props.Len()
		props.Visit(func(name []byte, v *fastjson.Value) { ok = ok && required[string(name)] && strictable(v) })
	} else if string(v.GetStringBytes("type")) == "object" {
		return false
	}
	o.Visit(func(key []byte, v *fastjson.Value) {
		switch string(key) {
		case "properties":
		case "$defs", "definitions":
			if defs, err := v.Object(); err == nil {
				defs.Visit(func(_ []byte, v *fastjson.Value) { ok = ok && strictable(v) })
			}
		case "items", "anyOf":
			ok = ok && strictable(v)
		case "oneOf", "allOf", "not", "patternProperties":
			ok = false
		}
	})
	return ok
}

// limits reads what bounds and shapes the sampling.
func (a *accepter) limits(v *fastjson.Value) (err error) {
	r := a.out
	if r.MaxOutputTokens, err = integerOf(v, "", "max_tokens", 1); err != nil {
		return err
	}
	if r.MaxOutputTokens == nil && !a.count {
		return apierror.At(apierror.Invalid, "max_tokens", "max_tokens: Field required. Say how many tokens the answer may have at most.")
	}
	if r.Temperature, err = numberOf(v, "", "temperature"); err != nil {
		return err
	}
	if t := r.Temperature; t != nil && (*t < 0 || *t > 1) {
		return apierror.At(apierror.Invalid, "temperature", "temperature must be from 0 to 1.")
	}
	if r.Temperature != nil && *r.Temperature == 1 {
		r.Temperature = nil // the default everywhere, and some models take no other
	}
	if r.TopP, err = numberOf(v, "", "top_p"); err != nil {
		return err
	}
	if p := r.TopP; p != nil && (*p < 0 || *p > 1) {
		return apierror.At(apierror.Invalid, "top_p", "top_p must be from 0 to 1.")
	}
	k, err := integerOf(v, "", "top_k", 0)
	if err != nil {
		return err
	}
	if k != nil && *k > 0 {
		r.Extra = append(r.Extra, or.Member{Name: "top_k", Value: strconv.AppendInt(nil, *k, 10)})
	}
	stops, err := listOf(v, "", "stop_sequences")
	if err != nil {
		return err
	}
	for i, s := range stops {
		b, err := s.StringBytes()
		if err != nil {
			return wrong(element("stop_sequences", i), "a string")
		}
		if len(b) > 0 {
			r.Stop = append(r.Stop, string(b))
		}
	}
	tier, err := textOf(v, "", "service_tier")
	if err != nil {
		return err
	}
	switch tier {
	case "":
	case "auto":
		r.ServiceTier = "auto"
	case "standard_only":
		r.ServiceTier = "default"
	default:
		a.lost.Add("service_tier")
	}
	return nil
}

// identity reads metadata.user_id. Claude Code writes JSON into it, whose
// session tells which conversation this is: the key under which providers keep
// what they have read. Only the provider that it was written for gets the id
// itself; any other gets a digest.
func (a *accepter) identity(v *fastjson.Value) error {
	if m, err := listOf(v, "", "mcp_servers"); err != nil {
		return err
	} else if len(m) > 0 {
		return apierror.At(apierror.Unsupported, "mcp_servers[0]", "mcp_servers[0]: the servers of mcp_servers are called by Anthropic, which does not serve this request. Declare their tools with input_schema and call the servers yourself, or choose a model that Anthropic serves.")
	}
	m, err := objectOf(v, "", "metadata")
	if err != nil || m == nil {
		return err
	}
	a.unknown("metadata", m, "user_id")
	id, err := textOf(m, "metadata", "user_id")
	if err != nil || id == "" {
		return err
	}
	a.hint.UserID = id
	who := id
	if said, ok := readUserID(id); ok {
		if len(said.Session) <= maxKey {
			a.out.PromptCacheKey = said.Session
		}
		if said.Device+said.Account != "" {
			who = said.Device + said.Account
		}
	}
	a.out.SafetyIdentifier = "user_" + dialogue.Digest(32, who)
	return nil
}

// userID is what Claude Code writes into metadata.user_id.
type userID struct {
	Device  string `json:"device_id"`
	Account string `json:"account_uuid"`
	Session string `json:"session_id"`
}

// readUserID reads an id that is a JSON object. Claude Code writes one without
// spaces and escapes, which needs no decoder.
func readUserID(id string) (userID, bool) {
	if !strings.HasPrefix(strings.TrimLeft(id, " \t\r\n"), "{") {
		return userID{}, false
	}
	var plain userID
	if plain.read(id) {
		return plain, true
	}
	var u userID
	return u, json.Unmarshal([]byte(id), &u) == nil
}

// read reads an object of the known members, as long as nothing in it needs a
// second look.
func (u *userID) read(s string) bool {
	s, ok := strings.CutPrefix(s, "{")
	for ok {
		var name, value string
		if name, s, ok = plainText(s); !ok {
			return false
		}
		if s, ok = strings.CutPrefix(s, ":"); !ok {
			return false
		}
		if value, s, ok = plainText(s); !ok {
			return false
		}
		switch name {
		case "device_id":
			u.Device = value
		case "account_uuid":
			u.Account = value
		case "session_id":
			u.Session = value
		default:
			return false
		}
		s, ok = strings.CutPrefix(s, ",")
	}
	return s == "}"
}

// plainText reads a JSON string that stands for itself.
func plainText(s string) (text, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, `"`); !ok {
		return "", "", false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			return s[:i], s[i+1:], true
		case c < ' ' || c > '~' || c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

// clipped bounds what is repeated of a client's words.
func clipped(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
