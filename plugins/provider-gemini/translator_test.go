package main

import (
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

func TestGolden(t *testing.T) { plugintest.Golden(t, translator{}, "testdata") }

func FuzzDecode(f *testing.F) { plugintest.FuzzDecode(f, translator{}, "testdata") }
