package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// jsonc is JSON, with the comments and trailing commas that some clients allow
// in theirs.
type jsonc struct{}

var bom = []byte("\xef\xbb\xbf")

func parseJSON(text []byte) (hujson.Value, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return hujson.Value{Value: &hujson.Object{}, AfterExtra: hujson.Extra("\n")}, nil
	}
	v, err := hujson.Parse(bytes.Clone(text)) // what is parsed refers to it, and may be written over
	if err != nil {
		return v, fmt.Errorf("it is no JSON: %w", err)
	}
	if _, ok := v.Value.(*hujson.Object); !ok {
		return v, fmt.Errorf("it holds no JSON object")
	}
	return v, nil
}

// standard tells whether text is JSON without comments and trailing commas,
// the only form that some clients read.
func standard(text []byte) bool {
	v, err := parseJSON(bytes.TrimPrefix(text, bom))
	return err == nil && v.IsStandard()
}

func (jsonc) decode(text []byte) (map[string]any, error) {
	v, err := parseJSON(bytes.TrimPrefix(text, bom))
	if err != nil {
		return nil, err
	}
	v.Standardize()
	d := json.NewDecoder(bytes.NewReader(v.Pack()))
	d.UseNumber()
	m := map[string]any{}
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	return m, nil
}

// member is the place of the member name, the last one of that name as readers
// take it, or -1.
func member(o *hujson.Object, name string) int {
	for i := len(o.Members) - 1; i >= 0; i-- {
		if l, ok := o.Members[i].Name.Value.(hujson.Literal); ok && l.String() == name {
			return i
		}
	}
	return -1
}

func (jsonc) raw(text []byte, path []string) (string, bool, error) {
	v, err := parseJSON(bytes.TrimPrefix(text, bom))
	if err != nil {
		return "", false, err
	}
	at := &v
	for _, p := range path {
		o, ok := at.Value.(*hujson.Object)
		if !ok {
			return "", false, nil
		}
		i := member(o, p)
		if i < 0 {
			return "", false, nil
		}
		at = &o.Members[i].Value
	}
	return string((hujson.Value{Value: at.Value}).Pack()), true, nil
}

// layout is how a file is indented.
type layout struct{ newline, unit string }

func layoutOf(text []byte, v hujson.Value) layout {
	l := layout{newline: "\n", unit: "  "}
	if bytes.Contains(text, []byte("\r\n")) {
		l.newline = "\r\n"
	}
	if o := v.Value.(*hujson.Object); len(o.Members) > 0 {
		if indent, ok := indentOf(o.Members[0].Name.BeforeExtra); ok && indent != "" {
			l.unit = indent
		}
	}
	return l
}

// indentOf is what stands before a member on its line.
func indentOf(extra hujson.Extra) (string, bool) {
	i := bytes.LastIndexByte(extra, '\n')
	if i < 0 {
		return "", false
	}
	return string(extra[i+1:]), true
}

func (jsonc) set(text []byte, path []string, value string) ([]byte, error) {
	rest, marked := bytes.CutPrefix(text, bom)
	v, err := parseJSON(rest)
	if err != nil {
		return nil, err
	}
	l := layoutOf(rest, v)
	o := v.Value.(*hujson.Object)
	for depth, p := range path {
		i := member(o, p)
		last := depth == len(path)-1
		if i < 0 {
			literal := value
			if !last {
				literal = "{}"
			}
			parsed, err := hujson.Parse([]byte(literal))
			if err != nil {
				return nil, err
			}
			add(o, p, parsed.Value, l, depth)
			i = len(o.Members) - 1
		} else if last {
			parsed, err := hujson.Parse([]byte(value))
			if err != nil {
				return nil, err
			}
			o.Members[i].Value.Value = parsed.Value
		}
		if !last {
			inner, ok := o.Members[i].Value.Value.(*hujson.Object)
			if !ok {
				return nil, fmt.Errorf("%q is no object", p)
			}
			o = inner
		}
	}
	out := v.Pack()
	if marked {
		out = append(bytes.Clone(bom), out...)
	}
	return out, nil
}

