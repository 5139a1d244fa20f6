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
	x, err := translator{}.Begin(t.Context(), provider.Turn{Op: provider.Generate, Model: model, Account: provider.Account{Name: "gemini", Settings: json.RawMessage(settings)}, Request: r})
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(x.Upstream().Body, &body); err != nil {
		t.Fatal(err)
	}
	return body, x.Upstream().Lost, nil
}

func TestThinking(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model, reasoning string
		want             string // generationConfig
		lost             []string
	}{
		{"gemini-2.5-flash", `null`, "", nil},
		{"gemini-2.5-flash", `{}`, "", nil},
		{"gemini-2.5-flash", `{"effort":"none"}`, `{"thinkingConfig":{"thinkingBudget":0}}`, nil},
		{"gemini-2.5-flash", `{"effort":"minimal"}`, `{"thinkingConfig":{"thinkingBudget":1024}}`, nil},
		{"gemini-2.5-flash", `{"effort":"medium"}`, `{"thinkingConfig":{"thinkingBudget":8192}}`, nil},
		{"gemini-2.5-flash", `{"effort":"xhigh"}`, `{"thinkingConfig":{"thinkingBudget":24576}}`, nil},
		{"gemini-2.5-flash", `{"summary":"auto"}`, `{"thinkingConfig":{"includeThoughts":true}}`, nil},
		{"gemini-2.5-flash-lite", `{"effort":"low"}`, `{"thinkingConfig":{"thinkingBudget":1024}}`, nil},
		{"gemini-2.5-pro", `{"effort":"none"}`, `{"thinkingConfig":{"thinkingBudget":128}}`, []string{"reasoning.effort"}},
		{"gemini-2.5-pro", `{"effort":"xhigh"}`, `{"thinkingConfig":{"thinkingBudget":32768}}`, nil},
		{"gemini-2.0-flash", `{"effort":"high","summary":"auto"}`, "", []string{"reasoning.effort", "reasoning.summary"}},
		{"gemini-2.0-flash", `{"effort":"none"}`, "", nil},
		{"gemini-3-pro-preview", `{"effort":"medium"}`, `{"thinkingConfig":{"thinkingLevel":"HIGH"}}`, nil},
		{"gemini-3.1-pro-preview", `{"effort":"medium"}`, `{"thinkingConfig":{"thinkingLevel":"MEDIUM"}}`, nil},
		{"gemini-3-flash-preview", `{"effort":"minimal"}`, `{"thinkingConfig":{"thinkingLevel":"MINIMAL"}}`, nil},
		{"gemini-3-flash-preview", `{"effort":"none"}`, `{"thinkingConfig":{"thinkingLevel":"MINIMAL"}}`, []string{"reasoning.effort"}},
		{"gemini-3.8-flash", `{"effort":"minimal"}`, `{"thinkingConfig":{"thinkingLevel":"LOW"}}`, nil},
		{"gemini-flash-latest", `{"effort":"high","summary":"auto"}`, `{"thinkingConfig":{"includeThoughts":true,"thinkingLevel":"HIGH"}}`, nil},
	}
	for _, tt := range tests {
		body, lost, err := built(t, tt.model, "", `"reasoning":`+tt.reasoning)
		if err != nil || string(body["generationConfig"]) != tt.want || !slices.Equal(lost, tt.lost) {
			t.Errorf("%s, %s: got %s, lost %q, %v, want %s, lost %q", tt.model, tt.reasoning, body["generationConfig"], lost, err, tt.want, tt.lost)
		}
	}
}

