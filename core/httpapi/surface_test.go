package httpapi

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// The gate of a surface: what is refused, in which order, in which words and
// envelope. Whoever may not is refused before the body is looked at, and no
// model is called.
func TestSurfaceGate(t *testing.T) {
	t.Parallel()
	off := false
	w := newSurfaceWorld(t, SurfacesConfig{
		"cursor":    {Enabled: &off},
		"openai":    {Allow: []string{"developers"}},
		"anthropic": {DenyBetas: []string{"context-1m-*", "Files-API-2025-04-14"}},
	})
	const (
		messages = "/anthropic/v1/messages"
		chat     = "/openai/v1/chat/completions"
		generate = "/gemini/v1beta/models/databricks-gpt:generateContent"
		ask      = `{"model":"databricks-gpt"}`
	)
	bob, narrow, serving, nobody, root := w.token("bob"), w.token("alice", "genie"), w.token("bob", "model-serving"), w.token("nobody"), w.token("root")
	tests := []struct {
		method, path, token, body string
		headers                   []string
		status                    int
		want                      string // part of the body
	}{
		// The token.
		{"POST", messages, "", ask, nil, 401, `{"type":"error","error":{"type":"authentication_error","message":"No access token was sent.`},
		{"POST", messages, "dapi-wrong", "no JSON", nil, 401, `"authentication_error","message":"Invalid access token.`},
		{"POST", generate, "", ask, nil, 401, `{"error":{"code":401,"message":"No access token was sent.`},
		{"POST", chat, "", ask, nil, 401, `{"error_code":"UNAUTHENTICATED","message":"No access token`},
		{"POST", messages, "", ask, []string{"Authorization", "Basic YTpi"}, 401, "scheme basic, which is not taken here"},
		{"POST", messages, "", ask, []string{"X-Api-Key", bob}, 200, "true"},
		{"POST", generate, "", `{}`, []string{"X-Goog-Api-Key", bob}, 200, "true"},
		{"POST", generate + "?alt=json&key=" + bob, "", `{}`, nil, 200, "true"},
		{"POST", messages, "", ask, []string{"Authorization", "Bearer of-the-provider", "X-Databricks-AI-Gateway-Token", bob}, 200, "true"},
		// Its scope.
		{"POST", messages, narrow, "no JSON", nil, 403, `"permission_error","message":"Invalid scope, required scopes: ai-gateway.`},
		{"POST", messages, serving, ask, nil, 200, "true"},
		// The surface.
		{"POST", "/cursor/v1/chat/completions", bob, ask, nil, 400, "The surface cursor is switched off on this gateway. An administrator (root) can switch it on: surfaces.cursor.enabled"},
		{"GET", "/cursor/v1/models", bob, "", nil, 400, "switched off"},
		{"POST", chat, bob, ask, nil, 403, "bob may not use the surface openai, which is for some users and groups only. An administrator (root) can add you: surfaces.openai.allow"},
		{"GET", "/openai/v1/models", bob, "", nil, 403, "may not use the surface openai"},
		{"POST", chat, w.alice, ask, nil, 200, "true"},
		{"POST", chat, root, ask, nil, 200, "true"},
		// Beta features.
		{"POST", messages, bob, "no JSON", []string{"Anthropic-Beta", "claude-code-20250219, context-1m-2025-08-07"}, 400, "The beta feature context-1m-2025-08-07 is switched off on the surface anthropic."},
		{"POST", messages, bob, ask, []string{"Anthropic-Beta", "files-api-2025-04-14"}, 400, "files-api-2025-04-14"},
		{"POST", messages, bob, ask, []string{"Anthropic-Beta", "claude-code-20250219"}, 200, "true"},
		// The body.
		{"POST", messages, bob, "no JSON", nil, 400, `"invalid_request_error","message":"The request body is not a JSON object`},
		{"POST", messages, bob, `[]`, nil, 400, `invalid_request_error`},
		{"POST", messages, bob, ask, []string{"Content-Encoding", "br"}, 400, "Content-Encoding br of requests is not read here."},
		{"POST", messages, bob, ask, []string{"Content-Encoding", "gzip"}, 400, "cannot be read as gzip"},
		{"POST", messages, bob, ask, []string{"Databricks-Ai-Gateway-Request-Tags", "7"}, 400, "Databricks-Ai-Gateway-Request-Tags"},
		// The model.
		{"POST", messages, bob, `{}`, nil, 400, "The request names no model."},
		{"POST", messages, bob, `{"model":7}`, nil, 400, `invalid_request_error`},
		{"POST", messages, bob, `{"model":"hidden"}`, nil, 403, "system.ai.hidden"},
		{"POST", messages, nobody, ask, nil, 403, `"permission_error"`},
		{"POST", generate, nobody, `{}`, nil, 403, `"status":"PERMISSION_DENIED"`},
		{"POST", messages, root, `{"model":"databricks-gtp"}`, nil, 404, `Did you mean`},
		{"POST", messages, root, `{"model":"nope"}`, nil, 404, `"There is no model nope. You may use`},
		{"POST", messages, root, `{"model":" system.ai.nope"}`, nil, 404, `"There is no model system.ai.nope. You may use`},
		{"POST", messages, bob, `{"model":"databricks-gpt","refuse":"thinking is not like that"}`, nil, 400, `"thinking is not like that"`},
		// Paths and methods.
		{"GET", messages, bob, "", nil, 405, `"GET is not served at /anthropic/v1/messages; use POST."`},
		{"GET", "/openai/v1/chat/completions", bob, "", []string{"Upgrade", "websocket", "Connection", "Upgrade"}, 426, "WebSockets are not offered here."},
		{"POST", "/anthropic/v1/models", bob, "", nil, 405, "use GET"},
		{"PUT", "/mlflow/v1/responses/resp_1", bob, "", nil, 405, "use DELETE or GET"},
		{"PUT", "/mlflow/v1/chat/completions", bob, "", nil, 405, "use POST"},
		{"POST", "/anthropic/v1/v1/messages", bob, ask, nil, 404, `it adds /v1/messages to it by itself, so it must be https://gw/anthropic."`},
		{"POST", "/ai-gateway/anthropic/v1/v1/messages/count_tokens", bob, ask, nil, 404, `it adds /v1/messages/count_tokens to it by itself, so it must be https://gw/anthropic."`},
		{"POST", "/openai/chat/completions", bob, ask, nil, 404, `it adds /chat/completions to it by itself, so it must be https://gw/openai/v1."`},
		{"POST", "/openai/v1/v1/chat/completions", bob, ask, nil, 404, `https://gw/openai/v1."`},
		{"POST", "/v1/messages", bob, ask, nil, 404, `so it must be https://gw/anthropic."},"request_id":`},
		{"POST", "/v1/chat/completions", bob, ask, nil, 404, `https://gw/cursor/v1 or https://gw/mlflow/v1 or https://gw/openai/v1`},
		{"POST", "/gemini/v1beta/v1beta/models/m:generateContent", bob, ask, nil, 404, `so it must be https://gw/gemini."`},
		{"POST", "/anthropic/v1/complete", bob, ask, nil, 404, `The surface anthropic serves POST /anthropic/v1/messages, POST /anthropic/v1/messages/count_tokens, GET /anthropic/v1/models."`},
		{"POST", "/anthropic/v1%2Fmessages", bob, ask, nil, 404, "The surface anthropic serves"},
		{"POST", "/elsewhere", bob, ask, nil, 404, `"error_code":"RESOURCE_DOES_NOT_EXIST"`},
		{"POST", messages + "/", bob, ask, nil, 200, "true"},
		{"POST", "//anthropic//v1/messages", bob, ask, nil, 200, "true"},
		{"POST", "/ai-gateway/anthropic/v1/messages?beta=true", bob, ask, nil, 200, "true"},
		// Probes.
		{"HEAD", "/anthropic", "", "", nil, 200, ""},
		{"HEAD", "/ai-gateway/anthropic/api/hello", "", "", nil, 200, ""},
		{"GET", "/anthropic/api/hello", "dapi-wrong", "", nil, 200, "ok"},
		{"POST", "/anthropic/api/hello", bob, "", nil, 405, "use GET or HEAD"},
	}
	for _, tt := range tests {
		before := len(w.log.Rows())
		status, body, h := w.do(tt.method, tt.path, tt.token, tt.body, tt.headers...)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s %q %q: got %d %s, want %d %s", tt.method, tt.path, tt.body, tt.headers, status, body, tt.status, tt.want)
		}
		if h.Get("X-Request-Id") == "" || strings.Contains(tt.path, "/anthropic/") && status < 404 && h.Get("Request-Id") != h.Get("X-Request-Id") {
			t.Errorf("%s %s: got the ids %q and %q", tt.method, tt.path, h.Get("X-Request-Id"), h.Get("Request-Id"))
		}
		if strings.Contains(tt.path, "nthropic") && status >= 400 && !strings.Contains(body, `"request_id":"`+h.Get("X-Request-Id")) {
			t.Errorf("%s %s: %s is not in the dialect of the surface", tt.method, tt.path, body)
		}
		if n := len(w.log.Rows()) - before; status != 200 && n != 0 && !strings.Contains(tt.body, "refuse") {
			t.Errorf("%s %s: %d rows of a request that was refused", tt.method, tt.path, n)
		}
	}
}

