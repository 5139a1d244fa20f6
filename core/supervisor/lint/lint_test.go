package lint_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/supervisor/lint"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// sample is a stream with an item of every kind, in a dialect, ending well or
// failed.
func sample(t *testing.T, d render.Dialect, fails bool) []render.Event {
	t.Helper()
	var events []render.Event
	function := func(name string) openresponses.Tool {
		return openresponses.Tool{Type: "function", Name: name, Parameters: json.RawMessage(`{"type":"object"}`)}
	}
	req, err := openresponses.ParseRequest([]byte(`{"model":"m","input":"x","reasoning":{"effort":"low"},"tools":[{"type":"function","name":"mine"},{"type":"table","table":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w := render.NewWriter(render.Head{
		ID: render.NewID("resp_"), Created: time.Unix(1_700_000_000, 0), Dialect: d, Request: req,
		Hosted: []render.Function{
			{Tool: function("db"), Label: "table", Kind: render.Hosted},
			{Tool: function("py"), Label: "code", Kind: render.Code},
			{Tool: function("web"), Label: "web_search", Kind: render.WebSearch},
		},
	}, func(e render.Event) error { events = append(events, e); return nil })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.Begin())
	o := provider.NewOutput(func(ev openresponses.Event, err error) bool {
		check(err)
		check(w.Model(&ev))
		return true
	})
	o.Summary("Think")
	o.Reasoning("Deep")
	o.Text("See ")
	o.Text("it.")
	o.Annotate(openresponses.Annotation{Type: "url_citation", URL: "https://e.example/", Title: "E", EndIndex: 2})
	for _, c := range []struct{ name, arguments string }{{"db", `{"sql":"1"}`}, {"py", `{"code":"print(1)"}`}, {"web", `{"query":"q"}`}, {"db", `{}`}, {"mine", `{"a":1}`}} {
		id := fmt.Sprint("c", len(events))
		o.Call(id, id, c.name)
		o.Arguments(id, c.arguments)
		o.CloseCall(id)
		if c.name != "mine" {
			r := &render.Record{CallID: id, Name: c.name, Status: openresponses.StatusCompleted, Output: openresponses.Output{Text: "out"}}
			if c.arguments == "{}" {
				r.Status = openresponses.StatusFailed
			}
			check(w.Result(r))
		}
	}
	o.Refusal("No")
	if !fails {
		o.CloseItem()
	}
	end := render.Outcome{Status: "completed", Usage: &openresponses.Usage{Input: 3, CacheRead: 2, Output: 4, Reasoning: 1}, At: time.Unix(1_700_000_001, 0)}
	if fails {
		end = render.Outcome{Status: "failed", Error: apierror.New(apierror.UpstreamFailed, "It broke.")}
	}
	_, err = w.Finish(end)
	check(err)
	return events
}

func TestSamplesPass(t *testing.T) {
	t.Parallel()
	for _, d := range render.Dialects {
		for _, fails := range []bool{false, true} {
			events := sample(t, d, fails)
			if err := lint.Stream(d, events); err != nil {
				t.Errorf("%s, fails %t: %v", d, fails, err)
			}
			var body bytes.Buffer
			body.WriteString(": keep-alive\n\n")
			for _, e := range events {
				fmt.Fprintf(&body, "event: %s\ndata: %s\n\n", e.Type, e.Data)
			}
			body.WriteString("data: [DONE]\n\n")
			if err := lint.SSE(d, body.Bytes()); err != nil {
				t.Errorf("%s, fails %t: as SSE: %v", d, fails, err)
			}
		}
	}
}

// TestEveryLossIsCaught drops, doubles and swaps every single event: no such
// stream may pass. Deltas are checked by their sum, so even one lost is seen.
func TestEveryLossIsCaught(t *testing.T) {
	t.Parallel()
	done := map[string]bool{} // one place of each kind is enough
	for _, d := range render.Dialects {
		for _, fails := range []bool{false, true} {
			events := sample(t, d, fails)
			for i := range events {
				place := kind(t, events[i])
				if i+1 < len(events) {
					place += ", then " + kind(t, events[i+1])
				}
				if done[place] && !everyDialect {
					continue
				}
				done[place] = true
				// With a delta of an item that a failure left open the rest of
				// the stream says nothing about what is lost.
				open := fails && i >= len(events)-4 && events[i].Type == "response.refusal.delta"
				dropped := append(append([]render.Event{}, events[:i]...), events[i+1:]...)
				if err := lint.Stream(d, renumber(t, dropped)); err == nil && !open {
					t.Errorf("%s, fails %t: the loss of event %d (%s) is not caught", d, fails, i, events[i].Type)
				}
				doubled := append(append(append([]render.Event{}, events[:i+1]...), events[i]), events[i+1:]...)
				if err := lint.Stream(d, renumber(t, doubled)); err == nil && !open {
					t.Errorf("%s, fails %t: the doubling of event %d (%s) is not caught", d, fails, i, events[i].Type)
				}
				if i+1 < len(events) {
					swapped := append([]render.Event{}, events...)
					swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
					// Citations have no place among the deltas of their text.
					note := strings.HasSuffix(events[i].Type, "delta") && strings.HasSuffix(events[i+1].Type, "annotation.added")
					if err := lint.Stream(d, renumber(t, swapped)); err == nil && !same(events[i], events[i+1]) && !note {
						t.Errorf("%s, fails %t: the swap of events %d (%s) and %d (%s) is not caught", d, fails, i, events[i].Type, i+1, events[i+1].Type)
					}
				}
			}
		}
	}
}

// kind tells events apart: by their type, and that of the item they are about.
func kind(t *testing.T, e render.Event) string {
	t.Helper()
	var about struct{ Item struct{ Type string } }
	if err := json.Unmarshal(e.Data, &about); err != nil {
		t.Fatal(err)
	}
	return e.Type + " " + about.Item.Type
}

func same(a, b render.Event) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) }

// renumber gives the events their sequence numbers, so that these do not give
// the mutation away.
func renumber(t *testing.T, events []render.Event) []render.Event {
	t.Helper()
	const key = `"sequence_number":`
	out := make([]render.Event, len(events))
	for i, e := range events {
		head, rest, ok := strings.Cut(string(e.Data), key)
		end := strings.IndexAny(rest, ",}")
		if !ok || end < 0 {
			t.Fatalf("no sequence_number in %s", e.Data)
		}
		out[i] = render.Event{Type: e.Type, Data: []byte(head + key + fmt.Sprint(i) + rest[end:])}
	}
	return out
}

// optional are the members that an event or response may lack.
var optional = map[string]bool{"logprobs": true, "phase": true, "name": true}

// TestEveryMemberIsChecked removes and spoils each member of the events and of
// what is in them: each such stream must fail, unless the member is optional.
func TestEveryMemberIsChecked(t *testing.T) {
	t.Parallel()
	done := map[string]bool{} // one event of each kind is enough
	for _, d := range render.Dialects {
		if everyDialect {
			clear(done)
		}
		events := sample(t, d, false)
		for i, e := range events {
			for _, path := range paths(t, e.Data) {
				member := kind(t, e) + " " + path
				if done[member] {
					continue
				}
				done[member] = true
				name := path[strings.LastIndexByte(path, '.')+1:]
				for _, how := range []string{"removed", "spoilt"} {
					mutated := append([]render.Event{}, events...)
					mutated[i] = render.Event{Type: e.Type, Data: mutate(t, e.Data, path, how)}
					if bytes.Equal(mutated[i].Data, e.Data) {
						continue
					}
					if err := lint.Stream(d, mutated); err == nil && !(optional[name] && how == "removed") && !free(e.Type, path) {
						t.Errorf("%s: event %d (%s): %s %s is not caught", d, i, e.Type, path, how)
					}
				}
			}
		}
	}
}

// free are the members of which a client may be told anything, and what only
// OpenAI's clients read beside what they must.
func free(typ, path string) bool {
	for _, p := range []string{"response.tools", "item.tools", "response.text.verbosity", "item.action.query", "item.output.0", "response.output.0.tools", "item.outputs.0", "name"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return typ == "response.function_call_arguments.done" && path == "name"
}

// paths lists every member of the JSON, dotted, at any depth but inside lists.
func paths(t *testing.T, b []byte) []string {
	t.Helper()
	var list []string
	var walk func(prefix string, raw json.RawMessage)
	walk = func(prefix string, raw json.RawMessage) {
		var o map[string]json.RawMessage
		if json.Unmarshal(raw, &o) != nil {
			return
		}
		for k, v := range o {
			list = append(list, prefix+k)
			walk(prefix+k+".", v)
		}
	}
	walk("", b)
	return list
}

func mutate(t *testing.T, b []byte, path, how string) []byte {
	t.Helper()
	var o map[string]json.RawMessage
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	name, rest, deeper := strings.Cut(path, ".")
	switch {
	case deeper:
		o[name] = mutate(t, o[name], rest, how)
	case how == "removed":
		delete(o, name)
	default:
		o[name] = json.RawMessage(`{"spoilt":[true]}`)
		if s := b; len(s) > 0 && bytes.HasPrefix(bytes.TrimSpace(s), []byte("{")) && isObject(s, name) {
			o[name] = json.RawMessage(`"spoilt"`)
		}
	}
	out, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func isObject(b []byte, name string) bool {
	var o map[string]map[string]any
	var raw map[string]json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return false
	}
	one, err := json.Marshal(map[string]json.RawMessage{name: raw[name]})
	return err == nil && json.Unmarshal(one, &o) == nil && o[name] != nil
}

// TestRefused lists single faults that the mutations above cannot make.
func TestRefused(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) func([]render.Event) []render.Event {
		return func(events []render.Event) []render.Event {
			out := append([]render.Event{}, events...)
			for i := range out {
				out[i].Data = bytes.ReplaceAll(out[i].Data, []byte(old), []byte(with))
			}
			return out
		}
	}
	tests := []struct {
		name    string
		dialect render.Dialect
		change  func([]render.Event) []render.Event
		want    string
	}{
		{"an unknown event", render.OpenResponses, func(e []render.Event) []render.Event {
			extra := render.Event{Type: "acme:trace", Data: []byte(`{"type":"acme:trace","sequence_number":2}`)}
			return renumber(t, append(append(append([]render.Event{}, e[:2]...), extra), e[2:]...))
		}, "no such event"},
		{"OpenAI's name of reasoning", render.OpenResponses, func(e []render.Event) []render.Event {
			out := replace(`"response.reasoning.delta"`, `"response.reasoning_text.delta"`)(e)
			for i := range out {
				out[i].Type = strings.Replace(out[i].Type, "response.reasoning.delta", "response.reasoning_text.delta", 1)
			}
			return out
		}, "no such event"},
		{"hosted items of another dialect", render.Databricks, func([]render.Event) []render.Event { return sample(t, render.OpenAI, false) }, "no such event"},
		{"totals that are no sums", render.Databricks, replace(`"total_tokens":10`, `"total_tokens":11`), "total_tokens"},
		{"more cached than read", render.Databricks, replace(`"cached_tokens":2`, `"cached_tokens":6`), "cached_tokens"},
		{"null encrypted_content", render.Databricks, replace(`"status":"completed","summary"`, `"status":"completed","encrypted_content":null,"summary"`), "encrypted_content"},
		{"null logprobs", render.Databricks, replace(`"logprobs":[]`, `"logprobs":null`), "logprobs"},
		{"a listing with null error", render.OpenAI, replace(`"server_label":"table","tools"`, `"error":null,"server_label":"table","tools"`), "error is null"},
		{"a listed tool with null annotations", render.OpenAI, replace(`"annotations":{"readOnlyHint":false}`, `"annotations":null`), "annotations is null"},
		{"an id that is too long", render.Databricks, replace(`"id":"msg_`, `"id":"msg_`+strings.Repeat("x", 40)), "1 to 64"},
		{"a hosted tool in the echo", render.OpenResponses, replace(`"tools":[{"type":"function"`, `"tools":[{"type":"table"`), "want one of function"},
		{"an item that stays open", render.OpenAI, replace(`"status":"completed","server_label"`, `"status":"in_progress","server_label"`), "in_progress"},
		{"completed that is incomplete", render.Databricks, replace(`"status":"completed","role"`, `"status":"incomplete","role"`), "incomplete item"},
		{"an event whose data is no JSON", render.Databricks, func(e []render.Event) []render.Event {
			out := append([]render.Event{}, e...)
			out[3].Data = []byte("{")
			return out
		}, "not a JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := lint.Stream(tt.dialect, tt.change(sample(t, tt.dialect, false)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestSSEFraming(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                                       "[DONE]",
		"data: [DONE]\n":                         "blank line",
		"event: a\ndata: {}\n\n":                 "[DONE]",
		"data: {}\n\ndata: [DONE]\n\n":           "one event line",
		"event: a\ndata: {\ndata: }\n\n":         "one event line",
		"data: [DONE]\n\nevent: a\ndata: {}\n\n": "follows [DONE]",
		"event: a\r\ndata: {}\r\n\r\n":           "carriage return",
		"data: [DONE]\n\n":                       "no terminal event",
	}
	for body, want := range tests {
		if err := lint.SSE(render.Databricks, []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SSE(%q) = %v, want an error with %q", body, err, want)
		}
	}
}
