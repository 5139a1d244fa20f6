package router

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		kind   egress.Kind
		code   apierror.Code
		want   verdict
	}{
		{400, "", apierror.UpstreamInvalid, stop},
		{401, "", apierror.UpstreamAuth, stop},
		{403, "", apierror.UpstreamAuth, stop},
		{404, "", apierror.UpstreamInvalid, stop},
		{413, "", apierror.UpstreamInvalid, stop},
		{422, "", apierror.UpstreamInvalid, stop},
		{422, "", apierror.UpstreamFailed, stop}, // the status speaks, not the translator
		{408, "", apierror.UpstreamTimeout, again},
		{409, "", apierror.UpstreamFailed, again},
		{429, "", apierror.UpstreamLimited, again},
		{429, "", apierror.UpstreamInvalid, again},
		{500, "", apierror.UpstreamFailed, again},
		{502, "", apierror.UpstreamFailed, again},
		{503, "", apierror.UpstreamFailed, again},
		{504, "", apierror.UpstreamTimeout, again},
		{529, "", apierror.UpstreamLimited, again},
		{200, "", apierror.UpstreamLimited, again},
		{200, "", apierror.UpstreamFailed, again},
		{200, "", apierror.UpstreamTimeout, next},
		{200, "", apierror.UpstreamInvalid, stop},
		{200, "", apierror.UpstreamAuth, stop},
		{200, "", apierror.Invalid, stop},
		{200, "", apierror.Internal, stop},
		{200, "", apierror.Unavailable, fresh},
		{0, "", apierror.Unavailable, fresh},
		{0, "", apierror.Invalid, stop},
		{0, egress.Connect, "", again},
		{0, egress.Cut, "", again},
		{200, egress.Cut, "", again},
		{0, egress.FirstByte, "", next},
		{200, egress.Idle, "", next},
		{0, egress.Refused, "", stop},
		{0, egress.Redirect, "", stop},
		{200, egress.TooLarge, "", stop},
		{200, egress.Encoding, "", stop},
		{0, egress.Canceled, "", stop},
	}
	for _, tt := range tests {
		if got := judge(tt.status, tt.kind, tt.code); got != tt.want {
			t.Errorf("judge(%d, %q, %q) = %v, want %v", tt.status, tt.kind, tt.code, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "2", 2 * time.Second},
		{"Retry-After", " 0.5 ", 500 * time.Millisecond},
		{"Retry-After", "Fri, 02 Jan 2026 03:04:15 GMT", 10 * time.Second},
		{"Retry-After", "Fri, 02 Jan 2026 03:04:00 GMT", 0},
		{"Retry-After", "-3", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "99999999999999", 0},
		{"Retry-After", "NaN", 0},
		{"Retry-After-Ms", "250", 250 * time.Millisecond},
		{"X-None", "1", 0},
	}
	for _, tt := range tests {
		if got := retryAfter(http.Header{tt.name: {tt.value}}, now); got != tt.want {
			t.Errorf("retryAfter(%s: %s) = %s, want %s", tt.name, tt.value, got, tt.want)
		}
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	tests := []struct {
		asked  time.Duration
		random float64
		want   time.Duration
	}{
		{0, 0, 100 * time.Millisecond}, {0, 0.5, 200 * time.Millisecond}, {2 * time.Second, 0, 2 * time.Second}, {2 * time.Second, 0.5, 2100 * time.Millisecond},
	}
	for _, tt := range tests {
		if got := pause(tt.asked, tt.random); got != tt.want {
			t.Errorf("pause(%s, %v) = %s, want %s", tt.asked, tt.random, got, tt.want)
		}
	}
}
