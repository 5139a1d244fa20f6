package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// openCall is a call that waits for its response.
type openCall struct {
	id   string // ours
	own  string // the client's; "" when it gave none
	name string
	at   string
}

// answered is the error for a call without a response.
func (r *reader) answered() error {
	if len(r.open) == 0 {
		return nil
	}
	c := r.open[0]
	return apierror.At(apierror.Invalid, c.at, "%s, a call of %q, has no functionResponse in the content after it. Add one for each call.", c.at, c.name)
}

// call reads a function call.
func (t *turn) call(j int, p place) error {
	if !t.model {
		return apierror.At(apierror.Invalid, p.at, "%s: only the role model calls functions.", p.at)
	}
	c := openCall{at: p.at}
	arguments := "{}"
	err := each(p, func(p place) (err error) {
		switch p.name {
		case "id":
			c.own, err = p.text()
		case "name":
			c.name, err = p.text()
		case "args":
			if p.value.Type() != fastjson.TypeObject {
				return p.wrong("an object")
			}
			arguments = string(p.raw())
		default:
			t.r.lost.Add("%s", p.at)
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.name == "" {
		return apierror.At(apierror.Invalid, p.at+".name", "%s.name is missing: say which function was called.", p.at)
	}
	c.id = ownID(c.own, c.name)
	if !dialogue.IsID(c.id) || t.r.ids[c.id] {
		// The same place in the same conversation always gives the same id.
		c.id = "call_" + dialogue.Digest(24, c.own, c.name, strconv.Itoa(t.index), strconv.Itoa(j))
	}
	t.r.ids[c.id] = true
	t.r.open = append(t.r.open, c)
	t.add(or.Item{Type: or.TypeFunctionCall, CallID: c.id, Name: t.r.names.Out(c.name), Arguments: arguments})
	return nil
}

// ownID is the id that the client was given for a call. Gemini CLI puts the
// function's name before it.
func ownID(id, name string) string { return strings.TrimPrefix(id, name+"__") }

// response reads what a function gave.
func (t *turn) response(p place) error {
	if t.model {
		return apierror.At(apierror.Invalid, p.at, "%s: a function's response belongs to the role user.", p.at)
	}
	var id, name, status string
	var out or.Output
	err := each(p, func(p place) (err error) {
		switch p.name {
		case "id":
			id, err = p.text()
		case "name":
			name, err = p.text()
		case "response":
			if p.value.Type() != fastjson.TypeObject {
				return p.wrong("an object")
			}
			out.Text, status = outcome(p)
		case "parts":
			return all(p, func(_ int, p place) error {
				return each(p, func(p place) error {
					if p.name != "inlineData" && p.name != "fileData" {
						t.r.lost.Add("%s", p.at)
						return nil
					}
					m, err := t.r.media(p)
					out.Parts = append(out.Parts, m)
					return err
				})
			})
		default:
			t.r.lost.Add("%s", p.at)
		}
		return err
	})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(t.r.open, func(c openCall) bool { return c.own == id && (id != "" || c.name == name) })
	if i < 0 {
		i = slices.IndexFunc(t.r.open, func(c openCall) bool { return c.name == name && (c.own == "" || id == "") })
	}
	if i < 0 {
		return apierror.At(apierror.Invalid, p.at, "%s answers no call: the content before has no functionCall of %q without a response.", p.at, name)
	}
	c := t.r.open[i]
	t.r.open = slices.Delete(t.r.open, i, i+1)
	if out.Parts != nil && out.Text != "" {
		out.Parts = append([]or.Part{{Type: or.PartInputText, Text: out.Text}}, out.Parts...)
		out.Text = ""
	}
	t.add(or.Item{Type: or.TypeFunctionCallOutput, CallID: c.id, Output: out, Status: status})
	return nil
}

// outcome is what a model should read of a response: the text that is all of
// it, else the whole object; and its status when it tells of an error.
func outcome(p place) (text, status string) {
	text = string(p.raw())
	o := p.value.GetObject()
	if o.Len() != 1 {
		return text, ""
	}
	o.Visit(func(key []byte, v *fastjson.Value) {
		name := string(key)
		if name == "error" {
			status = or.StatusFailed
		}
		if v.Type() == fastjson.TypeString && (name == "output" || name == "result" || name == "error") {
			text = string(v.GetStringBytes())
		}
	})
	return text, status
}
