package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// BenchmarkChunk says what one chunk of a stream costs: ns/op is per chunk.
func BenchmarkChunk(b *testing.B) {
	const chunks = 2000
	var chat, responses strings.Builder
	responses.WriteString(`data: {"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_0","status":"in_progress","role":"assistant","content":[]}}` + "\n\n")
	for i := range chunks {
		fmt.Fprintf(&chat, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-5.2-2025-12-11","service_tier":"default","choices":[{"index":0,"delta":{"content":"word%d "},"finish_reason":null}],"usage":null}`+"\n\n", i)
		fmt.Fprintf(&responses, "event: response.output_text.delta\ndata: "+`{"type":"response.output_text.delta","sequence_number":%d,"item_id":"msg_0","output_index":0,"content_index":0,"delta":"word%d ","logprobs":[],"obfuscation":"abcdef"}`+"\n\n", i, i)
	}
	chat.WriteString(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n")
	responses.WriteString(`data: {"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":1,"output_tokens":2}}}` + "\n\n")
	for api, body := range map[string]string{"chat": chat.String(), "responses": responses.String()} {
		b.Run(api, func(b *testing.B) {
			turn := provider.Turn{
				Op: provider.Generate, Model: "gpt-5.2", Request: &or.Request{Input: []or.Item{or.Text("user", "x")}, Stream: true},
				Account: provider.Account{Name: "openai", Settings: fmt.Appendf(nil, `{"api":%q}`, api)},
			}
			header := http.Header{"Content-Type": {"text/event-stream"}}
			b.ReportAllocs()
			for n := 0; n < b.N; n += chunks {
				x, err := translator{}.Begin(b.Context(), turn)
				if err != nil {
					b.Fatal(err)
				}
				for e, err := range x.Decode(b.Context(), provider.Reply{Status: 200, Header: header, Body: bytes.NewReader([]byte(body))}) {
					if err != nil {
						b.Fatal(err)
					}
					_ = e
				}
			}
		})
	}
}

// BenchmarkWrite says what writing one delta to a client costs: ns/op is per
// delta.
func BenchmarkWrite(b *testing.B) {
	const deltas = 2000
	bodies := map[string]string{routeChat: `{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}`, routeResponses: `{"model":"m","stream":true,"input":"x"}`}
	for route, body := range bodies {
		b.Run(route[1:], func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; n < b.N; n += deltas {
				d, err := translator{}.Accept(b.Context(), provider.ClientRequest{Surface: "openai", Route: route, Body: []byte(body)})
				if err != nil {
					b.Fatal(err)
				}
				events := func(yield func(or.Event, error) bool) {
					out := provider.NewOutput(func(e or.Event, err error) bool {
						e.More = !e.IsTerminal()
						return yield(e, err)
					})
					for range deltas {
						out.Text("word and ")
					}
					out.Finish(or.Terminal{Status: or.StatusCompleted})
				}
				if err := d.Write(b.Context(), events, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
