package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// accepted reads a body as the route generateContent, or another.
func accepted(t testing.TB, route, query, body string) (*session, error) {
	t.Helper()
	d, err := translator{}.Accept(context.Background(), provider.ClientRequest{
		Surface: "gemini", Route: "/v1beta/models/{model}:" + route, Model: "m", Stream: route == "streamGenerateContent", Query: query, Body: []byte(body),
	})
	if err != nil {
		return nil, err
	}
	return d.(*session), nil
}

// TestAccept gives the request in the inner language for what a client says
// beside a plain content.
func TestAccept(t *testing.T) {
	t.Parallel()
	const (
		hi   = `"contents":[{"role":"user","parts":[{"text":"Hi"}]}]`
		said = `"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}]`
		fn   = `"tools":[{"functionDeclarations":[{"name":"f","description":"d","parametersJsonSchema":{"type":"object","properties":{"x":{"type":"integer"}}}}]}]`
		tool = `"tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}]`
	)
	tests := []struct{ rule, body, want, lost string }{
		{"a text", `{` + hi + `}`, `{"model":"m",` + said + `}`, ""},
		{"no role is the user's", `{"contents":[{"parts":[{"text":"Hi"}]}]}`, `{"model":"m",` + said + `}`, ""},
		{"snake_case and null", `{"contents":[{"role":"user","parts":[{"text":"Hi","inline_data":null}]}],"system_instruction":{"role":"user","parts":[{"text":"a"},{"text":"b"}]},"generation_config":{"max_output_tokens":"99","stop_sequences":["x"]}}`,
			`{"model":"m",` + said + `,"instructions":"a\nb","max_output_tokens":99,"stop":["x"]}`, ""},
		{"sampling", `{` + hi + `,"generationConfig":{"temperature":0.5,"topP":0.95,"topK":64,"seed":7,"candidateCount":1,"responseModalities":["TEXT"]}}`,
			`{"model":"m",` + said + `,"temperature":0.5,"top_p":0.95,"top_k":64}`, "generationConfig.seed"},
		{"a schema for the answer", `{` + hi + `,"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"OBJECT","properties":{"n":{"type":"INTEGER","nullable":true,"minimum":"1"}},"propertyOrdering":["n"]}}}`,
			`{"model":"m",` + said + `,"text":{"format":{"type":"json_schema","name":"response","schema":{"properties":{"n":{"minimum":1,"type":["integer","null"]}},"type":"object"}}}}`, ""},
		{"JSON without a schema", `{` + hi + `,"generationConfig":{"responseMimeType":"application/json"}}`, `{"model":"m",` + said + `,"text":{"format":{"type":"json_object"}}}`, ""},
		{"thoughts wanted", `{` + hi + `,"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingLevel":"LOW"}}}`, `{"model":"m",` + said + `,"reasoning":{"effort":"low","summary":"auto"}}`, ""},
		{"a budget", `{` + hi + `,"generationConfig":{"thinkingConfig":{"thinkingBudget":5000}}}`, `{"model":"m",` + said + `,"reasoning":{"effort":"medium"},"gemini":{"thinking_budget":5000}}`, ""},
		{"no thinking", `{` + hi + `,"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}}`, `{"model":"m",` + said + `,"reasoning":{"effort":"none"},"gemini":{"thinking_budget":0}}`, ""},
		{"a function", `{` + hi + `,` + fn + `}`, `{"model":"m",` + said + `,` + tool + `}`, ""},
		{"the older schema", `{` + hi + `,"tools":[{"functionDeclarations":[{"name":"a.b","parameters":{"type":"OBJECT","properties":{"type":{"type":"STRING","format":"enum","enum":["x"]}},"required":["type"]},"behavior":"BLOCKING"}]}]}`,
			`{"model":"m",` + said + `,"tools":[{"type":"function","name":"a_b_b3dcef57","parameters":{"properties":{"type":{"enum":["x"],"type":"string"}},"required":["type"],"type":"object"}}]}`, "tools[0].functionDeclarations[0].behavior"},
		{"a choice before its tools", `{"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},` + fn + `,` + hi + `}`,
			`{"model":"m",` + said + `,` + tool + `,"tool_choice":{"type":"function","name":"f"}}`, ""},
		{"no calls", `{` + hi + `,` + fn + `,"tool_config":{"function_calling_config":{"mode":"NONE"}}}`, `{"model":"m",` + said + `,` + tool + `,"tool_choice":"none"}`, ""},
		{"a choice without tools", `{` + hi + `,"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}}`, `{"model":"m",` + said + `}`, ""},
		{"what has no place", `{` + hi + `,"safetySettings":[],"labels":{},` + fn + `,"toolConfig":{"retrievalConfig":{}}}`, `{"model":"m",` + said + `,` + tool + `}`, "safetySettings labels toolConfig.retrievalConfig"},
		{"a hosted tool beside functions", `{` + hi + `,"tools":[{"googleSearch":{}},{"functionDeclarations":[{"name":"f","description":"d","parametersJsonSchema":{"type":"object","properties":{"x":{"type":"integer"}}}}]},{"url_context":{}}]}`,
			`{"model":"m",` + said + `,` + tool + `}`, "tools[0].googleSearch tools[2].url_context"},
		{"files", `{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"_-8"}},{"inline_data":{"mime_type":"application/pdf","data":"JVBERi0=","displayName":"a.pdf"}},{"fileData":{"fileUri":"https://example.com/a.jpg","mimeType":"image/jpeg"}}]}]}`,
			`{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,/+8="},{"type":"input_file","file_data":"data:application/pdf;base64,JVBERi0=","filename":"a.pdf"},{"type":"input_image","image_url":"https://example.com/a.jpg"}]}]}`, ""},
		{"what Google ran is said", `{"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[{"executableCode":{"language":"PYTHON","code":"print(1)\n"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1\n"}}]},{"parts":[{"text":"Go on"}]}]}`,
			`{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]},` +
				"{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"```python\\nprint(1)\\n```\\n\",\"annotations\":[]},{\"type\":\"output_text\",\"text\":\"```\\n1\\n```\\n\",\"annotations\":[]}]}," +
				`{"type":"message","role":"user","content":[{"type":"input_text","text":"Go on"}]}]}`, ""},
	}
	for _, tt := range tests {
		s, err := accepted(t, "generateContent", "", tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.rule, err)
			continue
		}
		if got := same(t, s.Asked().Request); got != same(t, json.RawMessage(tt.want)) {
			t.Errorf("%s: got %s, want %s", tt.rule, got, tt.want)
		}
		if got := strings.Join(s.Asked().Lost, " "); got != tt.lost {
			t.Errorf("%s: lost %q, want %q", tt.rule, got, tt.lost)
		}
	}
}

