package supervisor_test

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// BenchmarkTurn is the supervisor's own cost of a turn with one hosted call,
// beyond the time of model and tool: both answer at once. The budget is 1 ms.
func BenchmarkTurn(b *testing.B) {
	const turns = 10
	w := newWorld(b, supervisor.Limits{}, toolset.Limits{})
	w.tools["acme_echo"] = served{echo{}, tool.Manifest{Type: "acme_echo"}}
	req, err := openresponses.ParseRequest([]byte(`{"model":"m","input":"x","tools":[{"type":"acme_echo"}]}`))
	if err != nil {
		b.Fatal(err)
	}
	asked := 0
	w.model = func(context.Context, router.Call) iter.Seq2[openresponses.Event, error] {
		return func(yield func(openresponses.Event, error) bool) {
			asked++
			o := provider.NewOutput(yield)
			if asked%turns != 0 {
				id := fmt.Sprint("c", asked)
				o.Call(id, id, "echo")
				o.Arguments(id, `{"sql":"SELECT count(*) FROM main.sales.reviews"}`)
			} else {
				for range 20 {
					o.Text("about twenty letters ")
				}
			}
			o.Usage(openresponses.Usage{Input: 10, Output: 10})
			o.Finish(openresponses.Terminal{Status: "completed"})
		}
	}
	for _, d := range render.Dialects {
		b.Run(string(d), func(b *testing.B) {
			b.ReportAllocs()
			n, size := 0, 0
			for b.Loop() {
				asked = 0
				_, err := w.sup.Run(b.Context(), supervisor.Run{Principal: w.alice, Request: req, Dialect: d}, func(e render.Event) error {
					n++
					size += len(e.Data)
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*turns), "ns/turn")
			b.ReportMetric(float64(n)/float64(b.N), "events/op")
		})
	}
}

type echo struct{}

func (echo) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "echo"}}}, nil
}

func (echo) Call(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
	return tool.Text(string(c.Arguments)), nil
}
