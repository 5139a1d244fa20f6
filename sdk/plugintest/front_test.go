package plugintest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

var notesManifest = provider.Manifest{
	Name: "notes", Version: "1.0.0",
	Dialects: []provider.Dialect{{Name: "notes", Errors: "openai", Ends: []string{"[END]"}, Failures: []string{"error"}}},
	Surfaces: []provider.Surface{{Name: "notes", Base: "/notes/v1", Carry: []string{"Notes-Mood"}, Routes: []provider.SurfaceRoute{
		{Path: "/sing", Op: provider.Generate, Dialect: "notes"},
		{Path: "/count", Op: provider.CountTokens, Dialect: "notes", Stream: provider.StreamNever},
		{Path: "/place", Op: provider.Embed, Dialect: "notes", Stream: provider.StreamNever},
	}}},
}

// notes is a front that does everything right. Its clients send
// {"model","notes","stream"} and get each piece of text with an id and a time.
type notes struct{}

func (notes) Accept(_ context.Context, r provider.ClientRequest) (provider.Dialogue, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &fields); err != nil || fields == nil {
		return nil, apierror.New(apierror.Invalid, "The body must be a JSON object.")
	}
	var in struct {
		Model  string
		Notes  []string
		Stream bool
	}
	for name, v := range map[string]any{"model": &in.Model, "notes": &in.Notes, "stream": &in.Stream} {
		if raw, ok := fields[name]; ok && json.Unmarshal(raw, v) != nil {
			return nil, apierror.At(apierror.Invalid, name, "%s has a wrong type.", name)
		}
	}
	d := &performance{
		asked: provider.Asked{Op: provider.Generate, Model: in.Model, Stream: in.Stream},
		id:    fmt.Sprintf("n_%x", rand.Uint64()), at: time.Now().Unix(),
	}
	if in.Model == "" {
		return nil, apierror.At(apierror.Invalid, "model", "model is missing.")
	}
	if fields["tempo"] != nil {
		d.asked.Lost = append(d.asked.Lost, "tempo")
	}
	if r.Route == "/place" {
		d.asked.Op, d.asked.Stream, d.asked.Embed = provider.Embed, false, &provider.EmbedRequest{Input: in.Notes}
		return d, nil
	}
	d.asked.Request = &openresponses.Request{Model: in.Model, Stream: in.Stream, Instructions: r.Header.Get("Notes-Mood")}
	for _, n := range in.Notes {
		d.asked.Request.Input = append(d.asked.Request.Input, openresponses.Text("user", n))
	}
	if r.Route == "/count" {
		d.asked.Op, d.asked.Stream = provider.CountTokens, false
	}
	return d, nil
}

type performance struct {
	asked provider.Asked
	id    string
	at    int64
}

func (d *performance) Asked() provider.Asked { return d.asked }

func (d *performance) Write(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	var whole string
	for ev, err := range events {
		if err != nil && !d.asked.Stream {
			return err
		}
		if err != nil {
			return d.event(w, map[string]any{"error": apierror.From(err).Message})
		}
		whole += ev.Delta
		if d.asked.Stream && ev.Delta != "" {
			if err := d.event(w, map[string]any{"id": d.id, "at": d.at, "note": ev.Delta}); err != nil {
				return err
			}
		}
	}
	if d.asked.Stream {
		_, err := io.WriteString(w, "data: [END]\n\n")
		return err
	}
	return json.NewEncoder(w).Encode(map[string]any{"id": d.id, "at": d.at, "notes": whole})
}

func (d *performance) event(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	_, werr := fmt.Fprintf(w, "data: %s\n\n", b)
	return errors.Join(err, werr)
}

func (d *performance) WriteCount(_ context.Context, tokens int64, w io.Writer) error {
	_, err := fmt.Fprintf(w, `{"count":%d}`, tokens)
	return err
}

func (d *performance) WriteEmbed(_ context.Context, vs [][]float32, _ *openresponses.Usage, w io.Writer) error {
	return json.NewEncoder(w).Encode(vs)
}

func TestFrontGolden(t *testing.T) {
	t.Parallel()
	plugintest.FrontGolden(t, notes{}, notesManifest, "testdata/front")
}

func FuzzAccept(f *testing.F) {
	plugintest.FuzzAccept(f, notes{}, notesManifest, "testdata/front")
}

func FuzzFrontWrite(f *testing.F) {
	plugintest.FuzzFrontWrite(f, notes{}, notesManifest, "testdata/front")
}