// add appends a member at the depth of o, on a line of its own unless the
// object has others on one line. A comment behind the last member stays there.
func add(o *hujson.Object, name string, v hujson.ValueTrimmed, l layout, depth int) {
	m := hujson.ObjectMember{
		Name:  hujson.Value{Value: hujson.String(name)},
		Value: hujson.Value{BeforeExtra: hujson.Extra(" "), Value: v},
	}
	n := len(o.Members)
	if n == 0 {
		at := strings.Repeat(l.unit, depth)
		m.Name.BeforeExtra = hujson.Extra(l.newline + at + l.unit)
		if len(bytes.TrimSpace(o.AfterExtra)) > 0 { // a comment in an empty object
			m.Name.BeforeExtra = slices.Concat(bytes.TrimRight(o.AfterExtra, " \t\r\n"), m.Name.BeforeExtra)
		}
		o.AfterExtra = hujson.Extra(l.newline + at)
		o.Members = append(o.Members, m)
		return
	}
	last := &o.Members[n-1]
	if last.Value.AfterExtra != nil { // a comma is behind it already
		m.Value.AfterExtra = hujson.Extra{}
	}
	indent, lines := indentOf(last.Name.BeforeExtra)
	if !lines {
		m.Name.BeforeExtra = hujson.Extra(" ")
	} else {
		m.Name.BeforeExtra = hujson.Extra(l.newline + indent)
	}
	if i := bytes.LastIndexByte(o.AfterExtra, '\n'); i >= 0 {
		head := bytes.TrimRight(o.AfterExtra[:i], "\r")
		if len(bytes.TrimSpace(head)) > 0 { // comments: they belong to what is before them
			if !lines {
				m.Name.BeforeExtra = hujson.Extra(l.newline + l.unit)
			}
			m.Name.BeforeExtra = slices.Concat(hujson.Extra(head), m.Name.BeforeExtra)
			o.AfterExtra = o.AfterExtra[len(head):]
		}
	}
	o.Members = append(o.Members, m)
}

func (jsonc) remove(text []byte, path []string) ([]byte, error) {
	rest, marked := bytes.CutPrefix(text, bom)
	v, err := parseJSON(rest)
	if err != nil {
		return nil, err
	}
	o := v.Value.(*hujson.Object)
	for _, p := range path[:len(path)-1] {
		i := member(o, p)
		if i < 0 {
			return text, nil
		}
		inner, ok := o.Members[i].Value.Value.(*hujson.Object)
		if !ok {
			return text, nil
		}
		o = inner
	}
	i := member(o, path[len(path)-1])
	if i < 0 {
		return text, nil
	}
	gone := o.Members[i]
	o.Members = append(o.Members[:i:i], o.Members[i+1:]...)
	kept := gone.Name.BeforeExtra // comments before it stay
	if len(bytes.TrimSpace(kept)) == 0 {
		kept = nil
	}
	if i < len(o.Members) {
		if kept != nil {
			next := &o.Members[i].Name
			next.BeforeExtra = slices.Concat(bytes.TrimRight(kept, " \t\r\n"), next.BeforeExtra)
		}
	} else {
		if i > 0 && gone.Value.AfterExtra == nil { // the comma before it goes too
			o.Members[i-1].Value.AfterExtra = nil
		}
		o.AfterExtra = slices.Concat(bytes.TrimRight(kept, " \t\r\n"), o.AfterExtra)
		if len(o.Members) == 0 && len(bytes.TrimSpace(o.AfterExtra)) == 0 {
			o.AfterExtra = nil
		}
	}
	out := v.Pack()
	if marked {
		out = append(bytes.Clone(bom), out...)
	}
	return out, nil
}

func (jsonc) literal(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a string, a bool or a list of strings
	return strings.TrimSuffix(b.String(), "\n")
}
