package upstream

import (
	"fmt"
	"slices"
)

var schemaTypes = []string{"array", "boolean", "integer", "null", "number", "object", "string"}

// checkSchema finds what a provider would find wrong with a JSON Schema.
func checkSchema(v any, at string) error {
	s, ok := v.(object)
	if !ok {
		if _, isBool := v.(bool); isBool {
			return nil
		}
		return fmt.Errorf("%s: %v is not of type 'object', 'boolean'", at, v)
	}
	switch t := s["type"].(type) {
	case nil:
	case string:
		if !slices.Contains(schemaTypes, t) {
			return fmt.Errorf("%s: '%s' is not valid under any of the given schemas", at, t)
		}
	case []any:
		for _, e := range t {
			if n, _ := e.(string); !slices.Contains(schemaTypes, n) {
				return fmt.Errorf("%s: %v is not valid under any of the given schemas", at, e)
			}
		}
	default:
		return fmt.Errorf("%s: type is neither a string nor an array", at)
	}
	if p, ok := s["properties"]; ok {
		props, ok := p.(object)
		if !ok {
			return fmt.Errorf("%s: properties is not an object", at)
		}
		for name, sub := range props {
			if err := checkSchema(sub, at+".properties."+name); err != nil {
				return err
			}
		}
	}
	if r, ok := s["required"]; ok {
		names, ok := r.([]any)
		if !ok {
			return fmt.Errorf("%s: required is not an array", at)
		}
		for _, n := range names {
			if _, ok := n.(string); !ok {
				return fmt.Errorf("%s: required holds %v", at, n)
			}
		}
	}
	for _, key := range []string{"items", "additionalProperties", "not"} {
		if sub, ok := s[key]; ok {
			if err := checkSchema(sub, at+"."+key); err != nil {
				return err
			}
		}
	}
	if s["type"] == "array" && s["items"] == nil {
		return fmt.Errorf("%s: array schema missing items", at)
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		if sub, ok := s[key]; ok {
			all, ok := sub.([]any)
			if !ok || len(all) == 0 {
				return fmt.Errorf("%s: %s is not a non-empty array", at, key)
			}
			for _, e := range all {
				if err := checkSchema(e, at+"."+key); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkStrict says what keeps a schema from OpenAI's strict mode, "" if nothing
// does.
func checkStrict(v any, context string) string {
	s, ok := v.(object)
	if !ok {
		return ""
	}
	props := member(s, "properties")
	if s["type"] == "object" {
		if s["additionalProperties"] != false {
			return fmt.Sprintf("In context=(%s), 'additionalProperties' is required to be supplied and to be false.", context)
		}
		required, _ := s["required"].([]any)
		for name := range props {
			if !slices.Contains(required, any(name)) {
				return fmt.Sprintf("In context=(%s), 'required' is required to be supplied and to be an array including every key in properties. Missing '%s'.", context, name)
			}
		}
	}
	for name, sub := range props {
		if problem := checkStrict(sub, "'properties', '"+name+"'"); problem != "" {
			return problem
		}
	}
	return checkStrict(s["items"], "'items'")
}
