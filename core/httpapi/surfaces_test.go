package httpapi

import (
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Which model a name stands for on a surface.
func TestResolve(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, SurfacesConfig{
		"anthropic": {Aliases: map[string]string{"claude-*": "databricks-gpt", "claude-haiku-*": "databricks-claude", "Mine": "databricks-claude"}, Default: "databricks-claude"},
		"openai":    {Aliases: map[string]string{"databricks-gpt": "databricks-claude"}},
	})
	tests := []struct{ surface, asked, want string }{
		{"anthropic", "claude-haiku-4-5-20251001", "databricks-claude"},
		{"anthropic", "CLAUDE-HAIKU-4-5[1m]", "databricks-claude"},
		{"anthropic", "claude-sonnet-5", "databricks-gpt"},
		{"anthropic", "mine", "databricks-claude"},
		{"anthropic", "databricks-gpt", "databricks-gpt"},
		{"anthropic", "databricks-gpt[1m]", "databricks-gpt[1m]"},
		{"anthropic", "system.ai.databricks-gpt", "system.ai.databricks-gpt"},
		{"anthropic", "gpt-elsewhere", "databricks-claude"},
		{"anthropic", "system.ai.gone", "system.ai.gone"},
		{"anthropic", "", ""},
		{"openai", "databricks-gpt", "databricks-claude"},
		{"openai", "gpt-elsewhere", "gpt-elsewhere"},
		{"gemini", "models/databricks-gpt", "databricks-gpt"},
	}
	for _, tt := range tests {
		for _, sf := range w.state.Surfaces.list {
			if sf.Name == tt.surface {
				if got := sf.resolve(tt.asked, w.models); got != tt.want {
					t.Errorf("%q on %s: got %q, want %q", tt.asked, tt.surface, got, tt.want)
				}
			}
		}
	}
	if status, body, _ := w.do("POST", "/anthropic/v1/messages", w.alice, `{"model":"claude-haiku-4-5-20251001"}`); status != 200 || !strings.Contains(body, `"claude-haiku-4-5-20251001"`) {
		t.Errorf("got %d %s, want the name that was asked for", status, body)
	}
	if rows := w.log.Rows(); len(rows) != 1 || rows[0]["endpoint_name"] != "databricks-claude" {
		t.Errorf("got the rows %v", rows)
	}
}

// Each surface lists the models as its clients read it, and only those that
// the caller may use.
func TestModelLists(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, SurfacesConfig{"anthropic": {Aliases: map[string]string{"haiku": "databricks-claude"}}})
	const claude = `{"type":"model","id":"databricks-claude","display_name":"databricks-claude","created_at":"1970-01-01T00:00:00Z","max_input_tokens":200000,"max_tokens":64000}`
	const gpt = `{"type":"model","id":"databricks-gpt","display_name":"databricks-gpt","created_at":"1970-01-01T00:00:00Z"}`
	const gemini = `{"name":"models/databricks-claude","baseModelId":"databricks-claude","version":"001","displayName":"databricks-claude","inputTokenLimit":200000,"outputTokenLimit":64000,"supportedGenerationMethods":["generateContent","streamGenerateContent","countTokens"]}`
	const openAI = `{"id":"databricks-claude","object":"model","created":0,"owned_by":"sallyport","max_input_tokens":200000,"max_output_tokens":64000}`
	const openGPT = `{"id":"databricks-gpt","object":"model","created":0,"owned_by":"sallyport"}`
	nobody := w.token("nobody")
	tests := []struct {
		path, token string
		status      int
		want        string
	}{
		{"/anthropic/v1/models", w.alice, 200, `{"data":[` + claude + `,` + gpt + `],"first_id":"databricks-claude","has_more":false,"last_id":"databricks-gpt"}`},
		{"/anthropic/v1/models?limit=1", w.alice, 200, `{"data":[` + claude + `],"first_id":"databricks-claude","has_more":true,"last_id":"databricks-claude"}`},
		{"/anthropic/v1/models?limit=1&after_id=databricks-claude", w.alice, 200, `{"data":[` + gpt + `],"first_id":"databricks-gpt","has_more":false,"last_id":"databricks-gpt"}`},
		{"/anthropic/v1/models?before_id=databricks-gpt", w.alice, 200, `{"data":[` + claude + `],"first_id":"databricks-claude","has_more":false,"last_id":"databricks-claude"}`},
		{"/anthropic/v1/models", nobody, 200, `{"data":[],"first_id":null,"has_more":false,"last_id":null}`},
		{"/anthropic/v1/models", "", 401, `"authentication_error"`},
		{"/anthropic/v1/models/databricks-claude%5B1m%5D", w.alice, 200, claude},
		{"/anthropic/v1/models/system.ai.databricks-claude", w.alice, 200, claude},
		{"/anthropic/v1/models/haiku", w.alice, 200, claude},
		{"/anthropic/v1/models/claude-opus-5", w.alice, 200, `"id":"claude-opus-5"`},
		{"/anthropic/v1/models/hidden", w.alice, 403, `"permission_error"`},
		{"/ai-gateway/openai/v1/models", w.alice, 200, `{"data":[` + openAI + `,` + openGPT + `],"object":"list"}`},
		{"/openai/v1/models?client_version=0.169.0", w.alice, 200, `{"data":[` + openAI + `,` + openGPT + `],"models":[],"object":"list"}`},
		{"/cursor/v1/models/databricks-gpt", w.alice, 200, openGPT},
		{"/mlflow/v1/models", w.alice, 200, `{"data":[` + openAI + `,` + openGPT + `],"object":"list"}`},
		{"/gemini/v1beta/models?pageSize=1", w.alice, 200, `{"models":[` + gemini + `],"nextPageToken":"databricks-claude"}`},
		{"/gemini/v1beta/models?pageToken=databricks-claude", w.alice, 200, `"models/databricks-gpt"`},
		{"/gemini/v1beta/models/databricks-claude", w.alice, 200, gemini},
		{"/gemini/v1beta/models/hidden", w.alice, 403, `"PERMISSION_DENIED"`},
	}
	for _, tt := range tests {
		status, body, _ := w.do("GET", tt.path, tt.token, "")
		if status != tt.status || body != tt.want && (strings.HasPrefix(tt.want, "{") || !strings.Contains(body, tt.want)) {
			t.Errorf("%s: got %d %s, want %d %s", tt.path, status, body, tt.status, tt.want)
		}
		if strings.Contains(body, `hidden"`) {
			t.Errorf("%s tells of a model that the caller may not use: %s", tt.path, body)
		}
	}
}

