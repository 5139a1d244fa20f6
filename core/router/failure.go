package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// brokenRule is the fault of a translator that does not keep the rules of
// sdk/provider.
type brokenRule struct{ plugin, rule string }

func (b *brokenRule) Error() string {
	return fmt.Sprintf("The translator plugin %q broke a rule: %s.", b.plugin, b.rule)
}

func (a *attempt) broken(rule string) error { return &brokenRule{a.d.account.plugin, rule} }

// failed turns whatever ended an attempt into what the client may see, and
// says what may follow.
func (a *attempt) failed(ctx context.Context, err error, committed bool) result {
	e, v := a.explain(ctx, err)
	told := *e
	told.Message = a.scrub(told.Message)
	if told.RetryAfter == 0 {
		told.RetryAfter = a.asked
	}
	up := apierror.Upstream{Status: a.rec.Status, RequestID: a.rec.RequestID}
	if said := told.Upstream; said != nil {
		if said.Status != 0 {
			up.Status = said.Status
		}
		if said.RequestID != "" {
			up.RequestID = a.scrub(said.RequestID)
		}
		up.Code = a.scrub(said.Code)
	}
	if up != (apierror.Upstream{}) {
		told.Upstream = &up
	}
	if told.Code != apierror.Canceled {
		a.r.log.Warn("model call attempt failed", "request", a.Source.RequestID, "model", a.model.name, "provider", a.d.account.name,
			"destination", a.d.model, "status", a.rec.Status, "code", string(told.Code), "verdict", v.String(), "error", cut(a.scrub(told.Error())))
	}
	return result{err: &told, verdict: v, committed: committed}
}

// explain finds the root of a failure: our own clock and connection first,
// since an error that crossed a process border may not tell.
func (a *attempt) explain(ctx context.Context, err error) (*apierror.Error, verdict) {
	if context.Cause(ctx) == errStuck {
		return apierror.Wrap(apierror.Unavailable, err, "The translator plugin %q of provider %q stopped responding.", a.d.account.plugin, a.d.account.name), next
	}
	if out := a.reply.end.Load(); out != nil {
		if out.Sent && a.rec.Status == 0 && out.Kind != egress.Redirect {
			a.reached = true // and may have begun to count
		}
		return a.network(out), judge(a.rec.Status, out.Kind, "")
	}
	if ctx.Err() != nil { // what a translator says then is no fault of anybody
		return canceled(ctx), stop
	}
	if a.rec.Status == http.StatusUnauthorized {
		return apierror.Wrap(apierror.UpstreamAuth, err,
			"Provider %q refused the gateway's credential. An administrator should check its key.", a.d.account.name), stop
	}
	if b, ok := errors.AsType[*brokenRule](err); ok {
		if a.rec.Status >= 400 {
			return a.status(b), judge(a.rec.Status, "", "")
		}
		return apierror.Wrap(apierror.UpstreamFailed, err, "%s", b.Error()), next // the same reply would break the same rule
	}
	if e, ok := errors.AsType[*apierror.Error](err); ok && e.Code != apierror.Internal {
		return e, judge(a.rec.Status, "", e.Code)
	}
	if a.rec.Status >= 400 {
		return a.status(err), judge(a.rec.Status, "", "")
	}
	return apierror.Wrap(apierror.UpstreamFailed, err, "The reply of provider %q could not be translated.", a.d.account.name), next
}

// status is the error for an answer of which only the status is understood.
func (a *attempt) status(cause error) *apierror.Error {
	code := apierror.UpstreamInvalid
	switch s := a.rec.Status; {
	case s == http.StatusForbidden:
		code = apierror.UpstreamAuth
	case s == http.StatusTooManyRequests, s == 529:
		code = apierror.UpstreamLimited
	case s == http.StatusRequestTimeout, s == http.StatusGatewayTimeout:
		code = apierror.UpstreamTimeout
	case s >= 500:
		code = apierror.UpstreamFailed
	}
	return apierror.Wrap(code, cause, "Provider %q answered with status %d.", a.d.account.name, a.rec.Status)
}

