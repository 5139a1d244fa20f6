package render

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func TestParseDialect(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Dialect{"": Databricks, "databricks": Databricks, "openai": OpenAI, "openresponses": OpenResponses} {
		if got, err := ParseDialect(in); err != nil || got != want {
			t.Errorf("ParseDialect(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"OpenAI", "anthropic", " openai"} {
		if _, err := ParseDialect(in); !apierror.Is(err, apierror.Invalid) {
			t.Errorf("ParseDialect(%q) = %v, want invalid", in, err)
		}
	}
}

func TestNewID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id := NewID("resp_")
		if len(id) != 37 || !strings.HasPrefix(id, "resp_") || id[5+12] != '7' || seen[id] {
			t.Fatalf("NewID = %q, want a new resp_ and a version 7 UUID", id)
		}
		seen[id] = true
	}
}

// FuzzString: whatever the text, the JSON is one line, valid, and says the
// same, but for bytes that are no UTF-8.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\x00\x1f\x7f", "é\u0085\u2028\u2029😀", "\xff\xc3(\xe2\x82", "</script>", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var back string
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("appendString(%q) = %s: %v", s, b, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && back != want {
			t.Errorf("appendString(%q) reads as %q", s, back)
		}
		if !utf8.Valid(b) || len(strings.FieldsFunc(string(b), func(r rune) bool {
			return r == '\n' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029
		})) != 1 {
			t.Errorf("appendString(%q) = %q is not one line of UTF-8", s, b)
		}
	})
}

