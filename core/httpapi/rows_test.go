package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/store/storetest"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// greeter is a translator that answers every turn by itself.
type greeter struct{}

func (greeter) Translator(string) (provider.Translator, provider.Manifest, bool) {
	return greeter{}, provider.Manifest{Name: "greeter", Ops: []provider.Op{provider.Generate}, Offline: true}, true
}
func (greeter) Begin(context.Context, provider.Turn) (provider.Exchange, error) {
	return greeter{}, nil
}
func (greeter) Upstream() *provider.Upstream { return nil }
func (greeter) Decode(context.Context, provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		o := provider.NewOutput(yield)
		o.Text("hello")
		o.Usage(openresponses.Usage{Input: 7, Output: 3})
		o.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}
}

// recorded is a server of the whole way from HTTP to the ledger, with the one
// model m, and a token for it.
func recorded(t *testing.T) (log *usagetest.Log, url, token string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	log = usagetest.New(t, Status)
	db := storetest.Open(t)
	acc, err := access.New(access.Config{
		Users:  []access.User{{Name: "alice", Groups: []string{"analysts"}}},
		Grants: []access.Grant{{To: "analysts", Privileges: []string{"EXECUTE"}, On: "schema system.ai"}},
	}, db, quiet)
	must(err)
	t.Cleanup(func() { acc.Close() })
	token, _, err = acc.CreateToken(t.Context(), access.NewToken{Principal: "alice"})
	must(err)
	out, err := egress.New(egress.Config{})
	must(err)
	models, err := router.New(router.Config{
		Providers: map[string]router.Provider{"p": {Translator: "greeter"}},
		Models:    map[string]router.Model{"m": {Destinations: []router.Destination{{Provider: "p", Model: "d"}}}},
	}, greeter{}, out, acc, log.Recorder, nil, quiet)
	must(err)
	t.Cleanup(models.Close)
	tools, err := toolset.New(toolset.Deps{
		Tool:  func(string, string) (tool.Tool, tool.Manifest, bool) { return nil, tool.Manifest{}, false },
		Types: func() []string { return nil },
		View:  func(*access.Principal) toolset.View { return nil },
		Usage: log.Recorder,
	})
	must(err)
	t.Cleanup(tools.Close)
	loop, err := supervisor.New(supervisor.Deps{Check: models.Check, Generate: models.Generate, Tools: tools})
	must(err)
	s := httptest.NewServer(New(fixed(&State{Access: acc, Models: models, Supervisor: loop}), Limits{}, "test", quiet))
	t.Cleanup(s.Close)
	return log, s.URL, token
}

// post sends a request body with headers in pairs.
func post(t *testing.T, url, token, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", "curl/8.5")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// What a request says of itself is in the row of its call, under the id that
// the client was told.
func TestRowsSayWhereTheyCameFrom(t *testing.T) {
	t.Parallel()
	log, url, token := recorded(t)
	tests := []struct {
		path, body string
		headers    []string
		want       usagetest.Row
	}{
		{"/ai-gateway/mlflow/v1/responses?key=secret", `{"model":"m","input":"x"}`, nil,
			usagetest.Row{"url": "/ai-gateway/mlflow/v1/responses", "api_type": "mlflow/v1/responses", "user_agent": "curl/8.5", "response_content_type": "application/json"}},
		{"/openresponses/v1/responses", `{"model":"m","input":"x","stream":true}`, []string{"X-Session-Id", "s-1"},
			usagetest.Row{"url": "/openresponses/v1/responses", "api_type": "openresponses/v1/responses", "user_agent": "curl/8.5", "response_content_type": "text/event-stream", "session_id": "s-1"}},
		{"/mlflow/v1/responses", `{"model":"system.ai.M","input":"x"}`,
			[]string{"User-Agent", "claude-cli/2.1.197 (external, cli)", "X-Claude-Code-Session-Id", "s-2", "X-Claude-Code-Agent-Id", "a-1", usage.TagsHeader, `{"team":"search","cost":"7"}`},
			usagetest.Row{"url": "/mlflow/v1/responses", "api_type": "mlflow/v1/responses", "user_agent": "claude-cli/2.1.197 (external, cli)", "response_content_type": "application/json",
				"session_id": "s-2", "agent_id": "a-1", "coding_tool": "claude-code", "coding_tool_version": "2.1.197", "coding_tool_mode": "interactive", "request_tags": "[cost:7 team:search]"}},
	}
	for i, tt := range tests {
		resp := post(t, url+tt.path, token, tt.body, tt.headers...)
		ended := bufio.NewScanner(resp.Body)
		for ended.Scan() {
			if log.Open() != 0 && (strings.HasPrefix(ended.Text(), "event: response.completed") || strings.HasPrefix(ended.Text(), `{"`)) {
				t.Error("the call is open when its end has reached the client")
			}
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d", tt.path, resp.StatusCode)
		}
		maps.Copy(tt.want, usagetest.Row{
			"request_id": resp.Header.Get("X-Request-Id"), "ip_address": "127.0.0.1", "schema_version": "2",
			"requester": "alice", "requester_type": "USER", "requester_groups": "analysts",
			"endpoint_name": "m", "destination_type": "EXTERNAL_FOUNDATION_MODEL", "destination_name": "p", "destination_model": "d",
			"operation": "generate", "status": "completed", "status_code": "200", "routing_information.attempts": "primary p/d", "tool_calls": "0",
			"input_tokens": "7", "output_tokens": "3", "total_tokens": "10", "uncached_input_tokens": "7", "token_source": "provider",
			"token_details.cache_read_input_tokens": "0", "token_details.cache_creation_input_tokens": "0", "token_details.output_reasoning_tokens": "0",
			"cache_write_5m_tokens": "0", "cache_write_1h_tokens": "0",
		})
		rows := log.Rows()
		if len(rows) != i+1 {
			t.Fatalf("%d rows after %d requests", len(rows), i+1)
		}
		if got, want := fmt.Sprint(rows[i]), fmt.Sprint(tt.want); got != want {
			t.Errorf("%s: row =\n%s\nwant\n%s", tt.path, got, want)
		}
	}
}

// Tags that cannot be read end the request before anything else is done.
func TestBadTagsAreRefused(t *testing.T) {
	t.Parallel()
	log, url, token := recorded(t)
	resp := post(t, url+"/mlflow/v1/responses", token, `{"model":"m","input":"x"}`, usage.TagsHeader, `{"team":7}`)
	line, _ := bufio.NewReader(resp.Body).ReadString('\n')
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(line, usage.TagsHeader) {
		t.Errorf("status %d with %s; want 400 that names the header", resp.StatusCode, line)
	}
	if n := len(log.Rows()); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}
