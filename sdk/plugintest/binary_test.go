package plugintest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

// A program that does everything right passes, and what is found in another one
// fails the test. That the whole kit finds what it should, and nothing else, is
// tested in package conformance.
func TestBinary(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "conformance", "testdata", "faulty")
	path := plugintest.Build(t, dir)
	for fault, want := range map[string]string{"none": "", "loses-usage": "usage-missing (dialogues)", "takes-unknown-settings": "unknown-setting-accepted (settings)"} {
		r := &recorder{TB: t}
		plugintest.Binary(r, path, plugintest.BinaryOptions{Args: []string{"provider", fault}, Dir: filepath.Join(dir, "provider")}.Only("settings"))
		if said := strings.Join(r.said, "\n"); !strings.Contains(said, want) || (want == "") != (said == "") {
			t.Errorf("%s: the kit said %q, want it to mention %q", fault, said, want)
		}
	}
}
