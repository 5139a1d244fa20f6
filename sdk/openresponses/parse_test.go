package openresponses

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestParseRequestFields(t *testing.T) {
	t.Parallel()
	r, err := ParseRequest([]byte(`{
		"model":"m","input":"hello","instructions":"be brief","stream":true,"background":false,"store":null,
		"parallel_tool_calls":true,"max_output_tokens":16,"max_tool_calls":1,"temperature":0.5,"top_p":1,
		"presence_penalty":-1,"frequency_penalty":2e0,"top_logprobs":20,
		"reasoning":{"effort":"minimal","summary":null},"text":{"format":{"type":"json_schema","name":"n","schema":{"a":1.0},"strict":true},"verbosity":"low"},
		"include":["reasoning.encrypted_content"],"metadata":{"k":"v"},"truncation":"auto","service_tier":"flex",
		"safety_identifier":"s","prompt_cache_key":"p","previous_response_id":null,"stop":"END",
		"stream_options":{"include_obfuscation":false},"trace_destination":{"table":"a.b"},
		"tools":[{"type":"function","name":"f","description":null,"parameters":{"type":"object"},"strict":false}],
		"tool_choice":{"type":"allowed_tools","tools":[{"type":"function","name":"f"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	yes, no, sixteen, one, twenty := true, false, int64(16), int64(1), int64(20)
	half, f1, minus, two := 0.5, 1.0, -1.0, 2.0
	want := &Request{
		Model: "m", Input: []Item{Text("user", "hello")}, Instructions: "be brief", Stream: true,
		ParallelToolCalls: &yes, MaxOutputTokens: &sixteen, MaxToolCalls: &one, Temperature: &half, TopP: &f1,
		PresencePenalty: &minus, FrequencyPenalty: &two, TopLogprobs: &twenty, Reasoning: &Reasoning{Effort: "minimal"},
		Text:    &TextOptions{Format: json.RawMessage(`{"type":"json_schema","name":"n","schema":{"a":1.0},"strict":true}`), Verbosity: "low"},
		Include: []string{"reasoning.encrypted_content"}, Metadata: map[string]string{"k": "v"}, Truncation: "auto", ServiceTier: "flex",
		SafetyIdentifier: "s", PromptCacheKey: "p", Stop: []string{"END"},
		Extra: []Member{{"stream_options", json.RawMessage(`{"include_obfuscation":false}`)}, {"trace_destination", json.RawMessage(`{"table":"a.b"}`)}},
		Tools: []Tool{{Type: "function", Name: "f", Parameters: json.RawMessage(`{"type":"object"}`), Strict: &no,
			Raw: json.RawMessage(`{"type":"function","name":"f","description":null,"parameters":{"type":"object"},"strict":false}`)}},
		ToolChoice: &ToolChoice{Mode: "auto", Names: []string{"f"}, Raw: json.RawMessage(`{"type":"allowed_tools","tools":[{"type":"function","name":"f"}]}`)},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %s\nwant %s", r.AppendJSON(nil), want.AppendJSON(nil))
	}
	if got := r.ExtraMember("trace_destination"); string(got) != `{"table":"a.b"}` {
		t.Errorf("ExtraMember = %s", got)
	}
}

func TestParseRequestRefusals(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65)
	tests := []struct{ in, param, says string }{
		{`[]`, "", "must be a JSON object, not an array"},
		{`{"model":7}`, "model", "model must be a string, not a number"},
		{`{"input":{}}`, "input", "a string or an array of items"},
		{`{"input":[7]}`, "input[0]", "input[0] must be an object"},
		{`{"tools":[null]}`, "tools[0]", "tools[0] must be an object"},
		{`{"input":[{"role":"user","content":"a"},{"role":"robot","content":"b"}]}`, "input[1].role", `is "robot"; it must be one of user`},
		{`{"input":[{"role":"user"}]}`, "input[0].content", "content is missing"},
		{`{"input":[{"role":"user","content":[{"type":"input_text","text":7}]}]}`, "input[0].content[0].text", "input[0].content[0].text must be a string"},
		{`{"input":[{"role":"user","content":[{"text":"x"}]}]}`, "input[0].content[0].type", "type is missing"},
		{`{"input":[{"content":"x"}]}`, "input[0].type", "type is missing"},
		{`{"input":[{"type":"function_call","name":"f","arguments":"{}"}]}`, "input[0].call_id", "call_id is missing"},
		{`{"input":[{"type":"function_call","call_id":"` + long + `","name":"f","arguments":"{}"}]}`, "input[0].call_id", "longer than 64"},
		{`{"input":[{"type":"function_call","call_id":"c","name":"a.b","arguments":"{}"}]}`, "input[0].name", "must match"},
		{`{"input":[{"type":"function_call_output","call_id":"c"}]}`, "input[0].output", "output is missing"},
		{`{"input":[{"type":"function_call_output","call_id":"c","output":7}]}`, "input[0].output", "a string or an array of parts"},
		{`{"input":[{"type":"message","role":"user","content":[{"type":"input_image","image_url":"u","detail":"huge"}]}]}`, "input[0].content[0].detail", "low, high, auto"},
		{`{"input":"` + strings.Repeat("x", maxText+1) + `"}`, "input", "longer than 10485760"},
		{`{"max_output_tokens":15}`, "max_output_tokens", "at least 16"},
		{`{"max_output_tokens":16.5}`, "max_output_tokens", "whole number"},
		{`{"max_tool_calls":0}`, "max_tool_calls", "at least 1"},
		{`{"top_logprobs":21}`, "top_logprobs", "at most 20"},
		{`{"temperature":"hot"}`, "temperature", "must be a number, not a string"},
		{`{"temperature":1e400}`, "temperature", "out of range"},
		{`{"stream":"yes"}`, "stream", "true or false"},
		{`{"metadata":{"a":1}}`, "metadata.a", "must be a string"},
		{`{"metadata":{"a":"` + strings.Repeat("x", 513) + `"}}`, "metadata.a", "longer than 512"},
		{`{"metadata":{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":"","k":"","l":"","m":"","n":"","o":"","p":"","q":""}}`, "metadata", "17 entries"},
		{`{"safety_identifier":"` + long + `"}`, "safety_identifier", "longer than 64"},
		{`{"prompt_cache_key":"` + long + `"}`, "prompt_cache_key", "longer than 64"},
		{`{"include":["everything"]}`, "include[0]", "it must be one of"},
		{`{"truncation":"some"}`, "truncation", "auto, disabled"},
		{`{"service_tier":"gold"}`, "service_tier", "flex"},
		{`{"reasoning":{"effort":"max"}}`, "reasoning.effort", "xhigh"},
		{`{"text":{"format":{"type":"xml"}}}`, "text.format.type", "json_schema"},
		{`{"text":{"format":{"type":"json_schema","name":"a b","schema":{}}}}`, "text.format.name", "must match"},
		{`{"tools":[{"name":"f"}]}`, "tools[0].type", "type is missing"},
		{`{"tools":[{"type":"function","name":"a.b"}]}`, "tools[0].name", "function tool 'name' must match ^[a-zA-Z0-9_-]{1,64}$"},
		{`{"tools":[{"type":"function"}]}`, "tools[0].name", "function tool 'name' must match ^[a-zA-Z0-9_-]{1,64}$"},
		{`{"tools":[{"type":"function","name":"f","parameters":[]}]}`, "tools[0].parameters", "an object"},
		{`{"tool_choice":"maybe"}`, "tool_choice", "auto, required, none"},
		{`{"tool_choice":{"type":"function"}}`, "tool_choice.name", "name is missing"},
		{`{"tool_choice":{"type":"allowed_tools","tools":[]}}`, "tool_choice.tools", "1 to 128"},
		{`{"tool_choice":{"type":"allowed_tools","tools":[{"type":"mcp"}]}}`, "tool_choice.tools[0].name", "called by name"},
	}
	for _, tt := range tests {
		_, err := ParseRequest([]byte(tt.in))
		e, ok := errors.AsType[*apierror.Error](err)
		if !ok || e.Code != apierror.Invalid || e.Param != tt.param || !strings.Contains(e.Message, tt.says) {
			t.Errorf("ParseRequest(%.90s)\n got %v (param %q)\nwant %q about %q", tt.in, err, paramOf(e), tt.says, tt.param)
		}
	}
}

func paramOf(e *apierror.Error) string {
	if e == nil {
		return ""
	}
	return e.Param
}

func TestParseRequestNulls(t *testing.T) {
	t.Parallel()
	names := []string{"model", "input", "instructions", "tools", "tool_choice", "stream", "background", "store", "parallel_tool_calls",
		"max_output_tokens", "max_tool_calls", "temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "reasoning",
		"text", "include", "metadata", "truncation", "service_tier", "safety_identifier", "prompt_cache_key", "previous_response_id", "stop"}
	r, err := ParseRequest([]byte(`{"` + strings.Join(names, `":null,"`) + `":null}`))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, &Request{}) {
		t.Errorf("nulls left something: %+v", r)
	}
}

func TestParseRequestHalfSurrogate(t *testing.T) {
	t.Parallel()
	in := `{"model":"m","input":[{"role":"user","content":"cut \ud83d"}],"x":"\ud83d"}`
	r, err := ParseRequest([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Input[0].Content[0].Text; got != "cut \ufffd" {
		t.Errorf("text = %q, want what encoding/json gives", got)
	}
	if got, want := string(r.AppendJSON(nil)), strings.ReplaceAll(in, `\ud83d`, `\ufffd`); got != want {
		t.Errorf("written as %s", got)
	}
}

// echoes are items as real clients send them back: with the nulls that
// openai-python adds, without types, in other dialects' shapes.
var echoes = []string{
	`{"role":"user","content":"hi"}`,
	`{"id":"msg_1","content":[{"annotations":[],"text":"See.","type":"output_text","logprobs":null}],"role":"assistant","status":"completed","type":"message","phase":null}`,
	`{"arguments":"{\"q\":1}","call_id":"call_1","name":"f","type":"function_call","id":null,"status":null,"caller":null,"namespace":null}`,
	`{"call_id":"call_1","output":"{}","type":"function_call_output","id":null,"status":"completed","caller":null,"created_by":null,"name":null,"namespace":null}`,
	`{"call_id":"call_1","output":[{"type":"input_image","image_url":"data:image/png;base64,AA==","detail":null},{"type":"input_video","video_url":"u"}],"type":"function_call_output"}`,
	`{"id":"rs_1","summary":[{"text":"t","type":"summary_text"}],"type":"reasoning","content":null,"encrypted_content":null,"status":null}`,
	`{"id":"mcpl_1","server_label":"docs","tools":[{"input_schema":{"type":"object"},"name":"s","annotations":null,"description":null}],"type":"mcp_list_tools","error":null}`,
	`{"type":"mcp_call","id":"mcp_2","server_label":"docs","name":"search","arguments":"{}","output":null,"error":{"type":"http_error","code":5,"message":"m"},"status":"failed"}`,
	`{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":true,"reason":null}`,
	`{"type":"code_interpreter_call","id":"ci_1","status":"completed","container_id":"c","code":"print(1)","outputs":[{"type":"logs","logs":"1\n"}]}`,
	`{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"x"}}`,
	`{"type":"acme:trace","id":7,"content":null,"role":null,"phase":null,"big":12345678901234567890,"f":1.0,"e":1e400}`,
	`{"id":"msg_9"}`,
	`{"type":"compaction","id":null,"encrypted_content":"sp1.a.b.AA"}`,
	`{"type":"message","role":"user","content":[{"type":"input_text","text":"\u00e9\/","cache":{"x":1}}],"\u00e9":2}`,
	`{"type":"message","role":"developer","content":null}`,
}

func TestParseIsLossless(t *testing.T) {
	t.Parallel()
	for _, in := range echoes {
		it, err := ParseItem([]byte(in))
		if err != nil {
			t.Errorf("ParseItem(%s): %v", in, err)
			continue
		}
		if got := string(it.AppendJSON(nil)); got != in {
			t.Errorf("item written as\n%s\nwant\n%s", got, in)
		}
		for _, p := range it.Content {
			if p.Raw != nil && !bytes.Contains([]byte(in), p.Raw) {
				t.Errorf("part %s is not of %s", p.Raw, in)
			}
		}
	}
	in := `{"model":"m","input":[` + strings.Join(echoes, ",") + `],"tools":[{"type":"genie_space","genie_space":{"id":"1"},"x":null}],"tool_choice":{"type":"mcp","server_label":"d"},"x":{"deep":[1.0]}}`
	r, err := ParseRequest([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(r.AppendJSON(nil)), strings.ReplaceAll(in, `\ud83d`, `\ufffd`); got != want {
		t.Errorf("request written as\n%s\nwant\n%s", got, in)
	}
	if got := string(r.Tools[0].Nested()); got != `{"id":"1"}` {
		t.Errorf("Nested = %s", got)
	}
}

func TestParseItemTypes(t *testing.T) {
	t.Parallel()
	want := []string{TypeMessage, TypeMessage, TypeFunctionCall, TypeFunctionCallOutput, TypeFunctionCallOutput, TypeReasoning,
		TypeMCPListTools, TypeMCPCall, TypeMCPApprovalResponse, TypeCodeInterpreterCall, TypeWebSearchCall, "acme:trace", TypeItemReference, TypeCompaction, TypeMessage, TypeMessage}
	for i, in := range echoes {
		it, _ := ParseItem([]byte(in))
		if it.Type != want[i] {
			t.Errorf("type of %s = %q, want %q", in, it.Type, want[i])
		}
	}
	for in, want := range map[string]string{`{"call_id":"c","output":"o"}`: TypeFunctionCallOutput, `{"call_id":"c","name":"n","arguments":""}`: TypeFunctionCall} {
		if it, err := ParseItem([]byte(in)); err != nil || it.Type != want {
			t.Errorf("type of %s = %q, %v", in, it.Type, err)
		}
	}
}

func TestWritersWithoutRaw(t *testing.T) {
	t.Parallel()
	strict := true
	for want, v := range map[string]interface{ AppendJSON([]byte) []byte }{
		`{"type":"message","role":"user","content":[{"type":"input_text","text":"a\"\\\n\u0001é�"}]}`:                    ptr(Text("user", "a\"\\\n\x01é\xff")),
		`{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"u","detail":"low"}]}`: &Item{Type: TypeFunctionCallOutput, CallID: "c", Output: Output{Parts: []Part{{Type: PartInputImage, ImageURL: "u", Detail: "low"}}}},
		`{"type":"function_call_output","call_id":"c","output":""}`:                                                      &Item{Type: TypeFunctionCallOutput, CallID: "c"},
		`{"type":"reasoning","summary":[],"encrypted_content":"e"}`:                                                      &Item{Type: TypeReasoning, EncryptedContent: "e"},
		`{"type":"function","name":"f","parameters":{},"strict":true}`:                                                   &Tool{Type: "function", Name: "f", Parameters: json.RawMessage(`{}`), Strict: &strict},
		`{"type":"function","name":"f"}`:                                                                                 &ToolChoice{Mode: "required", Name: "f"},
		`{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}]}`: &ToolChoice{Mode: "auto", Names: []string{"f", "g"}},
		`"none"`: &ToolChoice{Mode: "none"},
		`{"input_tokens":10,"input_tokens_details":{"cached_tokens":2,"cache_write_tokens":3,"cache_write_1h_tokens":4},"output_tokens":11,"output_tokens_details":{"reasoning_tokens":6},"total_tokens":21,"estimated":true}`: &Usage{Input: 1, CacheRead: 2, CacheWrite: 3, CacheWrite1h: 4, Output: 5, Reasoning: 6, Estimated: true},
	} {
		got := string(v.AppendJSON(nil))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("not JSON: %s", got)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestOpaqueState(t *testing.T) {
	t.Parallel()
	for _, st := range []OpaqueState{{"openai", "openai", []byte{0, 255, '.'}}, {"my.account%2E", "anthropic", []byte{}}} {
		got, ok := ParseOpaqueState(st.String())
		if !ok || !reflect.DeepEqual(got, st) {
			t.Errorf("%q gives %+v, %v; want %+v", st.String(), got, ok, st)
		}
		if n := strings.Count(st.String(), "."); n != 3 {
			t.Errorf("%q has %d dots", st.String(), n)
		}
	}
	for _, bad := range []string{"", "gAAAAA", "sp1.", "sp1.a", "sp1.a.b", "sp1..b.AA", "sp1.a..AA", "sp1.a.b.!", "sp2.a.b.AA"} {
		if st, ok := ParseOpaqueState(bad); ok {
			t.Errorf("ParseOpaqueState(%q) = %+v", bad, st)
		}
	}
}

// TestRawIsSharedNotCopied: the parts of an item, and the parameters of a
// tool, are slices of its JSON.
func TestRawIsSharedNotCopied(t *testing.T) {
	t.Parallel()
	it, err := ParseItem([]byte(`{ "x\u0061":[1], "content" : [ {"type":"input_text","text":"]\"},{"} , {"type":"output_text","text":"b","annotations":[{"type":"a"},{"type":"b"}],"logprobs":[{"t":1}]} ], "role":"user" }`))
	if err != nil {
		t.Fatal(err)
	}
	p := it.Content[1]
	for name, tt := range map[string]struct{ got, within json.RawMessage }{
		`{"type":"input_text","text":"]\"},{"}`: {it.Content[0].Raw, it.Raw},
		`{"type":"b"}`:                          {p.Annotations[1].Raw, p.Raw},
		`[{"t":1}]`:                             {p.Logprobs, p.Raw},
	} {
		i := bytes.Index(tt.within, tt.got)
		if string(tt.got) != name || i < 0 || &tt.got[0] != &tt.within[i] {
			t.Errorf("raw %s, want %s as a slice of %s", tt.got, name, tt.within)
		}
	}
	var tool Tool
	if err := json.Unmarshal([]byte(`{"type":"function","name":"f","parameters":{"type":"object"}}`), &tool); err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(tool.Raw, tool.Parameters); i < 0 || &tool.Parameters[0] != &tool.Raw[i] {
		t.Errorf("parameters %s are a copy", tool.Parameters)
	}
}

// FuzzParseRequest: parsing never panics; writing and parsing again is stable;
// the fields agree with encoding/json.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","input":[` + strings.Join(echoes, ",") + `],"metadata":{"a":"b"}}`))
	f.Add([]byte(`{"input":"\ud800","stop":["a"],"temperature":1.5,"tools":[{"type":"function","name":"f","parameters":{}}],"tool_choice":"auto"}`))
	f.Add([]byte(`{"reasoning":{"effort":"low"},"text":{"format":{"type":"json_object"}},"include":[],"x":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		once := r.AppendJSON(nil)
		again, err := ParseRequest(once)
		if err != nil {
			t.Fatalf("%s was written as %s: %v", b, once, err)
		}
		if twice := again.AppendJSON(nil); !bytes.Equal(once, twice) {
			t.Fatalf("not stable:\n%s\n%s", once, twice)
		}
		var plain struct {
			Model        *string
			Instructions *string
			Temperature  *float64
			Input        json.RawMessage
		}
		if err := json.Unmarshal(b, &plain); err != nil {
			return // encoding/json takes "Model" for "model"
		}
		var exact map[string]json.RawMessage
		if err := json.Unmarshal(b, &exact); err != nil {
			t.Fatal(err)
		}
		var model string
		if json.Unmarshal(exact["model"], &model) == nil && model != r.Model {
			t.Fatalf("model %q, encoding/json says %q", r.Model, model)
		}
		var temperature *float64
		if json.Unmarshal(exact["temperature"], &temperature) == nil && !reflect.DeepEqual(temperature, r.Temperature) {
			t.Fatalf("temperature %v, encoding/json says %v", r.Temperature, temperature)
		}
		var input []struct{ Content json.RawMessage }
		if json.Unmarshal(exact["input"], &input) == nil {
			for i, it := range input {
				var s string
				if r.Input[i].Type == TypeMessage && json.Unmarshal(it.Content, &s) == nil && len(r.Input[i].Content) == 1 && r.Input[i].Content[0].Text != s {
					t.Fatalf("content %q, encoding/json says %q", r.Input[i].Content[0].Text, s)
				}
			}
		}
	})
}

func BenchmarkParseRequest(b *testing.B) {
	body := []byte(`{"model":"m","instructions":"` + strings.Repeat("Be brief. ", 100) + `","input":[` + strings.Join(echoes, ",") +
		`,{"role":"user","content":"` + strings.Repeat("What? ", 150) + `"}],"tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object","properties":{` +
		strings.Repeat(`"p":{"type":"string"},`, 0) + `"q":{"type":"string","description":"` + strings.Repeat("x", 1100) + `"}}}}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}
