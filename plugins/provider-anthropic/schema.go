package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// emptySchema is that of a function without parameters.
const emptySchema = `{"type":"object","properties":{}}`

// propertyName is what Anthropic takes as the name of a parameter.
var propertyName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// inputSchema makes the parameters of tool i acceptable: an object at the top,
// without alternatives beside it. All else goes as it came.
func (e *encoder) inputSchema(i int, raw json.RawMessage) (json.RawMessage, error) {
	at := "tools[" + strconv.Itoa(i) + "].parameters"
	if len(raw) == 0 {
		return json.RawMessage(emptySchema), nil
	}
	o, err := object(raw, at)
	if err != nil {
		return nil, err
	}
	if t := o.Get("type"); t != nil && string(t.GetStringBytes()) != "object" {
		return nil, apierror.At(apierror.Invalid, at+".type", "%s.type must be \"object\": a function takes named parameters.", at)
	}
	out := []byte(`{"type":"object"`)
	o.Visit(func(key []byte, v *fastjson.Value) {
		switch k := string(key); k {
		case "type", "$schema":
		case "anyOf", "oneOf", "allOf":
			e.lost.Add("%s.%s", at, k)
		case "properties":
			if props, isObject := v.Object(); isObject == nil {
				props.Visit(func(name []byte, _ *fastjson.Value) {
					if err == nil && !propertyName.Match(name) {
						err = apierror.At(apierror.Invalid, at+".properties", "%s.properties has the name %q; this model's provider takes 1 to 64 letters, digits, _, . and -.", at, name)
					}
				})
			}
			out = member(out, k, v)
		default:
			out = member(out, k, v)
		}
	})
	return append(out, '}'), err
}

// object parses a schema that must be an object.
func object(raw json.RawMessage, at string) (*fastjson.Object, error) {
	v, err := fastjson.ParseBytes(raw)
	if err != nil || v.Type() != fastjson.TypeObject {
		return nil, apierror.At(apierror.Invalid, at, "%s must be a JSON Schema object.", at)
	}
	return v.Object()
}

// member appends a member as it came.
func member(dst []byte, key string, v *fastjson.Value) []byte {
	dst = name(dst, key)
	return v.MarshalTo(dst)
}

// name appends the name of a member, and the comma before it.
func name(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	quoted, _ := json.Marshal(key) // strings cannot fail
	return append(append(dst, quoted...), ':')
}

// What Anthropic's output schemas know; any other keyword is left out and
// named as lost. Source: Structured outputs, "JSON Schema limitations".
var (
	plainKeywords  = []string{"type", "title", "description", "enum", "const", "default", "required", "$ref", "$id", "$anchor"}
	schemaKeywords = []string{"items"}
	listKeywords   = []string{"anyOf", "allOf"}
	mapKeywords    = []string{"properties", "$defs", "definitions"}
	formats        = []string{"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)

// outputSchema makes the schema of an answer acceptable. It reports false when
// the schema cannot be said at all, such as an object with free names.
func (e *encoder) outputSchema(raw json.RawMessage) (json.RawMessage, bool, error) {
	if len(raw) == 0 {
		return nil, false, nil
	}
	o, err := object(raw, "text.format.schema")
	if err != nil {
		return nil, false, err
	}
	w := schemaWriter{encoder: e, ok: true}
	out := w.object(nil, "text.format.schema", o)
	return out, w.ok, nil
}

type schemaWriter struct {
	*encoder
	ok bool
}

func (w *schemaWriter) value(dst []byte, at string, v *fastjson.Value) []byte {
	if o, err := v.Object(); err == nil {
		return w.object(dst, at, o)
	}
	w.ok = false // true and false are schemas too, but not here
	return append(dst, "{}"...)
}

func (w *schemaWriter) object(dst []byte, at string, o *fastjson.Object) []byte {
	isObject := o.Get("properties") != nil
	for _, t := range append(o.Get("type").GetArray(), o.Get("type")) {
		isObject = isObject || string(t.GetStringBytes()) == "object"
	}
	dst = append(dst, '{')
	o.Visit(func(key []byte, v *fastjson.Value) {
		k := string(key)
		switch {
		case k == "$schema" || k == "additionalProperties" && isObject && v.Type() == fastjson.TypeFalse:
		case slices.Contains(plainKeywords, k), k == "format" && slices.Contains(formats, string(v.GetStringBytes())), k == "minItems" && v.GetInt() <= 1:
			dst = member(dst, k, v)
		case slices.Contains(schemaKeywords, k):
			dst = w.value(name(dst, k), at+"."+k, v)
		case k == "oneOf", slices.Contains(listKeywords, k):
			if k == "oneOf" {
				k = "anyOf" // for writing an answer the two are the same
			}
			dst = append(name(dst, k), '[')
			for i, alternative := range v.GetArray() {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = w.value(dst, at+"."+k+"["+strconv.Itoa(i)+"]", alternative)
			}
			dst = append(dst, ']')
		case slices.Contains(mapKeywords, k):
			dst = append(name(dst, k), '{')
			v.GetObject().Visit(func(key []byte, v *fastjson.Value) {
				dst = w.value(name(dst, string(key)), at+"."+k+"."+string(key), v)
			})
			dst = append(dst, '}')
		default:
			w.lost.Add("%s.%s", at, k)
		}
	})
	if isObject {
		props := o.Get("properties").GetObject()
		w.ok = w.ok && props != nil && props.Len() > 0
		dst = append(name(dst, "additionalProperties"), "false"...)
	}
	return append(dst, '}')
}
