package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// built is the body for a request given by its members beside input.
func built(t *testing.T, model, settings, members string) (body map[string]json.RawMessage, lost []string, err error) {
	t.Helper()
	if !strings.Contains(members, `"input"`) {
		members = `"input":"Hi"` + strings.TrimSuffix(","+members, ",")
	}
	r, err := or.ParseRequest([]byte(`{"model":"m",` + members + `}`))
	if err != nil {
		t.Fatalf("%s: %v", members, err)
	}
	x, err := translator{}.Begin(t.Context(), provider.Turn{Op: provider.Generate, Model: model, Account: provider.Account{Name: "anthropic", Settings: json.RawMessage(settings)}, Request: r})
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(x.Upstream().Body, &body); err != nil {
		t.Fatal(err)
	}
	return body, x.Upstream().Lost, nil
}

func TestReasoning(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model, settings, members    string
		thinking, config, maxTokens string
		temperature                 string
		lost                        []string
	}{
		{model: "claude-sonnet-4-5", members: ``, maxTokens: "32000"},
		{model: "claude-sonnet-4-5", members: `"reasoning":{"effort":"none"}`, maxTokens: "32000"},
		{model: "claude-sonnet-4-5", members: `"reasoning":{"effort":"minimal"}`, thinking: `{"type":"enabled","budget_tokens":1024}`, maxTokens: "33024"},
		{model: "claude-sonnet-4-5", members: `"reasoning":{"summary":"auto"}`, thinking: `{"type":"enabled","budget_tokens":8192}`, maxTokens: "40192"},
		{model: "claude-sonnet-4-5", members: `"reasoning":{"effort":"xhigh"}`, thinking: `{"type":"enabled","budget_tokens":48000}`, maxTokens: "64000"},
		{model: "claude-sonnet-4-5", members: `"reasoning":{"effort":"high"},"max_output_tokens":4000`, thinking: `{"type":"enabled","budget_tokens":3000}`, maxTokens: "4000"},
		{model: "claude-sonnet-4-5", members: `"reasoning":{"effort":"high","summary":"auto"},"max_output_tokens":1000`, maxTokens: "1000", lost: []string{"reasoning.effort", "reasoning.summary"}},
		{model: "claude-sonnet-4-5", members: `"max_output_tokens":1000000`, maxTokens: "64000"},
		{model: "claude-opus-4-5-20251101", members: `"reasoning":{"effort":"xhigh"}`, thinking: `{"type":"enabled","budget_tokens":48000}`, config: `{"effort":"high"}`, maxTokens: "64000"},
		{model: "claude-opus-4-1", members: `"reasoning":{"effort":"low"}`, thinking: `{"type":"enabled","budget_tokens":2048}`, maxTokens: "32000"},
		{model: "anthropic.claude-3-5-sonnet-20241022-v2:0", members: `"reasoning":{"effort":"low"},"temperature":0.5`, maxTokens: "8192", temperature: "0.5", lost: []string{"reasoning.effort"}},
		{model: "claude-3-opus-20240229", maxTokens: "4096"},
		{model: "claude-opus-4-6", members: `"reasoning":{"effort":"xhigh"},"temperature":1`, thinking: `{"type":"adaptive"}`, config: `{"effort":"max"}`, maxTokens: "32000"},
		{model: "claude-opus-4-6", members: `"temperature":1.7`, maxTokens: "32000", temperature: "1", lost: []string{"temperature"}},
		{model: "claude-opus-4.8", members: `"reasoning":{"effort":"minimal","summary":"auto"},"temperature":0.1`, thinking: `{"type":"adaptive","display":"summarized"}`, config: `{"effort":"low"}`, maxTokens: "32000", lost: []string{"temperature"}},
		{model: "claude-opus-5", members: `"reasoning":{"effort":"none"}`, thinking: `{"type":"disabled"}`, maxTokens: "32000"},
		{model: "claude-fable-5", members: `"reasoning":{"effort":"none"}`, maxTokens: "32000", lost: []string{"reasoning.effort"}},
		{model: "our-claude", members: `"reasoning":{"effort":"high"}`, thinking: `{"type":"adaptive"}`, config: `{"effort":"high"}`, maxTokens: "32000"},
		{model: "our-claude", settings: `{"thinking":"budget","max_tokens":9000}`, members: `"reasoning":{"effort":"high"}`, thinking: `{"type":"enabled","budget_tokens":6750}`, config: `{"effort":"high"}`, maxTokens: "9000"},
		{model: "claude-sonnet-4-5", settings: `{"thinking":"never"}`, members: `"reasoning":{"effort":"high"}`, maxTokens: "32000", lost: []string{"reasoning.effort"}},
		{model: "claude-sonnet-4-5", members: `"reasoning":{"effort":"high"},"tools":[{"type":"function","name":"f"}],"tool_choice":"required"`, maxTokens: "32000", lost: []string{"reasoning.effort"}},
		{model: "claude-opus-4-6", members: `"reasoning":{"effort":"high"},"tools":[{"type":"function","name":"f"}],"tool_choice":"required"`, config: `{"effort":"high"}`, maxTokens: "32000"},
	}
	for _, tt := range tests {
		b, lost, err := built(t, tt.model, tt.settings, tt.members)
		if err != nil {
			t.Errorf("%s, %s: %v", tt.model, tt.members, err)
			continue
		}
		got := []string{string(b["thinking"]), string(b["output_config"]), string(b["max_tokens"]), string(b["temperature"])}
		want := []string{tt.thinking, tt.config, tt.maxTokens, tt.temperature}
		if !slices.Equal(got, want) || !slices.Equal(lost, tt.lost) {
			t.Errorf("%s, %s: got thinking, output_config, max_tokens, temperature %q, lost %q, want %q, lost %q", tt.model, tt.members, got, lost, want, tt.lost)
		}
	}
}

