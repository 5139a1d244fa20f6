//go:build e2e

package plugins

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// languages are how the README of a new plugin says it is built, without a
// network. build returns what is given to `plugin add`.
var languages = []struct {
	name  string
	build func(t *testing.T, dir, program string) string
}{
	{"go", func(t *testing.T, dir, program string) string {
		env := []string{"GOPROXY=off", "CGO_ENABLED=0"}
		command(t, dir, env, "go", "build", "-o", program, ".")
		command(t, dir, env, "go", "test", "./...")
		return filepath.Join(dir, program)
	}},
	{"python", func(t *testing.T, dir, _ string) string {
		env := offlinePip(t)
		command(t, dir, env, "python3", "-m", "venv", ".venv")
		command(t, dir, env, ".venv/bin/pip", "install", "--quiet", filepath.Join(root(t), "sdk", "python"))
		command(t, dir, env, ".venv/bin/python", "-m", "unittest")
		return dir
	}},
	{"node", func(t *testing.T, dir, _ string) string {
		env := append(npm(t), "npm_config_offline=true")
		command(t, dir, env, "npm", "install", "--silent")
		command(t, dir, env, "npm", "test")
		return dir
	}},
}

// begun are the kinds of plugins that can be begun, and their first requests.
// %s in the configuration is the URL of the services.
var begun = []struct{ kind, grants, config, request, answer, asked string }{
	{
		kind:   "tool",
		grants: "    - {to: analysts, privileges: [USE TOOL], on: tool weather}\n",
		config: `tools:
  weather:
    targets: {service: {url: %s/service, key: {env: WEATHER_KEY}, credential: {scheme: header, name: X-Api-Key}}}
    settings: {prefix: "It is: "}
providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}
`,
		request: `{"model": "databricks-demo", "input": "Please look up the weather of Oslo.", "tools": [{"type": "weather"}]}`,
		answer:  "It is: sunny in Oslo", asked: "GET /service/lookup?name=Oslo",
	},
	{
		kind: "provider",
		config: `providers: {weather: {translator: weather, base_url: %s/model, key: {env: ECHO_KEY}}}
models: {weather-1: {destinations: [{provider: weather, model: parrot}]}}
`,
		request: `{"model": "weather-1", "input": "Hello parrot", "stream": true}`,
		answer:  `"delta":"Hello "`, asked: "POST /model/chat",
	},
}

// fill puts the packages of PyPI and npm where they are found without a
// network.
func fill(t *testing.T) {
	t.Helper()
	wheels(t)
	dir := t.TempDir()
	b, err := os.ReadFile(filepath.Join(root(t), "examples", "provider-echo-node", "package.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "package.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	command(t, dir, npm(t), "npm", "install", "--silent")
}

// TestScaffold goes from an empty directory outside the clone to the first
// answer, without a network, and says how long that takes.
func TestScaffold(t *testing.T) {
	if os.Getenv("SALLYPORT_BIN") != "" { // not below the sources
		t.Setenv("SALLYPORT_SDK", root(t))
	}
	s := newServices(t)
	fill(t)
	for _, b := range begun {
		for _, l := range languages {
			t.Run(b.kind+"/"+l.name, func(t *testing.T) {
				work := t.TempDir()
				began := time.Now()
				var steps []string
				step := func(name string, f func()) {
					at := time.Now()
					f()
					steps = append(steps, fmt.Sprintf("%s %.1f s", name, time.Since(at).Seconds()))
				}
				dir, path := filepath.Join(work, "weather"), ""
				step("new", func() { sallyport(t, work, "plugin", "new", b.kind, "weather", "--lang", l.name) })
				step("build", func() { path = l.build(t, dir, b.kind+"-weather") })
				step("test", func() { sallyport(t, dir, "plugin", "test", path) })
				configure(t, work, b.grants, fmt.Sprintf(b.config, s.url))
				step("add", func() { sallyport(t, work, "plugin", "add", "--yes", "--config", "gateway.yaml", path) })
				step("request", func() {
					g := serve(t, work)
					g.want(g.alice, b.request, b.answer)
				})
				if got := s.take(t); !slices.Equal(got, []string{b.asked}) {
					t.Errorf("the service was asked %q, want %q", got, b.asked)
				}
				t.Logf("%s in %s: from an empty directory to the first answer in %.1f s: %v", b.kind, l.name, time.Since(began).Seconds(), steps)
				if time.Since(began) > 10*time.Minute {
					t.Error("that is more than ten minutes")
				}
			})
		}
	}
}
