package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// surfaces are what the parrot's own clients speak: they send
// {"model","say","stream"} and get {"piece"} by piece and then [over], or one
// {"said"}.
func surfaces(m *provider.Manifest) {
	m.Dialects = []provider.Dialect{{Name: "parrot", Errors: "openai", Ends: []string{"[over]"}, Failures: []string{"squawk"}}}
	m.Surfaces = []provider.Surface{{Name: "parrot", Base: "/parrot", Carry: []string{"Parrot-Mood"}, Routes: []provider.SurfaceRoute{
		{Path: "/v1/say", Op: provider.Generate, Dialect: "parrot"},
	}}}
	if fault == "wrong-surface" {
		m.Surfaces[0].Base = "parrot"
	}
}

// Accept implements provider.Front.
func (parrot) Accept(_ context.Context, r provider.ClientRequest) (provider.Dialogue, error) {
	refuse := func(field, what string) error {
		code := apierror.Invalid
		switch fault {
		case "front-wrong-code":
			code = apierror.NotFound
		case "front-no-field":
			field = ""
		case "front-dies":
			os.Exit(8)
		}
		return apierror.At(code, field, "%s %s.", field, what)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &fields); err != nil || fields == nil {
		return nil, refuse("body", "must be a JSON object")
	}
	d := &answering{asked: provider.Asked{Op: provider.Generate}, say: new(string), begun: time.Now()}
	for name, v := range map[string]any{"model": &d.asked.Model, "say": d.say, "stream": &d.asked.Stream} {
		if raw, ok := fields[name]; ok && json.Unmarshal(raw, v) != nil {
			return nil, refuse(name, "has the wrong type")
		}
	}
	if d.asked.Model == "" {
		return nil, refuse("model", "is missing")
	}
	d.asked.Request = &openresponses.Request{Model: d.asked.Model, Stream: d.asked.Stream, Input: []openresponses.Item{openresponses.Text("user", *d.say)}}
	if fault == "front-wrong-op" {
		d.asked.Op = provider.CountTokens
	}
	return d, nil
}

// answering is one dialogue.
type answering struct {
	asked provider.Asked
	say   *string
	begun time.Time
}

var (
	_ provider.Front       = parrot{}
	_ provider.CountWriter = (*answering)(nil)
)

// Asked implements provider.Dialogue.
func (d *answering) Asked() provider.Asked { return d.asked }

// WriteCount implements provider.CountWriter.
func (d *answering) WriteCount(_ context.Context, tokens int64, w io.Writer) error {
	_, err := fmt.Fprint(w, tokens)
	return err
}

var sharedPiece string // between dialogues, as it must not be

// Write implements provider.Dialogue.
func (d *answering) Write(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	said := ""
	for ev, err := range events {
		for fault == "front-ignores-cancel" && err != nil {
			time.Sleep(time.Hour)
		}
		switch {
		case err != nil && d.asked.Stream && fault == "front-hides-error":
			return d.over(w)
		case err != nil && d.asked.Stream && fault == "front-no-end":
			return nil
		case err != nil && fault == "front-error-as-body":
			return d.event(w, "said", apierror.From(err).Message)
		case err != nil && d.asked.Stream:
			return d.event(w, "squawk", apierror.From(err).Message)
		case err != nil:
			return err
		case ev.Delta == "":
			continue
		}
		piece := ev.Delta
		if fault == "front-mixes" {
			sharedPiece = *d.say + piece
			time.Sleep(time.Millisecond)
			piece = sharedPiece[len(*d.say):]
		}
		said += piece
		if d.asked.Stream {
			if err := d.event(w, "piece", piece); err != nil {
				return err
			}
		}
	}
	if d.asked.Stream {
		return d.over(w)
	}
	b, err := json.Marshal(map[string]string{"said": said})
	if err != nil {
		return err
	}
	if fault == "front-body-pieces" {
		w.Write(b[:3])
		b = b[3:]
	}
	_, err = w.Write(b)
	return err
}

func (d *answering) over(w io.Writer) error {
	_, err := io.WriteString(w, "data: [over]\n\n")
	return err
}

func (d *answering) event(w io.Writer, name, text string) error {
	v := map[string]any{name: text}
	if late := time.Since(d.begun) / time.Second; fault == "front-clock" && late > 0 {
		v["late"] = late
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	switch fault {
	case "front-splits-event":
		fmt.Fprint(w, "data: ")
	case "front-malformed":
		_, err = fmt.Fprintf(w, "%s\n\n", text)
		return err
	default:
		b = append([]byte("data: "), b...)
	}
	_, err = w.Write(append(b, "\n\n"...))
	return err
}