// same is JSON with its members in order.
func same(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var x any
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	b, _ = json.Marshal(x)
	return string(b)
}

func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	const hi = `{"role":"user","parts":[{"text":"Hi"}]}`
	call := `{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]}`
	tests := []struct {
		rule, body string
		code       apierror.Code
		param      string
	}{
		{"no JSON", `{`, apierror.Invalid, ""},
		{"no object", `[]`, apierror.Invalid, ""},
		{"nothing to say", `{}`, apierror.Invalid, "contents"},
		{"contents of another type", `{"contents":"Hi"}`, apierror.Invalid, "contents"},
		{"a role", `{"contents":[{"role":"system","parts":[]}]}`, apierror.Invalid, "contents[0].role"},
		{"two things in a part", `{"contents":[{"parts":[{"text":"a","inline_data":{}}]}]}`, apierror.Invalid, "contents[0].parts[0].inline_data"},
		{"a call of the user's", `{"contents":[{"parts":[{"functionCall":{"name":"f"}}]}]}`, apierror.Invalid, "contents[0].parts[0].functionCall"},
		{"a call without response", `{"contents":[` + hi + `,` + call + `]}`, apierror.Invalid, "contents[1].parts[0].functionCall"},
		{"a response without call", `{"contents":[{"parts":[{"function_response":{"name":"f","response":{}}}]}]}`, apierror.Invalid, "contents[0].parts[0].function_response"},
		{"a response to another function", `{"contents":[` + hi + `,` + call + `,{"parts":[{"functionResponse":{"name":"g","response":{}}}]}]}`, apierror.Invalid, "contents[2].parts[0].functionResponse"},
		{"contents kept at Google", `{"contents":[` + hi + `],"cachedContent":"cachedContents/x"}`, apierror.Unsupported, "cachedContent"},
		{"a file kept at Google", `{"contents":[{"parts":[{"fileData":{"fileUri":"gs://b/x.png"}}]}]}`, apierror.Unsupported, "contents[0].parts[0].fileData"},
		{"only a tool of Google's", `{"contents":[` + hi + `],"tools":[{"googleSearch":{}}]}`, apierror.Unsupported, "tools[0].googleSearch"},
		{"several answers", `{"contents":[` + hi + `],"generationConfig":{"candidateCount":2}}`, apierror.Unsupported, "generationConfig.candidateCount"},
		{"an image for an answer", `{"contents":[` + hi + `],"generationConfig":{"responseModalities":["IMAGE"]}}`, apierror.Unsupported, "generationConfig.responseModalities"},
		{"a function that is not there", `{"contents":[` + hi + `],"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["g"]}}}`,
			apierror.Invalid, "toolConfig.functionCallingConfig.allowedFunctionNames"},
		{"two functions of a name", `{"contents":[` + hi + `],"tools":[{"functionDeclarations":[{"name":"f"},{"name":"f"}]}]}`, apierror.Invalid, "tools[0].functionDeclarations[1].name"},
		{"a fraction of a token", `{"contents":[` + hi + `],"generationConfig":{"maxOutputTokens":1.5}}`, apierror.Invalid, "generationConfig.maxOutputTokens"},
	}
	for _, tt := range tests {
		_, err := accepted(t, "generateContent", "", tt.body)
		if apierror.CodeOf(err) != tt.code || apierror.From(err).Param != tt.param {
			t.Errorf("%s: got %v, want %s at %q", tt.rule, err, tt.code, tt.param)
		}
	}
}

