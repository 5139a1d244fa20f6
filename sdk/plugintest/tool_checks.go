package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	largeBytes = 4 << 20         // of arguments and answers
	sideBySide = 32              // calls
	stopWithin = 5 * time.Second // from cancel to return; the promise is one second, the rest is for loaded machines
	maxState   = 64 << 10        // of a function
)

// toolChecks are the checks that need no expectation of their own.
type toolChecks struct {
	client  tool.Tool
	watched *watched
}

// functions checks what Open gave.
func (c *toolChecks) functions(t testing.TB, d *toolDialogue) {
	t.Helper()
	index := map[int]bool{}
	for _, decl := range d.declarations {
		index[decl.Index] = true
	}
	for _, f := range d.functions {
		if f.Name == "" || f.Description == "" {
			t.Errorf("function %q: name and description must not be empty", f.Name)
		}
		if !index[f.Declaration] {
			t.Errorf("function %q: declaration %d is not the Index of a declaration", f.Name, f.Declaration)
		}
		if len(f.State) > maxState {
			t.Errorf("function %q: state of %d bytes, at most %d are kept", f.Name, len(f.State), maxState)
		}
		if _, err := compileSchema(f.Parameters); err != nil {
			t.Errorf("function %q: parameters: %v", f.Name, err)
		}
		var p struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(f.Parameters, &p); err != nil || p.Type != "object" {
			t.Errorf(`function %q: parameters must be a schema of {"type":"object"}, got %s`, f.Name, f.Parameters)
		}
	}
	d.replayed(t, c.client)
}

// compileSchema compiles a JSON Schema. References to other documents fail.
func compileSchema(raw json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(jsonschema.SchemeURLLoader{})
	if err := compiler.AddResource("schema.json", doc); err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	s, err := compiler.Compile("schema.json")
	if err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	return s, nil
}

// concurrent plays the dialogue many times at once.
func (c *toolChecks) concurrent(t testing.TB, d *toolDialogue) {
	t.Helper()
	together(sideBySide, func(int) { d.replayed(t, c.client) })
}

// canceled cancels Open and each function while the Host does not answer, and
// waits for the author's code to return.
func (c *toolChecks) canceled(t testing.TB, d *toolDialogue) {
	t.Helper()
	c.cancel(t, "Open", func(ctx context.Context, h *tool.Host) { _, _ = c.client.Open(ctx, d.declarations, h) })
	for _, call := range d.sample(t) {
		c.cancel(t, "Call of "+call.Function, func(ctx context.Context, h *tool.Host) { _, _ = c.client.Call(ctx, call, h) })
	}
}

func (c *toolChecks) cancel(t testing.TB, what string, f func(ctx context.Context, h *tool.Host)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan struct{})
	h := tool.NewHost(unanswering(sync.OnceFunc(func() { close(asked) })))
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		f(ctx, h)
	}()
	for entered := false; !entered; { // on a loaded machine the call takes its time to arrive
		select {
		case <-returned:
			entered = true
		case <-time.After(5 * time.Millisecond):
			entered = c.watched.inside.Load() > 0
		}
	}
	select {
	case <-asked: // the author waits for the Host
	case <-returned: // or did not need it
	case <-time.After(time.Second): // or does something else for long
	}
	cancel()
	deadline := time.After(stopWithin)
	for c.watched.inside.Load() > 0 {
		select {
		case <-c.watched.left:
		case <-deadline:
			t.Errorf("%s did not return within %v of the cancellation of its context", what, stopWithin)
			<-returned
			return
		}
	}
	<-returned
}

// unanswering is a gateway that does not answer before the context ends.
func unanswering(asked func()) tool.Service {
	wait := func(ctx context.Context) error {
		asked()
		<-ctx.Done()
		return ctx.Err()
	}
	return answering(wait)
}

// answering is a gateway that gives the same error to everything.
func answering(err func(ctx context.Context) error) tool.Service {
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

// large gives each function 4 MiB of arguments, and then answers of 4 MiB.
func (c *toolChecks) large(t testing.TB, d *toolDialogue) {
	t.Helper()
	denied := tool.NewHost(answering(func(context.Context) error { return apierror.New(apierror.Invalid, "No.") }))
	flood := tool.NewHost(flooding())
	for _, call := range d.sample(t) {
		if _, err := c.client.Call(t.Context(), call, flood); !tolerable(err) {
			t.Errorf("%s: with a Host that answers with 4 MiB: %v", call.Function, err)
		}
		call.Arguments = inflate(call.Arguments)
		if _, err := c.client.Call(t.Context(), call, denied); !tolerable(err) {
			t.Errorf("%s: with 4 MiB of arguments: %v", call.Function, err)
		}
	}
}

// inflate makes the first string among the arguments 4 MiB long, or adds one.
func inflate(args json.RawMessage) json.RawMessage {
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
	m[name] = strings.Repeat("a", largeBytes)
	b, err := json.Marshal(m)
	if err != nil {
		return args
	}
	return b
}

// flooding is a gateway that answers with 4 MiB whatever it is asked.
func flooding() tool.Service {
	text := strings.Repeat("a", largeBytes)
	s := answering(func(context.Context) error { return apierror.New(apierror.Invalid, "No.") })
	s.Query = func(context.Context, tool.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			row := json.RawMessage(`["` + text[:largeBytes/64] + `"]`)
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

// badArguments gives each function what its own schema refuses.
func (c *toolChecks) badArguments(t testing.TB, d *toolDialogue) {
	t.Helper()
	h := tool.NewHost(answering(func(context.Context) error { return apierror.New(apierror.Invalid, "No.") }))
	for i, call := range d.sample(t) {
		schema, err := compileSchema(d.functions[i].Parameters)
		if err != nil {
			continue // functions has said so
		}
		for _, bad := range []string{``, `{`, `null`, `[]`, `"text"`, `{}`, `{"no such member":1}`, `{"sql":1}`, `{"query":{}}`, `{} {}`} {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
			if err == nil && schema.Validate(v) == nil {
				continue
			}
			call.Arguments = json.RawMessage(bad)
			r, err := c.client.Call(t.Context(), call, h)
			switch {
			case !tolerable(err):
				t.Errorf("%s: arguments %q give an error the model cannot act on: %v", call.Function, bad, err)
			case err == nil && !r.IsError:
				t.Errorf("%s: arguments %q are accepted, though the function's parameters refuse them", call.Function, bad)
			case err == nil && text(r) == "":
				t.Errorf("%s: arguments %q give an error without a text", call.Function, bad)
			}
		}
	}
}

// text is what the model reads of a result.
func text(r tool.Result) string {
	var b strings.Builder
	for _, c := range r.Content {
		b.WriteString(c.Text)
	}
	return b.String()
}

// hostErrors lets the Host fail with each code. Whatever the tool makes of it
// must not be an internal error, unless the Host's was.
func (c *toolChecks) hostErrors(t testing.TB, d *toolDialogue) {
	t.Helper()
	for _, code := range apierror.Codes {
		if code == apierror.Internal || code == apierror.Unavailable {
			continue
		}
		h := tool.NewHost(answering(func(context.Context) error { return apierror.New(code, "Told as %s.", code) }))
		if _, err := c.client.Open(t.Context(), d.declarations, h); !tolerable(err) {
			t.Errorf("Open: the Host fails with %s, the tool with %v", code, err)
		}
		for _, call := range d.sample(t) {
			if _, err := c.client.Call(t.Context(), call, h); !tolerable(err) {
				t.Errorf("%s: the Host fails with %s, the tool with %v", call.Function, code, err)
			}
		}
	}
}