// TestResponseObject is the whole object in each dialect: the members are the
// same, tools and errors are not.
func TestResponseObject(t *testing.T) {
	t.Parallel()
	const (
		minimal = `{"model":"m","input":"x"}`
		full    = `{"model":"m","input":"x","instructions":"Be \"brief\".","max_output_tokens":100,"max_tool_calls":3,"parallel_tool_calls":false,
			"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]},
			"reasoning":{"effort":"low"},"text":{"format":{"type":"json_object"},"verbosity":"low"},"metadata":{"b":"2","a":"1"},
			"store":true,"truncation":"auto","service_tier":"flex","safety_identifier":"s","prompt_cache_key":"k","top_p":0.25,"temperature":0,"presence_penalty":-1,"frequency_penalty":0.5,"top_logprobs":4,
			"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true},{"type":"table","table":{"name":"a.b.c"}}]}`
		head        = `{"id":"resp_1","object":"response","created_at":1700000000,"model":"m",`
		minimalEcho = `"instructions":null,"tools":[],"tool_choice":"auto","truncation":"disabled","parallel_tool_calls":true,"text":{"format":{"type":"text"}},"temperature":1,"top_p":1,"presence_penalty":0,"frequency_penalty":0,"top_logprobs":0,"reasoning":null,"max_output_tokens":null,"max_tool_calls":null,"store":false,"background":false,"metadata":{},"previous_response_id":null,"safety_identifier":null,"prompt_cache_key":null,`
		fullEcho    = `"instructions":"Be \"brief\".","tools":[{"type":"function","name":"f","description":null,"parameters":{"type":"object"},"strict":true},TABLE],"tool_choice":{"type":"allowed_tools","tools":[{"type":"function","name":"f"}],"mode":"required"},"truncation":"auto","parallel_tool_calls":false,"text":{"format":{"type":"json_object"},"verbosity":"low"},"temperature":0,"top_p":0.25,"presence_penalty":-1,"frequency_penalty":0.5,"top_logprobs":4,"reasoning":{"effort":"low","summary":null},"max_output_tokens":100,"max_tool_calls":3,"store":true,"background":false,"metadata":{"a":"1","b":"2"},"previous_response_id":null,"safety_identifier":"s","prompt_cache_key":"k",`
		asDeclared  = `{"type":"table","table":{"name":"a.b.c"}}`
		asServer    = `{"type":"mcp","server_label":"table","require_approval":"never"}`
		asFunction  = `{"type":"function","name":"a__b__c","description":"D","parameters":{"type":"object"},"strict":null}`
		completed   = `"status":"completed","completed_at":1700000002,"incomplete_details":null,"error":null,"service_tier":"default","output":[],"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":15}}`
		incomplete  = `"status":"incomplete","completed_at":null,"incomplete_details":{"reason":"max_turns"},"error":null,"service_tier":"flex","output":[],"usage":null}`
		failed      = `"status":"failed","completed_at":null,"incomplete_details":null,"error":{"type":"TYPE","code":"invalid","message":"No.","param":"tools"},"service_tier":"priority","output":[],"usage":null}`
	)
	ends := map[string]Outcome{
		completed:  {Status: "completed", Usage: &openresponses.Usage{Input: 3, CacheRead: 4, CacheWrite: 2, CacheWrite1h: 1, Output: 3, Reasoning: 2}, At: time.Unix(1_700_000_002, 0)},
		incomplete: {Status: "incomplete", Reason: "max_turns"},
		failed:     {Status: "failed", Error: apierror.At(apierror.Invalid, "tools", "No."), Tier: "priority"},
	}
	tests := []struct {
		dialect   Dialect
		request   string
		echo, end string
	}{
		{Databricks, minimal, minimalEcho, completed},
		{Databricks, full, strings.Replace(fullEcho, "TABLE", asDeclared, 1), incomplete},
		{OpenAI, full, strings.Replace(fullEcho, "TABLE", asServer, 1), incomplete},
		{OpenResponses, full, strings.Replace(fullEcho, "TABLE", asFunction, 1), incomplete},
		{Databricks, minimal, minimalEcho, failed},
		{OpenResponses, minimal, strings.Replace(minimalEcho, `"tools":[]`, `"tools":[`+asFunction+`]`, 1), failed},
	}
	for _, tt := range tests {
		req, err := openresponses.ParseRequest([]byte(tt.request))
		if err != nil {
			t.Fatal(err)
		}
		w := NewWriter(Head{ID: "resp_1", Created: time.Unix(1_700_000_000, 0), Dialect: tt.dialect, Request: req, Hosted: []Function{{
			Tool: openresponses.Tool{Name: "a__b__c", Description: "D", Parameters: json.RawMessage(`{"type":"object"}`)}, Label: "table", Kind: Hosted,
		}}}, nil)
		got, err := w.Finish(ends[tt.end])
		if err != nil {
			t.Fatal(err)
		}
		typ := "invalid_request_error"
		if tt.dialect == OpenResponses {
			typ = "invalid_request"
		}
		if want := head + tt.echo + strings.Replace(tt.end, "TYPE", typ, 1); string(got) != want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.dialect, got, want)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(got, &members); err != nil || len(members) != 31 {
			t.Errorf("%s: %d members, %v, want 31", tt.dialect, len(members), err)
		}
	}
}

func TestErrorNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code            apierror.Code
		typ, wire, spec string
	}{
		{apierror.Invalid, "invalid_request_error", "invalid", "invalid_request"},
		{apierror.Denied, "invalid_request_error", "denied", "invalid_request"},
		{apierror.OAuth, "invalid_request_error", "oauth", "invalid_request"},
		{apierror.NotFound, "not_found", "not_found", "not_found"},
		{apierror.RateLimited, "too_many_requests", "rate_limit_exceeded", "too_many_requests"},
		{apierror.UpstreamLimited, "too_many_requests", "rate_limit_exceeded", "too_many_requests"},
		{apierror.UpstreamFailed, "model_error", "upstream_failed", "model_error"},
		{apierror.Internal, "server_error", "server_error", "server_error"},
		{apierror.Unavailable, "server_error", "unavailable", "server_error"},
	}
	for _, tt := range tests {
		e := apierror.New(tt.code, "x")
		if got := ErrorType(Databricks, e); got != tt.typ {
			t.Errorf("%s: type %q, want %q", tt.code, got, tt.typ)
		}
		if got := ErrorType(OpenResponses, e); got != tt.spec {
			t.Errorf("%s: type in openresponses %q, want %q", tt.code, got, tt.spec)
		}
		if got := ErrorCode(e); got != tt.wire {
			t.Errorf("%s: code %q, want %q", tt.code, got, tt.wire)
		}
	}
}

