package upstream

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Errand in a prompt makes an Agent use the shell.
const Errand = "Count with the shell."

// Printed is what the command of the errand prints. It is in no prompt and no
// order, so who has it ran the command.
const Printed = "9-10-11-12"

// Hello is what an Agent answers without an errand, and Ran begins its answer
// after one.
const (
	Hello = "Hello from the scripted model."
	Ran   = "The command printed: "
)

const errandCommand = "seq -s- 9 12"

// Agent is a model for proofs with real coding agents, to be given to Play:
// asked for the Errand it orders the shell tool that the client offers, and
// when the result comes it answers quoting it. A request for JSON by a schema,
// as for a title, gets JSON; any other a greeting.
func Agent(r Request) Turn {
	o, err := decode(r.Body)
	if err != nil {
		return Turn{Text: "I cannot read that: " + err.Error()}
	}
	a := asking(o)
	switch {
	case a.schema != nil:
		return Turn{Text: encode(sample(a.schema, "A title"))}
	case a.result != "":
		return Turn{Text: Ran + a.result}
	case a.shell.Name != "" && strings.Contains(string(r.Body), Errand):
		return Turn{Reasoning: "The shell can count.", Text: "I count.", Calls: []Call{a.shell}}
	}
	return Turn{Text: Hello}
}

// asked is what an agent reads of a request, whatever its dialect.
type asked struct {
	schema object // of the answer; nil for a text
	result string // of the tool, when the last thing said is one
	shell  Call   // of the shell tool that is offered; zero when there is none
}

func asking(o object) asked {
	a := asked{}
	generation := member(o, "generationConfig")
	for _, s := range []object{
		member(member(member(o, "text"), "format"), "schema"),
		member(member(member(o, "response_format"), "json_schema"), "schema"),
		member(member(member(o, "output_config"), "format"), "schema"),
		member(generation, "responseJsonSchema"), member(generation, "responseSchema"),
	} {
		if s != nil {
			a.schema = s
		}
	}
	for _, name := range []string{"messages", "input", "contents"} {
		if all := objects(o, name); len(all) > 0 {
			a.result = resultIn(all[len(all)-1])
		}
	}
	tools := objects(o, "tools")
	for _, t := range tools {
		tools = append(tools, objects(t, "functionDeclarations")...)
	}
	for _, t := range tools {
		if f := member(t, "function"); f != nil {
			t = f
		}
		if !slices.Contains(shells, str(t, "name")) || a.shell.Name != "" {
			continue
		}
		for _, name := range []string{"input_schema", "parameters", "parametersJsonSchema"} {
			if s := member(t, name); s != nil {
				a.shell = Call{Name: str(t, "name"), Arguments: encode(order(s))}
			}
		}
	}
	return a
}

// shells are the tools by which coding agents run commands: Claude Code's,
// Codex's of several versions, Gemini CLI's and Qwen Code's, opencode's.
var shells = []string{"Bash", "exec_command", "shell", "shell_command", "run_shell_command", "bash"}

// order is the arguments for a shell tool of that schema.
func order(schema object) object {
	args, props := object{}, member(schema, "properties")
	for _, name := range []string{"cmd", "command"} {
		if p := member(props, name); p != nil {
			args[name] = errandCommand
			if strings.EqualFold(str(p, "type"), "array") {
				args[name] = []any{"bash", "-lc", errandCommand}
			}
		}
	}
	required, _ := schema["required"].([]any)
	for _, n := range required {
		if name, _ := n.(string); args[name] == nil {
			args[name] = sample(member(props, name), "Counts")
		}
	}
	return args
}

// sample is a value that a schema takes.
func sample(schema object, said string) any {
	if all, _ := schema["enum"].([]any); len(all) > 0 {
		return all[0]
	}
	switch strings.ToLower(fmt.Sprint(schema["type"])) {
	case "object":
		o := object{}
		for name, s := range member(schema, "properties") {
			sub, _ := s.(object)
			o[name] = sample(sub, said)
		}
		return o
	case "array":
		return []any{}
	case "boolean":
		return false
	case "integer", "number":
		return json.Number("1")
	}
	return said
}

// resultIn is the text of a tool's result in the last message, item or
// content; "" when it holds none.
func resultIn(last object) string {
	switch {
	case last["type"] == "function_call_output", last["type"] == "custom_tool_call_output":
		return flat(last["output"])
	case last["role"] == "tool":
		return flat(last["content"])
	}
	for _, b := range objects(last, "content") {
		if b["type"] == "tool_result" {
			return flat(b["content"])
		}
	}
	for _, p := range objects(last, "parts") {
		if f := member(p, "functionResponse"); f != nil {
			return flat(f["response"])
		}
	}
	return ""
}

// flat is every text in a value.
func flat(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, flat(e))
		}
		return strings.Join(all, " ")
	case object:
		for _, name := range []string{"text", "output", "error"} {
			if v[name] != nil {
				return flat(v[name])
			}
		}
		return encode(v)
	}
	return ""
}
