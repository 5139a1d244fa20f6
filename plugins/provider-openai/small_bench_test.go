package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// BenchmarkTurn says what beginning a turn and decoding its reply cost: of a
// small one, of one of 10 KB, and of a stream of 200 pieces.
func BenchmarkTurn(b *testing.B) {
	const reply = `{"id":"resp_1","object":"response","created_at":1760000000,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"gpt-5.2","output":[` +
		`{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":%q,"annotations":[],"logprobs":[]}]}],` +
		`"parallel_tool_calls":true,"service_tier":"default","usage":{"input_tokens":20,"input_tokens_details":{"cached_tokens":4},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":28}}`
	var stream strings.Builder
	for i := range 200 {
		fmt.Fprintf(&stream, "event: response.output_text.delta\ndata: "+`{"type":"response.output_text.delta","sequence_number":%d,"item_id":"msg_0","output_index":0,"content_index":0,"delta":"word%d ","logprobs":[],"obfuscation":"abcdef"}`+"\n\n", i, i)
	}
	stream.WriteString("event: response.completed\ndata: " + `{"type":"response.completed","response":{"status":"completed","model":"gpt-5.2","usage":{"input_tokens":1,"output_tokens":2}}}` + "\n\n")
	most := int64(1000)
	turn := func(words int, stream bool) provider.Turn {
		return provider.Turn{Op: provider.Generate, Model: "gpt-5.2", Account: provider.Account{Name: "openai"}, Request: &or.Request{
			Model: "translated", Input: []or.Item{or.Text("user", strings.Repeat("word ", words))}, MaxOutputTokens: &most, Stream: stream,
			PromptCacheKey: "s-1", SafetyIdentifier: "user_0123456789abcdef0123456789abcdef", Extra: []or.Member{{Name: "anthropic", Value: []byte(`{"user_id":"u"}`)}}}}
	}
	for name, words := range map[string]int{"small": 8, "10KB": 2048} {
		b.Run("begin/"+name, func(b *testing.B) {
			t := turn(words, false)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (translator{}).Begin(b.Context(), t); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decode/"+name, func(b *testing.B) {
			benchmarkDecode(b, turn(words, false), "application/json", fmt.Sprintf(reply, strings.Repeat("word ", words)))
		})
	}
	b.Run("decode/200deltas", func(b *testing.B) { benchmarkDecode(b, turn(8, true), "text/event-stream", stream.String()) })
}

func benchmarkDecode(b *testing.B, t provider.Turn, typ, body string) {
	x, err := translator{}.Begin(b.Context(), t)
	if err != nil {
		b.Fatal(err)
	}
	header := http.Header{"Content-Type": {typ}, "Content-Length": {fmt.Sprint(len(body))}}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range x.Decode(b.Context(), provider.Reply{Status: 200, Header: header, Body: strings.NewReader(body)}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
