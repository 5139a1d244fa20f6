// Package httpapi is the HTTP surface of the gateway. It authenticates, bounds
// and parses what comes in, calls the package that does the work, and writes
// the answer in the dialect of the path. It is the only place that knows HTTP
// status codes, and its route table is the whole surface: what is not in the
// table does not exist, and what is in it without Open needs a token.
package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// State is what requests are served with. It is immutable; a reload swaps in
// another one, and a request keeps the one it began with.
type State struct {
	Access     *access.Service
	Models     *router.Router
	Supervisor *supervisor.Supervisor
	Catalog    *catalog.Catalog
	PublicURL  string        // scheme, host and port clients use; no slash at the end
	Health     func() Health // nil means well
}

// API serves HTTP.
type API struct {
	state   func() *State
	limits  Limits
	budget  *budget
	log     *slog.Logger
	version string
	handler http.Handler
}

// New makes an API that asks state for each request.
func New(state func() *State, limits Limits, version string, log *slog.Logger) *API {
	if limits.Body <= 0 {
		limits.Body = defaultBody
	}
	if limits.Budget <= 0 {
		limits.Budget = defaultBudget
	}
	limits.Budget = max(limits.Budget, (limits.Body+1)*parsedCopies)
	a := &API{state: state, limits: limits, budget: newBudget(limits.Budget), log: log, version: version}
	mux := http.NewServeMux()
	for _, rt := range a.Routes() {
		mux.Handle(rt.Method+" "+rt.Path, a.gate(rt))
	}
	mux.HandleFunc("/", a.unknown)
	a.handler = a.outer(mux)
	return a
}

// Route is one entry of the surface.
type Route struct {
	Method, Path string
	Open         bool   // served without a token
	Scope        string // token scope needed beside a valid token; "" is none
	Spec         bool   // errors as the OpenResponses specification writes them
	serve        handlerFunc
}

type handlerFunc func(w http.ResponseWriter, r *http.Request, c call) error

// call is what the gate found out about a request.
type call struct {
	*State
	principal *access.Principal // nil on open routes
	spec      bool
	path      render.Dialect // dialect the base path asks for; "" if none
}

// gatewayPrefix is what the vendor's clients put in front of the API's path.
const gatewayPrefix = "/ai-gateway"

// Routes lists the whole surface.
func (a *API) Routes() []Route {
	rs := []Route{
		{Method: "GET", Path: "/health", Open: true, serve: a.health},
		{Method: "GET", Path: "/{$}", Open: true, serve: a.welcome},
		{Method: "GET", Path: "/.well-known/databricks-config", Open: true, serve: a.databricksConfig},
		{Method: "GET", Path: "/oidc/.well-known/oauth-authorization-server", Open: true, serve: a.oauthMetadata},
		{Method: "GET", Path: "/oidc/.well-known/openid-configuration", Open: true, serve: a.oauthMetadata},
		{Method: "POST", Path: "/oidc/v1/token", Open: true, serve: a.oauthToken},
		{Method: "GET", Path: "/api/2.0/preview/scim/v2/Me", serve: a.me},
		{Method: "GET", Path: "/api/ai-gateway/v2/endpoints", serve: a.endpoints},
		{Method: "GET", Path: "/api/2.1/unity-catalog/model-services", serve: a.modelServices},
	}
	rs = append(rs, a.sqlRoutes()...)
	for _, prefix := range []string{gatewayPrefix, ""} {
		for _, base := range []struct {
			path string
			spec bool
		}{{prefix + "/mlflow/v1", false}, {prefix + "/openresponses/v1", true}} {
			for _, rt := range []Route{
				{Method: "POST", Path: "/responses", serve: a.responses},
				{Method: "POST", Path: "/responses/compact", serve: a.notStored("Compacting a conversation is not offered yet; send the whole history as input.")},
				{Method: "GET", Path: "/responses/{id}", serve: a.notStored(stateless)},
				{Method: "DELETE", Path: "/responses/{id}", serve: a.notStored(stateless)},
				{Method: "POST", Path: "/responses/{id}/cancel", serve: a.notStored(stateless)},
				{Method: "GET", Path: "/responses/{id}/input_items", serve: a.notStored(stateless)},
				{Method: "GET", Path: "/models", serve: a.models},
				{Method: "GET", Path: "/models/{model}", serve: a.model},
			} {
				rt.Path, rt.Spec = base.path+rt.Path, base.spec
				rt.Scope = access.ScopeAIGateway
				rs = append(rs, rt)
			}
		}
	}
	return rs
}

// gate authenticates a request, checks the scope of its token, and serves it.
func (a *API) gate(rt Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call{State: a.state(), spec: rt.Spec}
		if rt.Spec {
			c.path = render.OpenResponses
		}
		if !rt.Open {
			p, err := c.Access.Authenticate(r.Context(), token(r))
			if err == nil && rt.Scope != "" {
				err = c.Access.CheckScope(p, rt.Scope)
			}
			if err != nil {
				a.refuse(w, r, err, rt.Spec)
				return
			}
			c.principal = p
		}
		if err := rt.serve(w, r, c); err != nil {
			a.refuse(w, r, err, rt.Spec)
		}
	})
}

// token finds the caller's token where any of the clients puts it.
func token(r *http.Request) string {
	if v := r.Header.Get("Authorization"); v != "" {
		scheme, rest, ok := strings.Cut(v, " ")
		if ok && strings.EqualFold(scheme, "bearer") {
			return strings.TrimSpace(rest)
		}
		return ""
	}
	for _, h := range []string{"X-Api-Key", "X-Goog-Api-Key"} {
		if v := r.Header.Get(h); v != "" {
			return v
		}
	}
	return ""
}

func (a *API) unknown(w http.ResponseWriter, r *http.Request) {
	allowed := map[string]bool{}
	for _, rt := range a.Routes() {
		if rt.Path == r.URL.Path {
			allowed[rt.Method] = true
		}
	}
	if len(allowed) > 0 {
		var ms []string
		for m := range allowed {
			ms = append(ms, m)
		}
		w.Header().Set("Allow", strings.Join(ms, ", "))
		msg := r.Method + " is not served at " + clip(r.URL.Path) + "; use " + strings.Join(ms, " or ") + "."
		writeJSON(w, http.StatusMethodNotAllowed, errorBody{ErrorCode: "METHOD_NOT_ALLOWED", Message: msg, Error: errorDetail{Type: "invalid_request_error", Message: msg}})
		return
	}
	a.refuse(w, r, apierror.New(apierror.NotFound, "Nothing is served at %s. Responses are at /ai-gateway/mlflow/v1/responses.", clip(r.URL.Path)), false)
}

func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

type requestKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// outer gives every request an id and keeps a panic from taking the process.
func (a *API) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := uuid.Must(uuid.NewV7()).String()
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Databricks-Request-Id", id)
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				a.log.Error("request panicked", "request", id, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
				a.fail(w, r, apierror.New(apierror.Internal, "The gateway met an internal error."), false)
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
	})
}

// Server makes the http.Server for the API and the listener to serve it on.
// A request's context ends when base does.
func (a *API) Server(base context.Context, l net.Listener) (*http.Server, net.Listener) {
	return &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // of bodies that nobody reads; readBody sets its own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}, listener{l}
}

// ServeHTTP serves one request, for callers that bring their own server.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }
