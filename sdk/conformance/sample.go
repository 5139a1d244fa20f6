package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// archives reads the author's dialogues. No directory, and one without any, are
// no fault.
func (c *checker) archives(known ...string) []*golden.Archive {
	if c.cfg.Dir == "" {
		return nil
	}
	as, err := golden.ReadDir(c.cfg.Dir)
	if err != nil && !errors.Is(err, golden.ErrNone) {
		c.find("dialogue-unreadable", c.cfg.Dir, err.Error())
	}
	for _, a := range as {
		for _, wrong := range a.Check(known...) {
			c.find("dialogue-unreadable", a.Path, wrong)
		}
	}
	return as
}

// declaration makes up a declaration for a tool type.
func declaration(m tool.Manifest) tool.Declaration {
	d := tool.Declaration{Index: 0, Name: "sample", Description: "A declaration made by the conformance kit.", Spec: json.RawMessage(`{}`)}
	if m.Object == nil {
		return d
	}
	d.Object = "main.default.sample"
	_, path, nested := strings.Cut(m.Object.Field, ".") // the first part is the type itself
	if !nested {
		return d
	}
	var spec any = d.Object
	parts := strings.Split(path, ".")
	for _, part := range slices.Backward(parts) {
		spec = map[string]any{part: spec}
	}
	d.Spec, _ = json.Marshal(spec) // of strings
	return d
}

// arguments makes up arguments that a JSON Schema accepts, as far as its plain
// keywords tell.
func arguments(schema json.RawMessage) json.RawMessage {
	b, err := json.Marshal(value(schema, 0))
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return b
}

type plainSchema struct {
	Type       any                        `json:"type"`
	Const      any                        `json:"const"`
	Default    any                        `json:"default"`
	Examples   []any                      `json:"examples"`
	Enum       []any                      `json:"enum"`
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
	Items      json.RawMessage            `json:"items"`
	MinItems   int                        `json:"minItems"`
	MinLength  int                        `json:"minLength"`
	Minimum    float64                    `json:"minimum"`
	AnyOf      []json.RawMessage          `json:"anyOf"`
}

func value(schema json.RawMessage, depth int) any {
	var s plainSchema
	if json.Unmarshal(schema, &s) != nil || depth > 16 {
		return nil
	}
	switch {
	case s.Const != nil:
		return s.Const
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type == nil && len(s.AnyOf) > 0:
		return value(s.AnyOf[0], depth+1)
	}
	typ, _ := s.Type.(string)
	if list, ok := s.Type.([]any); ok && len(list) > 0 {
		typ, _ = list[0].(string)
	}
	switch typ {
	case "string":
		return strings.Repeat("Berlin ", 1+s.MinLength/7)
	case "integer", "number":
		return max(s.Minimum, 1)
	case "boolean":
		return true
	case "array":
		list := []any{}
		for range s.MinItems {
			list = append(list, value(s.Items, depth+1))
		}
		return list
	case "object", "":
		m := map[string]any{}
		for _, name := range s.Required {
			m[name] = value(s.Properties[name], depth+1)
		}
		return m
	}
	return nil
}

// sampleHost is a gateway that answers everything with a little of something.
func sampleHost(targets map[string]http.Handler) tool.Service {
	columns := []engine.Column{{Name: "city", Type: "VARCHAR"}, {Name: "n", Type: "BIGINT"}}
	return tool.Service{
		Object: func(_ context.Context, kind, name string) (tool.Object, error) {
			return tool.Object{Kind: kind, Name: name, Comment: "A sample.", Columns: columns, Version: "1", Format: "parquet", Dialect: "DuckDB"}, nil
		},
		Query: func(context.Context, tool.Query) iter.Seq2[engine.Batch, error] {
			return func(yield func(engine.Batch, error) bool) {
				yield(engine.Batch{Columns: columns, Rows: []json.RawMessage{json.RawMessage(`["Berlin",1]`)}}, nil)
			}
		},
		Generate: func(context.Context, *openresponses.Request) iter.Seq2[openresponses.Event, error] {
			return func(yield func(openresponses.Event, error) bool) {
				yield(openresponses.Event{}, apierror.New(apierror.NotFound, "There is no model here."))
			}
		},
		Embed: func(_ context.Context, _ string, in []string) ([][]float32, error) {
			vs := make([][]float32, len(in))
			for i := range vs {
				vs[i] = []float32{1, 0}
			}
			return vs, nil
		},
		Exec: func(context.Context, tool.Program) (tool.Output, error) { return tool.Output{Stdout: "1\n"}, nil },
		List: func(context.Context, string) ([]tool.Entry, error) {
			return []tool.Entry{{Name: "a.txt", Size: 2}}, nil
		},
		Open: func(context.Context, string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("a\n")), nil
		},
		Fetch:    targetsOf(targets),
		Progress: func(context.Context, tool.Progress) error { return nil },
	}
}

// serveTarget has a handler answer a fetch.
func serveTarget(ctx context.Context, h http.Handler, r tool.Outbound) (*tool.Inbound, error) {
	url := "http://target/" + strings.TrimPrefix(r.Path, "/")
	if r.Query != "" {
		url += "?" + r.Query
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), url, bytes.NewReader(r.Body))
	if err != nil {
		return nil, apierror.New(apierror.Invalid, "The request cannot be made: %v.", err)
	}
	maps.Copy(req.Header, r.Header)
	w := &kept{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(w, req)
	return &tool.Inbound{Status: w.status, Header: w.header, Body: io.NopCloser(&w.body)}, nil
}

// kept is a response that is kept in memory.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (k *kept) Header() http.Header { return k.header }

// WriteHeader implements http.ResponseWriter.
func (k *kept) WriteHeader(status int) { k.status = status }

// Write implements http.ResponseWriter.
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }
