package upstream

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	oa         = "/responses"
	oaChat     = "/chat/completions"
	claudePath = "/v1/messages"
	gem        = "/v1beta/models/gemini-2.5-flash:generateContent"
	testKey    = "key-of-the-test"
)

// send posts a body and returns the status and the reply.
func send(t *testing.T, s *Server, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+testKey)
	if _, ok := s.speak.(openai); !ok {
		req.Header.Del("Authorization")
		req.Header.Set("X-Api-Key", testKey)
		req.Header.Set("Anthropic-Version", "2023-06-01")
		req.Header.Set("X-Goog-Api-Key", testKey)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func parse(t *testing.T, s string) object {
	t.Helper()
	var o object
	if err := json.NewDecoder(bytes.NewReader([]byte(s))).Decode(&o); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return o
}

// Each row is a request that the real service would refuse, and a part of
// what it says then; want "" is a request that it takes.
func TestRefuses(t *testing.T) {
	t.Parallel()
	const (
		user  = `{"role":"user","content":"hi"}`
		fn    = `{"type":"function","name":"f","parameters":{"type":"object","properties":{}}}`
		call  = `{"type":"function_call","call_id":"call_x","name":"f","arguments":"{}"}`
		ofn   = `{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}`
		ocall = `{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}`
		afn   = `{"name":"f","input_schema":{"type":"object"}}`
		acall = `{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{}}]}`
		ares  = `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"ok"}]}`
		think = `"max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":1024}`
		guser = `{"role":"user","parts":[{"text":"hi"}]}`
		gcall = `{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]}`
		gres  = `{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"1"}}}]}`
		gfn   = `{"functionDeclarations":[{"name":"f","parameters":{"type":"object","properties":{}}}]}`
	)
	responses := func(input, more string) string { return `{"model":"gpt-5.2","input":[` + input + `]` + more + `}` }
	chat := func(ms, more string) string { return `{"model":"gpt-5.2","messages":[` + ms + `]` + more + `}` }
	claude := func(ms, more string) string {
		if !strings.Contains(more, "max_tokens") {
			more += `,"max_tokens":100`
		}
		return `{"model":"claude-sonnet-4-5","messages":[` + ms + `]` + more + `}`
	}
	gemini := func(cs, more string) string { return `{"contents":[` + cs + `]` + more + `}` }
	long := strings.Repeat("n", 65)
	for name, tc := range map[string]struct{ path, body, want string }{
		"plain":            {oa, responses(user, ``), ""},
		"string input":     {oa, `{"model":"gpt-5.2","input":"hi","store":false,"reasoning":{"effort":"low"},"include":["reasoning.encrypted_content"]}`, ""},
		"unknown member":   {oa, responses(user, `,"presence_penalty":1`), "Unknown parameter: 'presence_penalty'"},
		"unknown nested":   {oa, responses(`{"type":"reasoning","id":"rs_1","summary":[],"status":null}`, ``), "Unknown parameter: 'input[0].status'"},
		"unknown role":     {oa, responses(`{"role":"tool","content":"x"}`, ``), "Invalid value: 'tool'"},
		"part of a user":   {oa, responses(`{"role":"assistant","content":[{"type":"input_text","text":"x"}]}`, ``), "Invalid value: 'input_text'"},
		"wrong type":       {oa, responses(user, `,"max_output_tokens":"5"`), "Invalid type for 'max_output_tokens'"},
		"few tokens":       {oa, responses(user, `,"max_output_tokens":5`), "Expected a value >= 16"},
		"temperature":      {oa, responses(user, `,"temperature":0.5`), "not supported with this model"},
		"call and result":  {oa, responses(user+`,`+call+`,{"type":"function_call_output","call_id":"call_x","output":"1"}`, ``), ""},
		"open call":        {oa, responses(user+`,`+call, ``), "No tool output found for function call call_x"},
		"orphan result":    {oa, responses(user+`,{"type":"function_call_output","call_id":"call_x","output":"1"}`, ``), "No tool call found for function call output with call_id call_x"},
		"foreign fc id":    {oa, responses(`{"type":"function_call","id":"toolu_1","call_id":"call_x","name":"f","arguments":"{}"}`, ``), "Expected an ID that begins with 'fc'"},
		"unissued id":      {oa, responses(`{"type":"message","id":"msg_made_up","role":"assistant","content":"x"}`, ``), "not found"},
		"bad seal":         {oa, responses(`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAAAx"}`, ``), "could not be verified"},
		"no seal":          {oa, responses(`{"type":"reasoning","id":"rs_1","summary":[]}`, ``), "Items are not persisted"},
		"long call id":     {oa, responses(strings.ReplaceAll(call, "call_x", long), ``), "maximum length 64"},
		"tool name":        {oa, responses(user, `,"tools":[`+strings.Replace(fn, `"f"`, `"a.b"`, 1)+`]`), "does not match pattern"},
		"long tool name":   {oa, responses(user, `,"tools":[`+strings.Replace(fn, `"f"`, `"`+long+`"`, 1)+`]`), "maximum length 64"},
		"tool twice":       {oa, responses(user, `,"tools":[`+fn+`,`+fn+`]`), "Duplicate function name"},
		"tool schema":      {oa, responses(user, `,"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"a":{"type":"text"}}}}]`), "invalid_function_parameters"},
		"strict schema":    {oa, responses(user, `,"tools":[{"type":"function","name":"f","strict":true,"parameters":{"type":"object","properties":{}}}]`), "additionalProperties"},
		"hosted type":      {oa, responses(user, `,"tools":[{"type":"table"}]`), "Invalid value: 'table'"},
		"opaque state":     {oa, responses(`{"role":"user","content":"sp1.anthropic.claude.eA"}`, ``), "sp1."},
		"duplicate key":    {oa, `{"model":"a","model":"b","input":"x"}`, "stands twice"},
		"chat":             {oaChat, chat(user, `,"max_completion_tokens":50`), ""},
		"chat member":      {oaChat, chat(user, `,"input":"x"`), "Unknown parameter: 'input'"},
		"chat max_tokens":  {oaChat, chat(user, `,"max_tokens":50`), "Use 'max_completion_tokens' instead"},
		"chat role":        {oaChat, chat(`{"role":"model","content":"x"}`, ``), "Invalid value: 'model'"},
		"chat answered":    {oaChat, chat(user+`,`+ocall+`,{"role":"tool","tool_call_id":"c1","content":"1"}`, ``), ""},
		"chat open call":   {oaChat, chat(user+`,`+ocall+`,`+user, ``), "must be followed by tool messages"},
		"chat orphan":      {oaChat, chat(user+`,{"role":"tool","tool_call_id":"c1","content":"1"}`, ``), "must be a response to a preceeding message"},
		"chat empty":       {oaChat, chat(`{"role":"assistant","content":null}`, ``), "expected a string, got null"},
		"chat no tools":    {oaChat, chat(user, `,"tools":[]`), "empty array"},
		"chat choice":      {oaChat, chat(user, `,"tool_choice":"auto"`), "only allowed when 'tools'"},
		"chat tools":       {oaChat, chat(user, `,"tools":[`+ofn+`],"tool_choice":"auto"`), ""},
		"chat options":     {oaChat, chat(user, `,"stream_options":{"include_usage":true}`), "only allowed when 'stream'"},
		"claude":           {claudePath, claude(user, ``), ""},
		"claude max":       {claudePath, `{"model":"claude-sonnet-4-5","messages":[` + user + `]}`, "max_tokens: Field required"},
		"claude member":    {claudePath, claude(user, `,"n":1`), "n: Extra inputs are not permitted"},
		"claude system":    {claudePath, claude(`{"role":"system","content":"x"},`+user, ``), `Unexpected role "system"`},
		"claude role":      {claudePath, claude(`{"role":"tool","content":"x"}`, ``), "messages.0.role: Input should be"},
		"claude first":     {claudePath, claude(`{"role":"assistant","content":"x"}`, ``), `first message must use the "user" role`},
		"claude empty":     {claudePath, claude(`{"role":"user","content":[{"type":"text","text":""}]}`, ``), "must be non-empty"},
		"claude block":     {claudePath, claude(`{"role":"user","content":[{"type":"input_text","text":"x"}]}`, ``), "Input tag 'input_text'"},
		"claude pair":      {claudePath, claude(user+`,`+acall+`,`+ares, `,"tools":[`+afn+`]`), ""},
		"claude open":      {claudePath, claude(user+`,`+acall+`,`+user, `,"tools":[`+afn+`]`), "without `tool_result` blocks immediately after"},
		"claude orphan":    {claudePath, claude(user+`,`+ares, `,"tools":[`+afn+`]`), "unexpected `tool_use_id`"},
		"claude no tools":  {claudePath, claude(user+`,`+acall+`,`+ares, ``), "must define tools"},
		"claude id":        {claudePath, claude(user+`,`+strings.Replace(acall, "toolu_1", "a.b", 1)+`,`+ares, `,"tools":[`+afn+`]`), "tool_use.id: String should match pattern"},
		"claude signature": {claudePath, claude(user+`,{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"y"}]},`+user, ``), "Invalid `signature` in `thinking` block"},
		"claude thinking":  {claudePath, claude(user+`,`+acall+`,`+ares, `,`+think+`,"tools":[`+afn+`]`), "Expected `thinking` or `redacted_thinking`, but found `tool_use`"},
		"claude budget":    {claudePath, claude(user, `,"max_tokens":1024,"thinking":{"type":"enabled","budget_tokens":1024}`), "must be greater than `thinking.budget_tokens`"},
		"claude forced":    {claudePath, claude(user, `,`+think+`,"tools":[`+afn+`],"tool_choice":{"type":"any"}`), "forces tool use"},
		"claude name":      {claudePath, claude(user, `,"tools":[`+strings.Replace(afn, `"f"`, `"a.b"`, 1)+`]`), "should match pattern"},
		"claude schema":    {claudePath, claude(user, `,"tools":[{"name":"f","input_schema":{}}]`), "input_schema.type: Field required"},
		"claude effort":    {claudePath, claude(user, `,"output_config":{"effort":"low"}`), "effort parameter"},
		"gemini":           {gem, gemini(guser, ``), ""},
		"gemini member":    {gem, gemini(guser, `,"model":"x"`), `Unknown name "model"`},
		"gemini nested":    {gem, gemini(`{"role":"user","parts":[{"type":"text","text":"x"}]}`, ``), `Unknown name "type" at 'contents[0].parts[0]'`},
		"gemini role":      {gem, gemini(`{"role":"assistant","parts":[{"text":"x"}]}`, ``), "Please use a valid role: user, model."},
		"gemini empty":     {gem, gemini(`{"role":"user","parts":[{"text":""}]}`, ``), "must have one initialized field"},
		"gemini no parts":  {gem, gemini(`{"role":"user","parts":[]}`, ``), "parts must not be empty"},
		"gemini pair":      {gem, gemini(guser+`,`+gcall+`,`+gres, `,"tools":[`+gfn+`]`), ""},
		"gemini open":      {gem, gemini(guser+`,`+gcall+`,`+guser, ``), "number of function response parts"},
		"gemini orphan":    {gem, gemini(guser+`,`+gres, ``), "immediately after a function call turn"},
		"gemini other":     {gem, gemini(guser+`,`+gcall+`,`+strings.Replace(gres, `"f"`, `"g"`, 1), ``), "matches the function call name"},
		"gemini first":     {gem, gemini(gcall+`,`+gres, ``), "immediately after a user turn"},
		"gemini signature": {gem, gemini(guser+`,`+strings.Replace(gcall, `{"functionCall"`, `{"thoughtSignature":"eA==","functionCall"`, 1)+`,`+gres, ``), "Corrupted thought signature"},
		"gemini schema":    {gem, gemini(guser, `,"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"object","additionalProperties":false}}]}]`), `Unknown name "additionalProperties"`},
		"gemini types":     {gem, gemini(guser, `,"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":["object","null"]}}]}]`), "Proto field is not repeating"},
		"gemini name":      {gem, gemini(guser, `,"tools":[{"functionDeclarations":[{"name":"1f"}]}]`), "Invalid function name"},
		"gemini level":     {gem, gemini(guser, `,"generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW"}}`), "Thinking level is not supported"},
		"gemini ends":      {gem, gemini(guser+`,{"role":"model","parts":[{"text":"x"}]}`, ``), "end with a user role"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := map[string]func(testing.TB, string) *Server{oa: OpenAI, oaChat: OpenAI, claudePath: Anthropic, gem: Gemini}[tc.path]
			s := open(t, testKey)
			s.Script(Turn{Text: "fine"})
			status, reply := send(t, s, tc.path, tc.body)
			if tc.want == "" {
				if status != 200 || !strings.Contains(reply, "fine") {
					t.Fatalf("got %d %s, want it served", status, reply)
				}
				return
			}
			var said string
			if e := member(parse(t, reply), "error"); e != nil {
				said = str(e, "message") + str(e, "code")
			}
			if status/100 != 4 || !strings.Contains(said, tc.want) {
				t.Errorf("got %d %s, want a refusal with %q", status, reply, tc.want)
			}
			if len(s.Refusals()) != 1 || s.Left() != 1 {
				t.Errorf("got refusals %q and %d turns left", s.Refusals(), s.Left())
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	o, a, g := OpenAI(t, testKey), Anthropic(t, testKey), Gemini(t, testKey)
	for name, tc := range map[string]struct {
		s      *Server
		path   string
		header []string
		status int
		want   string
	}{
		"openai none":       {o, oa, []string{"Authorization", ""}, 401, "You didn't provide an API key"},
		"openai wrong":      {o, oa, []string{"Authorization", "Bearer x"}, 401, "invalid_api_key"},
		"anthropic none":    {a, claudePath, []string{"X-Api-Key", ""}, 401, "x-api-key header is required"},
		"anthropic version": {a, claudePath, []string{"Anthropic-Version", ""}, 400, "anthropic-version"},
		"gemini none":       {g, gem, []string{"X-Goog-Api-Key", ""}, 403, "PERMISSION_DENIED"},
		"gemini wrong":      {g, gem, []string{"X-Goog-Api-Key", "x"}, 400, "API key not valid"},
		"gemini path":       {g, "/v1/models/x:generateContent", nil, 404, "NOT_FOUND"},
	} {
		if status, reply := send(t, tc.s, tc.path, `{}`, tc.header...); status != tc.status || !strings.Contains(reply, tc.want) {
			t.Errorf("%s: got %d %s, want %d with %q", name, status, reply, tc.status, tc.want)
		}
	}
}

func readAll(r *http.Response) error {
	defer r.Body.Close()
	_, err := io.Copy(io.Discard, r.Body)
	return err
}

// A server that plays answers each request that it accepts as it is told, and
// keeps none of them.
func TestPlay(t *testing.T) {
	t.Parallel()
	s := OpenAI(t, testKey)
	s.Script(Turn{Text: "of the script"})
	var got []string
	s.Play(func(r Request) Turn {
		got = append(got, str(parse(t, string(r.Body)), "input"))
		return Turn{Text: "answer " + got[len(got)-1]}
	})
	for _, in := range []string{"one", "two"} {
		if status, reply := send(t, s, oa, `{"model":"gpt-5.2","input":"`+in+`"}`); status != 200 || !strings.Contains(reply, "answer "+in) {
			t.Errorf("%s: got %d %s", in, status, reply)
		}
	}
	send(t, s, oa, `{"model":"gpt-5.2"}`) // refused
	if strings.Join(got, " ") != "one two" || len(s.Requests()) != 1 || len(s.Refusals()) != 1 {
		t.Errorf("it was asked of %q; kept %d requests, refused %q", got, len(s.Requests()), s.Refusals())
	}
	s.Play(nil)
	if _, reply := send(t, s, oa, `{"model":"gpt-5.2","input":"three"}`); !strings.Contains(reply, "of the script") {
		t.Errorf("after Play(nil): %s", reply)
	}
}

// Each dialect tells of cached input in its own way, streamed or not.
func TestCachedInput(t *testing.T) {
	t.Parallel()
	u := Usage{Input: 1000, Cached: 200, Cached5m: 30, Cached1h: 4, Output: 50, Reasoning: 6}
	claudeCounts := []string{`"input_tokens":1000`, `"cache_read_input_tokens":200`, `"cache_creation_input_tokens":34`, `"ephemeral_5m_input_tokens":30`, `"ephemeral_1h_input_tokens":4`,
		`"output_tokens":56`, `"thinking_tokens":6`}
	for name, tc := range map[string]struct {
		open func(testing.TB, string) *Server
		path string
		body string
		want []string
	}{
		"openai":           {OpenAI, oa, `{"model":"gpt-5.2","input":"x"}`, []string{`"input_tokens":1234`, `"cached_tokens":200`, `"output_tokens":56`, `"reasoning_tokens":6`, `"total_tokens":1290`}},
		"chat":             {OpenAI, oaChat, `{"model":"gpt-5.2","messages":[{"role":"user","content":"x"}]}`, []string{`"prompt_tokens":1234`, `"cached_tokens":200`, `"completion_tokens":56`, `"total_tokens":1290`}},
		"anthropic":        {Anthropic, claudePath, `{"model":"claude-sonnet-4-5","max_tokens":10,"messages":[{"role":"user","content":"x"}]}`, claudeCounts},
		"anthropic stream": {Anthropic, claudePath, `{"model":"claude-sonnet-4-5","max_tokens":10,"stream":true,"messages":[{"role":"user","content":"x"}]}`, claudeCounts},
		"gemini": {Gemini, gem, `{"contents":[{"role":"user","parts":[{"text":"x"}]}]}`,
			[]string{`"promptTokenCount":1234`, `"cachedContentTokenCount":200`, `"candidatesTokenCount":50`, `"thoughtsTokenCount":6`, `"totalTokenCount":1290`}},
	} {
		s := tc.open(t, testKey)
		s.Script(Turn{Text: "fine", Usage: u})
		_, reply := send(t, s, tc.path, tc.body)
		for _, want := range tc.want {
			if !strings.Contains(reply, want) {
				t.Errorf("%s: no %s in %s", name, want, reply)
			}
		}
	}
}
