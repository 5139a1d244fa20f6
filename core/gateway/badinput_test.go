package gateway_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// Bad input gets a clear error that names the field, in the envelope that both
// kinds of clients read, and reaches no provider.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed)
	const ok = `"model":"databricks-gpt-5-2","input":"hi"`
	for name, tc := range map[string]struct {
		body   string
		status int
		want   string // in the message
		param  string
	}{
		"nothing":             {``, 400, "", ""},
		"no JSON":             {`{"model":`, 400, "JSON", ""},
		"two documents":       {`{` + ok + `} {}`, 400, "", ""},
		"an array":            {`[1]`, 400, "object", ""},
		"a string":            {`"hi"`, 400, "object", ""},
		"binary":              {"\x00\xff\xfe", 400, "JSON", ""},
		"deep":                {`{"model":"m","input":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, 400, "", ""},
		"no model":            {`{"input":"hi"}`, 400, "model", "model"},
		"no input":            {`{"model":"databricks-gpt-5-2"}`, 400, "input", "input"},
		"model is a number":   {`{"model":5,"input":"hi"}`, 400, "model", "model"},
		"input is a number":   {`{"model":"databricks-gpt-5-2","input":5}`, 400, "input", "input"},
		"stream is a string":  {`{` + ok + `,"stream":"yes"}`, 400, "stream", "stream"},
		"tools is an object":  {`{` + ok + `,"tools":{}}`, 400, "tools", "tools"},
		"tool without a type": {`{` + ok + `,"tools":[{"name":"x"}]}`, 400, "type", "tools[0].type"},
		"few tokens":          {`{` + ok + `,"max_output_tokens":3}`, 400, "max_output_tokens", "max_output_tokens"},
		"temperature":         {`{` + ok + `,"temperature":0.1,"tools":[{"type":"table","table":{"name":"main.sales.reviews"}}]}`, 400, "Parameter not supported when tools are provided", "temperature"},
		"previous response":   {`{` + ok + `,"previous_response_id":"resp_1"}`, 400, "previous_response_id", "previous_response_id"},
		"background":          {`{` + ok + `,"background":true}`, 400, "background", "background"},
		"background, stream":  {`{` + ok + `,"background":true,"stream":true}`, 400, "background", "background"},
		"trace destination":   {`{` + ok + `,"trace_destination":{"catalog_name":"main","schema_name":"s","table_prefix":"t"}}`, 400, "trace_destination", "trace_destination"},
		"return trace":        {`{` + ok + `,"databricks_options":{"return_trace":true}}`, 400, "return_trace", ""},
		"orphan result":       {`{"model":"databricks-gpt-5-2","input":[{"type":"function_call_output","call_id":"call_1","output":"x"}]}`, 400, "No tool call found for function call output with call_id call_1", ""},
		"open call":           {`{"model":"databricks-gpt-5-2","input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"}]}`, 400, "No tool output found for function call call_1", ""},
		"function name":       {`{` + ok + `,"tools":[{"type":"function","name":"a b","parameters":{}}]}`, 400, "^[a-zA-Z0-9_-]{1,64}$", ""},
		"hosted name taken":   {`{` + ok + `,"tools":[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"function","name":"main__sales__reviews","parameters":{"type":"object"}}]}`, 400, "main__sales__reviews", ""},
		"table without name":  {`{` + ok + `,"tools":[{"type":"table","table":{}}]}`, 400, "name", ""},
		"unknown model":       {`{"model":"databricks-gpt-9","input":"hi"}`, 404, "databricks-gpt-9", ""},
		"forced, no tools":    {`{` + ok + `,"tool_choice":"required"}`, 400, "tool_choice", "tool_choice"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/ai-gateway/mlflow/v1/responses", "/mlflow/v1/responses", "/ai-gateway/openresponses/v1/responses"} {
				status, header, raw := w.Post(w.token, path, tc.body)
				var e struct {
					ErrorCode string `json:"error_code"`
					Error     struct{ Message, Type, Param, Code *string }
				}
				if err := json.Unmarshal(raw, &e); err != nil {
					t.Fatalf("got %d %s: %v", status, raw, err)
				}
				switch {
				case status != tc.status && !(tc.status == 404 && status == 403): // absent and hidden may look alike
					t.Errorf("%s: got %d %s, want %d", path, status, raw, tc.status)
				case e.Error.Message == nil || !strings.Contains(*e.Error.Message, tc.want) || len(*e.Error.Message) < 20:
					t.Errorf("%s: got %s, want a message with %q", path, raw, tc.want)
				case tc.param != "" && (e.Error.Param == nil || *e.Error.Param != tc.param):
					t.Errorf("%s: got %s, want param %q", path, raw, tc.param)
				case strings.Contains(path, "openresponses") == (e.ErrorCode != ""):
					t.Errorf("%s: got %s in the wrong envelope", path, raw)
				case e.Error.Type == nil || *e.Error.Type == "" || header.Get("Content-Type") != "application/json":
					t.Errorf("%s: got %s of type %s", path, raw, header.Get("Content-Type"))
				}
			}
		})
	}
	if n := len(w.openai.Requests()); n != 0 {
		t.Errorf("the provider got %d requests, want none", n)
	}
}

// A body of 40 MiB is too large, with and without its length told, and the
// gateway goes on.
func TestHugeBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed)
	body := []byte(`{"model":"databricks-gpt-5-2","input":"`)
	body = append(append(body, bytes.Repeat([]byte("x"), 40<<20)...), `"}`...)
	for _, header := range [][]string{nil, {"Expect", "100-continue"}} {
		status, _, raw := w.Post(w.token, "/ai-gateway/mlflow/v1/responses", body, header...)
		if status != 413 || !strings.Contains(string(raw), "32 MiB") {
			t.Errorf("got %d %s, want 413", status, raw)
		}
	}
	if n := len(w.openai.Requests()); n != 0 {
		t.Errorf("the provider got %d requests, want none", n)
	}
	w.openai.Script(upstream.Turn{Text: answered})
	if a := w.ask(t, object{"model": gpt, "input": "hi"}); a.text() != answered {
		t.Errorf("the next request: got %d %s", a.status, a.raw)
	}
}
