package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Type is the type of a column or of a value inside one: a Primitive, a
// Decimal, a Struct, an Array or a Map.
// Source: Delta protocol, "Schema Serialization Format".
type Type interface {
	// SQL is the type as DuckDB writes it.
	SQL() string
	encode() any // as schemaString has it
}

// Primitive is a type without parts, under its name in the Delta protocol.
type Primitive string

// The primitive types. A timestamp is a point in time with a resolution of one
// microsecond; timestamp_ntz, one without a zone, can be read and not written.
const (
	String       Primitive = "string"
	Long         Primitive = "long"    // 64 bits
	Integer      Primitive = "integer" // 32 bits
	Short        Primitive = "short"   // 16 bits
	Byte         Primitive = "byte"    // 8 bits, signed
	Double       Primitive = "double"
	Float        Primitive = "float"
	Boolean      Primitive = "boolean"
	Binary       Primitive = "binary"
	Date         Primitive = "date"
	Timestamp    Primitive = "timestamp"
	timestampNTZ Primitive = "timestamp_ntz"
)

var primitives = map[Primitive]string{
	String: "VARCHAR", Long: "BIGINT", Integer: "INTEGER", Short: "SMALLINT", Byte: "TINYINT",
	Double: "DOUBLE", Float: "FLOAT", Boolean: "BOOLEAN", Binary: "BLOB", Date: "DATE",
	Timestamp: "TIMESTAMP WITH TIME ZONE", timestampNTZ: "TIMESTAMP",
}

// Decimal is a number of Precision digits, 1 to 38, of which Scale are behind
// the point.
type Decimal struct{ Precision, Scale int }

// Struct is a group of named fields.
type Struct []Field

// Array is a list of any length. Its elements may be null unless NotNull.
type Array struct {
	Element Type
	NotNull bool
}

// Map is a list of pairs. Keys are never null; values may be unless NotNull.
type Map struct {
	Key, Value Type
	NotNull    bool
}

// Field is a column of a table, or a field of a Struct. It may hold null
// unless NotNull. Metadata is kept as it is; writing uses none of it.
type Field struct {
	Name     string
	Type     Type
	NotNull  bool
	Comment  string
	Metadata map[string]any
}

// Schema is the columns of a table, in order.
type Schema []Field

// maxDepth bounds the nesting of a column's type.
const maxDepth = 32

func (p Primitive) SQL() string { return primitives[p] }
func (p Primitive) encode() any { return string(p) }

func (d Decimal) SQL() string { return fmt.Sprintf("DECIMAL(%d,%d)", d.Precision, d.Scale) }
func (d Decimal) encode() any { return fmt.Sprintf("decimal(%d,%d)", d.Precision, d.Scale) }

func (s Struct) SQL() string {
	parts := make([]string, len(s))
	for i, f := range s {
		parts[i] = `"` + strings.ReplaceAll(f.Name, `"`, `""`) + `" ` + f.Type.SQL()
	}
	return "STRUCT(" + strings.Join(parts, ", ") + ")"
}

func (s Struct) encode() any {
	fields := make([]fieldJSON, len(s))
	for i, f := range s {
		m := map[string]any{}
		for k, v := range f.Metadata {
			m[k] = v
		}
		if f.Comment != "" {
			m["comment"] = f.Comment
		}
		fields[i] = fieldJSON{f.Name, f.Type.encode(), !f.NotNull, m}
	}
	return structJSON{"struct", fields}
}

func (a Array) SQL() string { return a.Element.SQL() + "[]" }
func (a Array) encode() any { return arrayJSON{"array", a.Element.encode(), !a.NotNull} }

func (m Map) SQL() string { return "MAP(" + m.Key.SQL() + ", " + m.Value.SQL() + ")" }
func (m Map) encode() any { return mapJSON{"map", m.Key.encode(), m.Value.encode(), !m.NotNull} }

type structJSON struct {
	Type   string      `json:"type"`
	Fields []fieldJSON `json:"fields"`
}

type fieldJSON struct {
	Name     string         `json:"name"`
	Type     any            `json:"type"`
	Nullable bool           `json:"nullable"`
	Metadata map[string]any `json:"metadata"`
}

type arrayJSON struct {
	Type         string `json:"type"`
	ElementType  any    `json:"elementType"`
	ContainsNull bool   `json:"containsNull"`
}

type mapJSON struct {
	Type              string `json:"type"`
	KeyType           any    `json:"keyType"`
	ValueType         any    `json:"valueType"`
	ValueContainsNull bool   `json:"valueContainsNull"`
}

// MarshalJSON gives the text of a schemaString.
func (s Schema) MarshalJSON() ([]byte, error) { return json.Marshal(Struct(s).encode()) }

