package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// explain turns a decoder's error into one that names the nearest key when the
// cause is a key we do not know. It gives line and column, never the lines
// themselves: somebody may have written a secret beside the mistake.
func explain(err error) error {
	var unknown *yaml.UnknownFieldError
	if !errors.As(err, &unknown) {
		return errors.New(yaml.FormatError(err, false, false))
	}
	key := ""
	if unknown.Token != nil {
		key = unknown.Token.Value
	}
	text := strings.TrimRight(yaml.FormatError(err, false, false), "\n")
	if near := spelling.Nearest(key, keys(reflect.TypeFor[Config](), map[reflect.Type]bool{})); near != "" {
		return fmt.Errorf("%s\ndid you mean %q?", text, near)
	}
	return errors.New(text)
}

// keys lists every key that a value of type t may hold, at any depth.
func keys(t reflect.Type, seen map[reflect.Type]bool) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keys(t.Elem(), seen)
	case reflect.Struct:
	default:
		return nil
	}
	if seen[t] {
		return nil
	}
	seen[t] = true
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			out = append(out, name)
		}
		if f.IsExported() {
			out = append(out, keys(f.Type, seen)...)
		}
	}
	return out
}
