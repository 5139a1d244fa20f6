package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

type object = map[string]any

// shape says which JSON values a provider takes at a place.
type shape struct {
	kind     string            // string, number, boolean, array, object; "" takes anything
	null     bool              // null stands for absent
	values   []string          // of a string; nil takes any
	elem     *shape            // of an array
	members  map[string]*shape // of an object; nil takes any
	need     []string          // members that must be there
	by       string            // the member that chooses one of the variants
	variants map[string]*shape
	or       *shape // the other form a value may have
}

var (
	text    = &shape{kind: "string"}
	textN   = &shape{kind: "string", null: true}
	number  = &shape{kind: "number"}
	numberN = &shape{kind: "number", null: true}
	flag    = &shape{kind: "boolean"}
	flagN   = &shape{kind: "boolean", null: true}
	free    = &shape{}
	freeObj = &shape{kind: "object"}
)

func list(e *shape) *shape      { return &shape{kind: "array", elem: e} }
func either(a, b *shape) *shape { c := *a; c.or = b; return &c }
func nullable(a *shape) *shape  { c := *a; c.null = true; return &c }
func oneOf(v ...string) *shape  { return &shape{kind: "string", values: v} }
func fields(m map[string]*shape, need ...string) *shape {
	return &shape{kind: "object", members: m, need: need}
}
func union(by string, v map[string]*shape) *shape {
	return &shape{kind: "object", by: by, variants: v}
}

// wrong is what is wrong with a value.
type wrong struct {
	what  string // unknown, missing, type, value
	path  []any  // names and indexes
	want  string
	got   any
	known []string
}

// check finds the first thing wrong, members in the order of their names.
func (s *shape) check(v any, path ...any) *wrong {
	path = slices.Clip(path)
	if v == nil && (s.null || s.kind == "") {
		return nil
	}
	if s.kind != "" && kindOf(v) != s.kind {
		if s.or != nil {
			return s.or.check(v, path...)
		}
		return &wrong{what: "type", path: path, want: s.kind, got: v}
	}
	switch v := v.(type) {
	case string:
		if s.values != nil && !slices.Contains(s.values, v) {
			return &wrong{what: "value", path: path, known: s.values, got: v}
		}
	case []any:
		for i, e := range v {
			if s.elem == nil {
				break
			}
			if w := s.elem.check(e, append(path, i)...); w != nil {
				return w
			}
		}
	case object:
		return s.checkObject(v, path)
	}
	return nil
}

func (s *shape) checkObject(o object, path []any) *wrong {
	if s.variants != nil {
		tag, ok := o[s.by]
		if !ok {
			return &wrong{what: "missing", path: append(path, s.by)}
		}
		name, _ := tag.(string)
		v := s.variants[name]
		if v == nil {
			return &wrong{what: "value", path: append(path, s.by), got: tag, known: slices.Sorted(maps.Keys(s.variants))}
		}
		return v.checkObject(o, path)
	}
	if s.members == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		m := s.members[name]
		if m == nil {
			return &wrong{what: "unknown", path: append(path, name)}
		}
		if w := m.check(o[name], append(path, name)...); w != nil {
			return w
		}
	}
	for _, name := range s.need {
		if _, ok := o[name]; !ok {
			return &wrong{what: "missing", path: append(path, name)}
		}
	}
	return nil
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case []any:
		return "array"
	case object:
		return "object"
	}
	return "null"
}

// dotted is a path in the manner of pydantic: messages.0.role.
func dotted(path []any) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = fmt.Sprint(p)
	}
	return strings.Join(parts, ".")
}

// bracketed is a path in the manner of JavaScript: input[0].role.
func bracketed(path []any) string {
	var b strings.Builder
	for _, p := range path {
		switch p := p.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(p) + "]")
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(p)
		}
	}
	return b.String()
}

// decode reads a JSON object; numbers keep their text. A key that stands twice
// is refused: readers do not agree which one counts.
func decode(body []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	if d.More() || o == nil {
		return nil, fmt.Errorf("not one JSON object")
	}
	return o, duplicates(json.NewDecoder(bytes.NewReader(body)))
}

func duplicates(d *json.Decoder) error {
	type level struct {
		keys  map[string]bool // nil in an array
		value bool            // a key was read, its value comes next
	}
	var stack []level
	for {
		tok, err := d.Token()
		if err != nil {
			return nil // the end: the text was decoded before
		}
		top := len(stack) - 1
		if delim, ok := tok.(json.Delim); ok {
			switch delim {
			case '{', '[':
				if top >= 0 {
					stack[top].value = false
				}
				l := level{}
				if delim == '{' {
					l.keys = map[string]bool{}
				}
				stack = append(stack, l)
			default:
				stack = stack[:top]
			}
			continue
		}
		if top < 0 || stack[top].keys == nil {
			continue
		}
		if stack[top].value {
			stack[top].value = false
			continue
		}
		key, _ := tok.(string)
		if stack[top].keys[key] {
			return fmt.Errorf("the key %q stands twice in one object", key)
		}
		stack[top].keys[key], stack[top].value = true, true
	}
}

// str is a string member, "" if there is none.
func str(o object, name string) string { s, _ := o[name].(string); return s }

// objects are the objects of an array member.
func objects(o object, name string) []object {
	all, _ := o[name].([]any)
	out := make([]object, 0, len(all))
	for _, v := range all {
		m, _ := v.(object)
		out = append(out, m)
	}
	return out
}

// integer is a member that is a whole number.
func integer(o object, name string) (int64, bool) {
	n, ok := o[name].(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

func truth(o object, name string) bool { b, _ := o[name].(bool); return b }

// member is a member that is an object, nil if there is none.
func member(o object, name string) object { m, _ := o[name].(object); return m }