// A request goes through the router and its reply is the Front's; the row says
// where it came from.
func TestSurfaceCalls(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	tests := []struct {
		path, body  string
		headers     []string
		contentType string
		want        string
		row         map[string]string
		seen        provider.ClientRequest
	}{
		{"/anthropic/v1/messages?beta=true&key=secret", `{"model":"databricks-gpt","metadata":{"user_id":"{\"session_id\":\"s-1\"}"}}`, []string{"Anthropic-Beta", "a", "Anthropic-Version", "1"}, jsonType,
			`{"model":"databricks-gpt","events":true}`,
			map[string]string{"api_type": "anthropic/v1/messages", "url": "/anthropic/v1/messages", "session_id": "s-1", "response_content_type": jsonType, "endpoint_name": "databricks-gpt"},
			provider.ClientRequest{Surface: "anthropic", Route: "/v1/messages", Query: "beta=true", Header: http.Header{"Anthropic-Beta": {"a"}}}},
		{"/ai-gateway/openai/v1/chat/completions", `{"model":"databricks-gpt","stream":true,"user":"u-1"}`, []string{"User-Agent", "codex_exec/0.104.0", "Session_id", "s-2"}, streamType,
			"event: end\ndata: {}\n\n",
			map[string]string{"api_type": "openai/v1/chat/completions", "url": "/ai-gateway/openai/v1/chat/completions", "session_id": "s-2", "coding_tool": "codex", "response_content_type": streamType},
			provider.ClientRequest{Surface: "openai", Route: "/chat/completions", Header: http.Header{}}},
		{"/cursor/v1/chat/completions", `{"model":"databricks-gpt","user":"u-1"}`, []string{"User-Agent", "Go-http-client/2.0"}, jsonType,
			"true",
			map[string]string{"api_type": "cursor/v1/chat/completions", "session_id": "u-1", "coding_tool": "cursor"},
			provider.ClientRequest{Surface: "cursor", Route: "/chat/completions", Header: http.Header{}}},
		{"/gemini/v1beta/models/databricks-gpt:streamGenerateContent?alt=sse", `{}`, nil, streamType,
			"event: end",
			map[string]string{"api_type": "gemini/v1beta/streamGenerateContent", "response_content_type": streamType},
			provider.ClientRequest{Surface: "gemini", Route: "/v1beta/models/{model}:streamGenerateContent", Model: "databricks-gpt", Stream: true, Query: "alt=sse", Header: http.Header{}}},
		{"/gemini/v1beta/models/models%2Fdatabricks-gpt:generateContent", `{"stream":true}`, nil, "", "", nil,
			provider.ClientRequest{Surface: "gemini", Route: "/v1beta/models/{model}:generateContent", Model: "models/databricks-gpt", Header: http.Header{}}},
		{"/anthropic/v1/messages/count_tokens", `{"model":"databricks-gpt","stream":true}`, nil, jsonType, `{"counted":true}`,
			map[string]string{"api_type": "anthropic/v1/messages/count_tokens", "response_content_type": jsonType},
			provider.ClientRequest{Surface: "anthropic", Route: "/v1/messages/count_tokens", Header: http.Header{}}},
	}
	for _, tt := range tests {
		before := len(w.log.Rows())
		status, body, h := w.do("POST", tt.path, w.alice, tt.body, tt.headers...)
		if status != 200 || !strings.Contains(body, tt.want) || !strings.HasPrefix(h.Get("Content-Type"), tt.contentType) {
			t.Errorf("%s: got %d %s %s, want %s %s", tt.path, status, h.Get("Content-Type"), body, tt.contentType, tt.want)
			continue
		}
		seen := <-w.seen
		if string(seen.Body) != tt.body {
			t.Errorf("%s: the Front was given the body %s", tt.path, seen.Body)
		}
		seen.Body = nil
		if got, want := fmt.Sprintf("%+v", seen), fmt.Sprintf("%+v", tt.seen); got != want {
			t.Errorf("%s: the Front was given %s, want %s", tt.path, got, want)
		}
		rows := w.log.Rows()
		if len(rows) != before+1 {
			t.Errorf("%s: %d rows, want one more than %d", tt.path, len(rows), before)
			continue
		}
		for k, v := range tt.row {
			if rows[before][k] != v {
				t.Errorf("%s: row has %s %q, want %q", tt.path, k, rows[before][k], v)
			}
		}
		if rows[before]["request_id"] != h.Get("X-Request-Id") {
			t.Errorf("%s: row has the id %q, the client %q", tt.path, rows[before]["request_id"], h.Get("X-Request-Id"))
		}
	}
	if n := w.api.budget.inUse(); n != 0 {
		t.Errorf("%d bytes of the budget are still charged", n)
	}
}

