package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/core/tables"
)

// BenchmarkRecording is what it costs to record calls: the same requests through
// a gateway that records nothing and one that does, in turns, so that whatever
// else the machine does hits both alike. Medians of the pairs are reported:
// cpu-µs/op is the processor time of client, provider, gateway and plugins for a
// request that is not recorded, more-cpu-µs/op what recording adds, and
// throughput-% what is left of the requests a second of eight clients.
func BenchmarkRecording(b *testing.B) {
	up := upstream.OpenAI(b, "key-for-bench")
	reply := upstream.Turn{Text: strings.Repeat("All is well. ", 100)}
	up.Play(func(upstream.Request) upstream.Turn { return reply })
	off := recorder(b, up, true, "", tables.Config{})
	const payload = ", inference_table: {parent: main.gateway, prefix: bench}"
	rare := tables.Config{SyncWithin: 10 * time.Second, FlushAfter: time.Hour}
	for _, kind := range []struct {
		name, model string
		cfg         tables.Config
	}{
		{"usage,request_path_alone", "", rare}, // hardly any fsync and no commit
		{"usage", "", tables.Config{}},
		{"usage+payload", payload, tables.Config{}},
	} {
		on := recorder(b, up, false, kind.model, kind.cfg)
		for _, streamed := range []bool{false, true} {
			body := fmt.Sprintf(`{"model":%q,"input":[{"type":"message","role":"user","content":"How are you?"}],"stream":%t}`, gpt, streamed)
			b.Run(fmt.Sprintf("%s/streamed=%t", kind.name, streamed), func(b *testing.B) {
				off.block(b, body, 48)
				on.block(b, body, 48)
				var without, more, ratio []float64
				pair := func() {
					first, second := off, on
					if len(more)%2 == 1 {
						first, second = on, off
					}
					x, y := first.block(b, body, 96), second.block(b, body, 96)
					if first == on {
						x, y = y, x
					}
					without, more, ratio = append(without, x.cpu), append(more, y.cpu-x.cpu), append(ratio, 100*y.rate/x.rate)
				}
				for b.Loop() {
					pair()
				}
				for len(more) < 40 {
					pair()
				}
				b.ReportMetric(0, "ns/op") // of a pair
				b.ReportMetric(median(without), "cpu-µs/op")
				b.ReportMetric(median(more), "more-cpu-µs/op")
				b.ReportMetric(median(ratio), "throughput-%")
			})
		}
	}
}

// recording is a gateway of BenchmarkRecording.
type recording struct {
	*gatewaytest.Gateway
	token string
}

func recorder(b *testing.B, up *upstream.Server, unrecorded bool, model string, own tables.Config) *recording {
	text, dir := openaiOnly(b, up, "key-for-bench")
	text = strings.Replace(text, "model: gpt-5.2}]", "model: gpt-5.2, price: {input: 1.75, output: 14}}]"+model, 1)
	cfg, err := config.Parse([]byte(text), dir)
	if err != nil {
		b.Fatal(err)
	}
	cfg.Unrecorded, cfg.Tables = unrecorded, own
	g := gatewaytest.StartConfig(b, cfg)
	return &recording{g, g.Token("alice@example.com")}
}

// figures are those of a block of requests.
type figures struct {
	cpu  float64 // µs a request
	rate float64 // requests a second
}

// block makes n requests with eight clients.
func (r *recording) block(b *testing.B, body string, n int) figures {
	const clients = 8
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	errs := make([]error, clients)
	before, began := cpu(b, r.Gateway), time.Now()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for range n / clients {
				if err := fetch(b.Context(), client, r.URL+"/ai-gateway/mlflow/v1/responses", r.token, body); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	done := float64(n / clients * clients)
	return figures{cpu: float64(cpu(b, r.Gateway)-before) / 1000 / done, rate: done / time.Since(began).Seconds()}
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
