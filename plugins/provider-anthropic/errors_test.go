package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

func TestRefused(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]apierror.Code{
		301: apierror.UpstreamFailed, 400: apierror.UpstreamInvalid, 401: apierror.UpstreamAuth, 402: apierror.UpstreamAuth, 403: apierror.UpstreamAuth, 404: apierror.UpstreamInvalid, 408: apierror.UpstreamTimeout,
		413: apierror.UpstreamInvalid, 429: apierror.UpstreamLimited, 500: apierror.UpstreamFailed, 502: apierror.UpstreamFailed, 503: apierror.UpstreamLimited, 504: apierror.UpstreamTimeout, 529: apierror.UpstreamLimited,
	} {
		r := provider.Reply{Status: status, Header: http.Header{"Retry-After": {"2"}}, Body: strings.NewReader(`{"type":"error","error":{"type":"t","message":"their words"}}`)}
		e := refused(r)
		if e.Code != want || e.Upstream.Status != status {
			t.Errorf("status %d: got %s, %+v, want %s", status, e.Code, e.Upstream, want)
		}
		if shown := strings.Contains(e.Message, "their words"); shown == (want == apierror.UpstreamAuth) {
			t.Errorf("status %d: message %q", status, e.Message)
		}
		if wants := want == apierror.UpstreamLimited || want == apierror.UpstreamFailed; (e.RetryAfter > 0) != wants {
			t.Errorf("status %d: retry after %v", status, e.RetryAfter)
		}
	}
}

func TestRefusedWithoutWords(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>", "null", "[]", `{"error":"x"}`, `{"error":{"message":7}}`, "{\"error\":{\"message\":\"\xff\"}}"} {
		e := refused(provider.Reply{Status: 500, Body: strings.NewReader(body)})
		if e.Code != apierror.UpstreamFailed || !strings.HasSuffix(e.Message, "Try again.") {
			t.Errorf("body %q: got %s: %s", body, e.Code, e.Message)
		}
	}
}
