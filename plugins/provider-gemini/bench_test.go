package main

import (
	"io"
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

func BenchmarkWriteChunk(b *testing.B) {
	s, err := accepted(b, "streamGenerateContent", "alt=sse", `{"contents":[{"parts":[{"text":"Hi"}]}]}`)
	if err != nil {
		b.Fatal(err)
	}
	const chunks = 1000
	usage := &or.Usage{Input: 12, Output: 34}
	b.ReportAllocs()
	n, before := 0, cpu(b)
	for b.Loop() {
		r := &reply{c: s, w: io.Discard}
		for range chunks {
			r.event(or.Event{Type: or.EventTextDelta, Delta: " and another word or two", Usage: usage})
			if err := r.send(); err != nil {
				b.Fatal(err)
			}
		}
		n += chunks
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(n), "cpu-ns/chunk")
}

// BenchmarkAccept reads a request as long as those of Gemini CLI.
func BenchmarkAccept(b *testing.B) {
	declaration := `{"name":"f%","description":"` + strings.Repeat("What it does, at some length. ", 20) + `","parametersJsonSchema":{"type":"object","properties":{"path":{"type":"string","description":"where"},"n":{"type":"integer"}},"required":["path"]}}`
	var tools []string
	for i := range 20 {
		tools = append(tools, strings.Replace(declaration, "%", string(rune('a'+i)), 1))
	}
	body := `{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"systemInstruction":{"role":"user","parts":[{"text":"` + strings.Repeat("Be an agent, and a good one. ", 900) +
		`"}]},"tools":[{"functionDeclarations":[` + strings.Join(tools, ",") + `]}],"generationConfig":{"temperature":1,"topP":0.95,"topK":64,"thinkingConfig":{"includeThoughts":true}}}`
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := accepted(b, "streamGenerateContent", "alt=sse", body); err != nil {
			b.Fatal(err)
		}
	}
}
