package upstream

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// Requests that generate nothing are checked like the others, take no turn of
// the script, and are kept.
func TestCountsAndVectors(t *testing.T) {
	t.Parallel()
	const gemCount = "/v1beta/models/gemini-2.5-flash:countTokens"
	inner := `{"generateContentRequest":{"model":"models/gemini-2.5-flash","contents":[{"role":"user","parts":[{"text":"hi"}]}]}}`
	for name, tc := range map[string]struct {
		open             func(testing.TB, string) *Server
		path, body, want string
		status           int
	}{
		"claude":           {Anthropic, claudePath + "/count_tokens", `{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"hi"}]}`, `{"input_tokens":19}`, 200},
		"claude beta":      {Anthropic, claudePath + "/count_tokens?beta=true", `{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"hi"}]}`, `input_tokens`, 200},
		"claude limit":     {Anthropic, claudePath + "/count_tokens", `{"model":"claude-sonnet-4-5","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, "max_tokens: Extra inputs", 400},
		"gemini":           {Gemini, gemCount, `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, `"totalTokens":14`, 200},
		"gemini whole":     {Gemini, gemCount, inner, `"totalTokens"`, 200},
		"gemini other":     {Gemini, gemCount, strings.Replace(inner, "2.5", "3", 1), "unexpected model name", 400},
		"gemini vectors":   {Gemini, "/v1beta/models/e:batchEmbedContents", `{"requests":[{"model":"models/e","content":{"parts":[{"text":"hi"}]},"outputDimensionality":2}]}`, `{"embeddings":[{"values":[`, 200},
		"openai vectors":   {OpenAI, "/embeddings", `{"model":"e","input":["a","b"],"dimensions":2}`, `"object":"embedding"`, 200},
		"openai base64":    {OpenAI, "/embeddings", `{"model":"e","input":"a","encoding_format":"base64"}`, `"embedding":"`, 200},
		"openai no text":   {OpenAI, "/embeddings", `{"model":"e","input":[""]}`, "is invalid", 400},
		"openai no member": {OpenAI, "/embeddings", `{"input":"a"}`, "Missing required parameter: 'model'", 400},
	} {
		s := tc.open(t, testKey)
		status, reply := send(t, s, tc.path, tc.body)
		if status != tc.status || !strings.Contains(reply, tc.want) {
			t.Errorf("%s: got %d %s, want %d with %s", name, status, reply, tc.status, tc.want)
		}
		if r := s.Requests(); len(r) != 1 || string(r[0].Body) != tc.body {
			t.Errorf("%s: kept %+v", name, r)
		}
	}
	if a, b := Vector("a", 3), Vector("a", 3); len(a) != 3 || a[0] != b[0] || a[0] == Vector("b", 3)[0] {
		t.Errorf("the vectors of a and b: %v, %v", a, Vector("b", 3))
	}
}

// State of a gateway is refused in both of its forms.
func TestStateOfAGateway(t *testing.T) {
	t.Parallel()
	s := Gemini(t, testKey)
	for _, text := range []string{"sp1.a.b.c", "c3AxLmEuYi5j"} {
		if status, reply := send(t, s, gem, `{"contents":[{"role":"user","parts":[{"text":"`+text+`"}]}]}`); status != 400 || !strings.Contains(reply, "opaque state") {
			t.Errorf("%s: got %d %s", text, status, reply)
		}
	}
}

// Two things that the real services let be: adaptive thinking asks for none of
// earlier turns, and a reasoning item may hold nothing at all.
func TestLetBe(t *testing.T) {
	t.Parallel()
	s := Anthropic(t, testKey)
	call := `{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"1"}]}`
	head := `{"model":"claude-opus-4-6","max_tokens":4096,"tools":[` + lookUp + `],"messages":[` + call + `],"thinking":`
	wants(t, s, claudePath, head+`{"type":"adaptive"}}`, "")
	wants(t, s, claudePath, head+`{"type":"enabled","budget_tokens":1024}}`, "found `tool_use`")
	o := OpenAI(t, testKey)
	wants(t, o, oa, `{"model":"gpt-5.2","input":[{"role":"user","content":"hi"},{"type":"reasoning","summary":[],"content":null,"encrypted_content":null},{"role":"user","content":"go on"}]}`, "")
}

