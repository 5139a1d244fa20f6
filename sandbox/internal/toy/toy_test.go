package toy

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	Remove()
	os.Exit(code)
}

func TestToyGuestIsMade(t *testing.T) {
	for _, name := range []string{"manifest.json", "toy.wasm", "toy.mem"} {
		if _, err := os.Stat(Dir(t) + "/" + name); err != nil {
			t.Error(err)
		}
	}
}
