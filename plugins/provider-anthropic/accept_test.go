package main

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// accepted reads a body given by its members beside model, max_tokens and
// messages.
func accepted(t *testing.T, members string) (provider.Asked, error) {
	t.Helper()
	for _, m := range [][2]string{{`"max_tokens"`, `"max_tokens":1000`}, {`"messages"`, `"messages":[{"role":"user","content":"Hi"}]`}, {`"model"`, `"model":"m"`}} {
		if !strings.Contains(members, m[0]) {
			members = strings.TrimSuffix(m[1]+","+members, ",")
		}
	}
	d, err := translator{}.Accept(t.Context(), provider.ClientRequest{Surface: "anthropic", Route: messagesRoute, Body: []byte("{" + members + "}")})
	if err != nil {
		return provider.Asked{}, err
	}
	return d.Asked(), nil
}

func TestAcceptOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		members string
		want    string // members of the request beside model, input and max_output_tokens
		lost    string
	}{
		{members: ``},
		{members: `"temperature":1,"top_k":0,"stop_sequences":null,"tools":[],"thinking":null,"stream":null`},
		{members: `"temperature":0.5,"top_p":0.9,"top_k":4`, want: `"temperature":0.5,"top_p":0.9,"top_k":4`},
		{members: `"stop_sequences":["A","","B"]`, want: `"stop":["A","B"]`},
		{members: `"service_tier":"standard_only"`, want: `"service_tier":"default"`},
		{members: `"service_tier":"auto"`, want: `"service_tier":"auto"`},
		{members: `"system":"Be brief."`, want: `"instructions":"Be brief."`},
		{members: `"thinking":{"type":"disabled"}`, want: `"reasoning":{"effort":"none"},"anthropic":{"thinking":"disabled"}`},
		{members: `"thinking":{"type":"disabled"},"output_config":{"effort":"high"}`, want: `"reasoning":{"effort":"none"},"anthropic":{"thinking":"disabled"}`},
		{members: `"thinking":{"type":"adaptive"}`, want: `"reasoning":{"summary":"auto"},"anthropic":{"thinking":"adaptive"}`},
		{members: `"thinking":{"type":"adaptive","display":"omitted"}`, want: `"anthropic":{"thinking":"adaptive"}`},
		{members: `"thinking":{"type":"adaptive"},"output_config":{"effort":"low"}`, want: `"reasoning":{"effort":"low","summary":"auto"},"anthropic":{"thinking":"adaptive"}`},
		{members: `"output_config":{"effort":"max"}`, want: `"reasoning":{"effort":"xhigh"},"anthropic":{"effort":"max"}`},
		{members: `"thinking":{"type":"enabled","budget_tokens":1024}`, want: `"reasoning":{"effort":"low","summary":"auto"},"anthropic":{"thinking":"enabled","budget_tokens":1024}`},
		{members: `"thinking":{"type":"enabled","budget_tokens":10000}`, want: `"reasoning":{"effort":"medium","summary":"auto"},"anthropic":{"thinking":"enabled","budget_tokens":10000}`},
		{members: `"thinking":{"type":"enabled","budget_tokens":63999}`, want: `"reasoning":{"effort":"xhigh","summary":"auto"},"anthropic":{"thinking":"enabled","budget_tokens":63999}`},
		{members: `"output_format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"string"}}}}`,
			want: `"text":{"format":{"type":"json_schema","name":"output","schema":{"type":"object","properties":{"a":{"type":"string"}}},"strict":false}}`},
		{members: `"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"array","items":{"$ref":"#/$defs/b"}}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"string"}}}}}`,
			want: `"text":{"format":{"type":"json_schema","name":"output","schema":{"type":"object","properties":{"a":{"type":"array","items":{"$ref":"#/$defs/b"}}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"string"}}},"strict":true}}`},
		{members: `"metadata":{"user_id":"u"}`, want: `"safety_identifier":"user_0199707edb6e99e3d874ff272404e057","anthropic":{"user_id":"u"}`},
		{members: `"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`,
			want: `"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"tool_choice":"auto","parallel_tool_calls":false`},
		{members: `"tools":[{"type":"custom","name":"f","description":"F.","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"tool","name":"f"}`,
			want: `"tools":[{"type":"function","name":"f","description":"F.","parameters":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"function","name":"f"}`},
		{members: `"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"}`, want: `"tools":[{"type":"function","name":"f","parameters":{}}],"tool_choice":"required"`},
		{members: `"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"none"}`, want: `"tools":[{"type":"function","name":"f","parameters":{}}],"tool_choice":"none"`},
		{members: `"tools":[{"name":"f","input_schema":{}},{"type":"tool_search_tool_regex_20251119","name":"search"}]`, want: `"tools":[{"type":"function","name":"f","parameters":{}}]`, lost: "tools[1]"},
		{members: `"tool_choice":{"type":"auto"}`},
		{members: `"container":"c","betas":["x"],"inference_geo":null`, lost: "container betas"},
	}
	for _, tt := range tests {
		asked, err := accepted(t, tt.members)
		if err != nil {
			t.Errorf("%s: %v", tt.members, err)
			continue
		}
		if asked.Request.Model != "m" || *asked.Request.MaxOutputTokens != 1000 || len(asked.Request.Input) != 1 {
			t.Errorf("%s: request %s", tt.members, asked.Request.AppendJSON(nil))
		}
		asked.Request.Model, asked.Request.MaxOutputTokens, asked.Request.Input = "", nil, nil
		if got := string(asked.Request.AppendJSON(nil)); got != "{"+tt.want+"}" {
			t.Errorf("%s:\ngot  %s\nwant {%s}", tt.members, got, tt.want)
		}
		if got := strings.Join(asked.Lost, " "); got != tt.lost {
			t.Errorf("%s: lost %q, want %q", tt.members, got, tt.lost)
		}
	}
}

