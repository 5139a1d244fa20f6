// Package settings checks what the operator sets for a plugin against the JSON
// Schema in the plugin's manifest. A schema describes values and nothing else:
// a reference to another document is never followed.
package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// Check gives values as JSON if they fit schema, the one of plugin's manifest;
// an error says which of them does not, and why. Without values the defaults
// have to do: the schema is held against an empty object. A plugin without a
// schema takes no values, and then the JSON is nil.
func Check(plugin string, schema json.RawMessage, values map[string]any) (json.RawMessage, error) {
	if len(schema) == 0 {
		if len(values) > 0 {
			return nil, fmt.Errorf("%s takes none", plugin)
		}
		return nil, nil
	}
	if values == nil {
		values = map[string]any{}
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("cannot be written as JSON: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiled, known, err := compile(schema)
	if err != nil {
		return nil, fmt.Errorf("the schema in the manifest of %s %w", plugin, err)
	}
	if err := compiled.Validate(value); err != nil {
		return nil, errors.New(explain(err, known))
	}
	return text, nil
}

// compile reads a schema, and the names of the values it knows.
func compile(text json.RawMessage) (*jsonschema.Schema, []string, error) {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, nil, fmt.Errorf("is not JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource("settings.json", schema); err != nil {
		return nil, nil, fmt.Errorf("cannot be used: %w", err)
	}
	compiled, err := c.Compile("settings.json")
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be used: %w", err)
	}
	return compiled, slices.Sorted(maps.Keys(compiled.Properties)), nil
}

// noLoader keeps a schema from naming files or URLs.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a reference to another document is not followed")
}

// explain takes the lines that name a place out of the library's report, and
// adds what a misspelt name at the top may have been meant to be.
func explain(err error, known []string) string {
	var places []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "- ") {
			places = append(places, strings.TrimPrefix(line[2:], "at '': "))
		}
	}
	if len(places) == 0 {
		places = []string{err.Error()}
	}
	for _, name := range strange(err) {
		if near := spelling.Nearest(name, known); near != "" {
			places = append(places, fmt.Sprintf("did you mean %q?", near))
		}
	}
	return strings.Join(places, "; ")
}

// strange lists the names at the top that the schema does not know.
func strange(err error) []string {
	e, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil
	}
	var names []string
	if k, ok := e.ErrorKind.(*kind.AdditionalProperties); ok && len(e.InstanceLocation) == 0 {
		names = append(names, k.Properties...)
	}
	for _, c := range e.Causes {
		names = append(names, strange(c)...)
	}
	return names
}
