package httpapi

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// What the vendor's clients ask before their first call, as they read it.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	nobody := w.token("nobody")
	tests := []struct {
		method, path string
		status       int
		want         string // whole when it is an object
	}{
		{"GET", "/api/ai-gateway/v2/endpoints", 200, `{"endpoints":[{"name":"databricks-claude","ai_gateway_url":"https://gw"},{"name":"databricks-gpt","ai_gateway_url":"https://gw"}],"next_page_token":""}`},
		{"GET", "/api/ai-gateway/v2/endpoints?page_size=1", 200, `{"endpoints":[{"name":"databricks-claude","ai_gateway_url":"https://gw"}],"next_page_token":"databricks-claude"}`},
		{"GET", "/api/2.1/unity-catalog/model-services?parent=schemas/system.ai&page_size=1", 200, `{"model_services":[{"name":"model-services/system.ai.databricks-claude","supported_api_types":["chat","responses"]}],"next_page_token":"databricks-claude"}`},
		{"GET", "/api/2.1/unity-catalog/model-services?parent=schemas/system.ai&page_size=1&page_token=databricks-claude", 200, `{"model_services":[{"name":"model-services/system.ai.databricks-gpt","supported_api_types":["chat","responses"]}],"next_page_token":""}`},
		{"GET", "/api/2.1/unity-catalog/model-services?parent=schemas/main.other", 200, `{"model_services":[],"next_page_token":""}`},
		{"GET", "/api/2.1/unity-catalog/model-services/system.ai.databricks-gpt", 200, `{"name":"model-services/system.ai.databricks-gpt","supported_api_types":["chat","responses"]}`},
		{"GET", "/api/2.1/unity-catalog/model-services/system.ai.hidden", 403, "PERMISSION_DENIED"},
		{"GET", "/api/2.0/serving-endpoints:foundation-models", 200, `"ai_gateway_v2_supported":true`},
		{"GET", "/api/2.0/serving-endpoints:foundation-models", 200, `"api_types":["anthropic/v1/messages",`},
		{"GET", "/api/ai-gateway/v2/external-provider-models?page_size=1", 200, `{"models":[{"model_name":"databricks-claude","base_pricing":{"input_per_million_tokens":1,"output_per_million_tokens":4,"cache_read_per_million_tokens":0.1}}],"next_page_token":"databricks-claude"}`},
		{"GET", "/api/ai-gateway/v2/workspace-metrics/budgets", 200, `"quantity_threshold":"300"`},
		{"GET", "/api/ai-gateway/v2/workspace-metrics/budgets", 200, `"action_configurations":[{"action_type":"BLOCK_USAGE"}]`},
		{"GET", "/api/ai-gateway/v2/coding-agent-configs", 400, "FEATURE_DISABLED"},
		{"PATCH", "/api/ai-gateway/v2/coding-agent-configs/mine?update_mask=*", 400, "FEATURE_DISABLED"},
		{"POST", "/api/ai-gateway/v2/coding-agent-configs:recommendModel", 200, `{"current_spend":"0","effective_threshold":"300"}`},
		{"GET", "/api/2.1/unity-catalog/model-provider-services", 400, "feature is not available"},
	}
	for _, tt := range tests {
		if status, _, _ := w.do(tt.method, tt.path, "", ""); status != 401 {
			t.Errorf("%s %s without a token: got %d", tt.method, tt.path, status)
		}
		if _, body, _ := w.do(tt.method, tt.path, nobody, ""); strings.Contains(body, `"databricks-claude"`) || strings.Contains(body, "system.ai.databricks-claude") {
			t.Errorf("%s %s tells one without grants: %s", tt.method, tt.path, body)
		}
		status, body, _ := w.do(tt.method, tt.path, w.alice, `{"available_models":[]}`)
		if status != tt.status || body != tt.want && (strings.HasPrefix(tt.want, "{") || !strings.Contains(body, tt.want)) {
			t.Errorf("%s %s: got %d %s, want %d %s", tt.method, tt.path, status, body, tt.status, tt.want)
		}
	}
}

