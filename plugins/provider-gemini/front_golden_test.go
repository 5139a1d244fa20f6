package main

import (
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

func TestFrontGolden(t *testing.T) {
	plugintest.FrontGolden(t, translator{}, manifest, "testdata/front")
}

func FuzzFrontAccept(f *testing.F) {
	plugintest.FuzzAccept(f, translator{}, manifest, "testdata/front")
}

func FuzzFrontWrite(f *testing.F) {
	plugintest.FuzzFrontWrite(f, translator{}, manifest, "testdata/front")
}