func TestRedactedThinking(t *testing.T) {
	t.Parallel()
	s := Anthropic(t, testKey)
	s.Script(Turn{Reasoning: "Think.", Redacted: true, Calls: []Call{{Name: "f", Arguments: `{}`}}})
	head := `{"model":"claude-sonnet-4-5","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":1024},"tools":[` + lookUp + `],"messages":`
	_, reply := send(t, s, claudePath, head+`[{"role":"user","content":"hi"}]}`)
	content := objects(parse(t, reply), "content")
	if len(content) != 2 || content[0]["type"] != "redacted_thinking" {
		t.Fatalf("got %s", reply)
	}
	again := func(blocks ...any) string {
		return head + encode([]any{object{"role": "user", "content": "hi"}, object{"role": "assistant", "content": blocks},
			object{"role": "user", "content": []any{object{"type": "tool_result", "tool_use_id": content[1]["id"], "content": "1"}}}}) + "}"
	}
	wants(t, s, claudePath, again(content[0], content[1]), "")
	wants(t, s, claudePath, again(content[1]), "found `tool_use`")
	wants(t, s, claudePath, again(object{"type": "redacted_thinking", "data": "eA=="}, content[1]), "Invalid `data`")
}

// Each fault of the newer kind does what it says.
func TestMoreFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range streams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tc.open(t, testKey)
			text := Turn{Text: "one two three four five six"}
			for fault, want := range map[Fault]struct{ has, ends bool }{Malformed: {true, true}, NoEnd: {false, false}} {
				text.Fault = fault
				s.Script(text)
				_, reply := send(t, s, tc.path, tc.body)
				if strings.Contains(reply, "no JSON") != want.has || strings.Contains(reply, tc.end) != want.ends || !strings.Contains(reply, "six") {
					t.Errorf("fault %d: got %s", fault, reply)
				}
			}
			for _, fault := range []Fault{Hang, HangMid} {
				text.Fault = fault
				s.Script(text)
				synctest.Test(t, func(t *testing.T) {
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					req := httptest.NewRequestWithContext(ctx, "POST", s.URL+tc.path, strings.NewReader(tc.body))
					req.Header.Set("Content-Type", "application/json")
					if strings.HasPrefix(tc.end, "event: response") || name == "chat" {
						req.Header.Set("Authorization", "Bearer "+testKey)
					}
					req.Header.Set("X-Api-Key", testKey)
					req.Header.Set("X-Goog-Api-Key", testKey)
					req.Header.Set("Anthropic-Version", "2023-06-01")
					w, over := httptest.NewRecorder(), false
					go func() { s.ServeHTTP(w, req); over = true }()
					synctest.Wait() // until nothing more comes by itself
					reply := w.Body.String()
					if over || w.Flushed != (fault == HangMid) || strings.Contains(reply, "one") != (fault == HangMid) || strings.Contains(reply, tc.end) {
						t.Errorf("fault %d: got %s, over %t", fault, reply, over)
					}
					leave()
					synctest.Wait()
					if !over || w.Body.String() != reply {
						t.Errorf("fault %d, after the client left: got %s, over %t", fault, w.Body, over)
					}
				})
			}
			s.Script(Turn{Status: 400, Body: `{"error":"own words"}`})
			if status, reply := send(t, s, tc.path, tc.body); status != 400 || reply != `{"error":"own words"}` {
				t.Errorf("got %d %s", status, reply)
			}
			s.Script(Turn{Text: "one two", Batch: true})
			if _, reply := send(t, s, tc.path, tc.body); !strings.Contains(reply, tc.end) {
				t.Errorf("in one write: got %s", reply)
			}
		})
	}
}

