package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// What a gateway says of limits and budgets arrives: all names are those that
// it writes.
func TestMeOfAGateway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	text := "version: 1\ndata: ./data\nplugins: [" + gatewaytest.Plugins(t) + `]
providers: {demo: {translator: demo}}
models:
  databricks-demo:
    destinations: [{provider: demo, model: demo, price: {input: 1000000, output: 1000000}}]
    limits: [{each: user, requests: 10, per: minute}, {tokens: 100000, per: hour}]
budgets:
  - {of: user bud@example.com, usd: 1, per: month, then: block}
  - {each: user, usd: 1, per: day, then: alert}
access:
  users: [{name: bud@example.com}]
  grants: [{to: bud@example.com, privileges: [EXECUTE], on: schema system.ai}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	g := gatewaytest.StartConfig(t, cfg)
	t.Setenv(urlVar, g.URL)
	t.Setenv(tokenVar, g.Token("bud@example.com"))
	const path, hello = "/ai-gateway/mlflow/v1/responses", `{"model":"databricks-demo","input":"Hello!"}`
	if status, _, raw := g.Post(g.Token("bud@example.com"), path, hello); status != 200 {
		t.Fatalf("got %d %s", status, raw)
	}
	if status, _, raw := g.Post(g.Token("bud@example.com"), path, hello); status != 403 || !strings.Contains(string(raw), "budget") {
		t.Fatalf("got %d %s, want a refusal for the budget", status, raw)
	}
	code, out, errs := command(t, "me")
	if code != 0 {
		t.Fatalf("exit code %d, %s%s", code, out, errs)
	}
	lines := map[string][]string{} // the fields of a line by its beginning
	for line := range strings.Lines(out) {
		for _, begin := range []string{"user bud@example.com per month", "user bud@example.com per day", "user bud@example.com  databricks-demo  requests", "all traffic           databricks-demo  tokens"} {
			if rest, ok := strings.CutPrefix(line, begin); ok {
				lines[begin] = strings.Fields(rest)
			}
		}
	}
	for begin, want := range map[string]string{
		"user bud@example.com per month":                  "1.00 * 0.00 calls are refused",
		"user bud@example.com per day":                    "1.00 * 0.00 calls go on",
		"user bud@example.com  databricks-demo  requests": "10 per minute 1 9 in",
		"all traffic           databricks-demo  tokens":   "100000 per hour",
	} {
		got := lines[begin]
		for i, w := range strings.Fields(want) {
			if i >= len(got) || w != "*" && got[i] != w || w == "*" && (got[i] == "0.00" || strings.HasPrefix(got[i], "-")) {
				t.Errorf("%q goes on with %q, want %q:\n%s", begin, got, want, out)
				break
			}
		}
	}
}
