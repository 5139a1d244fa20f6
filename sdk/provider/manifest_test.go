package provider

import (
	"strings"
	"testing"
)

func manifest() Manifest {
	return Manifest{
		Name: "acme",
		Dialects: []Dialect{
			{Name: "acme-chat", Errors: "openai", Ends: []string{"[DONE]"}, Failures: []string{"error"}, Cut: "data: {\"error\":$MESSAGE}\n\n"},
			{Name: "acme-path", Errors: "gemini"},
		},
		Surfaces: []Surface{{
			Name: "acme", Base: "/acme/v1", Carry: []string{"Acme-Beta", "session_id"}, Probes: []string{"", "/", "/api/hello"}, Models: "/models",
			Routes: []SurfaceRoute{
				{Path: "/chat/completions", Op: Generate, Dialect: "acme-chat"},
				{Path: "/models/{model}:stream", Op: Generate, Dialect: "acme-path", Stream: StreamAlways, Translated: true},
				{Path: "/models/{model}/count", Op: CountTokens, Dialect: "acme-path", Stream: StreamNever},
			},
		}},
		Natives: []Native{
			{Dialect: "acme-chat", Op: Generate, Path: "chat/completions", Unless: map[string]string{"api": "old"}},
			{Dialect: "acme-path", Op: Generate, Path: "v1/models/{model}:make", StreamPath: "v1/models/{model}:stream"},
		},
	}
}

func TestManifestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spoil func(*Manifest)
		says  string // "" when all is well
	}{
		{"as it is", func(*Manifest) {}, ""},
		{"no front", func(m *Manifest) { *m = Manifest{Name: "acme"} }, ""},
		{"dialect twice", func(m *Manifest) { m.Dialects[1].Name = "acme-chat" }, `dialects[1].name: "acme-chat" is there twice`},
		{"dialect without name", func(m *Manifest) { m.Dialects[0].Name = "" }, "dialects[0].name: "},
		{"unknown envelope", func(m *Manifest) { m.Dialects[0].Errors = "xml" }, `dialects[0].errors: "xml" is not one of`},
		{"empty sign", func(m *Manifest) { m.Dialects[0].Ends = []string{""} }, "dialects[0].ends[0]: "},
		{"control character", func(m *Manifest) { m.Dialects[0].Failures = []string{"a\nb"} }, "dialects[0].failures[0]: "},
		{"cut that is no event", func(m *Manifest) { m.Dialects[0].Cut = "data: x\n" }, "dialects[0].cut: must end in an empty line"},
		{"name", func(m *Manifest) { m.Surfaces[0].Name = "Acme" }, "surfaces[0].name: "},
		{"surface twice", func(m *Manifest) { m.Surfaces = append(m.Surfaces, m.Surfaces[0]) }, "surfaces[1].name: "},
		{"base twice", func(m *Manifest) {
			m.Surfaces = append(m.Surfaces, m.Surfaces[0])
			m.Surfaces[1].Name = "other"
		}, `surfaces[1].base: "/acme/v1" is that of another surface`},
		{"base without slash", func(m *Manifest) { m.Surfaces[0].Base = "acme" }, "surfaces[0].base: "},
		{"root", func(m *Manifest) { m.Surfaces[0].Base = "/" }, "surfaces[0].base: "},
		{"slash at the end", func(m *Manifest) { m.Surfaces[0].Base = "/acme/" }, "surfaces[0].base: "},
		{"dots", func(m *Manifest) { m.Surfaces[0].Base = "/acme/../health" }, "surfaces[0].base: "},
		{"pattern in base", func(m *Manifest) { m.Surfaces[0].Base = "/{model}" }, "surfaces[0].base: "},
		{"escape", func(m *Manifest) { m.Surfaces[0].Routes[0].Path = "/a%2fb" }, "surfaces[0].routes[0].path: "},
		{"another wildcard", func(m *Manifest) { m.Surfaces[0].Routes[0].Path = "/{rest...}" }, "surfaces[0].routes[0].path: "},
		{"half a segment", func(m *Manifest) { m.Surfaces[0].Routes[0].Path = "/a{model}" }, "surfaces[0].routes[0].path: "},
		{"model twice", func(m *Manifest) { m.Surfaces[0].Routes[0].Path = "/{model}/{model}" }, "surfaces[0].routes[0].path: "},
		{"path twice", func(m *Manifest) { m.Surfaces[0].Routes[1].Path = "/chat/completions" }, "surfaces[0].routes[1].path: "},
		{"no routes", func(m *Manifest) { m.Surfaces[0].Routes = nil }, "surfaces[0].routes: "},
		{"unknown dialect", func(m *Manifest) { m.Surfaces[0].Routes[2].Dialect = "x" }, `surfaces[0].routes[2].dialect: "x" is not among`},
		{"unknown op", func(m *Manifest) { m.Surfaces[0].Routes[2].Op = "sing" }, `surfaces[0].routes[2].op: "sing"`},
		{"unknown stream", func(m *Manifest) { m.Surfaces[0].Routes[2].Stream = "maybe" }, `surfaces[0].routes[2].stream: "maybe"`},
		{"credential carried", func(m *Manifest) { m.Surfaces[0].Carry[0] = "x-api-key" }, `surfaces[0].carry[0]: "x-api-key" is never`},
		{"no header", func(m *Manifest) { m.Surfaces[0].Carry[0] = "a b" }, "surfaces[0].carry[0]: "},
		{"probe", func(m *Manifest) { m.Surfaces[0].Probes[2] = "hello" }, "surfaces[0].probes[2]: "},
		{"models", func(m *Manifest) { m.Surfaces[0].Models = "models" }, "surfaces[0].models: "},
		{"absolute native", func(m *Manifest) { m.Natives[0].Path = "/chat" }, "natives[0].path: "},
		{"native stream path", func(m *Manifest) { m.Natives[1].StreamPath = "a//b" }, "natives[1].stream_path: "},
		{"native of no dialect", func(m *Manifest) { m.Natives[1].Dialect = "" }, "natives[1].dialect: "},
		{"native twice", func(m *Manifest) { m.Natives = append(m.Natives, m.Natives[0]) }, "natives[2]: "},
		{"too many", func(m *Manifest) { m.Natives = make([]Native, 1000) }, "natives: has 1000 entries"},
	} {
		m := manifest()
		tt.spoil(&m)
		err := m.Check()
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	if d, ok := manifest().Dialect("acme-path"); !ok || d.Errors != "gemini" {
		t.Errorf("Dialect = %+v, %t", d, ok)
	}
}
