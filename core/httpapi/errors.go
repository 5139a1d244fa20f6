package httpapi

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
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
	apierror.BudgetExceeded:  {403, "PERMISSION_DENIED", "permission_error", "invalid_request"},
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

// onSurfaces holds what differs on the surfaces of coding tools. They ask up to
// thirty times again after a 5xx and six times after a 403, and stop at a 400:
// so nothing that asking again does not change is a 5xx, and what we have too
// much of now is a limit with a time to come back.
var onSurfaces = map[apierror.Code]answer{
	apierror.BudgetExceeded: {400, "PERMISSION_DENIED", "invalid_request_error", "invalid_request"},
	apierror.UpstreamAuth:   {400, "UPSTREAM_ERROR", "invalid_request_error", "model_error"},
	apierror.Unavailable:    {429, "TEMPORARILY_UNAVAILABLE", "rate_limit_error", "too_many_requests"},
}

// Status is the HTTP status that clients are answered with for a code; that
// of Internal for one outside the list.
func Status(c apierror.Code) int { return answerTo(c, false).status }

// SurfaceStatus is Status for clients of the surfaces that plugins declare.
func SurfaceStatus(c apierror.Code) int { return answerTo(c, true).status }

func answerTo(c apierror.Code, surface bool) answer {
	if an, ok := onSurfaces[c]; ok && surface {
		return an
	}
	if an, ok := answers[c]; ok {
		return an
	}
	return answers[apierror.Internal]
}

// manner is how errors are written to the clients of a route.
type manner struct {
	envelope envelope
	surface  bool // the statuses of onSurfaces
}

// envelope is the form of an error answer.
type envelope uint8

const (
	vendorEnvelope envelope = iota // what the vendor's SDK and OpenAI's clients both read
	specEnvelope                   // as the OpenResponses specification writes it
	openAIEnvelope                 // OpenAI's alone
	anthropicEnvelope
	geminiEnvelope
)

// envelopes are those that a provider.Dialect can name.
var envelopes = map[string]envelope{
	"openai": openAIEnvelope, "anthropic": anthropicEnvelope, "gemini": geminiEnvelope, "openresponses": specEnvelope,
}

// anthropicTypes are the documented ones, by status. Source: Anthropic's API
// reference, "Errors".
var anthropicTypes = map[int]string{
	401: "authentication_error", 403: "permission_error", 404: "not_found_error", 408: "timeout_error", 413: "request_too_large",
	429: "rate_limit_error", 500: "api_error", 502: "api_error", 503: "overloaded_error", 504: "timeout_error",
}

// geminiStatuses are the canonical codes of Google's APIs, by HTTP status.
// Source: google.rpc.Code.
var geminiStatuses = map[int]string{
	401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED", 408: "DEADLINE_EXCEEDED", 409: "ABORTED", 429: "RESOURCE_EXHAUSTED",
	499: "CANCELLED", 500: "INTERNAL", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
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

// fail writes err in the envelope of m. A cause that is not for clients goes to
// the log.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error, m manner) {
	e := apierror.From(err)
	an := answerTo(e.Code, m.surface)
	if an.status >= 500 || e.Code == apierror.Unavailable {
		a.log.Error("request failed", "request", requestID(r.Context()), "path", r.URL.Path, "code", string(e.Code), "error", err.Error())
	} else { // what a user sees and asks an administrator about
		caller := ""
		if req := requestOf(r); req != nil {
			caller = req.caller
		}
		a.log.Info("request refused", "request", requestID(r.Context()), "principal", caller, "path", clip(r.URL.Path), "status", an.status, "code", string(e.Code), "reason", clipped(e.Message))
	}
	h := w.Header()
	wait := e.RetryAfter
	if wait <= 0 && e.Code == apierror.Unavailable && m.surface {
		wait = retry // without it some clients ask at once
	}
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(min(wait, maxRetry).Seconds()))))
	}
	if an.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="sallyport"`)
	}
	writeError(w, r, m.envelope, an, e)
}

// writeError writes e, which is answered as an, in the envelope.
func writeError(w http.ResponseWriter, r *http.Request, env envelope, an answer, e *apierror.Error) {
	code := string(e.Code)
	detail := errorDetail{Type: an.typ, Code: &code, Message: e.Message}
	if e.Param != "" {
		detail.Param = &e.Param
	}
	switch env {
	case specEnvelope:
		detail.Type = an.spec
		writeJSON(w, an.status, errorBody{Error: detail})
	case openAIEnvelope:
		writeJSON(w, an.status, errorBody{Error: detail})
	case anthropicEnvelope:
		type inner struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		}
		typ := anthropicTypes[an.status]
		if typ == "" {
			typ = "invalid_request_error"
		}
		writeJSON(w, an.status, struct {
			Type      string `json:"type"`
			Error     inner  `json:"error"`
			RequestID string `json:"request_id"`
		}{"error", inner{typ, e.Message}, requestID(r.Context())})
	case geminiEnvelope:
		type inner struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Status  string `json:"status"`
		}
		status := geminiStatuses[an.status]
		switch {
		case e.Code == apierror.BudgetExceeded:
			status = "FAILED_PRECONDITION" // asking again does not help
		case status == "":
			status = "INVALID_ARGUMENT"
		}
		writeJSON(w, an.status, struct {
			Error inner `json:"error"`
		}{inner{an.status, e.Message, status}})
	default:
		writeJSON(w, an.status, errorBody{ErrorCode: an.code, Message: e.Message, Error: detail})
	}
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

// clipped bounds what of an error is logged.
func clipped(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
