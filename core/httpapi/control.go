package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// The vendor's coding-agent launcher and SDK look around with these requests
// before their first call. Source: databricks/ucode, databricks-sdk.

func (a *API) controlRoutes() []Route {
	const v2, uc = "/api/ai-gateway/v2", "/api/2.1/unity-catalog"
	rs := []Route{
		{Method: "GET", Path: v2 + "/endpoints", serve: a.endpoints},
		{Method: "GET", Path: v2 + "/external-provider-models", serve: a.prices},
		{Method: "GET", Path: v2 + "/workspace-metrics/budgets", serve: a.budgets},
		{Method: "POST", Path: v2 + "/coding-agent-configs:recommendModel", serve: a.recommendModel},
		{Method: "GET", Path: uc + "/model-services", serve: a.modelServices},
		{Method: "GET", Path: uc + "/model-services/{name}", serve: a.modelService},
		{Method: "GET", Path: "/api/2.0/serving-endpoints:foundation-models", serve: a.foundationModels},
	}
	for _, m := range []string{"GET", "POST"} {
		rs = append(rs, Route{Method: m, Path: v2 + "/coding-agent-configs", serve: a.notOffered("coding-agent-configs")})
	}
	for _, m := range []string{"PATCH", "DELETE"} {
		rs = append(rs, Route{Method: m, Path: v2 + "/coding-agent-configs/{name}", serve: a.notOffered("coding-agent-configs")})
	}
	for _, what := range []string{"model-provider-services", "mcp-services", "agent-services"} {
		rs = append(rs, Route{Method: "GET", Path: uc + "/" + what, serve: a.notOffered(what)})
	}
	return rs
}

// page cuts out of the caller's models what page_token and page_size ask for.
func (c call) page(r *http.Request) ([]router.ModelInfo, string) {
	q := r.URL.Query()
	return tokenPage(c.Models.Models(c.principal), q.Get("page_token"), q.Get("page_size"))
}

// endpoints lists the models in the form that some releases of the vendor's
// client ask for before their first call.
func (a *API) endpoints(w http.ResponseWriter, r *http.Request, c call) error {
	type endpoint struct {
		Name string `json:"name"`
		URL  string `json:"ai_gateway_url"`
	}
	page, next := c.page(r)
	list := each(page, func(m router.ModelInfo) endpoint { return endpoint{m.Name, c.PublicURL} })
	writeJSON(w, http.StatusOK, map[string]any{"endpoints": list, "next_page_token": next})
	return nil
}

type modelServiceObject struct {
	Name  string   `json:"name"`
	Types []string `json:"supported_api_types"`
}

func modelServiceOf(m router.ModelInfo) modelServiceObject {
	types := []string{"chat", "responses"}
	if slices.Contains(m.Natives, "openai-embeddings") {
		types = append(types, "embeddings")
	}
	return modelServiceObject{"model-services/" + access.ModelSchema + "." + m.Name, types}
}

// modelServices lists the models as Unity Catalog model services.
func (a *API) modelServices(w http.ResponseWriter, r *http.Request, c call) error {
	list, next := []modelServiceObject{}, ""
	if parent := r.URL.Query().Get("parent"); parent == "" || strings.EqualFold(parent, "schemas/"+access.ModelSchema) {
		var page []router.ModelInfo
		page, next = c.page(r)
		list = each(page, modelServiceOf)
	}
	writeJSON(w, http.StatusOK, map[string]any{"model_services": list, "next_page_token": next})
	return nil
}