// TestCallsFindTheirResponses by id, also with the name that Gemini CLI puts
// before it, and else by name and order.
func TestCallsFindTheirResponses(t *testing.T) {
	t.Parallel()
	tests := []struct{ rule, calls, responses, want string }{
		{"ids", `{"functionCall":{"id":"a","name":"f","args":{"x":1}}},{"functionCall":{"id":"b","name":"f"}}`,
			`{"functionResponse":{"id":"b","name":"f","response":{"output":"B"}}},{"functionResponse":{"id":"a","name":"f","response":{"output":"A"}}}`, "a=A b=B"},
		{"the name before the id", `{"functionCall":{"id":"f__call_1","name":"f"}}`, `{"functionResponse":{"id":"f__call_1","name":"f","response":{"result":"A"}}}`, "call_1=A"},
		{"names and order", `{"functionCall":{"name":"f"}},{"functionCall":{"name":"g"}},{"functionCall":{"name":"f"}}`,
			`{"functionResponse":{"name":"g","response":{"output":"G"}}},{"functionResponse":{"name":"f","response":{"output":"F1"}}},{"functionResponse":{"name":"f","response":{"output":"F2"}}}`, "call=F1 call=G call=F2"},
		{"an id that does not fit", `{"functionCall":{"id":"é","name":"f"}}`, `{"functionResponse":{"id":"é","name":"f","response":{"a":1}}}`, `call={"a":1}`},
		{"an error", `{"functionCall":{"id":"a","name":"f"}}`, `{"functionResponse":{"id":"a","name":"f","response":{"error":"no"}}}`, "a=no failed"},
		{"files", `{"functionCall":{"id":"a","name":"f"}}`, `{"functionResponse":{"id":"a","name":"f","response":{"output":"see"},"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}}`, "a=see+data:image/png;base64,AA=="},
	}
	for _, tt := range tests {
		s, err := accepted(t, "generateContent", "", `{"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[`+tt.calls+`]},{"role":"function","parts":[`+tt.responses+`]}]}`)
		if err != nil {
			t.Errorf("%s: %v", tt.rule, err)
			continue
		}
		outputs := map[string]string{}
		var ids []string
		for _, it := range s.Asked().Request.Input {
			switch it.Type {
			case or.TypeFunctionCall:
				ids = append(ids, it.CallID)
			case or.TypeFunctionCallOutput:
				out := it.Output.Text
				for _, p := range it.Output.Parts {
					out += strings.Replace("+"+p.Text+p.ImageURL, "+see", "see", 1)
				}
				outputs[it.CallID] = strings.TrimSpace(out + " " + it.Status)
			}
		}
		var got []string
		for _, id := range ids {
			name := id
			if strings.HasPrefix(id, "call_") && len(id) > 20 {
				name = "call"
			}
			got = append(got, name+"="+outputs[id])
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: got %s, want %s", tt.rule, s, tt.want)
		}
	}
}

