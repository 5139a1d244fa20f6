package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// tools reads the tools. Those that Google runs itself cannot be had here: they
// are lost where they stand beside functions, and refused where they are all
// that is asked for, because the model would answer as if it had used them.
func (r *reader) tools(p place) error {
	var hosted []place
	err := all(p, func(_ int, p place) error {
		return each(p, func(p place) error {
			if p.name == "functionDeclarations" {
				return all(p, func(_ int, p place) error { return r.function(p) })
			}
			hosted = append(hosted, p)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if len(hosted) > 0 && len(r.request.Tools) == 0 {
		h := hosted[0]
		return apierror.At(apierror.Unsupported, h.at, "%s asks for a tool that only Google runs, and the model that would answer has no %s. Ask a Gemini model at its own provider, or declare a function.", h.at, h.name)
	}
	for _, h := range hosted {
		r.lost.Add("%s", h.at)
	}
	return nil
}

// function reads one declaration.
func (r *reader) function(p place) error {
	var name string
	t := or.Tool{Type: "function"}
	err := each(p, func(p place) (err error) {
		switch p.name {
		case "name":
			name, err = p.text()
		case "description":
			t.Description, err = p.text()
		case "parametersJsonSchema":
			t.Parameters, err = p.schema()
		case "parameters":
			t.Parameters, err = jsonSchema(p)
		default: // response, behavior and what is to come
			r.lost.Add("%s", p.at)
		}
		return err
	})
	if err != nil {
		return err
	}
	if name == "" {
		return apierror.At(apierror.Invalid, p.at+".name", "%s.name is missing: give the function a name.", p.at)
	}
	t.Name = r.names.Out(name)
	if slices.ContainsFunc(r.request.Tools, func(o or.Tool) bool { return o.Name == t.Name }) {
		return apierror.At(apierror.Invalid, p.at+".name", "Two functions have the name %q. Give each its own.", name)
	}
	r.request.Tools = append(r.request.Tools, t)
	return nil
}

// calling reads whether functions must, may or must not be called.
func (r *reader) calling(p place) error {
	return each(p, func(p place) error {
		if p.name != "functionCallingConfig" {
			r.lost.Add("%s", p.at)
			return nil
		}
		var mode string
		var names []string
		err := each(p, func(p place) (err error) {
			switch p.name {
			case "mode":
				mode, err = p.text()
			case "allowedFunctionNames":
				names, err = p.texts()
			default:
				r.lost.Add("%s", p.at)
			}
			return err
		})
		if err != nil {
			return err
		}
		c := &or.ToolChoice{}
		switch mode {
		case "", "MODE_UNSPECIFIED", "AUTO":
			c.Mode = "auto"
		case "ANY":
			c.Mode = "required"
		case "NONE":
			c.Mode = "none"
		case "VALIDATED": // as AUTO, with arguments that keep the schema
			c.Mode = "auto"
			for i := range r.request.Tools {
				strict := true
				r.request.Tools[i].Strict = &strict
			}
		default:
			return apierror.At(apierror.Invalid, p.at+".mode", "%s.mode must be AUTO, ANY, VALIDATED or NONE.", p.at)
		}
		for _, n := range names {
			n = r.names.Out(n)
			if !slices.ContainsFunc(r.request.Tools, func(t or.Tool) bool { return t.Name == n }) {
				return apierror.At(apierror.Invalid, p.at+".allowedFunctionNames", "%s.allowedFunctionNames names %q, which is not among the functions in tools.", p.at, r.names.Back(n))
			}
			c.Names = append(c.Names, n)
		}
		if len(c.Names) == 1 && c.Mode == "required" {
			c.Name, c.Names = c.Names[0], nil
		}
		if len(r.request.Tools) == 0 || c.Mode == "auto" && c.Names == nil {
			return nil
		}
		r.request.ToolChoice = c
		return nil
	})
}

// jsonSchema is a schema in the API's older form, a subset of OpenAPI's, as
// JSON Schema: types in lower case, null as a type of its own, numbers that
// came as strings, and without what only Google reads.
func jsonSchema(p place) (json.RawMessage, error) {
	if p.value.Type() != fastjson.TypeObject {
		return nil, p.wrong("a schema object")
	}
	var a fastjson.Arena
	v, err := openAPI(&a, p)
	if err != nil {
		return nil, err
	}
	b := v.MarshalTo(nil)
	if !json.Valid(b) { // fastjson writes names with control characters as Go does
		return nil, p.wrong("a schema whose names hold no control characters")
	}
	return b, nil
}

func openAPI(a *fastjson.Arena, p place) (*fastjson.Value, error) {
	out := a.NewObject()
	var typ string
	var nullable bool
	err := each(p, func(p place) (err error) {
		v := p.value
		switch p.name {
		case "type":
			if typ, err = p.text(); err == nil {
				typ = strings.ToLower(typ)
			}
			return err
		case "nullable":
			nullable, err = p.truth()
			return err
		case "propertyOrdering", "title":
			return nil
		case "example":
			list := a.NewArray()
			list.SetArrayItem(0, v)
			out.Set("examples", list)
			return twice(p)
		case "format":
			if s, err := p.text(); err != nil || s == "enum" {
				return err
			}
		case "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minimum", "maximum":
			if v.Type() == fastjson.TypeString {
				if _, err := p.number(); err != nil {
					return err
				}
				v = a.NewNumberString(string(v.GetStringBytes()))
			}
		case "items":
			if v, err = openAPI(a, p); err != nil {
				return err
			}
		case "properties":
			props := a.NewObject()
			err := member(p, func(p place) error {
				sub, err := openAPI(a, p)
				props.Set(p.name, sub)
				return err
			})
			if err != nil {
				return err
			}
			v = props
		case "anyOf":
			list := a.NewArray()
			err := all(p, func(i int, p place) error {
				sub, err := openAPI(a, p)
				list.SetArrayItem(i, sub)
				return err
			})
			if err != nil {
				return err
			}
			v = list
		default:
			err = twice(p)
		}
		out.Set(p.name, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	switch {
	case typ == "" || typ == "type_unspecified":
	case nullable && typ != "null":
		both := a.NewArray()
		both.SetArrayItem(0, a.NewString(typ))
		both.SetArrayItem(1, a.NewString("null"))
		out.Set("type", both)
	default:
		out.Set("type", a.NewString(typ))
	}
	return out, nil
}