// A listener that carries some surfaces carries nothing else.
func TestHandlerOfSomeSurfaces(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	only := w.api.Handler("cursor")
	tests := []struct {
		method, path string
		status       int
	}{
		{"GET", "/health", 200}, {"GET", "/cursor/v1/models", 200}, {"POST", "/ai-gateway/cursor/v1/chat/completions", 200}, {"GET", "/cursor/v1/chat/completions", 405},
		{"POST", "/health", 404}, {"GET", "/", 404}, {"GET", "/me", 404}, {"POST", "/api/2.0/sallyport/reload", 404}, {"POST", "/oidc/v1/token", 404},
		{"GET", "/.well-known/databricks-config", 404}, {"POST", "/anthropic/v1/messages", 404}, {"HEAD", "/anthropic", 404}, {"POST", "/mlflow/v1/responses", 404},
		{"GET", "/mlflow/v1/models", 404}, {"POST", "/api/2.0/sql/statements", 404}, {"POST", "/cursor/../me", 404}, {"GET", "/cursor/v1/../../me", 404},
	}
	for _, tt := range tests {
		status, body := serve(only, tt.method, tt.path, w.alice, `{"model":"databricks-gpt"}`)
		if status != tt.status {
			t.Errorf("%s %s: got %d %s, want %d", tt.method, tt.path, status, body, tt.status)
		}
		if strings.Contains(body, "anthropic") && !strings.Contains(tt.path, "anthropic") {
			t.Errorf("%s %s tells of a surface that is not here: %s", tt.method, tt.path, body)
		}
	}
	// The gateway's URL is that of its first listener.
	if _, body := serve(only, "POST", "/v1/chat/completions", w.alice, `{}`); !strings.Contains(body, "so it must be /cursor/v1 at this address.") {
		t.Errorf("got %s, which does not name the surface's base", body)
	}
}

