package toolset

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// maxOutbound and maxOutboundHeader bound a request to a target, in bytes.
const (
	maxOutbound       = 8 << 20
	maxOutboundHeader = 32 << 10
)

// fetch sends one request to a target that the manifest names and the operator
// bound. Whatever the service answers is an answer, error statuses and
// redirects too; an error means that there is none.
//
// # Isolation
//
// The plugin names a target, never a place: scheme, host and the path in front
// come from the configuration. The key is added behind the last thing the
// plugin said, and taken out of what comes back. So headers that ask for a
// piece of the answer (Range), or that some services take another path or
// method from (X-Original-URL, X-HTTP-Method-Override and their kin), are not
// sent; paths that a service may read as "..", parameters that the target's URL
// or credential sets, and headers that look like the credential's are refused.
func (s *Set) fetch(ctx context.Context, a *authority, typ string, m tool.Manifest, name string, r tool.Outbound) (*tool.Inbound, error) {
	if !slices.Contains(m.Targets, name) {
		return nil, apierror.New(apierror.Invalid, "The plugin for %s tools asked for a target %q that its manifest does not name; %s.", typ, shorten(name), has(m.Targets))
	}
	account := s.toolset.targets[typ][name]
	if account == nil {
		return nil, apierror.New(apierror.Unsupported, "The target %q of %s tools is not set on this gateway. An administrator can add tools.%s.targets.%s to its configuration.", name, typ, typ, name)
	}
	if err := checkOutbound(r); err != nil {
		return nil, err
	}
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.Body != nil {
			r.Method = http.MethodPost
		}
	}
	ctx, stop, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	res, err := account.Do(ctx, egress.Request{
		Method: r.Method, Path: r.Path, Query: r.Query, Header: r.Header, Body: r.Body, Depth: s.depth, Plain: true,
	})
	log := s.toolset.log.With("type", typ, "target", name, "method", r.Method)
	if err != nil {
		stop()
		return nil, fetchFailed(log, typ, name, err)
	}
	log.Debug("tool's request answered", "status", res.Status, "elapsed", time.Since(began))
	return &tool.Inbound{Status: res.Status, Header: res.Header, Body: &inboundBody{
		authority: a, stop: stop, body: res.Body, failed: func(err error) error { return fetchFailed(log, typ, name, err) },
	}}, nil
}

// checkOutbound bounds what a plugin may send. What a request may look like is
// checked by egress.
func checkOutbound(r tool.Outbound) error {
	if len(r.Body) > maxOutbound {
		return apierror.New(apierror.Invalid, "The body of the request has %d bytes; at most %d are sent to a target.", len(r.Body), maxOutbound)
	}
	size := len(r.Path) + len(r.Query)
	for k, vs := range r.Header {
		for _, v := range vs {
			size += len(k) + len(v)
		}
	}
	if size > maxOutboundHeader {
		return apierror.New(apierror.Invalid, "The path, query and headers of the request have %d bytes; at most %d are sent to a target.", size, maxOutboundHeader)
	}
	return nil
}

// inboundBody is the body of an answer. It ends with the authority of the call
// that asked for it.
type inboundBody struct {
	authority *authority
	stop      func()
	failed    func(error) error // makes the error to show of egress's

	reading sync.Mutex
	body    *egress.Body
}

// Read implements io.Reader. Its errors are apierrors.
func (b *inboundBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.authority.ended.Load() {
		return 0, errEnded()
	}
	n, err := b.body.Read(p)
	if err != nil && err != io.EOF {
		err = b.failed(err)
	}
	return n, err
}

// Close ends the answer. It may be called while another goroutine reads, which
// ends that Read.
func (b *inboundBody) Close() error {
	b.body.Cancel()
	b.reading.Lock()
	defer b.reading.Unlock()
	b.stop()
	return b.body.Close()
}

// fetchFailed logs a failure, with its cause, and gives the error for the
// plugin, without.
func fetchFailed(log *slog.Logger, typ, target string, err error) error {
	e := fetchError(typ, target, err)
	if e.Code != apierror.Canceled {
		log.Warn("tool's request failed", "code", e.Code, "error", err)
	}
	return e
}

// fetchError turns what went wrong on the way to a target into words for the
// plugin and the model. It never is apierror.Unavailable, which would say that
// the plugin died.
func fetchError(typ, target string, err error) *apierror.Error {
	e, ok := errors.AsType[*egress.Error](err)
	if !ok {
		return apierror.New(apierror.Internal, "The request to the target %q of %s tools failed.", target, typ)
	}
	fail := func(c apierror.Code, format string, args ...any) *apierror.Error {
		return apierror.New(c, "The target %q of %s tools "+format, append([]any{target, typ}, args...)...)
	}
	switch e.Kind {
	case egress.Canceled:
		return apierror.New(apierror.Canceled, "The request to the target %q was canceled.", target)
	case egress.Connect:
		return fail(apierror.UpstreamFailed, "could not be reached. Try again; if it lasts, an administrator should look at tools.%s.targets.%s.", typ, target)
	case egress.FirstByte:
		return fail(apierror.UpstreamTimeout, "did not begin to answer within %s.", e.After)
	case egress.Idle:
		return fail(apierror.UpstreamTimeout, "stopped in the middle of its answer and sent nothing more for %s.", e.After)
	case egress.Cut:
		return fail(apierror.UpstreamFailed, "ended the connection before its answer was complete.")
	case egress.TooLarge:
		return fail(apierror.UpstreamFailed, "answered with more bytes than max_response allows. Ask it for less at once.")
	case egress.Encoding:
		return fail(apierror.UpstreamFailed, "compressed its answer in a way this gateway cannot read.")
	case egress.Refused:
		if e.Wrong {
			return apierror.New(apierror.Invalid, "The request of the plugin for %s tools to its target %q was not sent: %s.", typ, target, strings.TrimSuffix(e.Text, "."))
		}
	}
	return fail(apierror.UpstreamFailed, "was not called: the gateway refuses it as it is configured. Its log tells an administrator why.")
}
