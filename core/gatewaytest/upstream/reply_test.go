package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const lookUp = `{"name":"f","input_schema":{"type":"object"}}`

// What a provider issued is taken back unchanged and in its place, and refused
// otherwise.
func TestIssuedStateComesBack(t *testing.T) {
	t.Parallel()
	turn := Turn{Reasoning: "Think first.", Calls: []Call{{Name: "f", Arguments: `{"x":1}`}}}

	t.Run("responses", func(t *testing.T) {
		t.Parallel()
		s := OpenAI(t, testKey)
		s.Script(turn)
		_, reply := send(t, s, oa, `{"model":"gpt-5.2","input":"hi","store":false,"include":["reasoning.encrypted_content"],"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]}`)
		items := objects(parse(t, reply), "output")
		if len(items) != 2 || str(items[0], "encrypted_content") == "" {
			t.Fatalf("got %s", reply)
		}
		delete(items[1], "status")
		again := func(items ...any) string {
			return encode(object{"model": "gpt-5.2", "store": false, "input": append([]any{object{"role": "user", "content": "hi"}}, items...)})
		}
		result := object{"type": "function_call_output", "call_id": items[1]["call_id"], "output": "1"}
		wants(t, s, oa, again(items[0], items[1], result), "")
		wants(t, s, oa, again(items[0], result), "without its required following item")
		wants(t, s, oa, again(items[1], result), "without its required 'reasoning' item")
		wants(t, s, oa, again(items[1], items[0], result), "without its required 'reasoning' item")
		wants(t, s, oa, again(with(items[0], object{"encrypted_content": str(items[0], "encrypted_content") + "x"}), items[1], result), "could not be verified")
		wants(t, s, oa, again(with(items[0], object{"encrypted_content": nil}), items[1], result), "Items are not persisted")
		wants(t, s, oa, again(items[0], with(items[1], object{"call_id": "call_other"}), result), "without its required following item")
		wants(t, s, oa, again(items[0], items[1], result, items[0]), "Duplicate item")
		other := OpenAI(t, testKey)
		wants(t, other, oa, again(items[0], items[1], result), "could not be verified")
	})
	t.Run("anthropic", func(t *testing.T) {
		t.Parallel()
		s := Anthropic(t, testKey)
		s.Script(turn)
		head := `{"model":"claude-sonnet-4-5","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":1024},"tools":[` + lookUp + `],"messages":`
		_, reply := send(t, s, claudePath, head+`[{"role":"user","content":"hi"}]}`)
		content := objects(parse(t, reply), "content")
		if len(content) != 2 || content[0]["type"] != "thinking" {
			t.Fatalf("got %s", reply)
		}
		again := func(blocks ...any) string {
			return head + encode([]any{object{"role": "user", "content": "hi"}, object{"role": "assistant", "content": blocks},
				object{"role": "user", "content": []any{object{"type": "tool_result", "tool_use_id": content[1]["id"], "content": "1"}}}}) + "}"
		}
		wants(t, s, claudePath, again(content[0], content[1]), "")
		wants(t, s, claudePath, again(content[1]), "found `tool_use`")
		wants(t, s, claudePath, again(with(content[0], object{"thinking": "Think later."}), content[1]), "Invalid `signature`")
		wants(t, s, claudePath, again(object{"type": "text", "text": "x"}, content[0], content[1]), "found `text`")
		wants(t, s, claudePath, strings.Replace(again(content[1]), `"thinking":{"type":"enabled","budget_tokens":1024},`, "", 1), "")
	})
	t.Run("gemini", func(t *testing.T) {
		t.Parallel()
		s := Gemini(t, testKey)
		s.Script(turn)
		_, reply := send(t, s, gem, `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`)
		content := member(objects(parse(t, reply), "candidates")[0], "content")
		part := objects(content, "parts")[0]
		if str(part, "thoughtSignature") == "" {
			t.Fatalf("got %s", reply)
		}
		again := func(part object) string {
			return encode(object{"contents": []any{object{"role": "user", "parts": []any{object{"text": "hi"}}}, object{"role": "model", "parts": []any{part}},
				object{"role": "user", "parts": []any{object{"functionResponse": object{"name": "f", "response": object{}}}}}}})
		}
		wants(t, s, gem, again(part), "")
		wants(t, s, gem, again(object{"functionCall": part["functionCall"]}), "missing a thought_signature")
		wants(t, s, gem, again(object{"functionCall": object{"name": "f", "args": object{"x": 2}}, "thoughtSignature": part["thoughtSignature"]}), "Corrupted thought signature")
	})
}

