package httpapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/usage"
)

// A query that cannot be read, and a body that names another model than the
// path, are the client's fault, in its dialect, and no call.
func TestUnreadableRequests(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	const generate = "/gemini/v1beta/models/databricks-gpt:generateContent"
	for _, tt := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/anthropic/v1/messages?x=%zz", `{"model":"databricks-gpt"}`, 400, `"invalid_request_error","message":"The query of the URL`},
		{"/anthropic/v1/messages?x=1;key=abc", `{"model":"databricks-gpt"}`, 400, `as in %3B.`},
		{generate + "?x=1;y=2", `{}`, 400, `"status":"INVALID_ARGUMENT"`},
		{generate + "?x=%3B%25", `{}`, 200, "true"},
		{generate, `{"model":"databricks-claude"}`, 400, "names another model than the path"},
		{generate, `{"model":"models/hidden"}`, 400, "names databricks-gpt."},
		{generate, `{"model":7}`, 400, "Leave model out of the body."},
		{generate, `{"model":""}`, 400, "Leave model out of the body."},
		{"/gemini/v1beta/models/databricks-gpt:countTokens", `{"model":"models/hidden"}`, 400, "Leave model out of the body."},
		{generate, `{"model":"models/databricks-gpt"}`, 200, "true"},
		{generate, `{"model":"databricks-gpt"}`, 200, "true"},
		{"/openai/v1/chat/completions", `{"model":"databricks-gpt","background":true}`, 400, "background"},
	} {
		before := len(w.log.Rows())
		status, body, _ := w.do("POST", tt.path, w.alice, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: got %d %s, want %d %s", tt.path, tt.body, status, body, tt.status, tt.want)
		}
		if n := len(w.log.Rows()) - before; n != 0 && status != 200 {
			t.Errorf("%s %s: %d rows", tt.path, tt.body, n)
		}
	}
}

// The caller's token goes nowhere, wherever else it stands.
func TestMisplacedTokens(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	for _, own := range []string{"Authorization", "X-Api-Key", tokenHeader} {
		before := len(w.log.Rows())
		value := w.alice
		if own == "Authorization" {
			value = "Bearer " + value
		}
		status, body, _ := w.do("POST", "/anthropic/v1/messages?beta=true&token="+w.alice+"&%74ok=x"+url.QueryEscape(w.alice), "", `{"model":"databricks-gpt"}`, own, value,
			"User-Agent", strings.Repeat("x", 230)+" "+w.alice, "Anthropic-Beta", "b,"+w.alice, usage.TagsHeader, `{"team":"\u0061`+w.alice+`"}`, "X-Session-Id", "s-"+w.alice)
		if status != 200 {
			t.Fatalf("%s: got %d %s", own, status, body)
		}
		if seen := <-w.seen; seen.Query != "beta=true" || len(seen.Header) != 0 {
			t.Errorf("%s: the Front was given ?%s and %v", own, seen.Query, seen.Header)
		}
		row := w.log.Rows()[before]
		for k, v := range row {
			if strings.Contains(v, w.alice[:len(w.alice)/2]) {
				t.Errorf("%s: the row has %s %q", own, k, v)
			}
		}
		if row["request_tags"] != "[team:a***]" || !strings.HasSuffix(row["user_agent"], " ***") {
			t.Errorf("%s: the row has the tags %q and the agent %q", own, row["request_tags"], row["user_agent"])
		}
	}
	h := http.Header{"X-Auth-Token": {"a", "tok-1"}, "Authorization": {"Bearer tok-1"}, "Referer": {"https://x/?t=tok-1"}, "Accept": {"*/*"}}
	if out := headerWithoutToken(h, "tok-1"); len(out) != 2 || out["Accept"] == nil || out["Authorization"] == nil || len(h) != 4 {
		t.Errorf("kept %v of %v", out, h)
	}
	if out := headerWithoutToken(h, ""); len(out) != 4 {
		t.Errorf("without a token: kept %v", out)
	}
}
