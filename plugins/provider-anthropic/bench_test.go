package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// cpu is the time this process has computed so far: what a chunk costs, also
// on a machine that is busy with other things.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkDecodeChunk(b *testing.B) {
	head := `data: {"type":"message_start","message":{"model":"claude-sonnet-4-5","usage":{"input_tokens":12,"output_tokens":1}}}` + "\n\n" +
		`data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n"
	chunk := "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" and another word or two"}}` + "\n\n"
	last := `data: {"type":"content_block_stop","index":0}` + "\n\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}` + "\n\n" +
		`data: {"type":"message_stop"}` + "\n\n"
	r, err := or.ParseRequest([]byte(`{"model":"m","input":"Hi","stream":true}`))
	if err != nil {
		b.Fatal(err)
	}
	const chunks = 1000
	body := head + strings.Repeat(chunk, chunks) + last
	turn := provider.Turn{Op: provider.Generate, Model: "claude-sonnet-4-5", Account: provider.Account{Name: "anthropic"}, Request: r}
	b.ReportAllocs()
	n, before := 0, cpu(b)
	for b.Loop() {
		x, err := translator{}.Begin(b.Context(), turn)
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range x.Decode(b.Context(), provider.Reply{Status: 200, Body: strings.NewReader(body)}) {
			if err != nil {
				b.Fatal(err)
			}
		}
		n += chunks
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(n), "cpu-ns/chunk")
}
