//go:build e2e

package plugins

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// faulty are plugins that describe themselves well and then do what authors do
// by mistake; each has the sentence that says what to do.
var faulty = []struct{ name, does, sentence string }{
	{"prints", `print("debugging", flush=True); time.sleep(60)`,
		`printed "debugging" to stdout before the handshake; log to stderr`},
	{"reads", `open("/etc/hostname")`,
		`may not read /etc/hostname; name it in the manifest's requires.read and add the plugin again, or run: sallyport plugin add --read /etc/hostname`},
	{"crashes", `raise RuntimeError("no model file")`,
		`exited with status 1 at once: RuntimeError: no model file`},
}

const faultyProgram = `#!/usr/bin/env python3
import sys, time
if sys.argv[1:] == ["describe"]:
    print('{"kind":"tool","protocol":1,"manifest":{"type":"%s","version":"1.0.0"}}')
else:
    %s
`

// TestWhatIsSaid checks what a user, an operator and the log read when a plugin
// prints to stdout before the handshake, lacks a path to read, or crashes at
// its start.
func TestWhatIsSaid(t *testing.T) {
	work := t.TempDir()
	grants := ""
	for _, f := range faulty {
		grants += fmt.Sprintf("    - {to: analysts, privileges: [USE TOOL], on: tool %s}\n", f.name)
	}
	configure(t, work, grants, "providers: {demo: {translator: demo}}\nmodels: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}\n")
	for _, f := range faulty {
		path := filepath.Join(work, f.name)
		if err := os.WriteFile(path, fmt.Appendf(nil, faultyProgram, f.name, f.does), 0o755); err != nil {
			t.Fatal(err)
		}
		sallyport(t, work, "plugin", "add", "--yes", "--config", "gateway.yaml", path)
	}
	g := serve(t, work)
	for _, f := range faulty {
		t.Run(f.name, func(t *testing.T) {
			status, reply := g.in(t).ask(g.alice, fmt.Sprintf(`{"model": "databricks-demo", "input": "hi", "tools": [{"type": %q}]}`, f.name))
			said := strings.ReplaceAll(reply, `\"`, `"`)
			if status != http.StatusServiceUnavailable || !strings.Contains(said, f.sentence) {
				t.Errorf("answered %d %s\nwant 503 with: %s", status, said, f.sentence)
			}
			if said := strings.ReplaceAll(g.logged(), `\"`, `"`); !strings.Contains(said, f.sentence) {
				t.Errorf("the log lacks: %s", f.sentence)
			}
			if list := sallyport(t, work, "plugin", "list", "--config", "gateway.yaml"); !strings.Contains(list, f.sentence) {
				t.Errorf("plugin list lacks: %s\n%s", f.sentence, list)
			}
		})
	}
}
