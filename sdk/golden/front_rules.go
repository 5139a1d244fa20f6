package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/sse"
)

// CheckAsked says what is wrong with what Accept made of a client's request.
func (f *Front) CheckAsked(a provider.Asked) []*Breach {
	var wrong []*Breach
	add := func(rule, format string, args ...any) {
		wrong = append(wrong, &Breach{rule, fmt.Sprintf(format, args...)})
	}
	if a.Op != f.Route.Op {
		add("asked-op", "Asked has the op %q, its route %q", a.Op, f.Route.Op)
	}
	if a.Stream && f.Route.Stream == provider.StreamNever || !a.Stream && f.Route.Stream == provider.StreamAlways {
		add("asked-stream", "Asked has stream %t, and its route says %q", a.Stream, f.Route.Stream)
	}
	switch {
	case a.Op == provider.Embed && a.Embed == nil, a.Op != provider.Embed && a.Request == nil:
		add("asked-request", "Asked has no request")
	case a.Request != nil:
		sent := a.Request.AppendJSON(nil)
		back, err := openresponses.ReadRequest(sent)
		if err != nil {
			add("asked-request", "the request that Accept made cannot be read: %v\n%s", err, sent)
		} else if got := back.AppendJSON(nil); !bytes.Equal(got, sent) {
			add("asked-request", "the request that Accept made is another one behind a process border:\n%s\nwant\n%s", got, sent)
		}
	}
	return wrong
}

// CheckWritten says what is wrong with what a dialogue wrote for events that end
// in failure (nil: in a terminal event).
func (f *Front) CheckWritten(a provider.Asked, w *Written, failure *apierror.Error) []*Breach {
	var wrong []*Breach
	add := func(rule, format string, args ...any) {
		wrong = append(wrong, &Breach{rule, fmt.Sprintf(format, args...)})
	}
	text := w.Text()
	if !a.Stream {
		switch {
		case failure != nil && text != "":
			add("error-as-body", "wrote %q before the error %v: without a stream it is the gateway's to write", text, failure)
		case failure != nil && apierror.CodeOf(w.Err) != failure.Code:
			add("error-as-body", "Write returned %v, want the error of the events: %v", w.Err, failure)
		case failure == nil && w.Err != nil:
			add("write-fails", "Write returned %v", w.Err)
		case failure == nil && len(w.Writes) != 1:
			add("body-in-pieces", "the body was written in %d pieces, want one", len(w.Writes))
		case failure == nil && !json.Valid([]byte(text)):
			add("body-json", "the body is no JSON: %q", text)
		}
		return wrong
	}
	if w.Err != nil && (failure == nil || len(f.Dialect.Ends) > 0) { // without Ends the connection is broken off
		add("write-fails", "Write returned %v; what fails in a stream is written into it", w.Err)
	}
	if text == "" {
		add("stream-without-end", "the stream is empty")
		return wrong
	}
	if text[0] == '[' { // one JSON array, element by element
		if !json.Valid([]byte(text)) {
			add("stream-malformed", "the array is no JSON: %q", text)
		}
		return wrong
	}
	for _, p := range w.Writes {
		if !strings.HasSuffix(p, "\n\n") && !strings.HasSuffix(p, "\r\n\r\n") {
			add("write-splits-event", "a Write ends inside an event: %q", p)
			break
		}
	}
	events, err := f.readStream(text)
	if err != nil {
		add("stream-malformed", "%v", err)
		return wrong
	}
	last := events[len(events)-1]
	failed := slices.ContainsFunc(events, f.failed)
	switch {
	case failure != nil && len(f.Dialect.Failures) > 0 && len(f.Dialect.Ends) > 0 && !failed: // without Ends a stream that fails may just end
		add("error-hidden", "the events ended in %v, and the client is not told: the last it gets is %s", failure, last)
	case failure == nil && len(f.Events) > 0 && failed && f.Events[len(f.Events)-1].Type != openresponses.EventFailed:
		add("success-as-error", "the client is told of a failure that was none: %q", text)
	}
	if ended := f.ended(last) || failure != nil && f.failed(last); len(f.Dialect.Ends) > 0 && !ended {
		add("stream-without-end", "the last event is %s, none of %s", last, strings.Join(slices.Concat(f.Dialect.Ends, f.Dialect.Failures), ", "))
	}
	return wrong
}

// sent is one event of a stream as the client gets it.
type sent struct {
	name, data string
	members    map[string]json.RawMessage // of the data, when it is an object
}

func (s sent) String() string {
	if s.name == "" {
		return "data: " + s.data
	}
	return "event: " + s.name + ", data: " + s.data
}