// A server that trusts replays what it is told, byte by byte, whatever it was
// sent.
func TestRawAndGzip(t *testing.T) {
	t.Parallel()
	s := OpenAI(t, testKey)
	s.Trust()
	s.Script(Turn{Raw: &Raw{Status: 201, Header: http.Header{"X-Own": {"a", "b"}}, Pieces: []string{"\xff", "", "data: x\r\n"}}, Gzip: true})
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/anything", strings.NewReader(`{"x":1e400,"x":2}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || string(b) != "\xffdata: x\r\n" || resp.StatusCode != 201 || len(resp.Header["X-Own"]) != 2 {
		t.Errorf("got %d %v %q, %v", resp.StatusCode, resp.Header, b, err)
	}
	if r := s.Requests(); len(r) != 1 || string(r[0].Body) != `{"x":1e400,"x":2}` {
		t.Errorf("kept %+v", r)
	}
}

// An agent orders the shell tool as each client declares it, and quotes what
// the tool gave.
func TestAgent(t *testing.T) {
	t.Parallel()
	const bash = `{"type":"object","properties":{"command":{"type":"string"},"description":{"type":"string"},"timeout":{"type":"number"}},"required":["command","description"]}`
	for name, tc := range map[string]struct{ body, want string }{
		"claude":       {`{"tools":[{"name":"Read","input_schema":{}},{"name":"Bash","input_schema":` + bash + `}],"messages":[{"role":"user","content":"` + Errand + `"}]}`, `Bash {"command":"seq -s- 9 12","description":"Counts"}`},
		"no errand":    {`{"tools":[{"name":"Bash","input_schema":` + bash + `}],"messages":[{"role":"user","content":"hi"}]}`, Hello},
		"codex":        {`{"tools":[{"type":"function","name":"exec_command","parameters":{"type":"object","properties":{"cmd":{"type":"string"}},"required":["cmd"]}}],"input":[{"role":"user","content":"` + Errand + `"}]}`, `exec_command {"cmd":"seq -s- 9 12"}`},
		"codex of old": {`{"tools":[{"type":"function","name":"shell","parameters":{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"}}},"required":["command"]}}],"input":[{"role":"user","content":"` + Errand + `"}]}`, `shell {"command":["bash","-lc","seq -s- 9 12"]}`},
		"gemini":       {`{"tools":[{"functionDeclarations":[{"name":"run_shell_command","parametersJsonSchema":{"type":"object","properties":{"command":{"type":"string"},"is_background":{"type":"boolean"}},"required":["command","is_background"]}}]}],"contents":[{"parts":[{"text":"` + Errand + `"}]}]}`, `run_shell_command {"command":"seq -s- 9 12","is_background":false}`},
		"opencode":     {`{"tools":[{"type":"function","function":{"name":"bash","parameters":` + bash + `}}],"messages":[{"role":"user","content":"` + Errand + `"}]}`, `bash {"command":"seq -s- 9 12","description":"Counts"}`},
		"claude ran":   {`{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":[{"type":"text","text":"` + Printed + `"}]}]}]}`, Ran + Printed},
		"codex ran":    {`{"input":[{"type":"function_call_output","call_id":"x","output":"` + Printed + `"}]}`, Ran + Printed},
		"gemini ran":   {`{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{"output":"` + Printed + `"}}}]}]}`, Ran + Printed},
		"opencode ran": {`{"messages":[{"role":"tool","tool_call_id":"x","content":"` + Printed + `"}]}`, Ran + Printed},
		"title":        {`{"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"title":{"type":"string"},"n":{"type":"INTEGER"}}}}},"messages":[{"role":"user","content":"` + Errand + `"}]}`, `{"n":1,"title":"A title"}`},
	} {
		if !json.Valid([]byte(tc.body)) {
			t.Fatalf("%s: no JSON: %s", name, tc.body)
		}
		turn := Agent(Request{Body: []byte(tc.body)})
		got := turn.Text
		for _, c := range turn.Calls {
			got = c.Name + " " + c.Arguments
		}
		if got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}
