package lint

import (
	"fmt"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
)

// responseMembers are the 31 members that every response object has.
var responseMembers = []struct{ name, kind string }{
	{"id", str}, {"object", str}, {"created_at", integer}, {"status", str}, {"model", str},
	{"output", array}, {"tools", array}, {"truncation", str}, {"parallel_tool_calls", boolean},
	{"text", objekt}, {"top_p", number}, {"presence_penalty", number}, {"frequency_penalty", number},
	{"top_logprobs", integer}, {"temperature", number}, {"store", boolean}, {"background", boolean},
	{"service_tier", str}, {"metadata", objekt},
	{"completed_at", integer + "?"}, {"incomplete_details", objekt + "?"}, {"previous_response_id", str + "?"},
	{"instructions", str + "?"}, {"error", objekt + "?"}, {"reasoning", objekt + "?"}, {"usage", objekt + "?"},
	{"max_output_tokens", integer + "?"}, {"max_tool_calls", integer + "?"},
	{"safety_identifier", str + "?"}, {"prompt_cache_key", str + "?"},
	// tool_choice, the 31st, is a string or an object.
}

func (c *checker) response(where string, o object) {
	before := len(c.problems)
	for _, m := range responseMembers {
		c.member(where, o, m.name, m.kind)
	}
	c.toolChoice(where, o)
	if len(c.problems) > before {
		return // what follows relies on the kinds
	}
	c.id(where, o, "id")
	c.oneOf(where, o, "object", "response")
	c.oneOf(where, o, "status", "queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
	c.oneOf(where, o, "truncation", "auto", "disabled")
	c.lifecycle(where, o)
	c.usage(where+".usage", o["usage"])
	c.settings(where, o)
	c.output(where, o)
}

// lifecycle checks the members that go with a status.
func (c *checker) lifecycle(where string, o object) {
	status := o["status"].(string)
	for _, m := range []struct{ name, status string }{
		{"completed_at", "completed"}, {"incomplete_details", "incomplete"}, {"error", "failed"},
	} {
		if set := o[m.name] != nil; set != (status == m.status) {
			c.bad(where, "status is %s and %s is set: %t", status, m.name, set)
		}
	}
	if details, ok := o["incomplete_details"].(object); ok {
		c.member(where+".incomplete_details", details, "reason", str)
	}
	if e, ok := o["error"].(object); ok {
		c.errorObject(where+".error", e)
	}
	if at, ok := o["completed_at"]; ok && at != nil && intOf(at) < intOf(o["created_at"]) {
		c.bad(where, "completed_at %v is before created_at %v", at, o["created_at"])
	}
}

func (c *checker) errorObject(where string, e object) {
	c.member(where, e, "code", str)
	c.member(where, e, "message", str)
	c.member(where, e, "type", str)
	c.member(where, e, "param", str+"?")
}

func (c *checker) usage(where string, v any) {
	u, ok := v.(object)
	if !ok {
		return
	}
	for _, name := range []string{"input_tokens", "output_tokens", "total_tokens"} {
		if c.member(where, u, name, integer) && intOf(u[name]) < 0 {
			c.bad(where, "%s is negative", name)
		}
	}
	part := func(whole, details, name string) {
		if c.member(where, u, details, objekt) {
			d := u[details].(object)
			if c.member(where+"."+details, d, name, integer) && (intOf(d[name]) < 0 || intOf(d[name]) > intOf(u[whole])) {
				c.bad(where, "%s %v is not within %s %v", name, d[name], whole, u[whole])
			}
		}
	}
	part("input_tokens", "input_tokens_details", "cached_tokens")
	part("output_tokens", "output_tokens_details", "reasoning_tokens")
	if intOf(u["input_tokens"])+intOf(u["output_tokens"]) != intOf(u["total_tokens"]) {
		c.bad(where, "total_tokens %v is not %v + %v", u["total_tokens"], u["input_tokens"], u["output_tokens"])
	}
}

// settings checks the echoed parameters.
func (c *checker) settings(where string, o object) {
	text := o["text"].(object)
	if c.member(where+".text", text, "format", objekt) {
		format := text["format"].(object)
		c.oneOf(where+".text.format", format, "type", "text", "json_object", "json_schema")
		if c.dialect == render.OpenResponses && format["type"] == "json_schema" {
			c.member(where+".text.format", format, "name", str)
			c.member(where+".text.format", format, "description", str+"?")
			c.member(where+".text.format", format, "strict", boolean)
			if v, ok := format["schema"]; !ok || v != nil {
				c.bad(where+".text.format", "schema must be null")
			}
		}
	}
	if r, ok := o["reasoning"].(object); ok {
		c.member(where+".reasoning", r, "effort", str+"?")
		c.member(where+".reasoning", r, "summary", str+"?")
	}
	for k, v := range o["metadata"].(object) {
		if kindOf(v) != str {
			c.bad(where+".metadata", "%s is %s, want string", k, kindOf(v))
		}
	}
	for i, v := range o["tools"].([]any) {
		at := fmt.Sprintf("%s.tools[%d]", where, i)
		t, ok := v.(object)
		if !ok {
			c.bad(at, "it is %s, want object", kindOf(v))
			continue
		}
		if c.dialect == render.OpenResponses {
			c.oneOf(at, t, "type", "function")
		}
		if t["type"] == "function" {
			c.member(at, t, "name", str)
			c.member(at, t, "description", str+"?")
			c.member(at, t, "parameters", objekt+"?")
			c.member(at, t, "strict", boolean+"?")
		}
	}
}

func (c *checker) toolChoice(where string, o object) {
	where += ".tool_choice"
	switch v := o["tool_choice"].(type) {
	case string:
		if v != "auto" && v != "none" && v != "required" {
			c.bad(where, "it is %q, want auto, none or required", v)
		}
	case object:
		c.oneOf(where, v, "type", "function", "allowed_tools")
		if v["type"] == "allowed_tools" {
			c.member(where, v, "tools", array)
			c.oneOf(where, v, "mode", "auto", "required", "none")
		} else {
			c.member(where, v, "name", str)
		}
	default:
		c.bad(where, "it is %s, want a string or an object", kindOf(v))
	}
}

// output checks the items and what they are to each other.
func (c *checker) output(where string, o object) {
	items := o["output"].([]any)
	status := o["status"].(string)
	final := status != "in_progress" && status != "queued"
	ids, calls, outputs := map[string]bool{}, map[string]bool{}, map[string]bool{}
	once := func(at, what string, seen map[string]bool, id string) {
		if id != "" && seen[id] {
			c.bad(at, "%s %q is used twice", what, id)
		}
		seen[id] = true
	}
	for i, v := range items {
		at := fmt.Sprintf("%s.output[%d]", where, i)
		it, ok := v.(object)
		if !ok {
			c.bad(at, "it is %s, want object", kindOf(v))
			continue
		}
		c.item(at, it)
		id, _ := it["id"].(string)
		once(at, "id", ids, id)
		callID, _ := it["call_id"].(string)
		switch it["type"] {
		case "function_call":
			once(at, "call_id", calls, callID)
		case "function_call_output":
			once(at, "output for call_id", outputs, callID)
		}
		switch s, _ := it["status"].(string); {
		case s == "in_progress" && final:
			c.bad(at, "the item is in_progress in a response that is %s", status)
		case s == "incomplete" && (status != "incomplete" || i != len(items)-1):
			c.bad(at, "an incomplete item must be the last, and end an incomplete response; this is item %d of %d of one that is %s", i, len(items), status)
		}
	}
}
