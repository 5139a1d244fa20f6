package main

import (
	"io"
	"net/http"
	"time"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// maxError bounds what is read of an error.
const maxError = 64 << 10

// refused is the error for a reply whose status is no success.
func refused(r provider.Reply) *apierror.Error {
	b, _ := io.ReadAll(io.LimitReader(r.Body, maxError)) // what came of it is enough
	v, err := fastjson.ParseBytes(dialogue.Mend(b))
	if err != nil {
		v = nil // a proxy's page; the status says enough
	}
	id := r.Header.Get("request-id")
	if id == "" {
		id = string(v.GetStringBytes("request_id"))
	}
	e := said(v.Get("error"), r.Status, id)
	if e.Code == apierror.UpstreamLimited || e.Code == apierror.UpstreamFailed {
		e.RetryAfter = dialogue.RetryAfter(r.Header, time.Now())
	}
	return e
}

// said is the error for an error object, which may be nil. The status is 0 in
// the middle of a stream; the type then says what it would have been.
func said(v *fastjson.Value, status int, requestID string) *apierror.Error {
	typ, message := string(v.GetStringBytes("type")), dialogue.Sentence(string(v.GetStringBytes("message")))
	if status == 0 {
		status = statuses[typ]
	}
	var e *apierror.Error
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusPaymentRequired:
		// Its message may speak of our account: that is for the log, not for the client.
		e = apierror.New(apierror.UpstreamAuth, "Anthropic refused the gateway's credential. Ask the operator to check the key and the account of this provider.")
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable, status == 529:
		e = apierror.New(apierror.UpstreamLimited, "Anthropic is overloaded or the gateway's account is at its limit: %s Try again later.", message)
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		e = apierror.New(apierror.UpstreamTimeout, "Anthropic did not answer in time: %s Try again.", message)
	case status == http.StatusNotFound: // asking again changes nothing
		e = apierror.New(apierror.UpstreamInvalid, "Anthropic does not know this model or path: %s Ask the operator to check the model's destination.", message)
	case status >= 400 && status < 500:
		e = apierror.New(apierror.UpstreamInvalid, "Anthropic refused the request: %s", message)
	default:
		e = apierror.New(apierror.UpstreamFailed, "Anthropic failed: %s Try again.", message)
	}
	e.Upstream = &apierror.Upstream{Status: status, RequestID: requestID, Code: typ}
	return e
}

// statuses are the HTTP statuses of Anthropic's error types.
var statuses = map[string]int{
	"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403, "not_found_error": 404,
	"request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}
