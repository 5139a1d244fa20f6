package pluginhost

import (
	"encoding/json"
	"strings"
	"testing"
)

// What an operator is asked to accept cannot be written over by what the plugin
// says of itself.
func TestDescriptionsThatForgeConsent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 2000)
	tests := []struct{ kind, manifest, wrong string }{
		{"tool", `{"type":"x","version":"1.0.0-rc.1+build_5"}`, ""},
		{"tool", `{"type":"x"}`, ""},
		{"tool", `{"type":"x","targets":["weather","the other"],"scope":"unity-catalog"}`, ""},
		{"tool", `{"type":"x","version":"1\n  may read  nothing"}`, `has the version "1\n  may read  nothing": use letters`},
		{"tool", `{"type":"x","version":"1\u001b[2J"}`, `has the version "1\x1b[2J"`},
		{"tool", `{"type":"x","version":"` + long[:65] + `"}`, "at most 64"},
		{"tool", `{"type":"x","targets":["a\nb"]}`, `manifest: targets: "a\nb" must be printable`},
		{"tool", `{"type":"x","targets":["` + long + `"]}`, "manifest: targets: "},
		{"tool", `{"type":"x","scope":"a\u202eb"}`, `manifest: scope: "a\u202eb"`},
		{"tool", `{"type":"x","object":{"field":"a","kind":"b","privilege":"SELECT\rx"}}`, `manifest: object: "SELECT\rx"`},
		{"tool", `{"type":"x","requires":{"read":["/a\u001b[1A"]}}`, `manifest: requires.read: "/a\x1b[1A"`},
		{"provider", `{"name":"x","base_url":"https://a\n"}`, "manifest: base_url: "},
		{"provider", `{"name":"x","credential":{"scheme":"header","name":"a\nb"}}`, "manifest: credential: "},
		{"engine", `{"name":"x","dialect":"a\tb"}`, "manifest: dialect: "},
		{"engine", `{"name":"x","formats":["a\u0007"]}`, "manifest: formats: "},
	}
	for _, tt := range tests {
		line, err := json.Marshal(map[string]any{"kind": tt.kind, "protocol": 1, "manifest": json.RawMessage(tt.manifest)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseDescription(line)
		if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%s %.80s: %v, want %q", tt.kind, tt.manifest, err, tt.wrong)
		}
	}
}