// wants sends a body and checks that it is served, or refused with a text.
func wants(t *testing.T, s *Server, path, body, refusal string) {
	t.Helper()
	s.Reset()
	s.Script(Turn{Text: "fine"})
	status, reply := send(t, s, path, body)
	if refusal == "" && status != 200 || refusal != "" && (status/100 != 4 || !strings.Contains(reply, strings.ReplaceAll(refusal, `"`, `\"`))) {
		t.Errorf("%s: got %d %s, want %q", body, status, reply, refusal)
	}
}

var streams = map[string]struct {
	open       func(testing.TB, string) *Server
	path, body string
	end        string // the last thing of a stream that is whole
}{
	"responses": {OpenAI, oa, `{"model":"gpt-5.2","input":"hi","stream":true}`, "event: response.completed"},
	"chat":      {OpenAI, oaChat, `{"model":"gpt-5.2","messages":[{"role":"user","content":"hi"}],"stream":true}`, "data: [DONE]"},
	"anthropic": {Anthropic, claudePath, `{"model":"claude-sonnet-4-5","max_tokens":10,"messages":[{"role":"user","content":"hi"}],"stream":true}`, "event: message_stop"},
	"gemini":    {Gemini, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, `"finishReason":"STOP"`},
}

// Every stream is made of frames of JSON, and the faults do what they say.
func TestStreamsAndFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range streams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tc.open(t, testKey)
			text := Turn{Text: "one two three four five six"}
			for _, fault := range []Fault{None, Drip} {
				text.Fault = fault
				s.Script(text)
				status, reply := send(t, s, tc.path, tc.body)
				if status != 200 || !strings.Contains(reply, tc.end) {
					t.Fatalf("fault %d: got %d %s", fault, status, reply)
				}
				for line := range strings.Lines(reply) {
					data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data: ")
					if ok && data != "[DONE]" && !json.Valid([]byte(data)) {
						t.Errorf("no JSON: %q", data)
					}
				}
			}
			for fault, want := range map[Fault]string{Ended: "", GarbageMid: "no JSON", ErrorEvent: "error", Garbage: "proxy"} {
				text.Fault = fault
				s.Script(text)
				status, reply := send(t, s, tc.path, tc.body)
				if status != 200 || strings.Contains(reply, tc.end) || !strings.Contains(reply, want) {
					t.Errorf("fault %d: got %d %s", fault, status, reply)
				}
			}
			s.Script(Turn{Status: 429, RetryAfter: "7"})
			if status, reply := send(t, s, tc.path, tc.body); status != 429 || !strings.Contains(reply, `"error"`) {
				t.Errorf("got %d %s", status, reply)
			}
		})
	}
}

func TestCutAndGate(t *testing.T) {
	t.Parallel()
	for name, tc := range streams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tc.open(t, testKey)
			gate := NewGate()
			s.Script(Turn{Text: "one two three", Fault: Cut}, Turn{Text: "one two three", Middle: gate}, Turn{Text: "one two three", Before: gate})
			ask := func(ctx context.Context) (*http.Response, error) {
				req, err := http.NewRequestWithContext(ctx, "POST", s.URL+tc.path, strings.NewReader(tc.body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + testKey}}
				if _, ok := s.speak.(openai); !ok {
					req.Header = http.Header{"X-Api-Key": {testKey}, "X-Goog-Api-Key": {testKey}, "Anthropic-Version": {"2023-06-01"}}
				}
				return http.DefaultClient.Do(req)
			}
			resp, err := ask(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
				t.Errorf("a cut stream has no beginning: %v", err)
			}
			if err := readAll(resp); err == nil {
				t.Error("a cut stream ended properly")
			}
			ctx, cancel := context.WithCancel(t.Context())
			resp, err = ask(ctx)
			if err != nil {
				t.Fatal(err)
			}
			<-gate.Reached()
			cancel()
			<-gate.Gone()
			resp.Body.Close()
			gate.Open()
			if resp, err = ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := readAll(resp); err != nil {
				t.Errorf("after the gate was opened: %v", err)
			}
		})
	}
}