func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	user := func(block string) string { return `"messages":[{"role":"user","content":[` + block + `]}]` }
	model := func(block string) string { return `"messages":[{"role":"assistant","content":[` + block + `]}]` }
	tests := []struct{ members, param string }{
		{`"model":7`, "model"},
		{`"model":""`, "model"},
		{`"max_tokens":null`, "max_tokens"},
		{`"max_tokens":0`, "max_tokens"},
		{`"max_tokens":1.5`, "max_tokens"},
		{`"stream":"yes"`, "stream"},
		{`"messages":[]`, "messages"},
		{`"messages":{}`, "messages"},
		{`"messages":[7]`, "messages[0]"},
		{`"messages":[{"role":"tool","content":"x"}]`, "messages[0].role"},
		{`"messages":[{"role":"user"}]`, "messages[0].content"},
		{`"messages":[{"role":"user","content":7}]`, "messages[0].content"},
		{`"messages":[{"role":"user","content":""}]`, "messages"},
		{user(`7`), "messages[0].content[0]"},
		{user(`{"text":"x"}`), "messages[0].content[0].type"},
		{user(`{"type":"text"}`), "messages[0].content[0].text"},
		{user(`{"type":"text","text":7}`), "messages[0].content[0].text"},
		{user(`{"type":"tool_use","id":"a","name":"f","input":{}}`), "messages[0].content[0].type"},
		{user(`{"type":"tool_result","content":"x"}`), "messages[0].content[0].tool_use_id"},
		{user(`{"type":"tool_result","tool_use_id":"a","content":7}`), "messages[0].content[0].content"},
		{user(`{"type":"tool_result","tool_use_id":"a","content":[{}]}`), "messages[0].content[0].content[0].type"},
		{user(`{"type":"image"}`), "messages[0].content[0].source"},
		{user(`{"type":"image","source":{"type":"base64","data":"x"}}`), "messages[0].content[0].source"},
		{user(`{"type":"image","source":{"type":"text","data":"x"}}`), "messages[0].content[0].source.type"},
		{user(`{"type":"document","source":{"type":"base64","media_type":"text/plain","data":"?"}}`), "messages[0].content[0].source.data"},
		{model(`{"type":"tool_use","id":"a","input":{}}`), "messages[0].content[0]"},
		{model(`{"type":"tool_use","id":"a","name":"f","input":[]}`), "messages[0].content[0].input"},
		{model(`{"type":"thinking","thinking":7}`), "messages[0].content[0].thinking"},
		{`"system":7`, "system"},
		{`"system":[{"type":"text"}]`, "system[0].text"},
		{`"tools":{}`, "tools"},
		{`"tools":[7]`, "tools[0]"},
		{`"tools":[{"name":"f"}]`, "tools[0].input_schema"},
		{`"tools":[{"input_schema":{}}]`, "tools[0].name"},
		{`"tools":[{"name":"f","input_schema":{}},{"name":"f","input_schema":{}}]`, "tools[1].name"},
		{`"tools":[{"type":"unheard_of_20300101","name":"f"}]`, "tools[0]"},
		{`"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"tool","name":"g"}`, "tool_choice.name"},
		{`"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"some"}`, "tool_choice.type"},
		{`"tool_choice":{"type":"any"}`, "tool_choice"},
		{`"tool_choice":"auto"`, "tool_choice"},
		{`"thinking":{"type":"on"}`, "thinking.type"},
		{`"thinking":{"type":"enabled"}`, "thinking.budget_tokens"},
		{`"output_config":{"effort":"most"}`, "output_config.effort"},
		{`"output_config":{"format":{"type":"json_object"}}`, "output_config.format"},
		{`"temperature":2`, "temperature"},
		{`"top_p":-1`, "top_p"},
		{`"stop_sequences":[7]`, "stop_sequences[0]"},
		{`"metadata":"me"`, "metadata"},
		{`"mcp_servers":[{}]`, "mcp_servers[0]"},
	}
	for _, tt := range tests {
		_, err := accepted(t, tt.members)
		e := apierror.From(err)
		if e == nil || e.Code != apierror.Invalid && e.Code != apierror.Unsupported || e.Param != tt.param {
			t.Errorf("%s: got %v at %+v, want it refused at %s", tt.members, err, e, tt.param)
		}
	}
	for _, body := range []string{``, `null`, `[]`, `{`, `{"model":"m"`, strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat(`}`, 200)} {
		_, err := translator{}.Accept(t.Context(), provider.ClientRequest{Route: messagesRoute, Body: []byte(body)})
		if !apierror.Is(err, apierror.Invalid) {
			t.Errorf("body %.20q: got %v, want it refused", body, err)
		}
	}
	if _, err := (translator{}).Accept(t.Context(), provider.ClientRequest{Route: "/v1/complete"}); !apierror.Is(err, apierror.Unsupported) {
		t.Errorf("another path: got %v", err)
	}
}

