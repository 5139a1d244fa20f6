package router

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// The shapes in which providers count, as their translators declare them.
var shapes = map[string]*probe{
	"blocks": newProbe(provider.Dialect{Ends: []string{"message_stop"}, Failures: []string{"error"}, Text: []string{"delta.text", "content.text", "content.input"}},
		provider.Meter{Fields: []provider.Field{
			{Event: "message_start", Path: "message.usage.input_tokens", Count: provider.Input, Op: provider.Max},
			{Event: "message_start", Path: "message.usage.cache_creation_input_tokens", Count: provider.CacheWrite, Op: provider.Max},
			{Event: "message_start", Path: "message.usage.cache_creation.ephemeral_1h_input_tokens", Count: provider.CacheWrite1h, Op: provider.Max, In: provider.CacheWrite},
			{Event: "message_start", Path: "message.usage.output_tokens", Count: provider.OutputTokens, Op: provider.Max},
			{Path: "usage.input_tokens", Count: provider.Input, Op: provider.Max},
			{Path: "usage.output_tokens", Count: provider.OutputTokens, Op: provider.Max},
		}}),
	"items": newProbe(provider.Dialect{Ends: []string{"response.completed", "response.incomplete", "response.failed"}, Failures: []string{"error", "response.failed"}, Text: []string{"delta"}},
		provider.Meter{Fields: []provider.Field{
			{Path: "response.usage.input_tokens", Count: provider.Input, Op: provider.Last},
			{Path: "response.usage.input_tokens_details.cached_tokens", Count: provider.CacheRead, Op: provider.Last, In: provider.Input},
			{Path: "response.usage.output_tokens", Count: provider.OutputTokens, Op: provider.Last},
			{Path: "response.usage.output_tokens_details.reasoning_tokens", Count: provider.Reasoning, Op: provider.Last, In: provider.OutputTokens},
		}}),
	"choices": newProbe(provider.Dialect{Ends: []string{"[DONE]"}, Failures: []string{"error"}, Text: []string{"choices.delta.content"}},
		provider.Meter{Fields: []provider.Field{
			{Path: "usage.prompt_tokens", Count: provider.Input, Op: provider.Last},
			{Path: "usage.completion_tokens", Count: provider.OutputTokens, Op: provider.Last},
		}}),
	"candidates": newProbe(provider.Dialect{Failures: []string{"error"}, Text: []string{"candidates.content.parts.text"}},
		provider.Meter{Fields: []provider.Field{
			{Path: "usageMetadata.promptTokenCount", Count: provider.Input, Op: provider.Last},
			{Path: "usageMetadata.toolUsePromptTokenCount", Count: provider.Input, Op: provider.Add},
			{Path: "usageMetadata.candidatesTokenCount", Count: provider.OutputTokens, Op: provider.Last},
			{Path: "usageMetadata.thoughtsTokenCount", Count: provider.Reasoning, Op: provider.Last},
		}}),
}

func TestProbe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		shape  string
		data   []string // of the events
		want   openresponses.Usage
		text   int
		calls  int
		served string
		tier   string
		end    bool
		failed bool
	}{
		{shape: "blocks", data: []string{
			`{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":10,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_1h_input_tokens":100},"output_tokens":1,"service_tier":"priority"}}}`,
			`{"type":"content_block_start","content_block":{"type":"tool_use","input":{}}}`,
			`{"type":"content_block_delta","delta":{"type":"text_delta","text":"12345"}}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":77,"input_tokens":10}}`,
			`{"type":"message_stop"}`,
		}, want: openresponses.Usage{Input: 10, CacheWrite: 200, CacheWrite1h: 100, Output: 77}, text: 5, calls: 1, served: "claude-x", tier: "priority", end: true},
		{shape: "blocks", data: []string{`{"type":"message","model":"c","content":[{"type":"text","text":"abc"},{"type":"tool_use","input":{"a":1}}],"usage":{"input_tokens":5,"output_tokens":6}}`},
			want: openresponses.Usage{Input: 5, Output: 6}, text: 3 + 7, calls: 1, served: "c"},
		{shape: "blocks", data: []string{`{"type":"error","error":{"type":"overloaded_error"}}`}, failed: true},
		{shape: "items", data: []string{
			`{"type":"response.created","response":{"model":"gpt-x","usage":null,"error":null}}`,
			`{"type":"response.output_text.delta","delta":"hello"}`,
			`{"type":"response.output_item.added","item":{"type":"function_call"}}`,
			`{"type":"response.output_item.done","item":{"type":"function_call"}}`,
			`{"type":"response.completed","response":{"model":"gpt-x","service_tier":"flex","output":[{"type":"function_call"}],"usage":{"input_tokens":50,"input_tokens_details":{"cached_tokens":20},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":10}}}}`,
		}, want: openresponses.Usage{Input: 30, CacheRead: 20, Output: 20, Reasoning: 10}, text: 5, calls: 1, served: "gpt-x", tier: "flex", end: true},
		{shape: "items", data: []string{`{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}`}, failed: true, end: true},
		{shape: "choices", data: []string{
			`{"model":"m-1","choices":[{"index":0,"delta":{"content":"ab"}}],"usage":null}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"arguments":""}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}`,
			`{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":9}}`,
		}, want: openresponses.Usage{Input: 8, Output: 9}, text: 2, calls: 1, served: "m-1"},
		{shape: "choices", data: []string{`{"error":null,"choices":[]}`}},
		{shape: "choices", data: []string{`{"error":{"message":"m"}}`}, failed: true},
		{shape: "candidates", data: []string{
			`{"candidates":[{"content":{"parts":[{"text":"abc"},{"functionCall":{"name":"f"}}]}}],"usageMetadata":{"promptTokenCount":5,"toolUsePromptTokenCount":2},"modelVersion":"g-1"}`,
			`{"candidates":[{"content":{"parts":[{"text":"de"}]}}],"usageMetadata":{"promptTokenCount":5,"toolUsePromptTokenCount":2,"candidatesTokenCount":3,"thoughtsTokenCount":4}}`,
		}, want: openresponses.Usage{Input: 7, Output: 3, Reasoning: 4}, text: 5, calls: 1, served: "g-1"},
		{shape: "candidates", data: []string{`[{"usageMetadata":{"promptTokenCount":5}},{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3}}]`}, want: openresponses.Usage{Input: 5, Output: 3}},
	}
	for _, tt := range tests {
		var got tally
		var k kind
		var failed bool
		for _, data := range tt.data {
			k, failed = shapes[tt.shape].walk([]byte(data), kind{}, false, &got)
		}
		u := got.usage()
		if u == nil {
			u = &openresponses.Usage{}
		}
		if *u != tt.want || got.text != tt.text || got.calls != tt.calls || got.model != tt.served || got.tier != tt.tier || k.end != tt.end || failed != tt.failed {
			t.Errorf("%s %.60s…: %+v, %d bytes of text, %d calls, %q %q, end %v, failed %v;\nwant %+v", tt.shape, tt.data[0], *u, got.text, got.calls, got.model, got.tier, k.end, failed, tt)
		}
	}
}

