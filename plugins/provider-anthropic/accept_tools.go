package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// A tool whose type carries a date is Anthropic's own. Those that the client
// runs are known by name to Anthropic's models; any other model is told what
// they take. Those that Anthropic's servers run nobody else can serve.
var clientTools = []struct {
	prefix, description, schema string
}{
	{"bash_", "Run a command in a bash session that persists between calls, or restart the session.",
		`{"type":"object","properties":{"command":{"type":"string","description":"The command to run. Required unless restart is true."},"restart":{"type":"boolean","description":"Restart the session instead."}}}`},
	{"text_editor_", "View, create and edit text files.",
		`{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"]},"path":{"type":"string","description":"Path of the file or directory."},` +
			`"view_range":{"type":"array","items":{"type":"integer"},"description":"view: first and last line, from 1; -1 is the end."},"file_text":{"type":"string","description":"create: the content."},` +
			`"old_str":{"type":"string","description":"str_replace: the text to replace; it must be there exactly once."},"new_str":{"type":"string","description":"str_replace: the new text."},` +
			`"insert_line":{"type":"integer","description":"insert: the line after which to insert; 0 is the beginning."},"insert_text":{"type":"string","description":"insert: the text to insert."}},"required":["command","path"]}`},
	{"memory_", "Read and write notes that outlive this conversation, as files below /memories.",
		`{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string","description":"Path below /memories."},` +
			`"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},` +
			`"old_path":{"type":"string","description":"rename: from."},"new_path":{"type":"string","description":"rename: to."}},"required":["command"]}`},
}

// serverTools are run by Anthropic's servers. Declared beside other tools they
// are an offer that the model need not take up: it goes without, and they are
// lost. Any other foreign tool is one that the client counts on.
var serverTools = []string{"web_search_", "web_fetch_", "code_execution_", "tool_search_", "advisor_", "mcp_toolset"}

func isServers(kind string) bool {
	return slices.ContainsFunc(serverTools, func(prefix string) bool { return strings.HasPrefix(kind, prefix) })
}

// tools reads the tools.
func (a *accepter) tools(v *fastjson.Value) error {
	all, err := listOf(v, "", "tools")
	if err != nil {
		return err
	}
	alone := !slices.ContainsFunc(all, func(t *fastjson.Value) bool { return !isServers(string(t.GetStringBytes("type"))) })
	for i, t := range all {
		at := element("tools", i)
		if t.Type() != fastjson.TypeObject {
			return wrong(at, "an object")
		}
		kind, err := textOf(t, at, "type")
		if err != nil {
			return err
		}
		var tool or.Tool
		if kind == "" || kind == "custom" {
			tool, err = a.tool(at, t)
		} else {
			tool, err = a.ownTool(at, kind, t, v, alone)
		}
		if err != nil {
			return err
		}
		if tool.Name == "" {
			continue
		}
		if slices.Contains(a.names, tool.Name) {
			return apierror.At(apierror.Invalid, at+".name", "tools: Tool names must be unique, but two are called %q.", clipped(tool.Name))
		}
		a.names = append(a.names, tool.Name)
		markTool(&tool, markOf(t))
		a.out.Tools = append(a.out.Tools, tool)
	}
	return nil
}

func (a *accepter) tool(at string, t *fastjson.Value) (or.Tool, error) {
	tool := or.Tool{Type: "function"}
	schema, err := objectOf(t, at, "input_schema")
	if err != nil {
		return tool, err
	}
	if schema == nil {
		return tool, apierror.At(apierror.Invalid, at+".input_schema", "%s.input_schema: Field required. It is a JSON Schema of type object.", at)
	}
	a.scratch = schema.MarshalTo(a.scratch[:0])
	tool.Parameters = bytes.Clone(a.scratch)
	if tool.Name, err = textOf(t, at, "name"); err != nil {
		return tool, err
	}
	if tool.Name == "" {
		return tool, apierror.At(apierror.Invalid, at+".name", "%s.name: Field required.", at)
	}
	if tool.Description, err = textOf(t, at, "description"); err != nil {
		return tool, err
	}
	strict, err := boolOf(t, at, "strict")
	if err != nil {
		return tool, err
	}
	if strict != nil && *strict {
		if strictable(schema) {
			tool.Strict = strict
		} else {
			a.lost.Add("tools[].strict") // others would refuse this schema
		}
	}
	// The two last say how a call is streamed and that a declaration may be sent
	// later; both are so for every model here, or need not be.
	a.unknown("tools[]", t, "type", "name", "description", "input_schema", "strict", markName, "eager_input_streaming", "defer_loading")
	return tool, nil
}

// ownTool reads a tool of Anthropic's own. The zero Tool is one to do without.
func (a *accepter) ownTool(at, kind string, t, body *fastjson.Value, alone bool) (or.Tool, error) {
	name, err := textOf(t, at, "name")
	if err != nil {
		return or.Tool{}, err
	}
	for _, c := range clientTools {
		if strings.HasPrefix(kind, c.prefix) {
			if name == "" {
				return or.Tool{}, apierror.At(apierror.Invalid, at+".name", "%s.name: Field required.", at)
			}
			return or.Tool{Type: "function", Name: name, Description: c.description, Parameters: json.RawMessage(c.schema)}, nil
		}
	}
	forced := name != "" && string(body.GetStringBytes("tool_choice", "name")) == name
	if !isServers(kind) || forced || alone {
		return or.Tool{}, apierror.At(apierror.Unsupported, at,
			"%s is %q, a tool that only Anthropic can serve, and this request is served by another provider's model. Use a tool of your own for it, such as one of an MCP server, or a model that Anthropic serves.", at, clipped(kind))
	}
	a.lost.Add("%s", at)
	return or.Tool{}, nil
}

// toolChoice reads tool_choice.
func (a *accepter) toolChoice(v *fastjson.Value) error {
	c, err := objectOf(v, "", "tool_choice")
	if err != nil || c == nil {
		return err
	}
	kind, err := textOf(c, "tool_choice", "type")
	if err != nil {
		return err
	}
	name, err := textOf(c, "tool_choice", "name")
	if err != nil {
		return err
	}
	single, err := boolOf(c, "tool_choice", "disable_parallel_tool_use")
	if err != nil {
		return err
	}
	a.unknown("tool_choice", c, "type", "name", "disable_parallel_tool_use")
	if single != nil && *single && len(a.names) > 0 {
		a.out.ParallelToolCalls = new(bool)
	}
	switch kind {
	case "auto", "none":
		if len(a.names) > 0 {
			a.out.ToolChoice = &or.ToolChoice{Mode: kind}
		}
		return nil
	case "any", "tool":
		if len(a.names) == 0 {
			return apierror.At(apierror.Invalid, "tool_choice", "tool_choice asks for a call, but tools declares none that can be called. Declare one, or drop tool_choice.")
		}
	default:
		return apierror.At(apierror.Invalid, "tool_choice.type", "tool_choice.type is %q; it must be auto, any, tool or none.", clipped(kind))
	}
	if kind == "tool" && !slices.Contains(a.names, name) {
		return apierror.At(apierror.Invalid, "tool_choice.name", "tool_choice.name is %q, which is not among tools. Declare it there, or choose another.", clipped(name))
	}
	a.out.ToolChoice = &or.ToolChoice{Mode: "required"}
	if kind == "tool" {
		a.out.ToolChoice.Name = name
	}
	return nil
}
