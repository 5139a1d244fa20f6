// Package httpapi is the HTTP surface of the gateway. It authenticates, bounds
// and parses what comes in, calls the package that does the work, and writes
// the answer in the dialect of the path. It is the only place that knows HTTP
// status codes, and its route table is the whole surface: what is not in the
// table does not exist, and what is in it without Open needs a token.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
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
	Surfaces   *Surfaces // nil: no plugin declares any
	Limits     *ratelimit.Service
	PublicURL  string                             // scheme, host and port clients use; no slash at the end
	Health     func() Health                      // nil means well
	Reload     func(context.Context) (any, error) // reads the configuration again, and says what that did; nil: cannot be done
}

// API serves HTTP.
type API struct {
	state   func() (*State, func())
	limits  Limits
	budget  *budget
	log     *slog.Logger
	version string
	mux     *http.ServeMux // of the core's own routes; those of surfaces change with the State
	handler http.Handler
}

// New makes an API that asks state for each request, and calls the func that
// comes with it when the request has ended. Without a State a request is refused.
func New(state func() (*State, func()), limits Limits, version string, log *slog.Logger) *API {
	if limits.Body <= 0 {
		limits.Body = defaultBody
	}
	if limits.Budget <= 0 {
		limits.Budget = defaultBudget
	}
	limits.Budget = max(limits.Budget, (limits.Body+1)*parsedCopies)
	a := &API{state: state, limits: limits, budget: newBudget(limits.Budget, (limits.Body+1)*parsedCopies), log: log, version: version, mux: http.NewServeMux()}
	for _, rt := range a.coreRoutes() {
		a.mux.Handle(rt.Method+" "+rt.Path, a.gate(rt))
	}
	a.mux.HandleFunc("/", a.unknown)
	a.handler = a.Handler()
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
	token     string            // the caller's
	path      render.Dialect    // dialect the base path asks for; "" if none
}

// gatewayPrefix is what the vendor's clients put in front of the API's path.
const gatewayPrefix = "/ai-gateway"

// Routes lists everything that is served now: the core's own routes, and those
// of the surfaces. Whoever walks it with no token, or one that does not do, may
// meet an answer only where a route is Open.
func (a *API) Routes() []Route {
	st, done := a.state()
	defer done()
	if st == nil {
		return a.coreRoutes()
	}
	return append(a.coreRoutes(), st.Surfaces.routes()...)
}

// coreRoutes are those that no plugin declares. They are made without an API
// too, to see what they are.
func (a *API) coreRoutes() []Route {
	rs := []Route{
		{Method: "GET", Path: "/health", Open: true, serve: a.health},
		{Method: "GET", Path: "/{$}", Open: true, serve: a.welcome},
		{Method: "GET", Path: "/.well-known/databricks-config", Open: true, serve: a.databricksConfig},
		{Method: "GET", Path: "/oidc/.well-known/oauth-authorization-server", Open: true, serve: a.oauthMetadata},
		{Method: "GET", Path: "/oidc/.well-known/openid-configuration", Open: true, serve: a.oauthMetadata},
		{Method: "POST", Path: "/oidc/v1/token", Open: true, serve: a.oauthToken},
		{Method: "GET", Path: "/api/2.0/preview/scim/v2/Me", serve: a.me},
		{Method: "GET", Path: "/me", serve: a.myself},
		{Method: "GET", Path: "/api/2.0/sallyport/me", serve: a.myself},
		{Method: "POST", Path: "/api/2.0/sallyport/reload", Scope: access.ScopeAll, serve: a.reload},
	}
	rs = append(rs, a.controlRoutes()...)
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
	var m manner
	if rt.Spec {
		m.envelope = specEnvelope
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call{State: requestOf(r).state}
		if rt.Spec {
			c.path = render.OpenResponses
		}
		var err error
		if !rt.Open {
			err = c.authenticate(r, rt.Scope)
		}
		if err == nil {
			err = rt.serve(w, r, c)
		}
		if err != nil {
			a.refuse(w, r, err, m)
		}
	})
}

// authenticate finds out who calls, with a token that has one of the scopes.
func (c *call) authenticate(r *http.Request, scopes ...string) error {
	t, err := token(r)
	if err != nil {
		return err
	}
	p, err := c.Access.Authenticate(r.Context(), t)
	if err != nil {
		return err
	}
	c.principal, c.token = p, t
	if req := requestOf(r); req != nil {
		req.caller = p.Name
	}
	for _, s := range scopes {
		if p.HasScope(s) {
			return nil
		}
	}
	return c.Access.CheckScope(p, scopes[0])
}