func TestToolChoice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		members string
		want    string // tool_choice
		names   string // of the tools sent
		code    apierror.Code
	}{
		{members: `"tool_choice":null`, names: "f g"},
		{members: `"tool_choice":"auto"`, names: "f g"},
		{members: `"parallel_tool_calls":false`, want: `{"type":"auto","disable_parallel_tool_use":true}`, names: "f g"},
		{members: `"tool_choice":"none","parallel_tool_calls":false`, want: `{"type":"none"}`, names: "f g"},
		{members: `"tool_choice":"required"`, want: `{"type":"any"}`, names: "f g"},
		{members: `"tool_choice":{"type":"function","name":"g"},"parallel_tool_calls":false`, want: `{"type":"tool","name":"g","disable_parallel_tool_use":true}`, names: "f g"},
		{members: `"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"}]}`, names: "g"},
		{members: `"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"g"}]}`, want: `{"type":"any"}`, names: "g"},
		{members: `"tool_choice":{"type":"function","name":"absent"}`, code: apierror.Invalid},
	}
	for _, tt := range tests {
		b, _, err := built(t, "claude-sonnet-4-5", "", `"tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}],`+tt.members)
		if apierror.CodeOf(err) != tt.code {
			t.Errorf("%s: got %v, want code %q", tt.members, err, tt.code)
		}
		if err != nil {
			continue
		}
		var sent []toolParam
		if err := json.Unmarshal(b["tools"], &sent); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range sent {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); string(b["tool_choice"]) != tt.want || got != tt.names {
			t.Errorf("%s: got %s with %s, want %s with %s", tt.members, b["tool_choice"], got, tt.want, tt.names)
		}
	}
}

func TestInputSchema(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, want string
		lost     []string
		param    string // at fault
	}{
		{in: `null`, want: emptySchema},
		{in: `{}`, want: `{"type":"object"}`},
		{in: `{"properties":{"a":{}},"$schema":"x"}`, want: `{"type":"object","properties":{"a":{}}}`},
		{in: `{"type":"object","properties":{"é":{"type":"string"}}}`, param: "tools[0].parameters.properties"},
		{in: `{"type":"object","properties":{"a":{"enum":["\ud83d\ude00",1.50,12345678901234567890]}},"additionalProperties":false}`, want: `{"type":"object","properties":{"a":{"enum":["\ud83d\ude00",1.50,12345678901234567890]}},"additionalProperties":false}`},
		{in: `{"type":"object","anyOf":[{"required":["a"]}],"properties":{}}`, want: emptySchema, lost: []string{"tools[0].parameters.anyOf"}},
		{in: `{"type":"array"}`, param: "tools[0].parameters.type"},
	}
	for _, tt := range tests {
		b, lost, err := built(t, "claude-sonnet-4-5", "", `"tools":[{"type":"function","name":"f","parameters":`+tt.in+`}]`)
		if tt.param != "" {
			if e := apierror.From(err); e == nil || e.Code != apierror.Invalid || e.Param != tt.param {
				t.Errorf("%s: got %v, want a mistake at %s", tt.in, err, tt.param)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		var sent []toolParam
		if err := json.Unmarshal(b["tools"], &sent); err != nil {
			t.Fatal(err)
		}
		if got := string(sent[0].InputSchema); got != tt.want || !slices.Equal(lost, tt.lost) {
			t.Errorf("%s: got %s, lost %q, want %s, lost %q", tt.in, got, lost, tt.want, tt.lost)
		}
	}
}

func TestOutputSchema(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model, settings, in string
		want                string // output_config
		lost                []string
	}{
		{model: "claude-sonnet-4-5", in: `{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"type":"string","pattern":"x","minLength":1}}}`,
			want: `{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"type":"string"}},"additionalProperties":false}}}`,
			lost: []string{"text.format.schema.$defs.b.pattern", "text.format.schema.$defs.b.minLength"}},
		{model: "claude-sonnet-4-5", in: `{"type":["object","null"],"properties":{"a":{"type":"array","minItems":1,"items":{"type":"string","format":"phone"}}},"additionalProperties":true}`,
			want: `{"format":{"type":"json_schema","schema":{"type":["object","null"],"properties":{"a":{"type":"array","minItems":1,"items":{"type":"string"}}},"additionalProperties":false}}}`,
			lost: []string{"text.format.schema.properties.a.items.format", "text.format.schema.additionalProperties"}},
		{model: "claude-sonnet-4-5", in: `{"type":"object"}`, lost: []string{"text.format"}},
		{model: "claude-sonnet-4-5", in: `{"type":"array","items":true}`, lost: []string{"text.format"}},
		{model: "claude-sonnet-4", in: `{"type":"string"}`, lost: []string{"text.format"}},
		{model: "claude-sonnet-4", settings: `{"schema":"always"}`, in: `{"type":"string"}`, want: `{"format":{"type":"json_schema","schema":{"type":"string"}}}`},
		{model: "claude-opus-5", settings: `{"schema":"never"}`, in: `{"type":"string"}`, lost: []string{"text.format"}},
	}
	for _, tt := range tests {
		b, lost, err := built(t, tt.model, tt.settings, `"text":{"format":{"type":"json_schema","name":"n","schema":`+tt.in+`}}`)
		if err != nil || string(b["output_config"]) != tt.want || !slices.Equal(lost, tt.lost) {
			t.Errorf("%s, %s: got %s, lost %q, %v, want %s, lost %q", tt.model, tt.in, b["output_config"], lost, err, tt.want, tt.lost)
		}
	}
}

func TestBeginRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, settings, members string
		code                    apierror.Code
	}{
		{"a setting nobody knows is the operator's mistake", `{"max_token":1}`, "", apierror.Internal},
		{"an http image", "", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"http://example.com/a.png"}]}]`, apierror.Invalid},
		{"an image that cannot be read", "", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,***"}]}]`, apierror.Invalid},
		{"an image of another type", "", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/tiff;base64,aGk="}]}]`, apierror.Unsupported},
		{"a file URL that is not https", "", `"input":[{"role":"user","content":[{"type":"input_file","file_url":"ftp://example.com/a.pdf"}]}]`, apierror.Invalid},
		{"nothing to say", "", `"input":[{"role":"user","content":" "}]`, apierror.Invalid},
		{"a duty to call nothing", "", `"tool_choice":"required"`, apierror.Invalid},
		{"a name twice", "", `"tools":[{"type":"function","name":"f"},{"type":"function","name":"f"}]`, apierror.Invalid},
	}
	for _, tt := range tests {
		if _, _, err := built(t, "claude-sonnet-4-5", tt.settings, tt.members); apierror.CodeOf(err) != tt.code {
			t.Errorf("%s: got %v, want code %s", tt.rule, err, tt.code)
		}
	}
	if _, err := (translator{}).Begin(t.Context(), provider.Turn{Op: provider.Embed}); !apierror.Is(err, apierror.Unsupported) {
		t.Errorf("another operation: got %v", err)
	}
}

// TestRoundTrip sends what a reply gave back as history: every block returns
// as it came.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	blocks := `{"type":"thinking","thinking":"hm <b>","signature":"S1"},{"type":"redacted_thinking","data":"D1"},{"type":"text","text":"Two."},` +
		`{"type":"tool_use","id":"toolu_a","name":"f","input":{"x":1}},{"type":"tool_use","id":"toolu_b","name":"f","input":{}}`
	r, err := or.ParseRequest([]byte(`{"model":"m","input":"Hi","reasoning":{"effort":"low"},"tools":[{"type":"function","name":"f"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	turn := provider.Turn{Op: provider.Generate, Model: "claude-sonnet-4-5", Account: provider.Account{Name: "my.anthropic"}, Request: r}
	x, err := translator{}.Begin(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	var acc or.Accumulator
	for ev, err := range x.Decode(t.Context(), provider.Reply{Status: 200, Body: strings.NewReader(`{"type":"message","content":[` + blocks + `],"stop_reason":"tool_use"}`)}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := acc.Add(ev); err != nil {
			t.Fatal(err)
		}
	}
	r.Input = append(r.Input, acc.Items()...)
	for _, it := range acc.Items() {
		if it.Type == or.TypeFunctionCall {
			r.Input = append(r.Input, or.Item{Type: or.TypeFunctionCallOutput, CallID: it.CallID, Output: or.Output{Text: "ok"}})
		}
	}
	if x, err = (translator{}).Begin(t.Context(), turn); err != nil {
		t.Fatal(err)
	}
	if got, want := string(x.Upstream().Body), `{"role":"assistant","content":[`+blocks+`]}`; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}

func TestToolID(t *testing.T) {
	t.Parallel()
	own := "toolu_01AbC"
	if got := toolID(own); got != own {
		t.Errorf("toolID(%q) = %q, want it as it is", own, got)
	}
	seen := map[string]string{}
	for _, in := range []string{"call_abc", "toolu_é", "", "gemini_1", "fc.1", strings.Repeat("x", 300)} {
		got := toolID(in)
		if !strings.HasPrefix(got, "toolu_") || len(got) != len("toolu_")+24 || toolID(in) != got || seen[got] != "" {
			t.Errorf("toolID(%q) = %q, want an id of Anthropic's form, its own and always the same", in, got)
		}
		seen[got] = "taken"
	}
}
