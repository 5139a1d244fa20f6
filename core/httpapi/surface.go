package httpapi

import (
	"context"
	"net/http"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// surface serves what was found on a surface.
func (a *API) surface(w http.ResponseWriter, r *http.Request, f found) {
	req, e := requestOf(r), f.entry
	req.manner = e.manner
	if e.manner.envelope == anthropicEnvelope {
		w.Header()["Request-Id"] = req.said[:]
	}
	if e.kind == probe {
		alive(w, r)
		return
	}
	c := call{State: req.state}
	err := c.admit(r, e.surface)
	if err == nil {
		switch e.kind {
		case callModel:
			err = a.callModel(w, r, c, f)
		case listModels:
			c.listModels(w, r, e)
		case oneModel:
			err = c.oneModel(w, e, f.name)
		}
	}
	if err != nil {
		a.refuse(w, r, err, e.manner)
	}
}

// alive answers whoever looks whether somebody is there. It needs no token and
// tells nothing.
func alive(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	writeBytes(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

// modelScopes are those of which a token needs one to call models.
var modelScopes = []string{access.ScopeAIGateway, access.ScopeModelServing}

// admit lets a caller onto a surface.
func (c *call) admit(r *http.Request, sf *surface) error {
	if err := c.authenticate(r, modelScopes...); err != nil {
		return err
	}
	if err := sf.admit(c.principal, c.Access.Helper()); err != nil {
		return err
	}
	return sf.checkBetas(r.Header, c.Access.Helper())
}

// callModel hands a request to the router.
func (a *API) callModel(w http.ResponseWriter, r *http.Request, c call, f found) error {
	e := f.entry
	if err := readable(r.URL.RawQuery); err != nil {
		return err
	}
	src, err := a.source(r, c.token)
	if err != nil {
		return err
	}
	body, sh, decoded, err := a.readPlain(w, r, c.principal)
	if err != nil {
		return err
	}
	defer sh.release()
	scan, err := router.ScanBody(body)
	if err != nil {
		return err
	}
	sh.shrink(int64(len(body)) * relayedCopies)
	asked := f.name
	if asked == "" {
		asked, _ = scan.String("model")
	} else if err := sameModel(asked, scan); err != nil {
		return err
	}
	stream := e.route.Stream == provider.StreamAlways
	if e.route.Stream == provider.StreamBody {
		stream, _ = scan.Bool("stream")
	}
	e.describe(src, scan, stream)
	query, header := withoutToken(withoutCredentials(r.URL.RawQuery), c.token), headerWithoutToken(r.Header, c.token)
	if decoded {
		header = header.Clone()
		header.Del("Content-Encoding")
		header.Del("Content-Length")
	}
	reply := newReply(w, r, stream)
	defer reply.close()
	requestOf(r).reply = reply
	err = c.Models.Serve(r.Context(), c.principal, router.Ask{
		Op: e.route.Op, Surface: e.Name, Dialect: e.dialect, Translated: e.route.Translated,
		Model: e.resolve(asked, c.Models), Asked: asked, Stream: stream, Query: query, Header: header, Body: body, Scan: scan, Source: src,
		Accept: func(ctx context.Context) (provider.Dialogue, error) {
			if err := sh.grow(ctx, int64(len(body))*parsedCopies); err != nil {
				return nil, err
			}
			return e.front.Accept(ctx, provider.ClientRequest{
				Surface: e.Name, Route: e.route.Path, Model: f.name, Stream: e.route.Stream == provider.StreamAlways,
				Query: query, Header: e.carried(header), Body: body,
			})
		},
	}, reply)
	if reply.unread() { // its row says no more than that it left
		a.log.Warn("a client read nothing of its reply for too long and was cut off", "request", src.RequestID, "principal", c.principal.Name, "after", writeTimeout)
	}
	if err != nil && reply.Begun() {
		a.log.Info("reply was cut", "request", src.RequestID, "error", err.Error())
		panic(http.ErrAbortHandler) // so that the client sees it
	}
	return err
}

// relayedCopies is how many bytes of the budget one byte of a body costs while
// it is relayed as it is: itself, and what is sent in its place.
const relayedCopies = 2

// describe says in src what the surface and the body tell of the request.
func (e *entry) describe(src *usage.Source, scan *router.Scan, stream bool) {
	src.APIType, src.StatusOf = e.apiType, SurfaceStatus
	src.ContentType = jsonType
	if stream {
		src.ContentType = streamType
	}
	for _, path := range e.dialect.Session {
		if src.Session != "" {
			break
		}
		src.Session, _ = scan.String(path)
	}
}

// carried are the headers that the surface wants to see.
func (e *entry) carried(h http.Header) http.Header {
	out := http.Header{}
	for _, name := range e.carry {
		if v := h[name]; len(v) > 0 {
			out[name] = v
		}
	}
	return out
}

// routes are those of the surfaces, for Routes.
func (s *Surfaces) routes() []Route {
	var rs []Route
	if s == nil {
		return nil
	}
	for _, e := range s.all {
		for _, prefix := range []string{gatewayPrefix, ""} {
			for _, m := range e.methods() {
				rt := Route{Method: m, Path: prefix + e.path, Open: e.kind == probe}
				if !rt.Open {
					rt.Scope = modelScopes[0]
				}
				rs = append(rs, rt)
			}
		}
	}
	return rs
}
