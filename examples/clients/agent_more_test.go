//go:build e2e

package clients

import (
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

var (
	copilot = cli{"copilot", "1.0.102", "@github/copilot", nil}
	qwen    = cli{"qwen", "0.15.10", "@qwen-code/qwen-code", nil}
)

// Copilot CLI and Qwen Code, too, answer and run a command, each on the model
// of its dialect and on a foreign one. What setup prints for Copilot CLI is put
// into a shell as it stands; the token is in the shell already.
func TestMoreAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "60s")
	w.openai.AnyIDs() // Copilot CLI gives items ids of its own
	for _, tt := range []struct {
		cli  cli
		tool string // by its name in the usage rows
		ask  func(d desk, model string) (string, int)
	}{
		{copilot, "copilot-cli", func(d desk, model string) (string, int) {
			d.env = append(d.env, "SALLYPORT_TOKEN="+w.token)
			printed, code := d.run("sallyport", "setup", "copilot", "--url", w.URL, "--model", model)
			var script []string
			for line := range strings.Lines(printed) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "export ") {
					script = append(script, line)
				}
			}
			if code != 0 || len(script) == 0 {
				t.Fatalf("setup: exit code %d\n%s", code, tail(printed))
			}
			return d.run("sh", "-c", strings.Join(append(script, `exec copilot -p "$0" --allow-all-tools`), "\n"), upstream.Errand)
		}},
		{qwen, "qwen-code", func(d desk, model string) (string, int) {
			d.setup(w.URL, w.token, model)
			return d.run("qwen", "--yolo", "-p", upstream.Errand)
		}},
	} {
		for _, model := range []string{onOpenAI, onAnthropic} {
			t.Run(tt.cli.String()+", "+model, func(t *testing.T) {
				out, code := tt.ask(newDesk(t, tt.cli), model)
				if code != 0 || !strings.Contains(out, upstream.Printed) {
					t.Errorf("exit code %d, and the answer lacks %q:\n%s", code, upstream.Printed, tail(out))
				}
				if n := len(rows(t, w.Gateway, "invocation_id", "status = 'completed' AND coding_tool = '"+tt.tool+"' AND endpoint_name = '"+model+"'")); n < 2 {
					t.Errorf("%d usage rows name %s, want two or more: %v", n, tt.tool, rows(t, w.Gateway, "coding_tool, endpoint_name, status", "true"))
				}
			})
		}
	}
	for name, s := range map[string]*stage{"anthropic": w.anthropic, "openai": w.openai} {
		if r := s.Refusals(); len(r) > 0 {
			t.Errorf("%s refused %d requests: %s", name, len(r), strings.Join(r, "\n"))
		}
	}
}
