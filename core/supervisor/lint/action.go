package lint

import (
	"slices"
	"strings"
)

// steps are the events on an item itself, in their order; deltas may come any
// number of times. A step in brackets may be absent.
var steps = map[string][]string{
	"function_call":         {"[function_call_arguments.delta]", "function_call_arguments.done"},
	"mcp_call":              {"mcp_call.in_progress", "[mcp_call_arguments.delta]", "mcp_call_arguments.done", "mcp_call.completed|mcp_call.failed"},
	"mcp_list_tools":        {"mcp_list_tools.in_progress", "mcp_list_tools.completed|mcp_list_tools.failed"},
	"code_interpreter_call": {"code_interpreter_call.in_progress", "[code_interpreter_call_code.delta]", "code_interpreter_call_code.done", "code_interpreter_call.interpreting", "code_interpreter_call.completed"},
	"web_search_call":       {"web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"},
}

// actionEvent checks an event on the open item itself.
func (s *stream) actionEvent(typ string, o object) {
	name := strings.TrimPrefix(typ, "response.")
	known := slices.ContainsFunc(steps[s.open.typ], func(step string) bool {
		return slices.Contains(strings.Split(strings.Trim(step, "[]"), "|"), name)
	})
	if !known {
		s.bad(s.where, "it does not belong to a %s item", s.open.typ)
		return
	}
	isDelta := strings.HasSuffix(name, ".delta")
	if n := len(s.open.steps); !isDelta || n == 0 || s.open.steps[n-1] != name {
		s.open.steps = append(s.open.steps, name)
	}
	switch {
	case isDelta:
		s.open.text.WriteString(o["delta"].(string))
	case strings.HasSuffix(name, "_arguments.done"):
		s.open.done, s.open.hasDone = o["arguments"].(string), true
	case strings.HasSuffix(name, "_code.done"):
		s.open.done, s.open.hasDone = o["code"].(string), true
	}
	if s.open.hasDone && s.open.done != s.open.text.String() {
		s.bad(s.where, "the whole is not what its deltas gave: %.60q, want %.60q", s.open.done, s.open.text.String())
	}
}

// compareAction holds the finished item against the events on it.
func (s *stream) compareAction(it object) {
	got := s.open.steps
	for _, step := range steps[s.open.typ] {
		optional := strings.HasPrefix(step, "[")
		if len(got) > 0 && slices.Contains(strings.Split(strings.Trim(step, "[]"), "|"), got[0]) {
			got = got[1:]
			continue
		}
		if !optional && it["status"] != "incomplete" {
			s.bad(s.where, "the event %s did not come in its place", step)
			return
		}
	}
	if len(got) > 0 {
		s.bad(s.where, "the event %s came out of its order", got[0])
	}
	whole, _ := it["arguments"].(string)
	if s.open.typ == "code_interpreter_call" {
		whole, _ = it["code"].(string)
	}
	if s.open.hasDone && whole != s.open.done {
		s.bad(s.where, "the item's %.60q is not what the stream gave: %.60q", whole, s.open.done)
	}
	if it["status"] == "failed" && !slices.Contains(s.open.steps, "mcp_call.failed") && s.open.typ == "mcp_call" {
		s.bad(s.where, "the call failed, and the stream said it did not")
	}
}