// told is a reply as a translator tells it.
func told(err error, tell func(out *provider.Output)) iter.Seq2[or.Event, error] {
	return func(yield func(or.Event, error) bool) {
		out := provider.NewOutput(yield)
		tell(out)
		if err != nil {
			out.Fail(err)
		}
	}
}

// TestStatesComeBack lets a client keep a conversation and send it again: each
// reasoning item stands before the call or text that it led to.
func TestStatesComeBack(t *testing.T) {
	t.Parallel()
	state := func(s string) or.OpaqueState {
		return or.OpaqueState{Provider: "my.claude", Family: "anthropic", Data: []byte(s)}
	}
	for _, stream := range []bool{true, false} {
		route, query := "generateContent", ""
		if stream {
			route, query = "streamGenerateContent", "alt=sse"
		}
		s, err := accepted(t, route, query, `{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}`)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		err = s.Write(t.Context(), told(nil, func(out *provider.Output) {
			out.Summary("hm")
			out.ReasoningState(state("one"))
			out.CloseItem()
			out.ReasoningState(state("two"))
			out.CloseItem()
			out.Text("Let me ")
			out.Text("look.")
			out.ReasoningState(state("three"))
			out.CloseItem()
			out.Call("0", "toolu_1", "f")
			out.Arguments("0", `{"x":1}`)
			out.CloseCall("0")
			out.ReasoningState(state("four"))
			out.Finish(or.Terminal{})
		}), &b)
		if err != nil {
			t.Fatal(err)
		}
		var parts []json.RawMessage
		for _, c := range chunks(t, b.String(), stream) {
			parts = append(parts, c.Candidates[0].Content.Parts...)
		}
		again, _ := json.Marshal(map[string]any{"contents": []any{
			map[string]any{"parts": []any{map[string]any{"text": "Hi"}}},
			map[string]any{"role": "model", "parts": parts},
			map[string]any{"parts": []any{map[string]any{"functionResponse": map[string]any{"id": "f__toolu_1", "name": "f", "response": map[string]any{"output": "ok"}}}}},
		}})
		s, err = accepted(t, "generateContent", "", strings.Replace(string(again), `"id":"toolu_1"`, `"id":"f__toolu_1"`, 1))
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		var got []string
		for _, it := range s.Asked().Request.Input {
			text := it.Type
			if st, ok := or.ParseOpaqueState(it.EncryptedContent); ok {
				text = string(st.Data)
			}
			if n := len(got); n == 0 || got[n-1] != text {
				got = append(got, text)
			}
		}
		if want := "message reasoning one two message three function_call four function_call_output"; strings.Join(got, " ") != want {
			t.Errorf("stream %t: got %q, want %q\nfrom %s", stream, strings.Join(got, " "), want, again)
		}
	}
}

// response is a chunk, or the whole.
type response struct {
	Candidates []struct {
		Content struct {
			Parts []json.RawMessage
			Role  string
		}
		FinishReason string
	}
	UsageMetadata json.RawMessage
	ModelVersion  string
	Error         json.RawMessage
}

