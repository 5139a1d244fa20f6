package main

import (
	"context"
	"io"
	"iter"
	"os"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// front reads bodies that are one line of text and answers every piece of text
// with a line of its own. A body of "exit" ends the process.
type front struct{ translator }

var _ provider.Front = front{}

// withSurface adds the surface /<name> to a manifest.
func withSurface(m provider.Manifest) provider.Manifest {
	m.Dialects = []provider.Dialect{{Name: m.Name + "-lines", Errors: "openai"}}
	m.Surfaces = []provider.Surface{{Name: m.Name, Base: "/" + m.Name, Routes: []provider.SurfaceRoute{
		{Path: "/ask", Op: provider.Generate, Dialect: m.Name + "-lines", Stream: provider.StreamAlways},
	}}}
	return m
}

func (front) Accept(_ context.Context, r provider.ClientRequest) (provider.Dialogue, error) {
	switch string(r.Body) {
	case "":
		return nil, apierror.At(apierror.Invalid, "body", "The body is empty.")
	case "exit":
		os.Exit(7)
	}
	return written{&openresponses.Request{Model: "m", Input: []openresponses.Item{openresponses.Text("user", string(r.Body))}}}, nil
}

type written struct{ request *openresponses.Request }

func (d written) Asked() provider.Asked {
	return provider.Asked{Op: provider.Generate, Model: "m", Stream: true, Request: d.request}
}

func (d written) Write(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	for ev, err := range events {
		if err != nil {
			return err
		}
		if ev.Type == openresponses.EventTextDelta {
			if ev.Delta == "exit" {
				os.Exit(7)
			}
			if _, err := io.WriteString(w, ev.Delta+"\n"); err != nil {
				return err
			}
		}
	}
	return nil
}