func TestMe(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, SurfacesConfig{"openai": {Allow: []string{"developers"}}})
	type reply struct {
		Name, Kind string
		Admin      bool
		Groups     []string
		Surfaces   []string
		Models     []struct {
			Name     string
			Context  struct{ Input, Output int64 }
			Surfaces []string
		}
		Limits []struct {
			Model, Per string
			Requests   struct{ Limit, Used, Left int64 }
		}
		Budgets []struct {
			USD, Spent, Left float64
			Per              string
		}
	}
	ask := func(path, token string) (r reply) {
		t.Helper()
		status, body, _ := w.do("GET", path, token, "")
		if err := json.Unmarshal([]byte(body), &r); err != nil || status != 200 {
			t.Fatalf("%s: got %d %s, %v", path, status, body, err)
		}
		return r
	}
	if status, _, _ := w.do("GET", "/me", "", ""); status != 401 {
		t.Errorf("without a token: got %d", status)
	}
	if status, body, _ := w.do("POST", "/anthropic/v1/messages", w.alice, `{"model":"databricks-gpt"}`); status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	for _, path := range []string{"/me", "/api/2.0/sallyport/me"} {
		r := ask(path, w.alice)
		if r.Name != "alice" || r.Kind != "user" || r.Admin || strings.Join(r.Groups, " ") != "analysts developers" || strings.Join(r.Surfaces, " ") != "anthropic cursor gemini mlflow openai" {
			t.Errorf("got %+v", r)
		}
		if len(r.Models) != 2 || r.Models[0].Name != "databricks-claude" || r.Models[0].Context.Input != 200_000 || len(r.Models[0].Surfaces) != 5 {
			t.Errorf("got the models %+v", r.Models)
		}
		found := false
		for _, l := range r.Limits {
			found = found || l.Model == "databricks-gpt" && l.Per == "minute" && l.Requests.Limit == 100 && l.Requests.Used == 1 && l.Requests.Left == 99
		}
		if !found {
			t.Errorf("got the limits %+v", r.Limits)
		}
		if len(r.Budgets) != 1 || r.Budgets[0].USD != 300 || r.Budgets[0].Spent <= 0 || r.Budgets[0].Left >= 300 || r.Budgets[0].Per != "month" {
			t.Errorf("got the budgets %+v", r.Budgets)
		}
	}
	if r := ask("/me", w.token("nobody")); len(r.Models) != 0 || strings.Join(r.Surfaces, " ") != "anthropic cursor gemini mlflow" {
		t.Errorf("one without grants: got %+v", r)
	}
}

// Only administrators, with a token for everything, may have the configuration
// read again, and are told what came of it.
func TestReload(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	const path = "/api/2.0/sallyport/reload"
	root, narrow := w.token("root"), w.token("root", "ai-gateway")
	if status, body, _ := w.do("POST", path, root, ""); status != 400 || !strings.Contains(body, "cannot read its configuration again") {
		t.Errorf("without a way: got %d %s", status, body)
	}
	calls := 0
	var fault error
	w.state.Reload = func(context.Context) (any, error) {
		calls++
		return map[string][]string{"restart": {"listen"}}, fault
	}
	tests := []struct {
		method, token string
		fault         error
		status        int
		want          string
		calls         int
	}{
		{"POST", "", nil, 401, "UNAUTHENTICATED", 0},
		{"POST", w.alice, nil, 403, "Only administrators may have the configuration read again. An administrator (root) can do it.", 0},
		{"POST", narrow, nil, 403, "Invalid scope", 0},
		{"GET", root, nil, 405, "use POST", 0},
		{"POST", root, nil, 200, `{"restart":["listen"]}`, 1},
		{"POST", root, apierror.New(apierror.Invalid, "models.x: no destinations."), 400, "models.x: no destinations.", 2},
	}
	for _, tt := range tests {
		fault = tt.fault
		if status, body, _ := w.do(tt.method, path, tt.token, ""); status != tt.status || !strings.Contains(body, tt.want) || calls != tt.calls {
			t.Errorf("%s: got %d %s after %d calls, want %d %s", tt.method, status, body, calls, tt.status, tt.want)
		}
	}
}

// A new state brings new surfaces, and a request keeps the state that it began
// with, which is given back when it ends.
func TestSurfacesChangeWithTheState(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	held := 0
	w.api.state = func() (*State, func()) { held++; return w.state, func() { held-- } }
	if status, body := serve(w.api, "POST", "/cursor/v1/chat/completions", w.alice, `{"model":"databricks-gpt"}`); status != 200 {
		t.Errorf("before: got %d %s", status, body)
	}
	next := *w.state
	next.Surfaces = nil
	w.state = &next
	if status, body := serve(w.api, "POST", "/cursor/v1/chat/completions", w.alice, `{"model":"databricks-gpt"}`); status != 404 {
		t.Errorf("after: got %d %s", status, body)
	}
	if held != 0 {
		t.Errorf("%d states are held by requests that have ended", held)
	}
}
