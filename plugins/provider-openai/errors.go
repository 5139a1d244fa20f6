package main

import (
	"io"
	"net/http"
	"strconv"
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
	if e := v.Get("error"); e != nil && e.Type() != fastjson.TypeNull {
		v = e // else the fields stand at the top, as some servers have it
	}
	return said(v, r.Status, r.Header)
}

// said is the error for an error object, which may be nil or only a string.
// The status is 0 in the middle of a stream; its code then says what it would
// have been.
func said(v *fastjson.Value, status int, h http.Header) *apierror.Error {
	message, code := text(v, "message"), text(v, "code")
	if message == "" {
		message = text(v, "detail")
	}
	if v != nil && v.Type() == fastjson.TypeString {
		message = text(v)
	}
	if code == "" {
		code = text(v, "type")
	}
	if status == 0 {
		status = statusOf(v, code)
	}
	message = dialogue.Sentence(message)
	var e *apierror.Error
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusPaymentRequired:
		// Its message may show a part of our key: that is for nobody.
		e = apierror.New(apierror.UpstreamAuth, "The provider refused the gateway's credential. Ask the operator to check the key and the account of this provider.")
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		e = apierror.New(apierror.UpstreamLimited, "The provider is overloaded or the gateway's account is at its limit: %s Try again later.", message)
		e.RetryAfter = retryAfter(h)
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		e = apierror.New(apierror.UpstreamTimeout, "The provider did not answer in time: %s Try again.", message)
	case status == http.StatusNotFound: // asking again changes nothing
		e = apierror.New(apierror.UpstreamInvalid, "The provider does not know this model or path: %s Ask the operator to check the model's destination.", message)
	case status >= 400 && status < 500:
		e = apierror.New(apierror.UpstreamInvalid, "The provider refused the request: %s", message)
	default:
		e = apierror.New(apierror.UpstreamFailed, "The provider failed: %s Try again.", message)
		e.RetryAfter = retryAfter(h)
	}
	e.Upstream = &apierror.Upstream{Status: status, RequestID: requestID(h), Code: code}
	return e
}

// statuses are the HTTP statuses of the error codes and types that come inside
// a stream.
var statuses = map[string]int{
	"rate_limit_exceeded": 429, "insufficient_quota": 429, "tokens": 429, "requests": 429, "rate_limit_error": 429, "slow_down": 503,
	"invalid_request_error": 400, "invalid_prompt": 400, "context_length_exceeded": 400, "content_filter": 400, "invalid_image": 400,
	"invalid_image_url": 400, "image_parse_error": 400, "image_too_large": 400, "unsupported_image_media_type": 400, "BadRequestError": 400,
	"invalid_api_key": 401, "authentication_error": 401, "model_not_found": 404, "server_error": 500, "vector_store_timeout": 504,
	"overloaded_error": 503, "timeout": 504,
}

// statusOf is the status of an error inside a stream; 500 when nobody knows.
func statusOf(v *fastjson.Value, code string) int {
	for _, word := range []string{code, text(v, "type")} {
		if s, ok := statuses[word]; ok {
			return s
		}
	}
	if n := v.GetInt("code"); n >= 400 && n <= 599 { // some servers send the status as code
		return n
	}
	return http.StatusInternalServerError
}

func requestID(h http.Header) string { return h.Get("X-Request-Id") }

// retryAfter is when to try again, by either of the two headers.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	return dialogue.RetryAfter(h, time.Now())
}
