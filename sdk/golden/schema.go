package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// MaxState is the longest State of a function, in bytes.
const MaxState = 64 << 10

// CompileSchema compiles a JSON Schema. References to other documents fail.
func CompileSchema(raw json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(jsonschema.SchemeURLLoader{})
	if err := compiler.AddResource("schema.json", doc); err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	s, err := compiler.Compile("schema.json")
	if err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	return s, nil
}

// Accepts reports whether schema accepts a text as JSON.
func Accepts(schema *jsonschema.Schema, text string) bool {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	return err == nil && schema.Validate(v) == nil
}

// BadArguments are arguments that models do send. Each function refuses those
// that its own parameters refuse.
var BadArguments = []string{``, `{`, `null`, `[]`, `"text"`, `{}`, `{"no such member":1}`, `{"sql":1}`, `{"query":{}}`, `{} {}`}

// CheckFunctions says what is wrong with the functions that declarations gave.
func CheckFunctions(ds []tool.Declaration, fs []tool.Function) []*Breach {
	var wrong []*Breach
	add := func(rule, format string, args ...any) {
		wrong = append(wrong, &Breach{rule, fmt.Sprintf(format, args...)})
	}
	index := map[int]bool{}
	for _, d := range ds {
		index[d.Index] = true
	}
	seen := map[string]bool{}
	for _, f := range fs {
		if f.Name == "" || seen[f.Name] {
			add("function-name", "function %q: a name must not be empty nor used twice", f.Name)
		}
		seen[f.Name] = true
		if f.Description == "" {
			add("function-description", "function %q: the description must not be empty", f.Name)
		}
		if !index[f.Declaration] {
			add("function-declaration", "function %q: declaration %d is not the Index of a declaration", f.Name, f.Declaration)
		}
		if len(f.State) > MaxState {
			add("function-state", "function %q: state of %d bytes, at most %d are kept", f.Name, len(f.State), MaxState)
		}
		if _, err := CompileSchema(f.Parameters); err != nil {
			add("function-parameters", "function %q: parameters: %v", f.Name, err)
			continue
		}
		var p struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(f.Parameters, &p); err != nil || p.Type != "object" {
			add("function-parameters", `function %q: parameters must be a schema of {"type":"object"}, got %s`, f.Name, f.Parameters)
		}
	}
	return wrong
}