// readStream reads the events of a stream, whose data must be JSON or the sign
// of its end.
func (f *Front) readStream(text string) ([]sent, error) {
	for line := range strings.Lines(text) {
		name, _, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok && name != "" || !slices.Contains([]string{"", "event", "data", "id", "retry"}, name) {
			return nil, fmt.Errorf("the line %q is no field of a server-sent event", line)
		}
	}
	var all []sent
	r := sse.NewReader(strings.NewReader(text))
	for {
		ev, err := r.Next(context.Background())
		if err != nil {
			break // the end: it is in memory
		}
		s := sent{name: string(ev.Name), data: string(ev.Data)}
		if !slices.Contains(f.Dialect.Ends, s.data) {
			if !json.Valid(ev.Data) {
				return nil, fmt.Errorf("the data of an event is no JSON: %q", s.data)
			}
			if json.Unmarshal(ev.Data, &s.members) != nil {
				s.members = nil // JSON, but no object
			}
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the stream has no event with data: %q", text)
	}
	return all, nil
}

// typeOf is the type of an event: its name, or the member `type` of its data.
func (s sent) typeOf() string {
	if s.name != "" {
		return s.name
	}
	var t string
	if json.Unmarshal(s.members["type"], &t) != nil {
		return ""
	}
	return t
}

func (f *Front) ended(s sent) bool {
	return slices.Contains(f.Dialect.Ends, s.data) || slices.Contains(f.Dialect.Ends, s.typeOf())
}

func (f *Front) failed(s sent) bool {
	if t := s.typeOf(); t != "" {
		return slices.Contains(f.Dialect.Failures, t)
	}
	return slices.ContainsFunc(f.Dialect.Failures, func(name string) bool {
		v := s.members[name]
		return v != nil && string(v) != "null"
	})
}

// Wrong is a body that a client should not send.
type Wrong struct {
	What  string // "messages[0].role is a number"
	Body  []byte
	Field bool // one field is at fault, and the error must name it
}

// strange are values of every type of JSON, by what they are called.
var strange = []struct{ name, json string }{{"an object", `{"x":1}`}, {"a list", `[1]`}, {"a number", `-7.5`}, {"a text", `"x y"`}, {"null", `null`}}

// maxWrong bounds how many bodies WrongBodies makes.
const maxWrong = 400

// WrongBodies makes bodies that are no JSON or no object, and for each value of
// the dialogue's own body some in which it has another type.
func (f *Front) WrongBodies() []Wrong {
	all := []Wrong{
		{What: "the body is empty", Body: []byte{}}, {What: "the body breaks off", Body: f.Client.Body[:len(f.Client.Body)/2]},
		{What: "the body is a list", Body: []byte("[]")}, {What: "the body is null", Body: []byte("null")}, {What: "the body is a text", Body: []byte(`"x"`)},
		{What: "the body is an empty object", Body: []byte("{}")}, {What: "the body is no UTF-8", Body: []byte("{\"model\":\"\xff\xfe\"}")},
	}
	var root any
	d := json.NewDecoder(bytes.NewReader(f.Client.Body))
	d.UseNumber()
	if d.Decode(&root) != nil {
		return all
	}
	if o, ok := root.(map[string]any); ok {
		for _, name := range slices.Sorted(maps.Keys(o)) {
			all = append(all, mutations(root, o[name], name, func(v any) { o[name] = v })...)
		}
	}
	return all[:min(len(all), maxWrong)]
}

// mutations puts strange values in the place of v and of everything in it.
func mutations(root, v any, path string, set func(any)) []Wrong {
	var all []Wrong
	for _, s := range strange {
		if sameKind(v, s.json) {
			continue
		}
		set(json.RawMessage(s.json))
		b, err := json.Marshal(root)
		if err == nil {
			all = append(all, Wrong{What: path + " is " + s.name, Body: b, Field: true})
		}
	}
	set(v)
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, mutations(root, v[name], path+"."+name, func(x any) { v[name] = x })...)
		}
	case []any:
		if len(v) > 0 {
			all = append(all, mutations(root, v[0], path+"[0]", func(x any) { v[0] = x })...)
		}
	}
	return all
}

func sameKind(v any, js string) bool {
	switch v.(type) {
	case map[string]any:
		return js[0] == '{'
	case []any:
		return js[0] == '['
	case string:
		return js[0] == '"'
	case json.Number:
		return js[0] == '-'
	}
	return js == "null" && v == nil
}

// CheckRefusal says what is wrong with the error that Accept gave for a body.
func (w Wrong) CheckRefusal(err error) *Breach {
	e := apierror.From(err)
	switch {
	case e.Code != apierror.Invalid && e.Code != apierror.Unsupported:
		return &Breach{"accept-code", fmt.Sprintf("%s: error with code %q, want invalid or unsupported: %v", w.What, e.Code, err)}
	case w.Field && e.Param == "":
		return &Breach{"accept-field", fmt.Sprintf("%s: the error names no field: %v", w.What, err)}
	case strings.TrimSpace(e.Message) == "":
		return &Breach{"accept-field", fmt.Sprintf("%s: the error says nothing", w.What)}
	}
	return nil
}