// A reply that breaks off is seen to: it does not end as a whole one does. One
// that has not begun is an error in the surface's envelope, whatever went wrong.
func TestBrokenReplies(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/gemini/v1beta/models/databricks-gpt:streamGenerateContent", strings.NewReader(`{"die":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.alice)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || len(b) == 0 || err == nil {
		t.Errorf("got %d %q, %v, want a stream that breaks off", resp.StatusCode, b, err)
	}
	if status, body, _ := w.do("POST", "/anthropic/v1/messages", w.alice, `{"model":"databricks-gpt","panic":true}`); status != 500 || !strings.Contains(body, `{"type":"error","error":{"type":"api_error","message":"The gateway met an internal error."}`) {
		t.Errorf("a panic: got %d %s", status, body)
	}
	if n := w.api.budget.inUse(); n != 0 {
		t.Errorf("%d bytes of the budget are still charged", n)
	}
}

// unreadWriter is that of a client which reads nothing.
type unreadWriter struct{ quietWriter }

func (unreadWriter) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// The row of a client that was cut off says that it left, so the log says why.
func TestUnreadReplyIsLogged(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	var logs bytes.Buffer
	w.api.log = slog.New(slog.NewTextHandler(&logs, nil))
	ask := func(to http.ResponseWriter) {
		req := httptest.NewRequestWithContext(t.Context(), "POST", "/anthropic/v1/messages", strings.NewReader(`{"model":"databricks-gpt","stream":true}`))
		req.Header.Set("Authorization", "Bearer "+w.alice)
		w.api.ServeHTTP(to, req)
	}
	if ask(quietWriter{httptest.NewRecorder()}); logs.Len() > 0 {
		t.Errorf("of a client that reads: %s", &logs)
	}
	if ask(unreadWriter{quietWriter{httptest.NewRecorder()}}); !strings.Contains(logs.String(), "read nothing of its reply") || !strings.Contains(logs.String(), "principal=alice") {
		t.Errorf("of a client that reads nothing: %q", &logs)
	}
}