// chunks reads a reply, and checks that a stream is whole events.
func chunks(t testing.TB, reply string, stream bool) []response {
	t.Helper()
	texts := []string{reply}
	if stream {
		if reply != "" && !strings.HasSuffix(reply, "\n\n") {
			t.Errorf("the stream does not end with an event: %q", reply)
		}
		texts = strings.Split(strings.TrimSuffix(reply, "\n\n"), "\n\n")
	}
	var out []response
	for _, text := range texts {
		if stream {
			if text == "" {
				continue
			}
			var ok bool
			if text, ok = strings.CutPrefix(text, "data: "); !ok {
				t.Fatalf("no event: %q", text)
			}
		}
		var r response
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		out = append(out, r)
	}
	return out
}

// TestErrorsInReplies: nothing but the error before the first piece, and after
// it the error to the gateway, which breaks off the connection.
func TestErrorsInReplies(t *testing.T) {
	t.Parallel()
	broke := apierror.New(apierror.UpstreamFailed, "The provider broke off.")
	for _, tt := range []struct {
		route, query string
		said         string
		want         string // of what is written
		err          bool
	}{
		{"streamGenerateContent", "alt=sse", "", `"error":{"code":503,"message":"The provider broke off.","status":"UNAVAILABLE"}`, false},
		{"streamGenerateContent", "alt=sse", "Half", `"text":"Half"`, true},
		{"streamGenerateContent", "", "Half", "", true},
		{"generateContent", "", "Half", "", true},
	} {
		s, err := accepted(t, tt.route, tt.query, `{"contents":[{"parts":[{"text":"Hi"}]}]}`)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		err = s.Write(t.Context(), told(broke, func(out *provider.Output) { out.Text(tt.said) }), &b)
		if errors.Is(err, broke) != tt.err || !strings.Contains(b.String(), tt.want) || tt.want == "" && b.String() != "" {
			t.Errorf("%s?%s after %q: got %v and %q", tt.route, tt.query, tt.said, err, b.String())
		}
		if tt.said != "" && (strings.Contains(b.String(), "error") || strings.Contains(b.String(), "finishReason")) {
			t.Errorf("%s?%s: the stream ends like a whole one: %s", tt.route, tt.query, b.String())
		}
	}
}

// TestBrokenCall is a complete call whose arguments are no JSON object: the
// client would execute whatever is written of it.
func TestBrokenCall(t *testing.T) {
	t.Parallel()
	for _, args := range []string{`{"city": "Os`, `{"a":`, `{}1}`, `[1]`, `"Oslo"`, `null`} {
		for _, tt := range []struct {
			route, query, said string
			want               string
			err                bool
		}{
			{"streamGenerateContent", "alt=sse", "", `"error":{"code":503,`, false},
			{"streamGenerateContent", "alt=sse", "Half", `"text":"Half"`, true},
			{"streamGenerateContent", "", "", "", true},
			{"generateContent", "", "Half", "", true},
		} {
			s, err := accepted(t, tt.route, tt.query, `{"contents":[{"parts":[{"text":"Hi"}]}]}`)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			err = s.Write(t.Context(), told(nil, func(out *provider.Output) {
				out.Text(tt.said)
				out.Call("0", "call_1", "f")
				out.Arguments("0", args)
				out.Finish(or.Terminal{})
			}), &b)
			if (apierror.CodeOf(err) == apierror.UpstreamFailed) != tt.err || !tt.err && err != nil || !strings.Contains(b.String(), tt.want) || tt.want == "" && b.String() != "" {
				t.Errorf("%s?%s with %s after %q: got %v and %q", tt.route, tt.query, args, tt.said, err, b.String())
			}
			if strings.Contains(b.String(), "functionCall") || strings.Contains(b.String(), "finishReason") {
				t.Errorf("%s?%s: %s is written as a call: %s", tt.route, tt.query, args, b.String())
			}
		}
	}
}

