package gateway_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// sendTo sends a request to a gateway in a process of its own.
func sendTo(t *testing.T, url, token string, body any) (status int, text string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

const limitToken = "dapilimits000000000000000000000c1"

// Requests and tokens that were counted before a kill -9 count after it, those
// of a call that was under way too.
func TestLimitsCountOnAfterAKill(t *testing.T) {
	t.Parallel()
	up := upstream.OpenAI(t, "sk-limits")
	dir := shortDir(t)
	write(t, filepath.Join(dir, "key"), "sk-limits")
	write(t, filepath.Join(dir, "token"), limitToken)
	file := filepath.Join(dir, "gateway.yaml")
	write(t, file, `
version: 1
listen: 127.0.0.1:0
data: ./data
plugins: [`+gatewaytest.Plugins(t)+`]
providers: {openai: {translator: openai, base_url: "`+up.URL+`", key: {file: key}}}
models:
  by-requests: {destinations: [{provider: openai, model: gpt-5.2}], limits: [{each: user, requests: 3, per: hour}]}
  by-tokens:   {destinations: [{provider: openai, model: gpt-5.2}], limits: [{each: user, tokens: 100000, per: hour}]}
access:
  users: [{name: ann@example.com, admin: true}]
  tokens: [{principal: ann@example.com, token: {file: token}, scopes: [all]}]
`)
	ask := func(p *gatewaytest.Process, model string) (int, string) {
		t.Helper()
		return sendTo(t, p.URL()+"/mlflow/v1/responses", limitToken, object{"model": model, "input": "Hello", "max_output_tokens": 50})
	}
	p := gatewaytest.Serve(t, file)
	up.Repeat(upstream.Turn{Text: "Done.", Usage: upstream.Usage{Input: 60_000, Output: 30_000}})
	for _, model := range []string{"by-requests", "by-tokens"} {
		if status, text := ask(p, model); status != http.StatusOK {
			t.Fatalf("%s: got %d %s", model, status, text)
		}
	}
	// A call of which nobody knows how it would have ended.
	gate := upstream.NewGate()
	up.Script(upstream.Turn{Text: "Never heard.", Before: gate})
	left := make(chan struct{})
	go func() {
		defer close(left)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL()+"/mlflow/v1/responses", strings.NewReader(`{"model": "by-requests", "input": "Hello"}`))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+limitToken)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("a call of a gateway that was killed was answered with status %d", resp.StatusCode)
		}
	}()
	<-gate.Reached()
	p.Kill()
	<-left
	gate.Open()

	p = gatewaytest.Serve(t, file)
	up.Repeat(upstream.Turn{Text: "Done.", Usage: upstream.Usage{Input: 20_000, Output: 1_000}})
	for _, tt := range []struct {
		model  string
		status int
		want   string
	}{
		{"by-requests", 200, ""}, // the third
		{"by-requests", 429, "3 requests"},
		{"by-tokens", 200, ""},
		{"by-tokens", 429, "100,000 tokens"},
	} {
		before := len(up.Requests())
		status, text := ask(p, tt.model)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s after the kill: got %d %s, want %d and %q", tt.model, status, text, tt.status, tt.want)
		}
		if asked := len(up.Requests()) - before; asked > 0 && tt.status == 429 {
			t.Errorf("%s: the provider was asked %d times for a call that was refused", tt.model, asked)
		}
	}
}