// unknown answers for paths and methods that nothing is served at.
func (a *API) unknown(w http.ResponseWriter, r *http.Request) {
	req := requestOf(r)
	var allowed []string
	if len(req.only) == 0 {
		segs := segments(r.URL)
		for _, rt := range a.coreRoutes() {
			if _, ok := muxPattern(rt.Path).match(segs); ok {
				allowed = append(allowed, rt.Method)
			}
		}
	}
	if f, ok := req.state.Surfaces.find(r.Method, r.URL, req.only); ok {
		allowed = append(allowed, f.allow...)
		req.manner = f.entry.manner
	}
	if len(allowed) > 0 {
		a.notAllowed(w, r, allowed)
		return
	}
	message, sf := req.state.Surfaces.misdirected(r.URL, req.only, req.state.PublicURL)
	if sf != nil {
		req.manner = sf.manner
	}
	a.refuse(w, r, apierror.New(apierror.NotFound, "%s", message), req.manner)
}

// notAllowed answers for a method that is not among those of a path.
func (a *API) notAllowed(w http.ResponseWriter, r *http.Request, allowed []string) {
	slices.Sort(allowed)
	allowed = slices.Compact(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	an := answer{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "invalid_request_error", "invalid_request"}
	e := apierror.New(apierror.Invalid, "%s is not served at %s; use %s.", clip(r.Method), clip(r.URL.Path), strings.Join(allowed, " or "))
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		// Codex goes on with POST at once after this status, and after any other
		// only when it has tried for some seconds.
		an.status = http.StatusUpgradeRequired
		e = apierror.New(apierror.Unsupported, "WebSockets are not offered here. Send each request with %s to %s.", strings.Join(allowed, " or "), clip(r.URL.Path))
	}
	a.refuseAs(w, r, an, e, requestOf(r).manner)
}

func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

type requestKey struct{}

// request is what is known of a request from its first moment on.
type request struct {
	id     string
	said   [1]string // id, as a header of the reply has it
	caller string    // name of the principal, once it is known
	state  *State
	only   []string // surfaces that the listener carries; none means everything
	manner manner   // of errors that nobody else writes
	reply  *reply   // of a call on a surface, once it is made
}

func requestOf(r *http.Request) *request {
	req, _ := r.Context().Value(requestKey{}).(*request)
	return req
}

func requestID(ctx context.Context) string {
	if req, ok := ctx.Value(requestKey{}).(*request); ok {
		return req.id
	}
	return ""
}

// Handler serves everything, or, when surfaces are named, only those and
// /health: for listeners that others can reach.
func (a *API) Handler(surfaces ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		st, done := a.state()
		defer done()
		req := &request{id: uuid.Must(uuid.NewV7()).String(), state: st, only: surfaces}
		req.said[0] = req.id
		h := w.Header()
		h["X-Request-Id"], h["X-Databricks-Request-Id"] = req.said[:], req.said[:]
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
		if st == nil {
			a.fail(w, r, apierror.New(apierror.Unavailable, "This gateway is being shut down. Ask again in a moment."), manner{})
			return
		}
		defer a.survive(w, r)
		a.dispatch(w, r, req)
	})
}

// survive keeps a panic from taking the process.
func (a *API) survive(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	req := requestOf(r)
	if v != http.ErrAbortHandler {
		a.log.Error("request panicked", "request", req.id, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	}
	if v == http.ErrAbortHandler || req.reply != nil && req.reply.Begun() {
		panic(http.ErrAbortHandler)
	}
	a.fail(w, r, apierror.New(apierror.Internal, "The gateway met an internal error."), req.manner)
}

// dispatch finds who serves a request.
func (a *API) dispatch(w http.ResponseWriter, r *http.Request, req *request) {
	if size := headerSize(r); size > maxHeader {
		a.headersTooLarge(w, r, size)
		return
	}
	if f, ok := req.state.Surfaces.find(r.Method, r.URL, req.only); ok && f.allow == nil {
		a.surface(w, r, f)
		return
	}
	if len(req.only) > 0 && (r.URL.Path != "/health" || r.Method != http.MethodGet) {
		a.unknown(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// ServeHTTP serves one request, for callers that bring their own server.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }
