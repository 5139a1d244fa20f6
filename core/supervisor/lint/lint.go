// Package lint checks responses and event streams of the Supervisor surface
// against what their dialect promises: the members of the response object,
// the closed lists of items and events, their order and nesting, and what the
// accumulators of OpenAI's clients insist on. It is for tests, and sees only
// what a client sees.
package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
)

// Response checks a response object. The error joins every problem found.
func Response(d render.Dialect, body []byte) error {
	c := &checker{dialect: d}
	o, err := decodeObject(body)
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	c.response("response", o)
	return c.err()
}

// Stream checks the events of one response, from response.created to the
// terminal event.
func Stream(d render.Dialect, events []render.Event) error {
	s := &stream{checker: checker{dialect: d}, itemIDs: map[string]bool{}}
	for i, e := range events {
		s.event(i, e)
	}
	s.end()
	return s.err()
}

// SSE checks a whole text/event-stream body: the framing of every event, the
// final [DONE], and the events themselves.
func SSE(d render.Dialect, body []byte) error {
	events, err := parseSSE(body)
	if err != nil {
		return err
	}
	return Stream(d, events)
}

// parseSSE reads frames of exactly one event and one data line; comments may
// stand between frames.
func parseSSE(body []byte) ([]render.Event, error) {
	if bytes.ContainsRune(body, '\r') {
		return nil, errors.New("stream: a carriage return in the stream")
	}
	frames := strings.Split(string(body), "\n\n")
	if n := len(frames); frames[n-1] != "" {
		return nil, errors.New("stream: it does not end with a blank line")
	}
	frames = frames[:len(frames)-1]
	var events []render.Event
	done := false
	for i, f := range frames {
		switch {
		case strings.HasPrefix(f, ":") && !strings.Contains(f, "\n"):
		case done:
			return nil, fmt.Errorf("stream: frame %d follows [DONE]", i)
		case f == "data: [DONE]":
			done = true
		default:
			name, data, ok := strings.Cut(f, "\n")
			typ, isEvent := strings.CutPrefix(name, "event: ")
			text, isData := strings.CutPrefix(data, "data: ")
			if !ok || !isEvent || !isData || strings.Contains(data, "\n") {
				return nil, fmt.Errorf("stream: frame %d is not one event line and one data line: %.80q", i, f)
			}
			events = append(events, render.Event{Type: typ, Data: []byte(text)})
		}
	}
	if !done {
		return nil, errors.New("stream: it does not end with data: [DONE]")
	}
	return events, nil
}

// checker gathers problems.
type checker struct {
	dialect  render.Dialect
	problems []error
}

func (c *checker) bad(where, format string, args ...any) {
	if len(c.problems) < 50 { // enough to see what is wrong
		c.problems = append(c.problems, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
	}
}

func (c *checker) err() error { return errors.Join(c.problems...) }

type object = map[string]any

func decodeObject(b []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var o object
	if err := dec.Decode(&o); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if dec.More() || o == nil {
		return nil, errors.New("not exactly one JSON object")
	}
	return o, nil
}

// The kinds of values. A question mark allows null.
const (
	str     = "string"
	integer = "integer"
	number  = "number"
	boolean = "boolean"
	array   = "array"
	objekt  = "object"
)

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return str
	case bool:
		return boolean
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return integer
		}
		return number
	case []any:
		return array
	}
	return objekt
}

// member checks that o has the member and that it is of the kind.
func (c *checker) member(where string, o object, name, kind string) bool {
	v, ok := o[name]
	if !ok {
		c.bad(where, "%s is missing", name)
		return false
	}
	kind, nullable := strings.CutSuffix(kind, "?")
	got := kindOf(v)
	if got == kind || nullable && got == "null" || kind == number && got == integer {
		return true
	}
	c.bad(where, "%s is %s, want %s", name, got, kind)
	return false
}

// oneOf checks that the string member has one of the values.
func (c *checker) oneOf(where string, o object, name string, values ...string) {
	if c.member(where, o, name, str) && !slices.Contains(values, o[name].(string)) {
		c.bad(where, "%s is %q, want one of %s", name, o[name], strings.Join(values, ", "))
	}
}

// id checks an identifier that clients limit to 64 characters.
func (c *checker) id(where string, o object, name string) string {
	if !c.member(where, o, name, str) {
		return ""
	}
	s := o[name].(string)
	if s == "" || len(s) > 64 {
		c.bad(where, "%s %q has %d characters, want 1 to 64", name, s, len(s))
	}
	return s
}

func intOf(v any) int64 {
	n, ok := v.(json.Number)
	if !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
}
