package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// An alert reaches its webhook with the key, also when the gateway is told to
// end at that moment, and a new gateway over the same data refuses at once what
// the spent budget forbids.
func TestBudgetAlertAndRestart(t *testing.T) {
	t.Parallel()
	const key = "hook-canary-77"
	posted := make(chan string, 8)
	var first atomic.Pointer[gatewaytest.Gateway]
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gatewaytest.Eventually(t, waitLong, "the gateway to be told to end", func() bool { return strings.Contains(first.Load().Log(), "shutting down") })
		body, _ := io.ReadAll(r.Body)
		posted <- r.Header.Get("X-Key") + " " + string(body)
	}))
	t.Cleanup(hook.Close)
	up := upstream.OpenAI(t, "sk-budget")
	up.Repeat(upstream.Turn{Text: "Done."})
	dir := shortDir(t)
	write(t, dir+"/hook-key", key)
	write(t, dir+"/key", "sk-budget")
	text := `
version: 1
listen: 127.0.0.1:0
providers: {openai: {translator: openai, base_url: "` + up.URL + `", key: {file: key}}}
models: {m: {destinations: [{provider: openai, model: gpt-5.2, price: {input: 1000000, output: 1000000}}]}}
budgets: [{of: user ann@example.com, usd: 1, per: month, alert: [100], then: block, webhook: {url: "` + hook.URL + `/alerts", header: X-Key, key: {file: hook-key}}}]
access:
  users: [{name: ann@example.com, admin: true}]
`
	run := func(t *testing.T, want int) {
		cfg, err := config.Parse([]byte(text), dir)
		if err != nil {
			t.Fatal(err)
		}
		g := gatewaytest.StartConfig(t, cfg)
		first.CompareAndSwap(nil, g)
		status, _, raw := g.Post(g.Token("ann@example.com"), "/mlflow/v1/responses", object{"model": "m", "input": "Hello"})
		if status != want {
			t.Errorf("got %d %s, want %d", status, raw, want)
		}
	}
	t.Run("spends it", func(t *testing.T) { run(t, http.StatusOK) })
	select {
	case got := <-posted:
		var a struct {
			Scope   string
			Percent int
		}
		if len(got) < len(key) || got[:len(key)] != key || json.Unmarshal([]byte(got[len(key):]), &a) != nil || a.Scope != "user ann@example.com" || a.Percent != 100 {
			t.Errorf("the webhook was sent %s", got)
		}
	default:
		t.Error("the gateway has ended and the webhook was sent nothing")
	}
	before := len(up.Requests())
	t.Run("is refused after a restart", func(t *testing.T) { run(t, http.StatusForbidden) })
	if n := len(up.Requests()); n != before {
		t.Errorf("the provider was asked %d times after the budget was spent", n-before)
	}
}
