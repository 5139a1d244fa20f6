package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// explain turns a decoder's error into one that names the nearest key when the
// cause is a key we do not know. It gives line and column, never the lines
// themselves: somebody may have written a secret beside the mistake.
func explain(text []byte, err error) error {
	var unknown *yaml.UnknownFieldError
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		return wrongType(wrong)
	}
	if value, ok := strings.CutPrefix(err.Error(), "time: invalid duration "); ok {
		return fmt.Errorf("line %d: %s is not a duration such as 30s or 5m", lineOf(text, value), value)
	}
	if !errors.As(err, &unknown) {
		return errors.New(yaml.FormatError(err, false, false))
	}
	key := ""
	if unknown.Token != nil {
		key = unknown.Token.Value
	}
	message := strings.TrimRight(yaml.FormatError(err, false, false), "\n")
	if near := spelling.Nearest(key, keys(reflect.TypeFor[Config](), map[reflect.Type]bool{})); near != "" {
		return fmt.Errorf("%s\ndid you mean %q?", message, near)
	}
	return errors.New(message)
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

// lineOf is the first line that holds a quoted value: the decoder tells no
// place for these.
func lineOf(text []byte, quoted string) int {
	value, err := strconv.Unquote(quoted)
	if err != nil {
		value = quoted
	}
	before, _, _ := bytes.Cut(text, []byte(value))
	return 1 + bytes.Count(before, []byte("\n"))
}

// wrongType says in the file's words what a value should have been.
func wrongType(e *yaml.TypeError) error {
	want := "another value"
	switch t := e.DstType; {
	case t == reflect.TypeFor[time.Duration]():
		want = "a duration such as 30s or 5m"
	case t == nil:
	case t.Kind() == reflect.Bool:
		want = "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		want = "a whole number"
	case t.Kind() == reflect.Float64:
		want = "a number"
	case t.Kind() == reflect.String:
		want = "a text"
	case t.Kind() == reflect.Slice:
		want = "a list"
	case t.Kind() == reflect.Map, t.Kind() == reflect.Struct:
		want = "a map of keys and values"
	}
	at := ""
	if e.Token != nil && e.Token.Position != nil {
		at = fmt.Sprintf("[%d:%d] ", e.Token.Position.Line, e.Token.Position.Column)
	}
	return fmt.Errorf("%sthe value here must be %s", at, want)
}