func (a *API) modelService(w http.ResponseWriter, r *http.Request, c call) error {
	m, err := c.describe(r.PathValue("name"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, modelServiceOf(m))
	return nil
}

// foundationModels lists the models as those serving endpoints that are there
// for everybody.
func (a *API) foundationModels(w http.ResponseWriter, _ *http.Request, c call) error {
	type object = map[string]any
	list := each(c.Models.Models(c.principal), func(m router.ModelInfo) object {
		return object{"name": m.Name, "config": object{"served_entities": []object{{
			"name":             m.Name,
			"foundation_model": object{"name": m.FullName, "display_name": m.Name, "ai_gateway_v2_supported": true, "api_types": apiTypes(c.Surfaces, m)},
		}}}}
	})
	writeJSON(w, http.StatusOK, object{"endpoints": list})
	return nil
}

// apiTypes are the ways to call a model: its own dialects first, then those
// into which the gateway translates.
func apiTypes(s *Surfaces, m router.ModelInfo) []string {
	var own, others []string
	if s != nil {
		for _, e := range s.all {
			if e.kind != callModel || e.disabled || slices.Contains(own, e.apiType) || slices.Contains(others, e.apiType) {
				continue
			}
			if slices.Contains(m.Natives, e.dialect.Name) && !e.route.Translated {
				own = append(own, e.apiType)
			} else if e.dialect.Name != "openai-embeddings" { // a vector cannot be translated into being
				others = append(others, e.apiType)
			}
		}
	}
	return append(append(own, others...), "mlflow/v1/responses")
}

// prices lists what the models cost, where that is configured.
func (a *API) prices(w http.ResponseWriter, r *http.Request, c call) error {
	type pricing struct {
		Input     float64 `json:"input_per_million_tokens"`
		Output    float64 `json:"output_per_million_tokens"`
		CacheRead float64 `json:"cache_read_per_million_tokens"`
	}
	type model struct {
		Name  string  `json:"model_name"`
		Price pricing `json:"base_pricing"`
	}
	page, next := c.page(r)
	list := []model{}
	for _, m := range page {
		if m.Price == nil || m.Price.Input == nil || m.Price.Output == nil {
			continue
		}
		p := pricing{*m.Price.Input, *m.Price.Output, *m.Price.Input}
		if m.Price.CacheRead != nil {
			p.CacheRead = *m.Price.CacheRead
		}
		list = append(list, model{m.Name, p})
	}
	writeJSON(w, http.StatusOK, map[string]any{"models": list, "next_page_token": next})
	return nil
}

// caller is the principal as the limits know it, beside any request.
func (c call) caller() ratelimit.Caller {
	return ratelimit.Caller{Name: c.principal.Name, ServicePrincipal: c.principal.Kind == access.KindServicePrincipal, Groups: c.principal.NamedGroups()}
}

// standing is how the caller stands with the limits and budgets that count for
// them.
func (c call) standing() ratelimit.Standing {
	return c.Limits.Standing(c.caller(), each(c.Models.Models(c.principal), func(m router.ModelInfo) string { return m.Name }))
}

// budgets lists the caller's own budgets in the vendor's form.
func (a *API) budgets(w http.ResponseWriter, _ *http.Request, c call) error {
	type object = map[string]any
	list := each(c.standing().Budgets, func(b ratelimit.BudgetStanding) object {
		actions := []object{}
		if b.Then == "block" {
			actions = append(actions, object{"action_type": "BLOCK_USAGE"})
		}
		return object{
			"budget_configuration_id": b.Scope + "/" + b.Per, "display_name": b.Scope,
			"alert_configurations": []object{{
				"scope_type": "ALERT_CONFIGURATION_SCOPE_TYPE_PER_USER", "quantity_threshold": dollars(b.USD), "quantity_type": "LIST_PRICE_DOLLARS_USD",
				"time_period": strings.ToUpper(b.Per), "action_configurations": actions,
			}},
		}
	})
	writeJSON(w, http.StatusOK, object{"workspace_ai_gateway_budgets": list})
	return nil
}

// recommendModel tells what the caller has spent of the budget that is nearest
// to its end. It recommends nothing: which agent and model to use at which
// spending is not configured here.
func (a *API) recommendModel(w http.ResponseWriter, _ *http.Request, c call) error {
	out := map[string]string{}
	least := 0.0
	for _, b := range c.standing().Budgets {
		if out["effective_threshold"] == "" || b.Left < least {
			least = b.Left
			out["current_spend"], out["effective_threshold"] = dollars(b.Spent), dollars(b.USD)
		}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func dollars(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// myself is what GET /me answers: who calls, and what they may use now.
func (a *API) myself(w http.ResponseWriter, _ *http.Request, c call) error {
	type contextSize struct {
		Input  int64 `json:"input,omitempty"`
		Output int64 `json:"output,omitempty"`
	}
	type model struct {
		Name     string      `json:"name"`
		Context  contextSize `json:"context,omitzero"`
		Surfaces []string    `json:"surfaces"`          // on which the caller may call it
		Native   []string    `json:"native,omitempty"`  // those of them that it answers without translation
		Aliases  []string    `json:"aliases,omitempty"` // other names for it
	}
	p := c.principal
	surfaces, own := []string{}, map[string][]string{}
	if c.Surfaces != nil {
		for _, sf := range c.Surfaces.list {
			if sf.admit(p, "") != nil {
				continue
			}
			surfaces = append(surfaces, sf.Name)
			for _, e := range sf.entries {
				if e.kind == callModel && !e.route.Translated {
					own[sf.Name] = append(own[sf.Name], e.dialect.Name)
				}
			}
		}
	}
	models := each(c.Models.Models(p), func(m router.ModelInfo) model {
		var native []string
		for _, s := range surfaces {
			if slices.ContainsFunc(own[s], func(d string) bool { return slices.Contains(m.Natives, d) }) {
				native = append(native, s)
			}
		}
		return model{m.Name, contextSize(m.Context), surfaces, native, m.Aliases}
	})
	st := c.standing()
	writeJSON(w, http.StatusOK, map[string]any{
		"name": p.Name, "kind": p.Kind, "admin": p.Admin, "groups": append([]string{}, p.NamedGroups()...), "scopes": append([]string{}, p.Scopes...),
		"models": models, "surfaces": surfaces, "limits": st.Limits, "budgets": st.Budgets,
	})
	return nil
}

// reload reads the configuration again.
func (a *API) reload(w http.ResponseWriter, r *http.Request, c call) error {
	switch {
	case !c.principal.Admin:
		return apierror.New(apierror.Denied, "Only administrators may have the configuration read again. %s can do it.", c.Access.Helper())
	case c.Reload == nil:
		return apierror.New(apierror.Unsupported, "This gateway cannot read its configuration again. Start it anew.")
	}
	done, err := c.Reload(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, done)
	return nil
}
