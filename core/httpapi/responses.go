package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

const stateless = "This gateway keeps no responses: send the whole conversation as input with each request."

// responses serves POST /responses: the Supervisor API.
func (a *API) responses(w http.ResponseWriter, r *http.Request, c call) error {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return apierror.New(apierror.Unsupported, "Content-Encoding %s of requests is not read here. Send the body uncompressed.", clip(enc))
	}
	src, err := a.source(r, c.token)
	if err != nil {
		return err
	}
	body, release, err := a.readBody(w, r, c.principal)
	if err != nil {
		return err
	}
	defer release()
	req, err := openresponses.ParseRequest(body)
	if err != nil {
		return err
	}
	dialect, err := c.dialect(r, req.Model)
	if err != nil {
		return err
	}
	src.ContentType = jsonType
	if req.Stream {
		src.ContentType = streamType
	}
	run := supervisor.Run{
		ID:          "resp_" + strings.ReplaceAll(uuid.Must(uuid.NewV7()).String(), "-", ""),
		Principal:   c.principal,
		Request:     req,
		Dialect:     dialect,
		Source:      src,
		Traceparent: r.Header.Get("Traceparent"),
		Header:      r.Header,
		Created:     time.Now(),
	}
	if !req.Stream {
		b, err := c.Supervisor.Run(r.Context(), run, nil)
		if err != nil {
			return err
		}
		writeBytes(w, http.StatusOK, b)
		return nil
	}
	s := newStream(w, r)
	_, err = c.Supervisor.Run(r.Context(), run, func(ev render.Event) error { return s.emit(r.Context(), ev) })
	if s.close() {
		if err != nil && context.Cause(r.Context()) == nil {
			a.log.Error("stream ended with an error after its first event", "request", src.RequestID, "error", err.Error())
		}
		return nil
	}
	return err
}

// dialect chooses the output dialect: base path before header before model
// before the default.
func (c call) dialect(r *http.Request, model string) (render.Dialect, error) {
	if c.path != "" {
		return c.path, nil
	}
	for _, name := range []string{r.Header.Get("Sallyport-Output"), c.Models.Output(model)} {
		if name == "" {
			continue
		}
		d, err := render.ParseDialect(name)
		if err != nil {
			return "", apierror.At(apierror.Invalid, "Sallyport-Output", "%v", err)
		}
		return d, nil
	}
	return render.Databricks, nil
}

// source is what the usage rows of a request say of it, whose caller has the
// token secret. Tags that cannot be read are an error: they are how costs are
// told apart, and a row cannot be corrected later.
func (a *API) source(r *http.Request, secret string) (*usage.Source, error) {
	if _, err := usage.ParseTags(r.Header); err != nil {
		return nil, err
	}
	s := usage.FromRequest(maskedHeader(r.Header, secret), r.URL.Path)
	s.RequestID, s.URL, s.IP = requestID(r.Context()), masked(r.URL.Path, secret), a.clientIP(r)
	for k, v := range s.Tags { // which may have escaped it
		s.Tags[k] = masked(v, secret)
	}
	s.APIType = strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, gatewayPrefix), "/")
	return &s, nil
}

// notStored answers for the parts of OpenAI's lifecycle that need stored
// responses.
func (a *API) notStored(why string) handlerFunc {
	return func(http.ResponseWriter, *http.Request, call) error {
		return apierror.New(apierror.Unsupported, "%s", why)
	}
}
