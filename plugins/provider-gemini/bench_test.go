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
	chunk := `data: {"candidates":[{"content":{"parts":[{"text":" and another word or two"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":34,"totalTokenCount":46},"modelVersion":"gemini-2.5-flash","responseId":"abc"}` + "\n\n"
	last := `data: {"candidates":[{"finishReason":"STOP"}]}` + "\n\n"
	r, err := or.ParseRequest([]byte(`{"model":"m","input":"Hi","stream":true}`))
	if err != nil {
		b.Fatal(err)
	}
	const chunks = 1000
	body := strings.Repeat(chunk, chunks) + last
	turn := provider.Turn{Op: provider.Generate, Model: "gemini-2.5-flash", Account: provider.Account{Name: "gemini"}, Request: r}
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
