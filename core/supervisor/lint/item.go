package lint

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
)

// items lists the output items each dialect may show.
var items = map[render.Dialect][]string{
	render.OpenResponses: {"message", "function_call", "function_call_output", "reasoning", "compaction"},
	render.Databricks:    {"message", "function_call", "function_call_output", "reasoning", "compaction", "mcp_approval_request"},
	render.OpenAI: {"message", "function_call", "reasoning", "compaction", "mcp_list_tools", "mcp_call",
		"mcp_approval_request", "code_interpreter_call", "web_search_call"},
}

// item checks one output item by itself.
func (c *checker) item(where string, it object) {
	if !c.member(where, it, "type", str) {
		return
	}
	typ := it["type"].(string)
	if !slices.Contains(items[c.dialect], typ) {
		c.bad(where, "the %s dialect has no %q items", c.dialect, typ)
		return
	}
	where += " (" + typ + ")"
	c.id(where, it, "id")
	status := []string{"in_progress", "completed", "incomplete"}
	switch typ {
	case "mcp_call":
		status = append(status, "calling", "failed")
	case "web_search_call":
		status = append(status, "searching", "failed")
	case "code_interpreter_call":
		status = append(status, "interpreting", "failed")
	}
	if typ != "mcp_list_tools" {
		c.oneOf(where, it, "status", status...)
	}
	switch typ {
	case "message":
		c.oneOf(where, it, "role", "assistant")
		c.parts(where, it, "content", "output_text", "refusal")
	case "reasoning":
		c.parts(where, it, "summary", "summary_text")
		if _, ok := it["content"]; ok {
			c.parts(where, it, "content", "reasoning_text")
		}
		if _, ok := it["encrypted_content"]; ok {
			c.member(where, it, "encrypted_content", str) // present but null fails the public suite
		}
	case "compaction":
		c.member(where, it, "encrypted_content", str)
	case "function_call":
		c.id(where, it, "call_id")
		c.id(where, it, "name")
		c.member(where, it, "arguments", str)
	case "function_call_output":
		c.id(where, it, "call_id")
		if kindOf(it["output"]) != str {
			c.parts(where, it, "output", "input_text", "input_image", "input_file")
		}
	default:
		c.openAIItem(where, typ, it)
	}
}

// openAIItem checks the items that only OpenAI's clients know.
func (c *checker) openAIItem(where, typ string, it object) {
	switch typ {
	case "mcp_list_tools":
		c.member(where, it, "server_label", str)
		if _, ok := it["error"]; ok && kindOf(it["error"]) != objekt {
			c.member(where, it, "error", str) // null breaks the AI SDK, here and below
		}
		if !c.member(where, it, "tools", array) {
			return
		}
		for i, v := range it["tools"].([]any) {
			at := fmt.Sprintf("%s.tools[%d]", where, i)
			t, ok := v.(object)
			if !ok {
				c.bad(at, "it is %s, want object", kindOf(v))
				continue
			}
			c.member(at, t, "name", str)
			c.member(at, t, "input_schema", objekt)
			if _, ok := t["description"]; ok {
				c.member(at, t, "description", str)
			}
			if _, ok := t["annotations"]; ok {
				c.member(at, t, "annotations", objekt)
			}
		}
	case "mcp_call":
		c.member(where, it, "server_label", str)
		c.id(where, it, "name")
		c.member(where, it, "arguments", str)
		c.member(where, it, "output", str+"?")
		c.member(where, it, "approval_request_id", str+"?")
		failed := it["status"] == "failed"
		if _, ok := it["error"]; !ok {
			c.bad(where, "error is missing")
		}
		if set := it["error"] != nil; set != failed {
			c.bad(where, "status is %v and error is set: %t", it["status"], set)
		}
		if it["status"] == "completed" && it["output"] == nil {
			c.bad(where, "it is completed and has no output")
		}
	case "mcp_approval_request":
		c.member(where, it, "server_label", str)
		c.id(where, it, "name")
		c.member(where, it, "arguments", str)
	case "code_interpreter_call":
		c.id(where, it, "container_id") // the AI SDK fails without
		c.member(where, it, "code", str)
		c.member(where, it, "outputs", array+"?")
	case "web_search_call":
		if c.member(where, it, "action", objekt) {
			c.oneOf(where+".action", it["action"].(object), "type", "search", "open_page", "find_in_page")
		}
	}
}

// parts checks a list of content parts.
func (c *checker) parts(where string, it object, name string, allowed ...string) {
	if !c.member(where, it, name, array) {
		return
	}
	for i, v := range it[name].([]any) {
		c.part(fmt.Sprintf("%s.%s[%d]", where, name, i), v, allowed...)
	}
}

func (c *checker) part(where string, v any, allowed ...string) {
	p, ok := v.(object)
	if !ok {
		c.bad(where, "it is %s, want object", kindOf(v))
		return
	}
	c.oneOf(where, p, "type", allowed...)
	switch p["type"] {
	case "refusal":
		c.member(where, p, "refusal", str)
	case "input_image":
		c.member(where, p, "image_url", str+"?")
	case "input_file":
	case "output_text":
		c.member(where, p, "text", str)
		if _, ok := p["logprobs"]; ok {
			c.member(where, p, "logprobs", array)
		}
		if c.member(where, p, "annotations", array) {
			for i, a := range p["annotations"].([]any) {
				c.annotation(fmt.Sprintf("%s.annotations[%d]", where, i), a)
			}
		}
	default:
		c.member(where, p, "text", str)
	}
}

func (c *checker) annotation(where string, v any) {
	a, ok := v.(object)
	if !ok {
		c.bad(where, "it is %s, want object", kindOf(v))
		return
	}
	if !c.member(where, a, "type", str) || a["type"] != "url_citation" {
		if c.dialect == render.OpenResponses {
			c.bad(where, "the specification knows no annotation but url_citation")
		}
		return
	}
	c.member(where, a, "url", str)
	c.member(where, a, "title", str)
	c.member(where, a, "start_index", integer)
	c.member(where, a, "end_index", integer)
}

// same tells whether two decoded values are the same JSON.
func same(a, b any) bool {
	x, err := json.Marshal(a)
	if err != nil {
		return false
	}
	y, err := json.Marshal(b)
	return err == nil && string(x) == string(y)
}