// TestAcceptKeepsBody holds that the body stays the caller's: it may yet go to
// a provider as it came.
func TestAcceptKeepsBody(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"half \ud800 \u00e9"}]}`)
	before := string(body)
	d, err := translator{}.Accept(t.Context(), provider.ClientRequest{Route: messagesRoute, Body: body})
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != before {
		t.Errorf("the body has become %s", body)
	}
	if got := d.Asked().Request.Input[0].Content[0].Text; got != "half \uFFFD é" {
		t.Errorf("text %q", got)
	}
}

func TestCallIDs(t *testing.T) {
	t.Parallel()
	for inner, want := range map[string]string{"toolu_01AbC": "toolu_01AbC", "call_x": "toolu_call_x"} {
		if got := clientID(inner); got != want || callID(got) != inner {
			t.Errorf("clientID(%q) = %q and back %q, want %q", inner, got, callID(got), want)
		}
	}
	for _, inner := range []string{"", "fc.1", "gemini/é", strings.Repeat("x", 64), "call_" + strings.Repeat("x", 59), "toolu_" + strings.Repeat("y", 80)} {
		got := clientID(inner)
		if !strings.HasPrefix(got, ourPrefix) || len(got) > 64 || callID(got) != got {
			t.Errorf("clientID(%q) = %q and back %q", inner, got, callID(got))
		}
	}
	if got := callID("toolu_" + strings.Repeat("y", 80)); len(got) > maxCallID {
		t.Errorf("an id of 86 letters goes in as %q", got)
	}
}

// TestThereAndBack sends what Claude Code says through the inner language to
// Anthropic: it arrives equal in meaning.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	thought := `{"type":"thinking","thinking":"Hm.","signature":"EqQ="}`
	own := or.OpaqueState{Provider: "anthropic", Family: "anthropic", Data: []byte(thought)}.String()
	tests := []struct {
		name, model, body string
		want              func(map[string]any) // what may differ
	}{
		{"a known name", "claude-opus-4-6", frontBody(t, "code-adaptive"), nil},
		{"an unknown name", "claude-opus-4-6", frontBody(t, "code-unknown-name"), nil},
		{"a title", "claude-sonnet-4-5", frontBody(t, "code-title"), func(m map[string]any) {
			delete(m, "thinking") // it does not think unless told to
		}},
		{"thinking of somebody else", "claude-sonnet-4-5", frontBody(t, "code-tool-round"), func(m map[string]any) {
			delete(m, "thinking")
			said := m["messages"].([]any)[1].(map[string]any)
			said["content"] = said["content"].([]any)[2:]
		}},
		{"thinking of its own", "claude-sonnet-4-5", `{"model":"m","max_tokens":3000,"thinking":{"type":"enabled","budget_tokens":2999},"stop_sequences":["X"],"service_tier":"standard_only","metadata":{"user_id":"u"},"system":"S.",
			"tools":[{"name":"f","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral","ttl":"1h"}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},
			"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQK"},"title":"a.pdf"},{"type":"text","text":"Go."}]},
			{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"` + own + `"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":[1.50]}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","is_error":true,"content":[{"type":"text","text":"no"}],"cache_control":{"type":"ephemeral"}}]}]}`,
			func(m map[string]any) {
				var b any
				if err := json.Unmarshal([]byte(thought), &b); err != nil {
					t.Fatal(err)
				}
				m["messages"].([]any)[1].(map[string]any)["content"].([]any)[0] = b
			}},
	}
	for _, tt := range tests {
		d, err := translator{}.Accept(t.Context(), provider.ClientRequest{Route: messagesRoute, Body: []byte(tt.body)})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		r, err := or.ReadRequest(d.Asked().Request.AppendJSON(nil)) // as it crosses a border
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		x, err := translator{}.Begin(t.Context(), provider.Turn{Op: provider.Generate, Model: tt.model, Account: provider.Account{Name: "anthropic"}, Request: r})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want, got := meaning(t, tt.body), meaning(t, string(x.Upstream().Body))
		want["model"] = tt.model
		if tt.want != nil {
			tt.want(want)
		}
		renamed(want)
		if !reflect.DeepEqual(got, want) {
			g, _ := json.MarshalIndent(got, "", " ")
			w, _ := json.MarshalIndent(want, "", " ")
			t.Errorf("%s: got %s\nwant %s", tt.name, g, w)
		}
		if err := strict(x.Upstream().Body); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(x.Upstream().Lost)+len(d.Asked().Lost) > 0 && tt.name != "thinking of somebody else" {
			t.Errorf("%s: lost %q and %q", tt.name, d.Asked().Lost, x.Upstream().Lost)
		}
	}
}

// frontBody is the body of a golden dialogue of the front.
func frontBody(t *testing.T, name string) string {
	b, err := os.ReadFile("testdata/front/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "-- body --\n")
	body, _, _ := strings.Cut(rest, "\n-- ")
	return body
}

// meaning is a body with one spelling for what can be said in several.
func meaning(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	blocks := func(v any) []any {
		if s, ok := v.(string); ok {
			return []any{map[string]any{"type": "text", "text": s}}
		}
		l, _ := v.([]any)
		return l
	}
	if m["system"] != nil {
		m["system"] = blocks(m["system"])
	}
	var messages []any
	for _, v := range m["messages"].([]any) {
		said := v.(map[string]any)
		said["content"] = blocks(said["content"])
		for _, b := range said["content"].([]any) {
			b := b.(map[string]any)
			if b["type"] == "tool_result" {
				b["content"] = blocks(b["content"])
			}
			if b["is_error"] == false {
				delete(b, "is_error")
			}
		}
		if said["role"] == "system" {
			said["role"] = "user"
			said["content"] = slices.Concat(blocks("<system_message>"), said["content"].([]any), blocks("</system_message>"))
		}
		if n := len(messages); n > 0 && messages[n-1].(map[string]any)["role"] == said["role"] {
			last := messages[n-1].(map[string]any)
			last["content"] = append(last["content"].([]any), said["content"].([]any)...)
			continue
		}
		messages = append(messages, said)
	}
	m["messages"] = messages
	tools, _ := m["tools"].([]any)
	if len(tools) == 0 {
		delete(m, "tools")
	}
	for _, v := range tools {
		schema, _ := v.(map[string]any)["input_schema"].(map[string]any)
		delete(schema, "$schema")
	}
	if m["temperature"] == 1.0 {
		delete(m, "temperature")
	}
	return m
}

// renamed gives the calls of other providers the ids they have at Anthropic.
func renamed(m map[string]any) {
	for _, v := range m["messages"].([]any) {
		for _, b := range v.(map[string]any)["content"].([]any) {
			b := b.(map[string]any)
			for _, key := range []string{"id", "tool_use_id"} {
				if id, ok := b[key].(string); ok {
					b[key] = toolID(callID(id))
				}
			}
		}
	}
}

func TestNesting(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{``: 0, `1`: 0, `{}`: 1, `[[],{"a":[1]}]`: 3, `{"a":"[[[\"[["}`: 1, `"\\"[`: 1, `"\\\"["`: 0, `"[`: 0, `["","\"",["\\"]]`: 2} {
		if got := nesting([]byte(in)); got != want {
			t.Errorf("nesting(%s) = %d, want %d", in, got, want)
		}
	}
}
