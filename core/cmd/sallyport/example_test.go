//go:build unix

package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// shortDir is a directory whose control socket's path is short enough.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A gateway of examples/gateway.yaml as it stands answers the first request of
// the README.
func TestExampleAnswersTheFirstRequest(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	first := regexp.MustCompile(`(?s)/responses \\\n.*?-d '(.*?)'`).FindSubmatch(readme)
	if first == nil || !bytes.Contains(first[1], []byte("main.sales.reviews")) {
		t.Fatalf("README.md has no first request: %s", first)
	}
	dir := shortDir(t)
	file := filepath.Join(dir, "gateway.yaml")
	text := string(example)
	for _, other := range []struct{ line, with string }{ // where it is, not what it does
		{"public_url: http://127.0.0.1:8080 ", "# "},
		{"#: plugins: [./plugins]", "plugins: [" + gatewaytest.Plugins(t) + "]"},
	} {
		if strings.Count(text, other.line) != 1 {
			t.Fatalf("examples/gateway.yaml has no line %q", other.line)
		}
		text = strings.Replace(text, other.line, other.with, 1)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := gatewaytest.Serve(t, file, "--listen", "127.0.0.1:0")
	token, err := os.ReadFile(filepath.Join(dir, "sallyport-data", adminToken))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL()+"/ai-gateway/mlflow/v1/responses", bytes.NewReader(first[1]))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s, %v", resp.StatusCode, b, err)
	}
	for _, want := range []string{`"status":"completed"`, "function_call_output", "main__sales__reviews", "country", "| FR | "} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("the answer lacks %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", b)
	}
}
