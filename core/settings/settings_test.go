package settings

import (
	"encoding/json"
	"strings"
	"testing"
)

const schema = `{"type": "object", "additionalProperties": false, "required": ["units"],
	"properties": {"units": {"enum": ["metric", "imperial"]}, "days": {"type": "integer", "maximum": 14}, "home": {"type": "object"}}}`

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		schema string
		values map[string]any
		want   string // the JSON
		fault  string // part of the error
	}{
		{"fits", schema, map[string]any{"units": "metric", "days": uint64(3)}, `{"days":3,"units":"metric"}`, ""},
		{"misspelt", schema, map[string]any{"units": "metric", "dais": 3}, "", `additional properties 'dais' not allowed; did you mean "days"?`},
		{"unknown", schema, map[string]any{"units": "metric", "zzzzzz": 3}, "", "additional properties 'zzzzzz' not allowed"},
		{"missing", schema, nil, "", "missing property 'units'"},
		{"wrong kind", schema, map[string]any{"units": "metric", "days": "many"}, "", "at '/days': got string, want integer"},
		{"two faults", schema, map[string]any{"days": 15}, "", "at '/days': maximum"},
		{"not JSON", schema, map[string]any{"units": func() {}}, "", "cannot be written as JSON"},
		{"takes none", "", map[string]any{"a": 1}, "", "tool x takes none"},
		{"takes and has none", "", nil, "", ""},
		{"no schema at all", `{`, nil, "", "the schema in the manifest of tool x is not JSON"},
		{"a broken schema", `{"type": 7}`, nil, "", "the schema in the manifest of tool x cannot be used"},
		{"a schema elsewhere", `{"$ref": "file:///etc/passwd"}`, nil, "", "a reference to another document is not followed"},
	}
	for _, tt := range tests {
		got, err := Check("tool x", json.RawMessage(tt.schema), tt.values)
		if string(got) != tt.want || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: Check = %s, %v; want %q and an error with %q", tt.name, got, err, tt.want, tt.fault)
		}
	}
}
