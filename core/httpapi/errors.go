package httpapi

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// answer is how one code of apierror looks over HTTP.
type answer struct {
	status int
	code   string // error_code of the vendor's envelope
	typ    string // error.type as OpenAI's clients know it
	spec   string // error.type as the OpenResponses specification writes it
}

// answers is the only place that knows HTTP status codes of errors.
var answers = map[apierror.Code]answer{
	apierror.Invalid:         {400, "INVALID_PARAMETER_VALUE", "invalid_request_error", "invalid_request"},
	apierror.Unsupported:     {400, "FEATURE_DISABLED", "invalid_request_error", "invalid_request"},
	apierror.Unauthenticated: {401, "UNAUTHENTICATED", "authentication_error", "invalid_request"},
	apierror.Denied:          {403, "PERMISSION_DENIED", "permission_error", "invalid_request"},
	apierror.NotFound:        {404, "RESOURCE_DOES_NOT_EXIST", "not_found_error", "not_found"},
	apierror.Timeout:         {408, "REQUEST_TIMEOUT", "timeout_error", "invalid_request"},
	apierror.Conflict:        {409, "RESOURCE_CONFLICT", "invalid_request_error", "invalid_request"},
	apierror.TooLarge:        {413, "REQUEST_TOO_LARGE", "request_too_large", "invalid_request"},
	apierror.RateLimited:     {429, "REQUEST_LIMIT_EXCEEDED", "rate_limit_error", "too_many_requests"},
	apierror.OAuth:           {401, "UNAUTHENTICATED", "oauth", "invalid_request"},
	apierror.Canceled:        {499, "CANCELLED", "server_error", "server_error"},
	apierror.Internal:        {500, "INTERNAL_ERROR", "server_error", "server_error"},
	apierror.UpstreamInvalid: {400, "BAD_REQUEST", "invalid_request_error", "model_error"},
	apierror.UpstreamAuth:    {502, "UPSTREAM_ERROR", "server_error", "model_error"},
	apierror.UpstreamLimited: {429, "REQUEST_LIMIT_EXCEEDED", "rate_limit_error", "too_many_requests"},
	apierror.UpstreamFailed:  {502, "UPSTREAM_ERROR", "server_error", "model_error"},
	apierror.UpstreamTimeout: {504, "DEADLINE_EXCEEDED", "server_error", "model_error"},
	apierror.Unavailable:     {503, "TEMPORARILY_UNAVAILABLE", "server_error", "server_error"},
}

// Status is the HTTP status that clients are answered with for a code; that
// of Internal for one outside the list.
func Status(c apierror.Code) int {
	if an, ok := answers[c]; ok {
		return an.status
	}
	return answers[apierror.Internal].status
}

const jsonType = "application/json"

type errorBody struct {
	ErrorCode string      `json:"error_code,omitempty"`
	Message   string      `json:"message,omitempty"`
	Error     errorDetail `json:"error"`
}

type errorDetail struct {
	Type    string  `json:"type"`
	Code    *string `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
}

// fail writes err in the envelope that both the vendor's SDK and OpenAI's
// clients read; with spec, as the OpenResponses specification writes it. A
// cause that is not for clients goes to the log.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error, spec bool) {
	e := apierror.From(err)
	an, ok := answers[e.Code]
	if !ok {
		an = answers[apierror.Internal]
	}
	if an.status >= 500 {
		a.log.Error("request failed", "request", requestID(r.Context()), "path", r.URL.Path, "code", string(e.Code), "error", err.Error())
	}
	h := w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(min(e.RetryAfter, maxRetry).Seconds()))))
	}
	if an.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="sallyport"`)
	}
	code := string(e.Code)
	body := errorBody{ErrorCode: an.code, Message: e.Message, Error: errorDetail{Type: an.typ, Code: &code, Message: e.Message}}
	if e.Param != "" {
		body.Error.Param = &e.Param
	}
	if spec {
		body.ErrorCode, body.Message, body.Error.Type = "", "", an.spec
	}
	writeJSON(w, an.status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // our own structs always marshal
		status, b = http.StatusInternalServerError, []byte(`{"error_code":"INTERNAL_ERROR","message":"The gateway met an internal error."}`)
	}
	writeBytes(w, status, b)
}

func writeBytes(w http.ResponseWriter, status int, b []byte) {
	h := w.Header()
	h.Set("Content-Type", jsonType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(b) // a client that left is noticed by the context
}

// maxRetry is the longest wait that a client is told: a provider's word may be
// a date in another century.
const maxRetry = time.Hour

// retry is how long a client should wait when a budget of ours is full.
const retry = 2 * time.Second
