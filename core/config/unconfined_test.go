package config

import (
	"strings"
	"testing"
)

func TestUnconfined(t *testing.T) {
	t.Parallel()
	const file = "version: 1\nproviders: {demo: {translator: demo}}\nmodels: {m: {destinations: [{provider: demo, model: demo}]}}\n"
	for text, want := range map[string]string{"": "", "unconfined: allow": "allow"} {
		if c, err := Parse([]byte(file+text), t.TempDir()); err != nil || c.Unconfined != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	for _, text := range []string{"unconfined: yes", "unconfined: true", "unconfined: deny"} {
		if _, err := Parse([]byte(file+text), t.TempDir()); err == nil || !strings.Contains(err.Error(), "unconfined") || !strings.Contains(err.Error(), "allow") {
			t.Errorf("%q: %v, want an error that says what to write", text, err)
		}
	}
	if _, err := Parse([]byte(file+"launcher: /bin/true"), t.TempDir()); err == nil {
		t.Error("the launcher can be chosen by the file")
	}
}
