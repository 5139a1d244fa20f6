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
	if v != nil && v.Type() == fastjson.TypeArray { // a stream's errors come in a list
		v = v.Get("0")
	}
	id := r.Header.Get("x-goog-request-id")
	if id == "" {
		id = r.Header.Get("x-request-id")
	}
	e := said(v.Get("error"), r.Status, id)
	if e.RetryAfter == 0 && (e.Code == apierror.UpstreamLimited || e.Code == apierror.UpstreamFailed) {
		e.RetryAfter = dialogue.RetryAfter(r.Header, time.Now())
	}
	return e
}

// said is the error for an error object, which may be nil. Its code is an HTTP
// status; in the middle of a stream, where status is 0, it is the only one.
func said(v *fastjson.Value, status int, requestID string) *apierror.Error {
	name, message := string(v.GetStringBytes("status")), dialogue.Sentence(string(v.GetStringBytes("message")))
	if status == 0 {
		status = v.GetInt("code")
	}
	var reason string
	var retry time.Duration
	for _, d := range v.GetArray("details") {
		if s := d.GetStringBytes("reason"); len(s) > 0 {
			reason = string(s)
		}
		if wait, err := time.ParseDuration(string(d.GetStringBytes("retryDelay"))); err == nil && wait > 0 {
			retry = wait
		}
	}
	var e *apierror.Error
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, reason == "API_KEY_INVALID":
		// Its message may speak of our account: that is for the log, not for the client.
		e = apierror.New(apierror.UpstreamAuth, "Gemini refused the gateway's credential. Ask the operator to check the key and the account of this provider.")
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		e = apierror.New(apierror.UpstreamLimited, "Gemini is overloaded or the gateway's account is at its limit: %s Try again later.", message)
		e.RetryAfter = retry
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		e = apierror.New(apierror.UpstreamTimeout, "Gemini did not answer in time: %s Try again.", message)
	case status == http.StatusNotFound: // asking again changes nothing
		e = apierror.New(apierror.UpstreamInvalid, "Gemini does not know this model or path: %s Ask the operator to check the model's destination.", message)
	case status >= 400 && status < 500:
		e = apierror.New(apierror.UpstreamInvalid, "Gemini refused the request: %s", message)
	default:
		e = apierror.New(apierror.UpstreamFailed, "Gemini failed: %s Try again.", message)
	}
	e.Upstream = &apierror.Upstream{Status: status, RequestID: requestID, Code: name}
	return e
}