// What plugins and the operator say must fit together.
func TestNewSurfacesRefuses(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	front := func(plugin string, s ...provider.Surface) Front {
		return Front{plugin, provider.Manifest{Dialects: declared.Dialects, Surfaces: s}, mirror{}}
	}
	chat := func(name, base, path string) provider.Surface {
		return provider.Surface{Name: name, Base: base, Routes: []provider.SurfaceRoute{{Path: path, Op: provider.Generate, Dialect: "openai-chat"}}}
	}
	bundled := Front{"fronts", declared, mirror{}}
	tests := []struct {
		fronts []Front
		cfg    SurfacesConfig
		want   []string
	}{
		{[]Front{bundled, front("other", chat("anthropic", "/x", "/y"))}, nil, []string{`plugin other: surface "anthropic"`, "plugin fronts declares it too"}},
		{[]Front{bundled, front("other", chat("mine", "/anthropic", "/v1/messages"))}, nil, []string{"plugin other", `"mine"`, "/anthropic/v1/messages", "plugin fronts", `"anthropic"`}},
		{[]Front{bundled, front("other", chat("mine", "/gemini/v1beta", "/models/{model}:generateContent"))}, nil, []string{"plugin other", "/gemini/v1beta/models/{model}:generateContent", "plugin fronts"}},
		{[]Front{front("p", chat("mine", "/mlflow/v1", "/responses"))}, nil, []string{"plugin p", `"mine"`, "/mlflow/v1/responses", "the gateway's own"}},
		{[]Front{front("p", chat("mine", "/api/2.0", "/sql/statements"))}, nil, []string{"/api/2.0/sql/statements", "the gateway's own"}},
		{[]Front{front("p", chat("mine", "/ai-gateway/x", "/y"))}, nil, []string{"/ai-gateway"}},
		{[]Front{front("p", chat("mine", "/x", "y"))}, nil, []string{"plugin p", "path"}},
		{[]Front{{"p", declared, nil}}, nil, []string{"plugin p", "provider.Front"}},
		{[]Front{front("p", provider.Surface{Name: "mine", Base: "/x", Routes: []provider.SurfaceRoute{{Path: "/y", Op: provider.Compact, Dialect: "gemini"}}})}, nil, []string{"/y", "compact"}},
		{[]Front{bundled}, SurfacesConfig{"antropic": {}}, []string{"surfaces.antropic", `Did you mean "anthropic"?`}},
		{nil, SurfacesConfig{"x": {}}, []string{"surfaces.x", "no plugin declares surfaces"}},
		{[]Front{bundled}, SurfacesConfig{"openai": {Default: "gone"}}, []string{"surfaces.openai.default", `"gone"`}},
		{[]Front{bundled}, SurfacesConfig{"openai": {Aliases: map[string]string{"a": "gone"}}}, []string{"surfaces.openai.aliases.a", `"gone"`}},
		{[]Front{bundled}, SurfacesConfig{"openai": {Aliases: map[string]string{"": "databricks-gpt"}}}, []string{"surfaces.openai.aliases"}},
		{[]Front{bundled}, SurfacesConfig{"openai": {Aliases: map[string]string{"a": "gpt-*"}}}, []string{"surfaces.openai.aliases.a"}},
		{[]Front{bundled}, SurfacesConfig{"openai": {Allow: []string{" "}, DenyBetas: []string{"a, b"}}}, []string{"surfaces.openai.allow[0]", "surfaces.openai.deny_betas[0]"}},
	}
	for _, tt := range tests {
		s, err := NewSurfaces(tt.fronts, tt.cfg, w.models)
		if err == nil || s != nil {
			t.Errorf("%q: got no error", tt.want)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("got %v, want %q in it", err, part)
			}
		}
	}
}

// The form of errors that a dialect may name is one that is written here.
func TestEveryErrorFormIsKnown(t *testing.T) {
	t.Parallel()
	for form := range envelopes {
		m := provider.Manifest{Dialects: []provider.Dialect{{Name: "d", Errors: form}}}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
	err := (provider.Manifest{Dialects: []provider.Dialect{{Name: "d", Errors: "?"}}}).Check()
	if err == nil {
		t.Fatal("an unknown form is taken")
	}
	_, list, _ := strings.Cut(err.Error(), "one of ")
	for form := range strings.SplitSeq(list, ", ") {
		if _, ok := envelopes[form]; !ok {
			t.Errorf("manifests may name the form %q, which is not written here", form)
		}
	}
}

// Routes names every path of the surfaces, and only probes are open.
func TestRoutesHoldTheSurfaces(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	have := map[string]Route{}
	for _, rt := range w.api.Routes() {
		have[rt.Method+" "+rt.Path] = rt
	}
	for name, open := range map[string]bool{
		"POST /anthropic/v1/messages": false, "POST /ai-gateway/gemini/v1beta/models/{model}:generateContent": false, "GET /cursor/v1/models": false,
		"GET /openai/v1/models/{model}": false, "HEAD /anthropic": true, "GET /ai-gateway/anthropic/api/hello": true, "POST /mlflow/v1/responses": false, "GET /health": true,
	} {
		if rt, ok := have[name]; !ok || rt.Open != open || !open && rt.Scope == "" {
			t.Errorf("%s: got %+v, %v", name, rt, ok)
		}
	}
}
