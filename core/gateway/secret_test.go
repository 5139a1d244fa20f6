//go:build linux

package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// Secrets in every credential of the configuration, given by the environment
// of the gateway, appear in no log, no error, no plugin's environment or
// command line, and in no file of the data directory.
func TestSecretsStayInside(t *testing.T) {
	env := map[string]string{
		"SALLYPORT_CANARY_OPENAI": "sk-canary-openai-env-1", "SALLYPORT_CANARY_ANTHROPIC": "sk-ant-canary-env-2", "SALLYPORT_CANARY_GEMINI": "AIza-canary-env-3",
		"SALLYPORT_CANARY_ETL": "canary-etl-env-4444444444", "SALLYPORT_CANARY_ALICE": "dapicanaryalice0000000000000env5",
	}
	var canaries []string
	for k, v := range env {
		t.Setenv(k, v)
		canaries = append(canaries, v)
	}
	w := newWorld(t, samples.Seed)

	// Every plugin runs, and every way to fail is taken once.
	w.openai.Script(upstream.Turn{Calls: []upstream.Call{sql("SELECT count(*) FROM main.sales.reviews"), sql("SELECT * FROM nothing")}}, upstream.Turn{Text: answered})
	if a := w.ask(t, object{"model": gpt, "input": "hi", "tools": tools()}); a.text() != answered {
		t.Fatalf("got %d %s", a.status, a.raw)
	}
	for _, model := range []string{gpt, claude, google} {
		for _, turn := range []upstream.Turn{{Text: answered}, {Status: 401}, {Status: 403}, {Status: 400}, {Fault: upstream.Garbage}, {Text: answered, Fault: upstream.ErrorEvent}} {
			up := w.upstream(model)
			up.Reset()
			up.Repeat(turn)
			a := w.ask(t, object{"model": model, "input": "hi", "stream": true})
			for _, c := range canaries {
				if strings.Contains(string(a.raw), c) {
					t.Errorf("%s: the secret %s is in the reply %s", model, c, a.raw)
				}
			}
		}
	}
	if status, _, raw := w.Post(w.secrets.alice+"x", "/ai-gateway/mlflow/v1/responses", `{}`); status != 401 || strings.Contains(string(raw), "canary") {
		t.Errorf("an unknown token: got %d %s", status, raw)
	}
	demo := w.ask(t, object{"model": "databricks-demo", "input": "How many reviews are there?", "tools": tools()[:1]})
	if demo.status != 200 {
		t.Errorf("demo: got %d %s", demo.status, demo.raw)
	}

	running := 0
	for _, p := range w.Plugins() {
		if p.PID == 0 {
			t.Errorf("plugin %s does not run", p.Name)
			continue
		}
		for _, pid := range append([]int{p.PID}, children(t, p.PID)...) {
			running++
			for _, file := range []string{"environ", "cmdline"} {
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
				if err != nil && pid == p.PID {
					t.Errorf("plugin %s: %v", p.Name, err)
				}
				for _, c := range canaries {
					if strings.Contains(string(b), c) {
						t.Errorf("the secret %s is in %s of plugin %s", c, file, p.Name)
					}
				}
				if strings.Contains(string(b), "SALLYPORT_CANARY") {
					t.Errorf("the gateway's environment reached plugin %s: %q", p.Name, b)
				}
			}
		}
	}
	if running < 6 {
		t.Errorf("looked at %d processes, want 6 at least", running)
	}
	err := filepath.WalkDir(filepath.Join(w.dir, "sallyport-data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, c := range canaries {
			if strings.Contains(string(b), c) {
				t.Errorf("the secret %s is in %s", c, path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, c := range canaries {
		if strings.Contains(w.Log(), c) {
			t.Errorf("the secret %s is in the log", c)
		}
	}
	// The keys went where they belong and nowhere else.
	for model, own := range map[string]string{gpt: w.secrets.openai, claude: w.secrets.anthropic, google: w.secrets.gemini} {
		for _, r := range w.upstream(model).Requests() {
			all := fmt.Sprint(r.Header, r.Query, r.Path, string(r.Body))
			for _, c := range canaries {
				if (c == own) != strings.Contains(all, c) {
					t.Errorf("request to the provider of %s: secret %s is there: %v", model, c, c != own)
				}
			}
		}
	}
}

// A provider that repeats the key it was sent does not make the gateway tell
// it on.
func TestEchoedKeyIsScrubbed(t *testing.T) {
	t.Parallel()
	const key = "sk-canary-echoed-0815"
	up := upstream.OpenAI(t, "another key")
	text, dir := openaiOnly(t, up, key)
	g := gatewaytest.Start(t, text, dir)
	token := g.Token("alice@example.com")
	for _, stream := range []bool{false, true} {
		status, _, raw := g.Post(token, "/ai-gateway/mlflow/v1/responses", object{"model": gpt, "input": "hi", "stream": stream})
		if status != 502 || strings.Contains(string(raw), key) {
			t.Errorf("got %d %s, want 502 without the key", status, raw)
		}
	}
	if r := up.Refusals(); len(r) == 0 || !strings.Contains(r[0], key) {
		t.Errorf("the provider said %q, which repeats no key", r)
	}
	if strings.Contains(g.Log(), key) {
		t.Error("the key is in the log")
	}
}
