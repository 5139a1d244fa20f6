package httpapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestEveryCodeHasAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range apierror.Codes {
		if an, ok := answers[c]; !ok || an.status < 400 || an.code == "" || an.typ == "" || an.spec == "" {
			t.Errorf("%s: got %+v", c, an)
		}
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	a := New(func() *State { return nil }, Limits{}, "test", slog.New(slog.DiscardHandler))
	limited := apierror.New(apierror.RateLimited, "Slow down.")
	limited.RetryAfter = 1500 * time.Millisecond
	tests := []struct {
		err    error
		spec   bool
		status int
		want   string
		header string
	}{
		{apierror.At(apierror.Invalid, "model", "No."), false, 400, `{"error_code":"INVALID_PARAMETER_VALUE","message":"No.","error":{"type":"invalid_request_error","code":"invalid","message":"No.","param":"model"}}`, ""},
		{apierror.At(apierror.Invalid, "model", "No."), true, 400, `{"error":{"type":"invalid_request","code":"invalid","message":"No.","param":"model"}}`, ""},
		{limited, false, 429, `{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"Slow down.","error":{"type":"rate_limit_error","code":"rate_limited","message":"Slow down.","param":null}}`, "Retry-After: 2"},
		{apierror.New(apierror.Unauthenticated, "Who?"), false, 401, "", `Www-Authenticate: Bearer realm="sallyport"`},
		{errors.New("disk on fire at /secret/path"), false, 500, `{"error_code":"INTERNAL_ERROR","message":"The gateway met an internal error.","error":{"type":"server_error","code":"internal","message":"The gateway met an internal error.","param":null}}`, ""},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		a.fail(w, httptest.NewRequest("POST", "/x", nil), tt.err, tt.spec)
		if w.Code != tt.status {
			t.Errorf("%v: got status %d, want %d", tt.err, w.Code, tt.status)
		}
		if !json.Valid(w.Body.Bytes()) || (tt.want != "" && w.Body.String() != tt.want) {
			t.Errorf("%v: got %s, want %s", tt.err, w.Body, tt.want)
		}
		if k, v, ok := strings.Cut(tt.header, ": "); ok && w.Header().Get(k) != v {
			t.Errorf("%v: got %s %q, want %q", tt.err, k, w.Header().Get(k), v)
		}
	}
}
