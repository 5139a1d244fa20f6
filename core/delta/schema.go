package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

type structType struct {
	Type   string  `json:"type"`
	Fields []field `json:"fields"`
}

type field struct {
	Name     string          `json:"name"`
	Type     json.RawMessage `json:"type"`
	Metadata map[string]any  `json:"metadata"`
}

var primitives = map[string]string{
	"string": "VARCHAR", "long": "BIGINT", "integer": "INTEGER", "short": "SMALLINT", "byte": "TINYINT",
	"double": "DOUBLE", "float": "FLOAT", "boolean": "BOOLEAN", "binary": "BLOB", "date": "DATE",
	"timestamp": "TIMESTAMP WITH TIME ZONE", "timestamp_ntz": "TIMESTAMP",
}

var decimalType = regexp.MustCompile(`^decimal\((\d{1,2}),\s*(\d{1,2})\)$`)

// maxDepth bounds the nesting of a column's type.
const maxDepth = 32

// columns reads a schemaString.
func columns(schema string) ([]Column, error) {
	var s structType
	if err := json.Unmarshal([]byte(schema), &s); err != nil {
		return nil, fmt.Errorf("schemaString: %w", err)
	}
	if s.Type != "struct" {
		return nil, errors.New("schemaString: is not a struct")
	}
	cols := make([]Column, len(s.Fields))
	for i, f := range s.Fields {
		t, err := sqlType(f.Type, 0)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		comment, _ := f.Metadata["comment"].(string)
		cols[i] = Column{Name: f.Name, Type: t, Comment: comment}
	}
	return cols, nil
}

func sqlType(raw json.RawMessage, depth int) (string, error) {
	if depth > maxDepth {
		return "", fmt.Errorf("%w: its type is nested deeper than %d", ErrUnsupported, maxDepth)
	}
	var name string
	if json.Unmarshal(raw, &name) == nil {
		if t, ok := primitives[name]; ok {
			return t, nil
		}
		if m := decimalType.FindStringSubmatch(name); m != nil {
			return "DECIMAL(" + m[1] + "," + m[2] + ")", nil
		}
		return "", fmt.Errorf("%w: type %q", ErrUnsupported, name)
	}
	var t struct {
		structType
		ElementType json.RawMessage `json:"elementType"`
		KeyType     json.RawMessage `json:"keyType"`
		ValueType   json.RawMessage `json:"valueType"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return "", fmt.Errorf("type: %w", err)
	}
	switch t.Type {
	case "struct":
		parts := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			inner, err := sqlType(f.Type, depth+1)
			if err != nil {
				return "", err
			}
			parts[i] = `"` + strings.ReplaceAll(f.Name, `"`, `""`) + `" ` + inner
		}
		return "STRUCT(" + strings.Join(parts, ", ") + ")", nil
	case "array":
		inner, err := sqlType(t.ElementType, depth+1)
		return inner + "[]", err
	case "map":
		k, err := sqlType(t.KeyType, depth+1)
		if err != nil {
			return "", err
		}
		v, err := sqlType(t.ValueType, depth+1)
		return "MAP(" + k + ", " + v + ")", err
	}
	return "", fmt.Errorf("%w: type %q", ErrUnsupported, t.Type)
}