// Compressed bodies are read, within the same bounds.
func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	w.api.limits.Body = 1 << 20
	zipped := func(b []byte) string {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return out.String()
	}
	zst, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := []byte(`{"model":"databricks-gpt","pad":"` + strings.Repeat("x", 300_000) + `"}`)
	huge := []byte(`{"model":"databricks-gpt","pad":"` + strings.Repeat("x", 4<<20) + `"}`)
	tests := []struct {
		coding, body string
		status       int
	}{
		{"gzip", zipped(ask), 200},
		{"GZIP", zipped(ask), 200},
		{"zstd", string(zst.EncodeAll(ask, nil)), 200},
		{"identity", string(ask), 200},
		{"gzip", zipped(huge), 413},
		{"zstd", string(zst.EncodeAll(huge, nil)), 413},
		{"gzip", zipped(ask)[:200], 400},
		{"zstd", string(zst.EncodeAll(ask, nil))[:20], 400},
		{"zstd", "\x28\xb5\x2f\xfd\x00\xff", 400}, // a window of 3.75 TB
		{"gzip, gzip", zipped([]byte(zipped(ask))), 400},
	}
	for _, tt := range tests {
		status, body, _ := w.do("POST", "/openai/v1/chat/completions", w.alice, tt.body, "Content-Encoding", tt.coding)
		if status != tt.status {
			t.Errorf("%s of %d bytes: got %d %s, want %d", tt.coding, len(tt.body), status, body, tt.status)
		}
		if status == 200 {
			if seen := <-w.seen; !bytes.Equal(seen.Body, ask) {
				t.Errorf("%s: the body came as %d bytes that are not what was sent", tt.coding, len(seen.Body))
			}
		}
		if n := w.api.budget.inUse(); n != 0 {
			t.Errorf("%s: %d bytes of the budget are still charged", tt.coding, n)
		}
	}
}

// Whoever has used up a limit is refused in the dialect, and the row of the
// refusal says with which status.
func TestLimitsOnSurfaces(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	const path, ask = "/anthropic/v1/messages", `{"model":"databricks-gpt"}`
	for i := range 100 {
		if status, body, _ := w.do("POST", path, w.alice, ask); status != 200 {
			t.Fatalf("request %d: got %d %s", i, status, body)
		}
	}
	status, body, h := w.do("POST", path, w.alice, ask)
	if status != 429 || h.Get("Retry-After") == "" || !strings.Contains(body, `"rate_limit_error"`) || !strings.Contains(body, "100 requests per minute") {
		t.Errorf("got %d %s, Retry-After %q", status, body, h.Get("Retry-After"))
	}
	rows := w.log.Rows()
	if last := rows[len(rows)-1]; len(rows) != 101 || last["status"] != "refused" || last["status_code"] != "429" {
		t.Errorf("%d rows, the last %v", len(rows), last)
	}
	if status, body, _ := w.do("POST", path+"/count_tokens", w.alice, ask); status != 200 {
		t.Errorf("counting tokens: got %d %s", status, body)
	}
}
