package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/module"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

// TestEveryImportOfEveryGuest: the list of what a guest may ask of its host is
// short, and no guest asks for anything else. It reads the modules themselves,
// not what an engine made of them.
func TestEveryImportOfEveryGuest(t *testing.T) {
	dir := guesttest.Dir(t)
	m, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	allowed := wasi.Allowed()
	for _, g := range m.Guests {
		wasm, err := os.ReadFile(filepath.Join(dir, g.Module))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := module.Parse(wasm)
		if err != nil {
			t.Fatalf("%s: %v", g.Language, err)
		}
		imports, err := parsed.Imports()
		if err != nil {
			t.Fatalf("%s: %v", g.Language, err)
		}
		var names []string
		for _, im := range imports {
			name := im.Module + "." + im.Name
			names = append(names, name)
			if _, ok := allowed[name]; !ok || im.Kind != 0 {
				t.Errorf("%s imports %s (kind %d)", g.Language, name, im.Kind)
			}
		}
		if !slices.Contains(names, "sbx.tick") {
			t.Errorf("%s cannot be stopped", g.Language)
		}
		t.Logf("%s: %d imports %v", g.Language, len(names), names)
	}
}
