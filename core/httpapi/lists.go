package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// The lists of models are written as the clients of a surface read them. Times
// at which models came to be are not known here, and are the beginning of time.

// epoch is when a model came to be, where a client wants to be told.
const epoch = "1970-01-01T00:00:00Z"

type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	Input   int64  `json:"max_input_tokens,omitempty"`
	Output  int64  `json:"max_output_tokens,omitempty"`
}

func openAIModel(m router.ModelInfo) modelObject {
	return modelObject{m.Name, "model", 0, "sallyport", m.Context.Input, m.Context.Output}
}

type anthropicModelObject struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Name    string `json:"display_name"`
	Created string `json:"created_at"`
	Input   int64  `json:"max_input_tokens,omitempty"`
	Output  int64  `json:"max_tokens,omitempty"`
}

func anthropicModel(m router.ModelInfo) anthropicModelObject {
	return anthropicModelObject{"model", m.Name, m.Name, epoch, m.Context.Input, m.Context.Output}
}

type geminiModelObject struct {
	Name    string   `json:"name"`
	Base    string   `json:"baseModelId"`
	Version string   `json:"version"`
	Display string   `json:"displayName"`
	Input   int64    `json:"inputTokenLimit,omitempty"`
	Output  int64    `json:"outputTokenLimit,omitempty"`
	Methods []string `json:"supportedGenerationMethods"`
}

// geminiModel has the methods that the surface's routes end in.
func (e *entry) geminiModel(m router.ModelInfo) geminiModelObject {
	methods := []string{}
	for _, o := range e.entries {
		if _, method, ok := strings.Cut(o.route.Path, "{model}:"); ok && !slices.Contains(methods, method) {
			methods = append(methods, method)
		}
	}
	return geminiModelObject{"models/" + m.Name, m.Name, "001", m.Name, m.Context.Input, m.Context.Output, methods}
}

// listModels lists the models that the caller may use.
func (c call) listModels(w http.ResponseWriter, r *http.Request, e *entry) {
	models, q := c.Models.Models(c.principal), r.URL.Query()
	switch e.manner.envelope {
	case anthropicEnvelope:
		page, more := anthropicPage(models, q.Get("after_id"), q.Get("before_id"), q.Get("limit"))
		list := each(page, anthropicModel)
		var first, last *string
		if n := len(list); n > 0 {
			first, last = &list[0].ID, &list[n-1].ID
		}
		writeJSON(w, http.StatusOK, map[string]any{"data": list, "has_more": more, "first_id": first, "last_id": last})
	case geminiEnvelope:
		page, next := tokenPage(models, q.Get("pageToken"), q.Get("pageSize"))
		out := map[string]any{"models": each(page, e.geminiModel)}
		if next != "" {
			out["nextPageToken"] = next
		}
		writeJSON(w, http.StatusOK, out)
	default:
		out := map[string]any{"object": "list", "data": each(models, openAIModel)}
		if q.Has("client_version") {
			out["models"] = []any{} // Codex wants its own descriptions of models here, and goes on without
		}
		writeJSON(w, http.StatusOK, out)
	}
}

// oneModel describes the model of a name, which may be an alias.
func (c call) oneModel(w http.ResponseWriter, e *entry, name string) error {
	m, err := c.describe(e.resolve(name, c.Models))
	if err != nil {
		return err
	}
	switch e.manner.envelope {
	case anthropicEnvelope:
		writeJSON(w, http.StatusOK, anthropicModel(m))
	case geminiEnvelope:
		writeJSON(w, http.StatusOK, e.geminiModel(m))
	default:
		writeJSON(w, http.StatusOK, openAIModel(m))
	}
	return nil
}

// describe is what the caller may know of a model. Of a name that only a
// pattern of aliases covers it is the name alone.
func (c call) describe(name string) (router.ModelInfo, error) {
	if err := c.Models.Check(c.principal, name); err != nil {
		return router.ModelInfo{}, err
	}
	plain := router.Canonical(name)
	for _, m := range c.Models.Models(c.principal) {
		if router.Canonical(m.Name) == plain || slices.Contains(m.Aliases, plain) {
			return m, nil
		}
	}
	return router.ModelInfo{Name: name}, nil
}

func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, 0, len(list))
	for _, v := range list {
		out = append(out, f(v))
	}
	return out
}

// size reads the length of a page; without one, or with one that is none, the
// page holds everything.
func size(text string, all int) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return min(n, all)
	}
	return all
}

// anthropicPage is the part of models between two names, and whether there is
// more on the far side.
func anthropicPage(models []router.ModelInfo, after, before, limit string) ([]router.ModelInfo, bool) {
	at := func(name string) int {
		return slices.IndexFunc(models, func(m router.ModelInfo) bool { return m.Name == name })
	}
	if i := at(after); after != "" && i >= 0 {
		models = models[i+1:]
	}
	if i := at(before); before != "" && i >= 0 {
		models = models[:i]
		n := size(limit, len(models))
		return models[len(models)-n:], n < len(models)
	}
	n := size(limit, len(models))
	return models[:n], n < len(models)
}

// tokenPage is the part of models behind the name that token is, and the token
// of the next part, "" when this one is the last. Names rather than numbers: a
// model that comes or goes in between moves nothing.
func tokenPage(models []router.ModelInfo, token, limit string) ([]router.ModelInfo, string) {
	i := 0
	for token != "" && i < len(models) && models[i].Name <= token {
		i++
	}
	models = models[i:]
	n := size(limit, len(models))
	if n == len(models) {
		return models, ""
	}
	return models[:n], models[n-1].Name
}

// models lists the models the caller may use, as OpenAI's clients read it.
func (a *API) models(w http.ResponseWriter, _ *http.Request, c call) error {
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": each(c.Models.Models(c.principal), openAIModel)})
	return nil
}

func (a *API) model(w http.ResponseWriter, r *http.Request, c call) error {
	m, err := c.describe(r.PathValue("model"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, openAIModel(m))
	return nil
}

// notOffered answers for parts of the vendor's API that this gateway does not
// have, in words by which the vendor's clients know it and go on without.
func (a *API) notOffered(what string) handlerFunc {
	return func(http.ResponseWriter, *http.Request, call) error {
		return apierror.New(apierror.Unsupported, "FEATURE_DISABLED: the %s feature is not available on this gateway.", what)
	}
}
