package supervisor

import (
	"encoding/json"
	"strings"
)

// Readers of the items that hold a result. They take what they find: such an
// item comes from any gateway or provider, and a wrong member must not make a
// whole conversation unusable.

func members(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(raw, &m) // nil: every member is absent
	return m
}

// text is raw as a string; "" when it is anything else.
func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return `""`
	}
	return string(b)
}

// mcpResult is the output of an mcp_call, or its error: a string or one of
// three objects.
func mcpResult(m map[string]json.RawMessage) string {
	if s := text(m["output"]); s != "" {
		return s
	}
	raw := m["error"]
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if s := text(raw); s != "" {
		return "Error: " + s
	}
	e := members(raw)
	if s := text(e["message"]); s != "" {
		return "Error: " + s
	}
	var content []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(e["content"], &content) == nil && len(content) > 0 {
		parts := make([]string, len(content))
		for i, c := range content {
			parts[i] = c.Text
		}
		return strings.Join(parts, "\n")
	}
	return "Error: " + string(raw)
}

// logs joins the outputs of a code_interpreter_call.
func logs(raw json.RawMessage) string {
	var outputs []struct {
		Type string `json:"type"`
		Logs string `json:"logs"`
	}
	if json.Unmarshal(raw, &outputs) != nil || len(outputs) == 0 {
		return "The code was run; its output is not part of this conversation."
	}
	var parts []string
	for _, o := range outputs {
		if o.Type == "logs" {
			parts = append(parts, o.Logs)
		} else {
			parts = append(parts, "["+o.Type+"]")
		}
	}
	return strings.Join(parts, "\n")
}

// searchAction is what a web_search_call did, and what is left of its result.
func searchAction(raw json.RawMessage) (arguments, result string) {
	var action struct {
		Type    string `json:"type"`
		Query   string `json:"query"`
		URL     string `json:"url"`
		Sources []struct {
			URL string `json:"url"`
		} `json:"sources"`
	}
	_ = json.Unmarshal(raw, &action) // an action we cannot read is a search for nothing
	arguments = object("query", action.Query)
	if action.URL != "" {
		arguments = object("url", action.URL)
	}
	if len(action.Sources) == 0 {
		return arguments, "The search was made; its results are not part of this conversation."
	}
	urls := make([]string, len(action.Sources))
	for i, s := range action.Sources {
		urls[i] = s.URL
	}
	return arguments, "Sources:\n" + strings.Join(urls, "\n")
}
