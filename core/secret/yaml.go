package secret

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// UnmarshalYAML reads {env: NAME} or {file: PATH}. Anything else is refused
// with a message that says how, and that never quotes what was written: a
// plain scalar is most likely the secret itself. For the same reason the error
// carries a line number and not the token, whose printing shows the source.
func (v *Value) UnmarshalYAML(n ast.Node) error {
	err := v.unmarshal(n)
	if err == nil {
		return nil
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return fmt.Errorf("line %d: %w", t.Position.Line, err)
	}
	return err
}

func (v *Value) unmarshal(n ast.Node) error {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.NullNode:
		*v = Value{}
		return nil
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		return errInline
	}
	if len(entries) != 1 {
		return errors.New("a secret has exactly one source: {env: NAME} or {file: PATH}")
	}
	key := entries[0].Key.String()
	text, ok := entries[0].Value.(ast.ScalarNode)
	if key != "env" && key != "file" {
		return errors.New("a secret comes from {env: NAME} or {file: PATH}; there is no other key")
	}
	if !ok {
		return fmt.Errorf("the %s of a secret is a plain text", key)
	}
	s, ok := text.GetValue().(string)
	if !ok || s == "" {
		return fmt.Errorf("the %s of a secret is a plain text, and not empty", key)
	}
	if key == "env" {
		if !isVariable(s) {
			return errVariable
		}
		*v = Env(s)
	} else {
		*v = File(s)
	}
	return nil
}

// ResolveAll resolves every Value that can be reached through the exported
// fields, elements and map values of cfg, files relative to dir. It goes on
// after an error and returns all of them, each with the path to its Value.
func ResolveAll(dir string, cfg any) error {
	var errs []error
	walk(reflect.ValueOf(cfg), "", func(path string, v Value) {
		if err := v.ResolveIn(dir); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	})
	return errors.Join(errs...)
}

// Each calls f for every Value that ResolveAll would find.
func Each(cfg any, f func(path string, v Value)) { walk(reflect.ValueOf(cfg), "", f) }

var valueType = reflect.TypeFor[Value]()

func walk(rv reflect.Value, path string, f func(string, Value)) {
	if !rv.IsValid() {
		return
	}
	if rv.Type() == valueType {
		if v := rv.Interface().(Value); !v.IsZero() {
			f(path, v)
		}
		return
	}
	switch rv.Kind() {
	case reflect.Pointer, reflect.Interface:
		walk(rv.Elem(), path, f)
	case reflect.Struct:
		for field, fv := range rv.Fields() {
			if field.IsExported() {
				walk(fv, join(path, fieldName(field)), f)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range rv.Len() {
			walk(rv.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Map:
		for _, k := range rv.MapKeys() {
			walk(rv.MapIndex(k), join(path, fmt.Sprint(k.Interface())), f)
		}
	}
}

// fieldName is the name a field has in the configuration, so that a message
// points at what the operator wrote; "" for an inlined one.
func fieldName(f reflect.StructField) string {
	tag, rest, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if tag != "" {
		return tag
	}
	if f.Anonymous || strings.Contains(rest, "inline") {
		return ""
	}
	return strings.ToLower(f.Name)
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}
