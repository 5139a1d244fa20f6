package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

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
	message := strings.TrimRight(yaml.FormatError(err, false, false), "\n")
	if unknown.Token == nil {
		return errors.New(message)
	}
	if hint := suggest(text, unknown.Token); hint != "" {
		message += "\n" + hint
	}
	return errors.New(message)
}

// suggest says which key was meant by one that its level does not know, or
// where it belongs; "" when that cannot be told.
func suggest(text []byte, at *token.Token) string {
	key := at.Value
	var here []string
	if file, err := parser.ParseBytes(text, 0); err == nil {
		for _, doc := range file.Docs {
			if t := level(doc.Body, reflect.TypeFor[Config](), at); t != nil {
				here = slices.Sorted(maps.Keys(fields(t)))
			}
		}
	}
	near := spelling.Nearest(key, here)
	if first, _, ok := strings.Cut(key, "_"); ok && near == "" && slices.Contains(here, first) {
		near = first // data_dir
	}
	if near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	elsewhere := map[string][]string{}
	places(reflect.TypeFor[Config](), "", 0, elsewhere)
	if levels := elsewhere[key]; levels != nil {
		return belongs(key, levels)
	}
	if near := spelling.Nearest(key, slices.Sorted(maps.Keys(elsewhere))); near != "" && len(key) > 3 { // two letters are near to anything
		if where := belongs("it", elsewhere[near]); where != "" {
			return fmt.Sprintf("did you mean %q? %s", near, where)
		}
	}
	if len(here) > 0 && len(here) <= 12 {
		return "the keys here are " + strings.Join(here, ", ")
	}
	return ""
}

// belongs names the levels of a key; "" if they are too many to be of help.
func belongs(key string, levels []string) string {
	if len(levels) == 0 || len(levels) > 3 {
		return ""
	}
	for i, l := range levels {
		levels[i] = "under " + l
		if l == "" {
			levels[i] = "at the top level"
		}
	}
	return key + " belongs " + strings.Join(levels, " or ")
}

// level is the struct that the mapping with the key at the token is read into,
// nil if it is not found. n is read into a t.
func level(n ast.Node, t reflect.Type, at *token.Token) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if found := level(v, t, at); found != nil {
				return found
			}
		}
	case *ast.MappingValueNode:
		key := n.Key.GetToken()
		if key == nil {
			return nil
		}
		if key.Position != nil && at.Position != nil && key.Position.Line == at.Position.Line && key.Position.Column == at.Position.Column {
			if t.Kind() == reflect.Struct {
				return t
			}
			return nil
		}
		switch t.Kind() {
		case reflect.Map:
			return level(n.Value, t.Elem(), at)
		case reflect.Struct:
			if f, ok := fields(t)[key.Value]; ok {
				return level(n.Value, f, at)
			}
		}
	case *ast.SequenceNode:
		if t.Kind() == reflect.Slice {
			for _, v := range n.Values {
				if found := level(v, t.Elem(), at); found != nil {
					return found
				}
			}
		}
	case *ast.AnchorNode:
		return level(n.Value, t, at)
	case *ast.TagNode:
		return level(n.Value, t, at)
	}
	return nil
}

// fields are the types of a struct's values by their keys.
func fields(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
			out[name] = f.Type
		}
	}
	return out
}

// maxDepth is far below any level of the configuration.
const maxDepth = 12

// places notes for every key in a value of type t, which itself is at path, at
// which levels it may stand.
func places(t reflect.Type, path string, depth int, out map[string][]string) {
	if depth > maxDepth {
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		places(t.Elem(), path, depth+1, out)
	case reflect.Map:
		places(t.Elem(), path+".<name>", depth+1, out)
	case reflect.Struct:
		fs := fields(t)
		for _, name := range slices.Sorted(maps.Keys(fs)) {
			if !slices.Contains(out[name], path) {
				out[name] = append(out[name], path)
			}
			places(fs[name], strings.TrimPrefix(path+"."+name, "."), depth+1, out)
		}
	}
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
