package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// BenchmarkRequest is one request through the whole gateway, plugin processes
// included, beside the same reply fetched directly in the same run. CPU is that
// of this process (client, upstream and gateway) and all plugins: what the
// gateway costs is the difference.
func BenchmarkRequest(b *testing.B) {
	w := newWorld(b, samples.Seed)
	w.openai.Repeat(upstream.Turn{Text: strings.Repeat("All is well. ", 100)})
	const chunks = 100
	for _, streamed := range []bool{false, true} {
		body := fmt.Sprintf(`{"model":"%%s","input":[{"type":"message","role":"user","content":"How are you?"}],"stream":%t}`, streamed)
		for _, to := range []struct{ name, url, token, model string }{
			{"direct", w.openai.URL + "/responses", w.secrets.openai, "gpt-5.2"},
			{"gateway", w.URL + "/ai-gateway/mlflow/v1/responses", w.token, gpt},
		} {
			b.Run(fmt.Sprintf("streamed=%t/%s", streamed, to.name), func(b *testing.B) {
				post(b, to.url, to.token, fmt.Sprintf(body, to.model)) // plugins start
				before := cpu(b, w.Gateway)
				for n := 0; b.Loop(); n++ {
					post(b, to.url, to.token, fmt.Sprintf(body, to.model))
					if n%100 == 0 {
						w.openai.Reset() // it remembers every request
						w.openai.Repeat(upstream.Turn{Text: strings.Repeat("All is well. ", 100)})
					}
				}
				spent := float64(cpu(b, w.Gateway)-before) / float64(b.N) / 1000
				b.ReportMetric(spent, "cpu-µs/op")
				if streamed {
					b.ReportMetric(spent/chunks, "cpu-µs/chunk")
				}
			})
		}
	}
}

func post(b *testing.B, url, token, body string) {
	if err := fetch(b.Context(), http.DefaultClient, url, token, body); err != nil {
		b.Fatal(err)
	}
}

// fetch makes a request that must be answered well.
func fetch(ctx context.Context, c *http.Client, url, token, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !bytes.Contains(reply, []byte("All is well.")) {
		return fmt.Errorf("got %d %.300s (%v)", resp.StatusCode, reply, err)
	}
	return nil
}

// BenchmarkFetch is one request of a tool plugin to its target: plugin,
// gateway, service and back, beside the same request made directly. CPU is that
// of this process (gateway and service, or client and service) and the plugins.
func BenchmarkFetch(b *testing.B) {
	w := newStation(b, "", ", credential: {scheme: header, name: X-Station-Key}")
	token, url := w.Token("alice@example.com"), w.api+"/v2/hours?city=Brno"
	measure := func(name string, run func(b *testing.B, n int)) {
		b.Run(name, func(b *testing.B) {
			run(b, 10)
			before := cpu(b, w.Gateway)
			b.ResetTimer()
			run(b, b.N)
			b.StopTimer()
			b.ReportMetric(float64(cpu(b, w.Gateway)-before)/float64(b.N)/1000, "cpu-µs/op")
			w.forget()
		})
	}
	measure("direct", func(b *testing.B, n int) {
		for range n {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
			if err != nil {
				b.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if resp.Body.Close(); err != nil || resp.StatusCode != 200 {
				b.Fatalf("got %d %s (%v)", resp.StatusCode, body, err)
			}
		}
	})
	measure("gateway", func(b *testing.B, n int) {
		for n > 0 { // a call has two minutes
			times := min(n, 10_000)
			if got := w.call(b, token, "many", fmt.Sprintf(`{"times":%d}`, times)); got != "done" {
				b.Fatal(got)
			}
			n -= times
		}
	})
}

// cpu is the time, in nanoseconds, that this process and the plugins of g have
// spent on processors.
func cpu(b *testing.B, g *gatewaytest.Gateway) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	total := u.Utime.Nano() + u.Stime.Nano()
	for _, p := range g.Plugins() {
		if p.PID == 0 {
			continue
		}
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.PID))
		if err != nil {
			b.Fatal(err)
		}
		for _, t := range tasks {
			text, err := os.ReadFile(t)
			if err != nil {
				continue // the thread has ended
			}
			ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += ns
		}
	}
	return total
}
