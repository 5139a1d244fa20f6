package toy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestToyGuestIsTheSameTwice: a guest is made of its inputs only, not of the time
// or of chance. The Go runtime asks for both when it starts.
func TestToyGuestIsTheSameTwice(t *testing.T) {
	again := Make(t)
	for _, name := range []string{"manifest.json", "toy.wasm", "toy.mem"} {
		a, err := os.ReadFile(filepath.Join(Dir(t), name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(again, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs", name)
		}
	}
}
