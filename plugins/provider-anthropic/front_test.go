package main

import (
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

func TestFront(t *testing.T) { plugintest.FrontGolden(t, translator{}, manifest, "testdata/front") }

func FuzzAccept(f *testing.F) { plugintest.FuzzAccept(f, translator{}, manifest, "testdata/front") }

func FuzzFrontWrite(f *testing.F) {
	plugintest.FuzzFrontWrite(f, translator{}, manifest, "testdata/front")
}
