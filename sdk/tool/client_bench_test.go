package tool_test

import (
	"context"
	"encoding/json"
	"iter"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// What a call of a tool costs beside the tool: gateway and plugin together.
func BenchmarkCall(b *testing.B) {
	c := connect(b, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		var rows int
		if c.Function == "query" {
			for batch, err := range h.Query(ctx, tool.Query{SQL: "SELECT 1"}) {
				if err != nil {
					return tool.Result{}, err
				}
				rows += len(batch.Rows)
			}
		}
		return tool.Text("12"), nil
	}))
	batches := 1
	h := tool.NewHost(tool.Service{Query: func(context.Context, tool.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			for range batches {
				if !yield(engine.Batch{Rows: []json.RawMessage{json.RawMessage(`[12]`)}}, nil) {
					return
				}
			}
		}
	}})
	call := func(b *testing.B, function string) {
		for b.Loop() {
			if _, err := c.Call(b.Context(), tool.Call{ID: "call_1", Function: function, Arguments: json.RawMessage(`{"sql":"SELECT 1"}`)}, h); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("alone", func(b *testing.B) { call(b, "") })
	b.Run("one query", func(b *testing.B) { call(b, "query") })
	b.Run("one query of 100 batches", func(b *testing.B) {
		batches = 100
		call(b, "query")
	})
}