// TestWaitingTurn: behind a hosted call of the openai dialect the rest of the
// turn waits for the result, and results may come in any order.
func TestWaitingTurn(t *testing.T) {
	t.Parallel()
	var types []string
	w := NewWriter(Head{Dialect: OpenAI, Request: &openresponses.Request{}, Hosted: []Function{{Tool: openresponses.Tool{Name: "f"}, Kind: Hosted}}},
		func(e Event) error { types = append(types, e.Type); return nil })
	model := func(ev openresponses.Event) {
		t.Helper()
		if err := w.Model(&ev); err != nil {
			t.Fatal(err)
		}
	}
	call := func(id string) {
		it := openresponses.Item{Type: openresponses.TypeFunctionCall, CallID: id, Name: "f"}
		model(openresponses.Event{Type: openresponses.EventItemAdded, Item: &it})
		done := it
		done.Arguments, done.Status = "{}", openresponses.StatusCompleted
		model(openresponses.Event{Type: openresponses.EventArgumentsDelta, Delta: "{}"})
		model(openresponses.Event{Type: openresponses.EventArgumentsDone, Text: "{}"})
		model(openresponses.Event{Type: openresponses.EventItemDone, Item: &done})
	}
	call("a")
	before := len(types)
	call("b")
	if len(types) != before {
		t.Errorf("events of the second call came before the first had its result: %v", types[before:])
	}
	for _, id := range []string{"b", "a"} {
		if err := w.Result(&Record{CallID: id, Status: openresponses.StatusCompleted, Output: openresponses.Output{Text: "result " + id}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.items) != 2 || !strings.Contains(string(w.items[0]), "result a") || !strings.Contains(string(w.items[1]), "result b") {
		t.Errorf("items %s, want a before b", w.items)
	}
}

// TestCompaction: a compaction item that a provider made goes to the client,
// who sends it back; an item of a type that no dialect knows does not.
func TestCompaction(t *testing.T) {
	t.Parallel()
	for _, d := range Dialects {
		var sent []string
		w := NewWriter(Head{Dialect: d, Request: &openresponses.Request{}}, func(e Event) error { sent = append(sent, e.Type); return nil })
		for _, typ := range []string{openresponses.TypeCompaction, "acme:note"} {
			it := openresponses.Item{Type: typ}
			done := openresponses.Item{Type: typ, Status: openresponses.StatusCompleted, EncryptedContent: "sp1.x"}
			for _, ev := range []openresponses.Event{{Type: openresponses.EventItemAdded, Item: &it}, {Type: openresponses.EventTextDelta}, {Type: openresponses.EventItemDone, Item: &done}} {
				if typ == openresponses.TypeCompaction && ev.Type == openresponses.EventTextDelta {
					continue
				}
				if err := w.Model(&ev); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(w.items) != 1 || !strings.HasSuffix(string(w.items[0]), `"status":"completed","encrypted_content":"sp1.x"}`) || len(sent) != 2 {
			t.Errorf("%s: items %s, events %v", d, w.items, sent)
		}
	}
}

func BenchmarkTextDelta(b *testing.B) {
	w := NewWriter(Head{Dialect: Databricks, Request: &openresponses.Request{}}, func(Event) error { return nil })
	it := openresponses.Item{Type: openresponses.TypeMessage}
	if err := w.Model(&openresponses.Event{Type: openresponses.EventItemAdded, Item: &it}); err != nil {
		b.Fatal(err)
	}
	ev := openresponses.Event{Type: openresponses.EventTextDelta, Delta: "about twenty letters"}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Model(&ev); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResponseObject(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		w := NewWriter(Head{ID: NewID("resp_"), Dialect: Databricks, Request: &openresponses.Request{Model: "m"}}, nil)
		if _, err := w.Finish(Outcome{Status: "completed"}); err != nil {
			b.Fatal(err)
		}
	}
}