// String is the schema as schemaString has it.
func (s Schema) String() string {
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// ParseSchema reads a schemaString. A type that this package does not know is
// an error that wraps ErrUnsupported.
func ParseSchema(text string) (Schema, error) {
	t, err := parseType([]byte(text), 0)
	if err != nil {
		return nil, fmt.Errorf("schemaString: %w", err)
	}
	s, ok := t.(Struct)
	if !ok {
		return nil, errors.New("schemaString: is not a struct")
	}
	return Schema(s), nil
}

var decimalType = regexp.MustCompile(`^decimal\((\d{1,2}),\s*(\d{1,2})\)$`)

func parseType(raw json.RawMessage, depth int) (Type, error) {
	if depth > maxDepth+1 { // the table itself is a struct
		return nil, fmt.Errorf("%w: its type is nested deeper than %d", ErrUnsupported, maxDepth)
	}
	var name string
	if json.Unmarshal(raw, &name) == nil {
		if p := Primitive(name); primitives[p] != "" {
			return p, nil
		}
		if m := decimalType.FindStringSubmatch(name); m != nil {
			p, _ := strconv.Atoi(m[1])
			s, _ := strconv.Atoi(m[2])
			return Decimal{p, s}, nil
		}
		return nil, fmt.Errorf("%w: type %q", ErrUnsupported, name)
	}
	var t struct {
		Type   string `json:"type"`
		Fields []struct {
			Name     string          `json:"name"`
			Type     json.RawMessage `json:"type"`
			Nullable *bool           `json:"nullable"`
			Metadata map[string]any  `json:"metadata"`
		} `json:"fields"`
		ElementType       json.RawMessage `json:"elementType"`
		ContainsNull      *bool           `json:"containsNull"`
		KeyType           json.RawMessage `json:"keyType"`
		ValueType         json.RawMessage `json:"valueType"`
		ValueContainsNull *bool           `json:"valueContainsNull"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("type: %w", err)
	}
	no := func(b *bool) bool { return b != nil && !*b }
	switch t.Type {
	case "struct":
		s := make(Struct, len(t.Fields))
		for i, f := range t.Fields {
			inner, err := parseType(f.Type, depth+1)
			if err != nil {
				return nil, fmt.Errorf("column %q: %w", f.Name, err)
			}
			comment, _ := f.Metadata["comment"].(string)
			s[i] = Field{Name: f.Name, Type: inner, NotNull: no(f.Nullable), Comment: comment, Metadata: f.Metadata}
		}
		return s, nil
	case "array":
		inner, err := parseType(t.ElementType, depth+1)
		return Array{inner, no(t.ContainsNull)}, err
	case "map":
		k, err := parseType(t.KeyType, depth+1)
		if err != nil {
			return nil, err
		}
		v, err := parseType(t.ValueType, depth+1)
		return Map{k, v, no(t.ValueContainsNull)}, err
	}
	return nil, fmt.Errorf("%w: type %q", ErrUnsupported, t.Type)
}

// check refuses a schema that no table may have, or that files of this
// package cannot hold.
func (s Schema) check() error {
	if len(s) == 0 {
		return errors.New("a table needs a column")
	}
	return Struct(s).check("", 0)
}

func (s Struct) check(path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("column %q: nested deeper than %d", path, maxDepth)
	}
	seen := map[string]bool{}
	for _, f := range s {
		name := join(path, f.Name)
		switch {
		case f.Name == "":
			return fmt.Errorf("%q: a column has no name", path)
		case strings.ContainsAny(f.Name, " ,;{}()\n\t="):
			// Source: the reference implementation refuses these without column mapping.
			return fmt.Errorf("column %q: the name has one of the characters \" ,;{}()=\", tab or newline", name)
		case seen[strings.ToLower(f.Name)]:
			return fmt.Errorf("column %q: the name occurs twice; case does not count", name)
		}
		seen[strings.ToLower(f.Name)] = true
		if _, ok := f.Metadata["delta.invariants"]; ok {
			return fmt.Errorf("%w: column %q has an invariant, which this writer cannot check", ErrUnsupported, name)
		}
		if err := checkType(f.Type, name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func checkType(t Type, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("column %q: nested deeper than %d", path, maxDepth)
	}
	switch t := t.(type) {
	case Primitive:
		if t == timestampNTZ || primitives[t] == "" {
			return fmt.Errorf("%w: column %q of type %q cannot be written", ErrUnsupported, path, string(t))
		}
	case Decimal:
		if t.Precision < 1 || t.Precision > 38 || t.Scale < 0 || t.Scale > t.Precision {
			return fmt.Errorf("column %q: decimal(%d,%d): the precision is 1 to 38 and not less than the scale", path, t.Precision, t.Scale)
		}
	case Struct:
		if len(t) == 0 {
			return fmt.Errorf("column %q: a struct without fields cannot be in a Parquet file", path)
		}
		return t.check(path, depth)
	case Array:
		return checkType(t.Element, join(path, "element"), depth+1)
	case Map:
		if err := checkType(t.Key, join(path, "key"), depth+1); err != nil {
			return err
		}
		return checkType(t.Value, join(path, "value"), depth+1)
	default:
		return fmt.Errorf("column %q has no type", path)
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