// network explains a failure on the way to the provider or back.
func (a *attempt) network(e *egress.Error) *apierror.Error {
	name := a.d.account.name
	switch e.Kind {
	case egress.Canceled:
		return apierror.Wrap(apierror.Canceled, e, "The request was cancelled.")
	case egress.Connect:
		return apierror.Wrap(apierror.UpstreamFailed, e, "Provider %q could not be reached. Try again; if it lasts, an administrator should check its base URL.", name)
	case egress.FirstByte:
		return apierror.Wrap(apierror.UpstreamTimeout, e, "Provider %q did not begin to answer within %s.", name, e.After)
	case egress.Idle:
		return apierror.Wrap(apierror.UpstreamTimeout, e, "Provider %q stopped in the middle of its reply and sent nothing more for %s.", name, e.After)
	case egress.Cut:
		return apierror.Wrap(apierror.UpstreamFailed, e, "Provider %q cut its reply before it was complete.", name)
	case egress.TooLarge:
		return apierror.Wrap(apierror.UpstreamFailed, e, "The reply of provider %q is larger than this gateway accepts.", name)
	case egress.Encoding:
		return apierror.Wrap(apierror.UpstreamFailed, e, "The reply of provider %q is compressed in a way this gateway cannot read.", name)
	case egress.Redirect:
		return apierror.Wrap(apierror.UpstreamFailed, e, "Provider %q answered with a redirect, which this gateway never follows. An administrator should check its base URL.", name)
	}
	return apierror.Wrap(apierror.UpstreamFailed, e, "The gateway refused to call provider %q as it is configured; its log says why.", name)
}

// cut bounds what of an error is logged.
func cut(s string) string {
	const most = 400
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// scrub takes the account's key out of a text the provider had a part in.
func (a *attempt) scrub(s string) string {
	if a.d.account.out == nil {
		return s
	}
	return a.d.account.out.Scrub(s)
}

// fault reads what a provider says went wrong: of an error event, or of the
// body of an error answer.
func fault(data []byte) (message, code string) {
	for _, at := range [...]string{"error", "response.error", ""} {
		v := data[space(data, 0):]
		for name := range strings.SplitSeq(at, ".") {
			if name != "" {
				v = child(v, name)
			}
		}
		if len(v) > 0 && v[0] == '"' {
			message, _ = unquote(v)
			return message, ""
		}
		if message, _ = unquote(child(v, "message")); message == "" {
			continue
		}
		for _, name := range [...]string{"status", "type", "code"} {
			if code, _ = unquote(child(v, name)); code != "" {
				break
			}
		}
		return message, code
	}
	return "", ""
}

// faultCode is our word for a provider's code of an error inside a stream.
func faultCode(code string) apierror.Code {
	code = strings.ToLower(code)
	for _, x := range []struct {
		part string
		code apierror.Code
	}{
		{"overloaded", apierror.UpstreamLimited}, {"rate_limit", apierror.UpstreamLimited}, {"exhausted", apierror.UpstreamLimited}, {"quota", apierror.UpstreamLimited},
		{"timeout", apierror.UpstreamTimeout}, {"deadline", apierror.UpstreamTimeout},
		{"invalid", apierror.UpstreamInvalid}, {"not_found", apierror.UpstreamInvalid}, {"too_large", apierror.UpstreamInvalid}, {"context_length", apierror.UpstreamInvalid},
		{"authentication", apierror.UpstreamAuth}, {"permission", apierror.UpstreamAuth}, {"unauthenticated", apierror.UpstreamAuth}, {"billing", apierror.UpstreamAuth},
	} {
		if strings.Contains(code, x.part) {
			return x.code
		}
	}
	return apierror.UpstreamFailed
}
