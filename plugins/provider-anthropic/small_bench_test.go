package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// BenchmarkTurn says what a small request and one of 10 KB cost this front.
func BenchmarkTurn(b *testing.B) {
	for name, words := range map[string]int{"small": 8, "10KB": 2048} {
		request := provider.ClientRequest{
			Surface: "anthropic", Route: messagesRoute, Header: http.Header{"X-Claude-Code-Session-Id": {"s-1"}},
			Body: []byte(`{"model":"translated","max_tokens":1000,"stream":false,"metadata":{"user_id":"{\"session_id\":\"s-1\"}"},"messages":[{"role":"user","content":"` + strings.Repeat("word ", words) + `"}]}`),
		}
		b.Run("accept/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (translator{}).Accept(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("write/"+name, func(b *testing.B) { benchmarkWrite(b, false, strings.Repeat("word ", words), 1) })
	}
	b.Run("write/"+strconv.Itoa(deltas)+"deltas", func(b *testing.B) { benchmarkWrite(b, true, " and another word or two", deltas) })
}

const deltas = 200

// benchmarkWrite writes a reply whose text comes in n pieces.
func benchmarkWrite(b *testing.B, stream bool, piece string, n int) {
	var told []or.Event
	out := provider.NewOutput(func(ev or.Event, _ error) bool { told = append(told, ev); return true })
	for range n {
		out.Text(piece)
	}
	out.Usage(or.Usage{Input: 20, Output: 8})
	out.Finish(or.Terminal{Status: or.StatusCompleted, Model: "gpt-5.2", Tier: "default"})
	events := func(yield func(or.Event, error) bool) {
		for _, ev := range told {
			if !yield(ev, nil) {
				return
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		d := &answering{asked: provider.Asked{Model: "m", Stream: stream}, id: "msg_1"}
		if err := d.Write(b.Context(), events, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
