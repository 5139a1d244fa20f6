//go:build linux

package gateway_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

var metricsURL = regexp.MustCompile(`msg="serving metrics" url=(\S+)`)

func scrape(t testing.TB, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %d, %v", url, resp.StatusCode, err)
	}
	return string(b)
}

func TestMetricsOfPlugins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, "version: 1", "version: 1\nmetrics: 127.0.0.1:0")
	var found []string
	gatewaytest.Eventually(t, waitLong, "the address of the metrics in the log", func() bool {
		found = metricsURL.FindStringSubmatch(w.Log())
		return found != nil
	})
	ask := func() {
		body := `{"model": "databricks-demo", "input": "How many reviews are there?", "tools": [{"type": "table", "table": {"name": "main.sales.reviews"}}]}`
		if status, _, reply := w.Post(w.token, "/ai-gateway/mlflow/v1/responses", body); status != http.StatusOK {
			t.Fatalf("status %d: %s", status, reply)
		}
	}
	ask()
	killed := w.pid(t, "tool", "table")
	signal(t, killed, syscall.SIGKILL)
	gatewaytest.Eventually(t, waitLong, "the end of the tool to be seen", func() bool { return w.process(t, "tool", "table").PID != killed })
	ask()

	got := scrape(t, found[1])
	for _, want := range []string{
		`sallyport_plugin_calls_total{code="ok",kind="tool",op="call",plugin="table"} 2`,
		`sallyport_plugin_calls_total{code="ok",kind="engine",op="query",plugin="duckdb"} `,
		`sallyport_plugin_calls_total{code="ok",kind="provider",op="exchange",plugin="demo"} 4`,
		`sallyport_plugin_call_seconds{kind="tool",op="call",plugin="table",quantile="0.5"} 0.`,
		`sallyport_plugin_call_seconds{kind="tool",op="call",plugin="table",quantile="0.99"} 0.`,
		`sallyport_plugin_restarts_total{kind="tool",plugin="table"} 1`,
		`sallyport_plugin_restarts_total{kind="provider",plugin="demo"} 0`,
		`sallyport_plugin_memory_bytes{kind="tool",plugin="table"} `,
		`sallyport_plugin_running{kind="provider",plugin="gemini",state="idle"} 0`,
		`sallyport_build_info{version="test"} 1`,
		`go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("metrics hold no line that begins %s", want)
		}
	}
	for _, private := range append(w.secrets.all(), "alice", "analysts", "databricks-demo", "reviews") {
		if strings.Contains(got, private) {
			t.Errorf("metrics hold %q", private)
		}
	}
	p := w.process(t, "tool", "table")
	if p.Calls < 2 || p.Errors != 0 || p.P50 <= 0 || p.P99 < p.P50 || p.Memory == 0 || p.Restarts != 1 {
		t.Errorf("plugin table: %+v", p)
	}
	if status, _, _ := w.Post(w.token, "/metrics", "{}"); status != http.StatusNotFound {
		t.Errorf("/metrics on the gateway's own listener: %d, want 404", status)
	}
}
