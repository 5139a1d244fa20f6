package sqlapi

import (
	"strconv"
	"strings"
)

// Column is a column of a result, in the vendor's words.
// Source: Statement Execution API, ColumnInfo.
type Column struct {
	Name      string `json:"name"`
	TypeText  string `json:"type_text"` // BIGINT, DECIMAL(18,12), ARRAY<STRING>
	TypeName  string `json:"type_name"` // LONG, DECIMAL, ARRAY
	Position  int    `json:"position"`
	Precision int    `json:"type_precision,omitempty"` // of a DECIMAL
	Scale     int    `json:"type_scale,omitempty"`
}

// simple are the types without parts, by their names in the engine. What is not
// in it, and not nested, is a STRING.
var simple = map[string]Column{
	"BOOLEAN":                  {TypeText: "BOOLEAN", TypeName: "BOOLEAN"},
	"TINYINT":                  {TypeText: "TINYINT", TypeName: "BYTE"},
	"SMALLINT":                 {TypeText: "SMALLINT", TypeName: "SHORT"},
	"INTEGER":                  {TypeText: "INT", TypeName: "INT"},
	"BIGINT":                   {TypeText: "BIGINT", TypeName: "LONG"},
	"UTINYINT":                 {TypeText: "SMALLINT", TypeName: "SHORT"},
	"USMALLINT":                {TypeText: "INT", TypeName: "INT"},
	"UINTEGER":                 {TypeText: "BIGINT", TypeName: "LONG"},
	"UBIGINT":                  {TypeText: "DECIMAL(20,0)", TypeName: "DECIMAL", Precision: 20},
	"HUGEINT":                  {TypeText: "DECIMAL(38,0)", TypeName: "DECIMAL", Precision: 38},
	"UHUGEINT":                 {TypeText: "DECIMAL(38,0)", TypeName: "DECIMAL", Precision: 38},
	"BIGNUM":                   {TypeText: "DECIMAL(38,0)", TypeName: "DECIMAL", Precision: 38},
	"FLOAT":                    {TypeText: "FLOAT", TypeName: "FLOAT"},
	"DOUBLE":                   {TypeText: "DOUBLE", TypeName: "DOUBLE"},
	"DATE":                     {TypeText: "DATE", TypeName: "DATE"},
	"TIMESTAMP":                {TypeText: "TIMESTAMP_NTZ", TypeName: "TIMESTAMP"},
	"TIMESTAMP_S":              {TypeText: "TIMESTAMP_NTZ", TypeName: "TIMESTAMP"},
	"TIMESTAMP_MS":             {TypeText: "TIMESTAMP_NTZ", TypeName: "TIMESTAMP"},
	"TIMESTAMP_NS":             {TypeText: "TIMESTAMP_NTZ", TypeName: "TIMESTAMP"},
	"TIMESTAMP WITH TIME ZONE": {TypeText: "TIMESTAMP", TypeName: "TIMESTAMP"},
	"INTERVAL":                 {TypeText: "INTERVAL", TypeName: "INTERVAL"},
	"BLOB":                     {TypeText: "BINARY", TypeName: "BINARY"},
	"NULL":                     {TypeText: "VOID", TypeName: "NULL"},
}

// column translates a type as the engine writes it.
func column(t string) Column {
	if c, ok := simple[t]; ok {
		return c
	}
	if i := strings.LastIndexByte(t, '['); i > 0 && strings.HasSuffix(t, "]") { // BIGINT[], FLOAT[3]
		return Column{TypeText: "ARRAY<" + column(t[:i]).TypeText + ">", TypeName: "ARRAY"}
	}
	if name, inner, ok := strings.Cut(t, "("); ok && strings.HasSuffix(inner, ")") {
		parts := split(inner[:len(inner)-1])
		switch {
		case name == "DECIMAL" && len(parts) == 2:
			p, _ := strconv.Atoi(parts[0])
			s, _ := strconv.Atoi(parts[1])
			return Column{TypeText: t, TypeName: "DECIMAL", Precision: p, Scale: s}
		case name == "MAP" && len(parts) == 2:
			return Column{TypeText: "MAP<" + column(parts[0]).TypeText + ", " + column(parts[1]).TypeText + ">", TypeName: "MAP"}
		case name == "STRUCT":
			for i, p := range parts {
				field, typ := "col"+strconv.Itoa(i+1), p
				if strings.HasPrefix(p, `"`) {
					field, typ = unquote(p)
				}
				parts[i] = backquoted(field) + ": " + column(strings.TrimSpace(typ)).TypeText
			}
			return Column{TypeText: "STRUCT<" + strings.Join(parts, ", ") + ">", TypeName: "STRUCT"}
		}
	}
	return Column{TypeText: "STRING", TypeName: "STRING"}
}

// Fields are the fields of a STRUCT type as a Column has it, in order; nil for
// any other type.
func Fields(typeText string) []Column {
	inner, ok := strings.CutPrefix(typeText, "STRUCT<")
	if !ok || !strings.HasSuffix(inner, ">") {
		return nil
	}
	var out []Column
	for i, p := range split(inner[:len(inner)-1]) {
		name, typ, _ := strings.Cut(p, ": ")
		if strings.HasPrefix(p, "`") {
			name, typ = unquote(p)
			typ = strings.TrimPrefix(typ, ": ")
		}
		out = append(out, Column{Name: name, TypeText: typ, Position: i})
	}
	return out
}

// split cuts a list at the commas that are in no bracket and no quote.
func split(list string) []string {
	var out []string
	depth, quote, start := 0, byte(0), 0
	for i := range len(list) {
		switch c := list[i]; {
		case quote != 0:
			if c == quote {
				quote = 0 // a doubled one opens again at once
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '(' || c == '<':
			depth++
		case c == ')' || c == '>':
			depth--
		case c == ',' && depth == 0:
			out = append(out, strings.TrimSpace(list[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(list[start:]))
}

// unquote cuts a quoted name, whose quote is doubled inside it, off the start
// of s.
func unquote(s string) (name, rest string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != s[0] {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == s[0] {
			b.WriteByte(s[0])
			i++
			continue
		}
		return b.String(), s[i+1:]
	}
	return b.String(), ""
}

// backquoted is a name as a type has it: in backquotes unless it is plain.
func backquoted(name string) string {
	plain := name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
	if plain {
		return name
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}
