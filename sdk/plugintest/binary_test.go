package plugintest_test

import (
	"path/filepath"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

// A program that does everything right passes; what is found otherwise is
// tested in package conformance.
func TestBinary(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "conformance", "testdata", "faulty")
	path := plugintest.Build(t, dir)
	plugintest.Binary(t, path, plugintest.BinaryOptions{Args: []string{"provider", "none"}, Dir: filepath.Join(dir, "provider")})
}
