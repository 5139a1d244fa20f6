package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// fixed serves every request with st.
func fixed(st *State) func() (*State, func()) {
	return func() (*State, func()) { return st, func() {} }
}

func TestEveryCodeHasAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range apierror.Codes {
		if an, ok := answers[c]; !ok || an.status < 400 || an.code == "" || an.typ == "" || an.spec == "" {
			t.Errorf("%s: got %+v", c, an)
		}
	}
}

// What asking again does not change is no 5xx on a surface, whose clients would
// ask up to thirty times.
func TestSurfacesAnswerPolicyWithoutServerErrors(t *testing.T) {
	t.Parallel()
	want := map[apierror.Code]int{
		apierror.Invalid: 400, apierror.Unsupported: 400, apierror.Unauthenticated: 401, apierror.Denied: 403, apierror.NotFound: 404,
		apierror.Timeout: 408, apierror.Conflict: 409, apierror.TooLarge: 413, apierror.RateLimited: 429, apierror.BudgetExceeded: 400,
		apierror.OAuth: 401, apierror.Canceled: 499, apierror.Internal: 500, apierror.UpstreamInvalid: 400, apierror.UpstreamAuth: 400,
		apierror.UpstreamLimited: 429, apierror.UpstreamFailed: 502, apierror.UpstreamTimeout: 504, apierror.Unavailable: 429,
	}
	for _, c := range apierror.Codes {
		if got := SurfaceStatus(c); got != want[c] {
			t.Errorf("%s: got %d, want %d", c, got, want[c])
		}
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
	limited := apierror.New(apierror.RateLimited, "Slow down.")
	limited.RetryAfter = 1500 * time.Millisecond
	no := apierror.At(apierror.Invalid, "model", "No.")
	broke := apierror.New(apierror.BudgetExceeded, "Spent.")
	full := apierror.New(apierror.Unavailable, "Full.")
	fire := errors.New("disk on fire at /secret/path")
	vendor, spec, surface := manner{}, manner{envelope: specEnvelope}, manner{surface: true}
	openAI, anthropic, gemini := manner{openAIEnvelope, true}, manner{anthropicEnvelope, true}, manner{geminiEnvelope, true}
	tests := []struct {
		err    error
		in     manner
		status int
		want   string
		header string
	}{
		{no, vendor, 400, `{"error_code":"INVALID_PARAMETER_VALUE","message":"No.","error":{"type":"invalid_request_error","code":"invalid","message":"No.","param":"model"}}`, ""},
		{no, spec, 400, `{"error":{"type":"invalid_request","code":"invalid","message":"No.","param":"model"}}`, ""},
		{no, openAI, 400, `{"error":{"type":"invalid_request_error","code":"invalid","message":"No.","param":"model"}}`, ""},
		{no, anthropic, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"No."},"request_id":"r-1"}`, ""},
		{no, gemini, 400, `{"error":{"code":400,"message":"No.","status":"INVALID_ARGUMENT"}}`, ""},
		{limited, vendor, 429, `{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"Slow down.","error":{"type":"rate_limit_error","code":"rate_limited","message":"Slow down.","param":null}}`, "Retry-After: 2"},
		{limited, anthropic, 429, `{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."},"request_id":"r-1"}`, "Retry-After: 2"},
		{limited, gemini, 429, `{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED"}}`, "Retry-After: 2"},
		{broke, vendor, 403, "", ""},
		{broke, surface, 400, `{"error_code":"PERMISSION_DENIED","message":"Spent.","error":{"type":"invalid_request_error","code":"budget_exceeded","message":"Spent.","param":null}}`, ""},
		{broke, openAI, 400, `{"error":{"type":"invalid_request_error","code":"budget_exceeded","message":"Spent.","param":null}}`, ""},
		{broke, anthropic, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Spent."},"request_id":"r-1"}`, ""},
		{broke, gemini, 400, `{"error":{"code":400,"message":"Spent.","status":"FAILED_PRECONDITION"}}`, ""},
		{full, vendor, 503, "", "Retry-After: "},
		{full, openAI, 429, `{"error":{"type":"rate_limit_error","code":"unavailable","message":"Full.","param":null}}`, "Retry-After: 2"},
		{apierror.New(apierror.Denied, "You lack EXECUTE."), anthropic, 403, `{"type":"error","error":{"type":"permission_error","message":"You lack EXECUTE."},"request_id":"r-1"}`, ""},
		{apierror.New(apierror.Denied, "You lack EXECUTE."), gemini, 403, `{"error":{"code":403,"message":"You lack EXECUTE.","status":"PERMISSION_DENIED"}}`, ""},
		{apierror.New(apierror.UpstreamTimeout, "Late."), anthropic, 504, `{"type":"error","error":{"type":"timeout_error","message":"Late."},"request_id":"r-1"}`, ""},
		{apierror.New(apierror.Unauthenticated, "Who?"), vendor, 401, "", `Www-Authenticate: Bearer realm="sallyport"`},
		{fire, vendor, 500, `{"error_code":"INTERNAL_ERROR","message":"The gateway met an internal error.","error":{"type":"server_error","code":"internal","message":"The gateway met an internal error.","param":null}}`, ""},
		{fire, anthropic, 500, `{"type":"error","error":{"type":"api_error","message":"The gateway met an internal error."},"request_id":"r-1"}`, ""},
		{fire, gemini, 500, `{"error":{"code":500,"message":"The gateway met an internal error.","status":"INTERNAL"}}`, ""},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), requestKey{}, &request{id: "r-1"}), "POST", "/x", nil)
		a.fail(w, r, tt.err, tt.in)
		if w.Code != tt.status {
			t.Errorf("%v in %+v: got status %d, want %d", tt.err, tt.in, w.Code, tt.status)
		}
		if !json.Valid(w.Body.Bytes()) || (tt.want != "" && w.Body.String() != tt.want) {
			t.Errorf("%v in %+v: got %s, want %s", tt.err, tt.in, w.Body, tt.want)
		}
		if k, v, ok := strings.Cut(tt.header, ": "); ok && w.Header().Get(k) != v {
			t.Errorf("%v in %+v: got %s %q, want %q", tt.err, tt.in, k, w.Header().Get(k), v)
		}
	}
}