// TestStreamAsArray is streamGenerateContent without alt=sse.
func TestStreamAsArray(t *testing.T) {
	t.Parallel()
	s, err := accepted(t, "streamGenerateContent", "", `{"contents":[{"parts":[{"text":"Hi"}]}]}`)
	if err != nil || s.Asked().Stream {
		t.Fatalf("got %+v, %v", s, err)
	}
	var b strings.Builder
	if err := s.Write(t.Context(), told(nil, func(out *provider.Output) { out.Text("a"); out.Text("b"); out.Finish(or.Terminal{}) }), &b); err != nil {
		t.Fatal(err)
	}
	var list []response
	if err := json.Unmarshal([]byte(b.String()), &list); err != nil || len(list) != 1 || string(list[0].Candidates[0].Content.Parts[0]) != `{"text":"ab"}` {
		t.Errorf("got %s, %v", b.String(), err)
	}
}

func TestCountTokens(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"contents":[{"parts":[{"text":"Hi"}]}]}`, `{"generateContentRequest":{"model":"models/m","contents":[{"parts":[{"text":"Hi"}]}]}}`} {
		s, err := accepted(t, "countTokens", "", body)
		if err != nil || s.Asked().Op != provider.CountTokens || len(s.Asked().Request.Input) != 1 {
			t.Fatalf("%s: got %+v, %v", body, s, err)
		}
		var b strings.Builder
		if err := s.WriteCount(t.Context(), 42, &b); err != nil || b.String() != "{\"totalTokens\":42}\n" {
			t.Errorf("got %q, %v", b.String(), err)
		}
	}
}

// TestSignatures: what a client makes up is nothing, what another gave stays
// what it is, ours is a list.
func TestSignatures(t *testing.T) {
	t.Parallel()
	ours := []string{"sp1.a.gemini.eA", "sp1.b.openai.eA"}
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{unsigned, nil},
		{base64.StdEncoding.EncodeToString([]byte(unsigned)), nil},
		{"AbC=", []string{"AbC="}},
		{signature(ours), ours},
		{ours[0], ours[:1]},
	}
	for _, tt := range tests {
		if got := states(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
	if !strings.HasPrefix(signature(ours), "c3AxL") {
		t.Errorf("%s: the router would not know it", signature(ours))
	}
}

// FuzzAccept: whatever the client says, it is refused for a mistake of its
// own, or becomes a request that crosses the border to the gateway and that
// our own translator can send.
func FuzzAccept(f *testing.F) {
	for _, s := range []string{
		`{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"system_instruction":{"parts":[{"text":"a"}]}}`,
		`{"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[{"text":"x","thought":true},{"functionCall":{"name":"f","args":{"x":1e400}},"thoughtSignature":"c3Ax"}]},{"parts":[{"functionResponse":{"name":"f","response":{"error":"n"}}}]}]}`,
		`{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA"}}]}],"tools":[{"functionDeclarations":[{"name":"a.b","parameters":{"type":"OBJECT","properties":{"\u0007":{"type":"ARRAY","items":{"type":"STRING"}}}}}]}],"toolConfig":{"functionCallingConfig":{"mode":"VALIDATED"}}}`,
		`{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"temperature":"0.5","thinkingConfig":{"thinkingBudget":-1},"responseMimeType":"application/json","responseJsonSchema":{"type":"object"}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := accepted(t, "generateContent", "", string(body))
		if err != nil {
			if c := apierror.CodeOf(err); c != apierror.Invalid && c != apierror.Unsupported {
				t.Fatalf("%v has the code %s", err, c)
			}
			return
		}
		wire := s.Asked().Request.AppendJSON(nil)
		if !json.Valid(wire) {
			t.Fatalf("no JSON: %s", wire)
		}
		if _, err := or.ReadRequest(wire); err != nil {
			t.Fatalf("the gateway cannot read the request: %v in %s", err, wire)
		}
		for _, model := range models {
			x, err := translator{}.Begin(t.Context(), provider.Turn{Op: provider.Generate, Model: model, Account: provider.Account{Name: "gemini"}, Request: s.Asked().Request})
			if err != nil {
				if c := apierror.CodeOf(err); c != apierror.Invalid && c != apierror.Unsupported {
					t.Fatalf("%v has the code %s", err, c)
				}
				continue
			}
			if err := strict(model, x.Upstream().Body); err != nil {
				t.Fatalf("%s: %v\nbody %s", model, err, x.Upstream().Body)
			}
		}
	})
}
