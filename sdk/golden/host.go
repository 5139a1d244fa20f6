package golden

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Large is how many bytes of arguments and answers every plugin must survive.
const Large = 4 << 20

// Answering is a gateway that gives the same error to everything a tool asks.
func Answering(err func(ctx context.Context) error) tool.Service {
	return tool.Service{
		Object: func(ctx context.Context, _, _ string) (tool.Object, error) { return tool.Object{}, err(ctx) },
		Query: func(ctx context.Context, _ tool.Query) iter.Seq2[engine.Batch, error] {
			return func(yield func(engine.Batch, error) bool) { yield(engine.Batch{}, err(ctx)) }
		},
		Generate: func(ctx context.Context, _ *openresponses.Request) iter.Seq2[openresponses.Event, error] {
			return func(yield func(openresponses.Event, error) bool) { yield(openresponses.Event{}, err(ctx)) }
		},
		Embed: func(ctx context.Context, _ string, _ []string) ([][]float32, error) { return nil, err(ctx) },
		Exec:  func(ctx context.Context, _ tool.Program) (tool.Output, error) { return tool.Output{}, err(ctx) },
		List:  func(ctx context.Context, _ string) ([]tool.Entry, error) { return nil, err(ctx) },
		Open:  func(ctx context.Context, _ string) (io.ReadCloser, error) { return nil, err(ctx) },
		Fetch: func(ctx context.Context, _ string, _ tool.Outbound) (*tool.Inbound, error) { return nil, err(ctx) },
	}
}

// Refusing is a gateway that answers everything with an error of that code.
func Refusing(code apierror.Code) tool.Service {
	return Answering(func(context.Context) error { return apierror.New(code, "Told as %s.", code) })
}

// Unanswering is a gateway that does not answer before the context ends. It
// calls asked each time it is asked.
func Unanswering(asked func()) tool.Service {
	return Answering(func(ctx context.Context) error {
		asked()
		<-ctx.Done()
		return ctx.Err()
	})
}

// Flooding is a gateway that answers with 4 MiB whatever it is asked.
func Flooding() tool.Service {
	text := strings.Repeat("a", Large)
	s := Refusing(apierror.Invalid)
	s.Query = func(context.Context, tool.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			row := json.RawMessage(`["` + text[:Large/64] + `"]`)
			b := engine.Batch{Columns: []engine.Column{{Name: "a", Type: "VARCHAR"}}}
			for range 64 {
				b.Rows = append(b.Rows, row)
			}
			yield(b, nil)
		}
	}
	s.Exec = func(context.Context, tool.Program) (tool.Output, error) { return tool.Output{Stdout: text}, nil }
	s.Open = func(context.Context, string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}
	s.Fetch = func(context.Context, string, tool.Outbound) (*tool.Inbound, error) {
		return &tool.Inbound{Status: 200, Body: io.NopCloser(strings.NewReader(text))}, nil
	}
	return s
}

// Inflate makes the first string among the arguments 4 MiB long, or adds one.
func Inflate(args json.RawMessage) json.RawMessage {
	var m map[string]any
	if json.Unmarshal(args, &m) != nil || m == nil {
		m = map[string]any{}
	}
	name := "text"
	for k, v := range m {
		if _, ok := v.(string); ok {
			name = k
			break
		}
	}
	m[name] = strings.Repeat("a", Large)
	b, err := json.Marshal(m)
	if err != nil {
		return args
	}
	return b
}

// ResultText is what the model reads of a result.
func ResultText(r tool.Result) string {
	var b strings.Builder
	for _, c := range r.Content {
		b.WriteString(c.Text)
	}
	return b.String()
}

// Tolerable reports an error that a caller can make sense of.
func Tolerable(err error) bool {
	return err == nil || !(apierror.Is(err, apierror.Internal) || apierror.Is(err, apierror.Unavailable))
}
