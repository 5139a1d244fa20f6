package main

import (
	"encoding/json"
	"io"
	"iter"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// BenchmarkAccept reads a turn of the size that coding agents send: 24 tools,
// 100 KB.
func BenchmarkAccept(b *testing.B) {
	type m = map[string]any
	var tools []any
	for i := range 24 {
		tools = append(tools, m{"name": "tool_" + string(rune('a'+i)), "description": strings.Repeat("What it does, and when. ", 60),
			"input_schema": m{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": m{"path": m{"type": "string", "description": strings.Repeat("Which. ", 30)}}}})
	}
	said := []any{m{"role": "user", "content": "Go."}}
	for i := range 20 {
		id := "toolu_" + string(rune('a'+i))
		said = append(said, m{"role": "assistant", "content": []any{m{"type": "text", "text": "I look."}, m{"type": "tool_use", "id": id, "name": "tool_a", "input": m{"path": "/src"}}}},
			m{"role": "user", "content": []any{m{"type": "tool_result", "tool_use_id": id, "content": strings.Repeat("line of a file\n", 120)}}})
	}
	body, err := json.Marshal(m{"model": "m", "max_tokens": 32000, "stream": true, "system": []any{m{"type": "text", "text": strings.Repeat("Rule. ", 2000), "cache_control": m{"type": "ephemeral"}}}, "tools": tools, "messages": said})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	n, before := 0, cpu(b)
	for b.Loop() {
		if _, err := (translator{}).Accept(b.Context(), provider.ClientRequest{Route: messagesRoute, Body: body}); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(n), "cpu-µs/request")
}

// BenchmarkWriteChunk writes a stream of 1000 pieces of text.
func BenchmarkWriteChunk(b *testing.B) {
	const chunks = 1000
	var events []or.Event
	out := provider.NewOutput(func(ev or.Event, err error) bool {
		if err != nil {
			b.Fatal(err)
		}
		events = append(events, ev)
		return true
	})
	for range chunks {
		out.Text(" and another \"word\" or two\n")
	}
	out.Finish(or.Terminal{Status: or.StatusCompleted})
	all := func(yield func(or.Event, error) bool) {
		for _, ev := range events {
			if !yield(ev, nil) {
				return
			}
		}
	}
	d := &answering{asked: provider.Asked{Model: "m", Stream: true}, id: "msg_1"}
	b.ReportAllocs()
	n, before := 0, cpu(b)
	for b.Loop() {
		if err := d.Write(b.Context(), iter.Seq2[or.Event, error](all), io.Discard); err != nil {
			b.Fatal(err)
		}
		n += chunks
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(n), "cpu-ns/chunk")
}