// A walk reads anything without going wrong, and what it counts is in the data.
func FuzzProbe(f *testing.F) {
	for _, seed := range []string{
		`{"usage":{"input_tokens":1},"candidates":[{"content":{"parts":[{"text":"a"}]}}]}`, `{"usage":`, `[[[[`, `{"a":"\`, `{"type":"error"`, `{"usage":{"input_tokens":1}}}}}`, `{"choices":[,]}`, `nul`, `"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, p := range shapes {
			var got tally
			p.walk([]byte(in), kind{}, false, &got)
			if got.text > len(in) {
				t.Fatalf("%d bytes of text in %d", got.text, len(in))
			}
			if u := got.usage(); u != nil && !believable(*u) && json.Valid([]byte(in)) && !bytes.Contains([]byte(in), []byte("00000000")) {
				for _, n := range []int64{u.Input, u.Output, u.CacheRead} {
					if n < 0 {
						t.Fatalf("counts %+v", *u)
					}
				}
			}
		}
		fault([]byte(in))
	})
}

func TestFault(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		message, code string
		as            apierror.Code
	}{
		`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`:               {"Overloaded", "overloaded_error", apierror.UpstreamLimited},
		`{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}`:                            {"busy", "UNAVAILABLE", apierror.UpstreamFailed},
		`{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED"}}`:                     {"slow", "RESOURCE_EXHAUSTED", apierror.UpstreamLimited},
		`{"type":"response.failed","response":{"error":{"code":"server_error","message":"broke"}}}`: {"broke", "server_error", apierror.UpstreamFailed},
		`{"type":"error","code":"invalid_prompt","message":"bad"}`:                                  {"bad", "error", apierror.UpstreamFailed},
		`{"error":"just text"}`: {"just text", "", apierror.UpstreamFailed},
		`<html>`:                {"", "", apierror.UpstreamFailed},
		``:                      {"", "", apierror.UpstreamFailed},
	} {
		message, code := fault([]byte(in))
		if message != want.message || code != want.code || faultCode(code) != want.as {
			t.Errorf("fault(%s) = %q, %q (%s), want %+v", in, message, code, faultCode(code), want)
		}
	}
}

func BenchmarkProbe(b *testing.B) {
	for name, data := range map[string]string{
		"blocks":      `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"some words"}}`,
		"items":       `{"type":"response.output_text.delta","sequence_number":12,"item_id":"msg_0123456789abcdef","output_index":0,"content_index":0,"delta":"some words"}`,
		"choices":     `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795252787,"model":"gpt-x","choices":[{"index":0,"delta":{"content":"some words"},"finish_reason":null}],"usage":null}`,
		"candidates":  `{"candidates":[{"content":{"parts":[{"text":"some words"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3,"totalTokenCount":8},"modelVersion":"g-1","responseId":"x"}`,
		"items whole": `{"type":"response.completed","response":{"instructions":"` + strings.Repeat("line of text\\n", 4000) + `","usage":{"input_tokens":50}}}`,
	} {
		p := shapes[strings.TrimSuffix(name, " whole")]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			var got tally
			in := []byte(data)
			for b.Loop() {
				p.walk(in, kind{}, false, &got)
			}
		})
	}
}
