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
// network.
var languages = []struct {
	name  string
	build func(t *testing.T, dir string)
}{
	{"go", func(t *testing.T, dir string) {
		env := []string{"GOPROXY=off", "CGO_ENABLED=0"}
		command(t, dir, env, "go", "build", "-o", "tool-weather", ".")
		command(t, dir, env, "go", "test", ".")
	}},
	{"python", func(t *testing.T, dir string) {
		env := offlinePip(t)
		command(t, dir, env, "python3", "-m", "venv", ".venv")
		command(t, dir, env, ".venv/bin/pip", "install", "--quiet", filepath.Join(root(t), "sdk", "python"))
		command(t, dir, env, ".venv/bin/python", "-m", "unittest")
	}},
	{"node", func(t *testing.T, dir string) {
		env := append(npm(t), "npm_config_offline=true")
		command(t, dir, env, "npm", "install", "--silent")
		command(t, dir, env, "npm", "test")
	}},
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
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			work := t.TempDir()
			began := time.Now()
			var steps []string
			step := func(name string, f func()) {
				at := time.Now()
				f()
				steps = append(steps, fmt.Sprintf("%s %.1f s", name, time.Since(at).Seconds()))
			}
			dir := filepath.Join(work, "weather")
			path := dir
			if l.name == "go" {
				path = filepath.Join(dir, "tool-weather")
			}
			step("new", func() { sallyport(t, work, "plugin", "new", "tool", "weather", "--lang", l.name) })
			step("build", func() { l.build(t, dir) })
			step("test", func() { sallyport(t, dir, "plugin", "test", path, "--testdata", "testdata") })
			configure(t, work, "    - {to: analysts, privileges: [USE TOOL], on: tool weather}\n", fmt.Sprintf(`tools:
  weather:
    targets: {service: {url: %s/service, key: {env: WEATHER_KEY}, credential: {scheme: header, name: X-Api-Key}}}
    settings: {prefix: "It is: "}
providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}
`, s.url))
			step("add", func() { sallyport(t, work, "plugin", "add", "--yes", "--config", "gateway.yaml", path) })
			step("request", func() {
				g := serve(t, work)
				g.want(g.alice, `{"model": "databricks-demo", "input": "Please look up the weather of Oslo.", "tools": [{"type": "weather"}]}`, "It is: sunny in Oslo")
			})
			if got, want := s.take(t), []string{"GET /service/lookup?name=Oslo"}; !slices.Equal(got, want) {
				t.Errorf("the service was asked %q, want %q", got, want)
			}
			t.Logf("%s: from an empty directory to the first answer in %.1f s: %v", l.name, time.Since(began).Seconds(), steps)
			if time.Since(began) > 10*time.Minute {
				t.Error("that is more than ten minutes")
			}
		})
	}
}