func TestToolChoice(t *testing.T) {
	t.Parallel()
	const tools = `"tools":[{"type":"function","name":"f"},{"type":"function","name":"g.h"}]`
	tests := []struct {
		choice string
		want   string // toolConfig
		names  string // of the tools sent
		code   apierror.Code
	}{
		{choice: `null`, names: "f g_h_"},
		{choice: `"auto"`, names: "f g_h_"},
		{choice: `"none"`, want: `{"functionCallingConfig":{"mode":"NONE"}}`, names: "f g_h_"},
		{choice: `"required"`, want: `{"functionCallingConfig":{"mode":"ANY"}}`, names: "f g_h_"},
		{choice: `{"type":"function","name":"f"}`, want: `{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}}`, names: "f g_h_"},
		{choice: `{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]}`, want: `{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}}`, names: "f g_h_"},
		{choice: `{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}`, names: "f"},
		{choice: `{"type":"function","name":"absent"}`, code: apierror.Invalid},
	}
	for _, tt := range tests {
		tools := strings.Replace(tools, "g.h", "g_h_", 1)
		body, lost, err := built(t, "gemini-2.5-flash", "", tools+`,"tool_choice":`+tt.choice)
		if apierror.CodeOf(err) != tt.code {
			t.Errorf("%s: got %v, want code %q", tt.choice, err, tt.code)
		}
		if err != nil {
			continue
		}
		var sent []tool
		if err := json.Unmarshal(body["tools"], &sent); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range sent[0].FunctionDeclarations {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); string(body["toolConfig"]) != tt.want || got != tt.names || len(lost) > 0 {
			t.Errorf("%s: got %s with %s, lost %q, want %s with %s", tt.choice, body["toolConfig"], got, lost, tt.want, tt.names)
		}
	}
	for _, members := range []string{`"tool_choice":"required"`, `"tools":[{"type":"function","name":"f"},{"type":"function","name":"f"}]`, `"tools":[{"type":"function","name":"f","parameters":{"type":"string"}}]`} {
		if _, _, err := built(t, "gemini-2.5-flash", "", members); !apierror.Is(err, apierror.Invalid) || apierror.From(err).Param == "" {
			t.Errorf("%s: got %v, want an invalid field", members, err)
		}
	}
}

func TestBeginRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, model, settings, members string
		code                           apierror.Code
	}{
		{"a setting nobody knows is the operator's mistake", "gemini-2.5-flash", `{"max_tokens":1}`, "", apierror.Internal},
		{"so is a model that would leave the path", "../files", "", "", apierror.Internal},
		{"or bring a query", "gemini?key=x", "", "", apierror.Internal},
		{"an http image", "gemini-2.5-flash", "", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"http://example.com/a.png"}]}]`, apierror.Invalid},
		{"a broken data URL", "gemini-2.5-flash", "", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,***"}]}]`, apierror.Invalid},
		{"a file of unknown type", "gemini-2.5-flash", "", `"input":[{"role":"user","content":[{"type":"input_file","file_data":"aGk="}]}]`, apierror.Invalid},
		{"nothing to say", "gemini-2.5-flash", "", `"input":[{"role":"user","content":""}]`, apierror.Invalid},
	}
	for _, tt := range tests {
		if _, _, err := built(t, tt.model, tt.settings, tt.members); apierror.CodeOf(err) != tt.code {
			t.Errorf("%s: got %v, want code %s", tt.rule, err, tt.code)
		}
	}
	if _, err := (translator{}).Begin(t.Context(), provider.Turn{Op: provider.Embed}); !apierror.Is(err, apierror.Unsupported) {
		t.Errorf("another operation: got %v", err)
	}
}

// TestRoundTrip sends what a reply gave back as history: every signature and
// native id returns to its part.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	reply := `{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"Two.","thoughtSignature":"S0"},` +
		`{"functionCall":{"id":"a","name":"f","args":{"x":1}},"thoughtSignature":"S1"},{"functionCall":{"id":"b","name":"f","args":{}}},{"functionCall":{"name":"f","args":{}},"thoughtSignature":"S2"}]},"finishReason":"STOP"}]}`
	r, err := or.ParseRequest([]byte(`{"model":"m","input":"Hi","tools":[{"type":"function","name":"f"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	turn := provider.Turn{Op: provider.Generate, Model: "gemini-3-pro-preview", Account: provider.Account{Name: "my.gemini"}, Request: r}
	x, err := translator{}.Begin(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	var acc or.Accumulator
	for ev, err := range x.Decode(t.Context(), provider.Reply{Status: 200, Body: strings.NewReader(reply)}) {
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
	want := `{"role":"model","parts":[{"text":"Two.","thoughtSignature":"S0"},{"functionCall":{"id":"a","name":"f","args":{"x":1}},"thoughtSignature":"S1"},` +
		`{"functionCall":{"id":"b","name":"f","args":{}}},{"functionCall":{"name":"f","args":{}},"thoughtSignature":"S2"}]},` +
		`{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"ok"}}},{"functionResponse":{"id":"b","name":"f","response":{"output":"ok"}}},{"functionResponse":{"name":"f","response":{"output":"ok"}}}]}]`
	if got := string(x.Upstream().Body); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}
