package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// tooling is a tool whose functions are named after what they do.
type tooling struct{}

func (tooling) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	var o tool.Opened
	for _, d := range ds {
		o.Functions = append(o.Functions, tool.Function{Declaration: d.Index, Name: d.Name, Parameters: json.RawMessage(`{"type":"object"}`)})
	}
	return o, nil
}

func (tooling) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	switch c.Function {
	case "exit":
		os.Exit(9)
	case "wait":
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	case "pid":
		return tool.Text(fmt.Sprint(os.Getpid())), nil
	case "object":
		o, err := h.Object(ctx, "table", "main.sales.reviews")
		return tool.Text(o.Comment), err
	}
	return tool.Text(string(c.Arguments)), nil
}

// sql is an engine that answers with what it was asked.
type sql struct{}

func (sql) Inspect(_ context.Context, q string) (engine.Statement, error) {
	if q == "exit" {
		os.Exit(9)
	}
	return engine.Statement{Kind: "select", Names: []string{q}}, nil
}

func (sql) Query(_ context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		for i := range 3 {
			if !yield(engine.Batch{Rows: []json.RawMessage{json.RawMessage(fmt.Sprintf("[%d]", i))}}, nil) {
				return
			}
			if q.SQL == "exit" {
				os.Exit(9)
			}
		}
	}
}
