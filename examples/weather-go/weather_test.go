package main

import (
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

// TestTool plays the dialogues of testdata and the checks that hold for every tool.
func TestTool(t *testing.T) {
	plugintest.Tool(t, &weather{}, plugintest.ToolOptions{Manifest: manifest})
}

func TestImperial(t *testing.T) {
	w := &weather{}
	if err := w.Configure(t.Context(), []byte(`{"units": "imperial"}`)); err != nil {
		t.Fatal(err)
	}
	plugintest.Tool(t, w, plugintest.ToolOptions{Manifest: manifest, Dir: "testdata/imperial"})
}
