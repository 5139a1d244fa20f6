//go:build e2e

package plugins

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// built are the three examples, each built the way its README says.
func built(t *testing.T, work string) []string {
	t.Helper()
	examples := filepath.Join(root(t), "examples")
	program := filepath.Join(work, "tool-weather")
	command(t, filepath.Join(examples, "weather-go"), []string{"CGO_ENABLED=0"}, "go", "build", "-o", program, ".")

	python := filepath.Join(work, "weather-python")
	copyTree(t, filepath.Join(examples, "weather-python"), python)
	command(t, python, nil, "python3", "-m", "venv", ".venv")
	command(t, python, offlinePip(t), ".venv/bin/pip", "install", "--quiet", filepath.Join(root(t), "sdk", "python"))
	command(t, python, nil, ".venv/bin/python", "-m", "unittest")
	// The package's own tests, with the packages that are here anyway.
	command(t, python, nil, ".venv/bin/python", "-B", "-m", "unittest", "discover", "-s", filepath.Join(root(t), "sdk", "python", "tests"))

	node := filepath.Join(work, "provider-echo-node")
	copyTree(t, filepath.Join(examples, "provider-echo-node"), node)
	command(t, node, npm(t), "npm", "install", "--silent")
	command(t, node, nil, "npm", "test")
	return []string{program, python, node}
}

// TestExamples runs the three examples through everything: kit, add, configure,
// grant, request.
func TestExamples(t *testing.T) {
	work := t.TempDir()
	for _, path := range built(t, work) {
		t.Run("test/"+filepath.Base(path), func(t *testing.T) {
			testdata := filepath.Join(path, "testdata")
			if info, err := os.Stat(path); err == nil && !info.IsDir() {
				testdata = filepath.Join(root(t), "examples", "weather-go", "testdata")
			}
			sallyport(t, work, "plugin", "test", path, "--testdata", testdata)
		})
	}
	s := newServices(t)
	target := fmt.Sprintf(`{url: %s/weather, key: {env: WEATHER_KEY}, credential: {scheme: header, name: X-Api-Key}}`, s.url)
	configure(t, work, `    - {to: analysts, privileges: [USE TOOL], on: tool weather}
    - {to: analysts, privileges: [USE TOOL], on: tool weather_py}
`, fmt.Sprintf(`tools:
  weather:    {targets: {weather: %s}, settings: {units: imperial}}
  weather_py: {targets: {weather: %[1]s}, isolation: per_user}
providers:
  demo: {translator: demo}
  echo: {translator: echo, base_url: %s/model, key: {env: ECHO_KEY}}
models:
  databricks-demo: {destinations: [{provider: demo, model: demo}]}
  parrot:          {destinations: [{provider: echo, model: parrot}]}
`, target, s.url))
	for _, path := range []string{"tool-weather", "weather-python", "provider-echo-node"} {
		shown := sallyport(t, work, "plugin", "add", "--yes", "--config", "gateway.yaml", path)
		if !strings.Contains(shown, "weather") && !strings.Contains(shown, "echo") {
			t.Errorf("plugin add %s shows\n%s", path, shown)
		}
	}
	sallyport(t, work, "check", "--config", "gateway.yaml")
	g := serve(t, work)

	t.Run("Go tool", func(t *testing.T) {
		g := g.in(t)
		g.want(g.alice, `{"model": "databricks-demo", "input": "What is the weather forecast for Oslo?", "tools": [{"type": "weather"}]}`, "Light rain, 37 °F now")
		g.want(g.alice, `{"model": "databricks-demo", "input": "What is the weather forecast?", "tools": [{"type": "weather", "weather": {"place": "New York"}}]}`, "28 to 43 °F")
		if got, want := s.take(t), []string{"GET /weather/Oslo?format=j1", "GET /weather/New%20York?format=j1"}; !slices.Equal(got, want) {
			t.Errorf("the service was asked %q, want %q", got, want)
		}
	})
	t.Run("Python tool", func(t *testing.T) {
		g := g.in(t)
		g.want(g.alice, `{"model": "databricks-demo", "input": "What is the weather forecast for Oslo?", "tools": [{"type": "weather_py"}]}`, "Light rain, 3 °C now")
		s.take(t)
	})
	t.Run("Node provider", func(t *testing.T) {
		g := g.in(t)
		g.want(g.alice, `{"model": "parrot", "input": "Grüße an den Papagei"}`, "Grüße an den Papagei")
		reply := g.want(g.alice, `{"model": "parrot", "input": "once more", "stream": true}`, "response.completed")
		if !strings.Contains(reply, `"delta":"once "`) || !strings.Contains(reply, `"total_tokens":12`) {
			t.Errorf("the stream lacks its deltas or usage:\n%s", reply)
		}
		if got := s.take(t); len(got) != 2 {
			t.Errorf("the model was asked %q, want two requests", got)
		}
	})
	t.Run("without the grant", func(t *testing.T) {
		for _, typ := range []string{"weather", "weather_py"} {
			status, reply := g.in(t).ask(g.bob, fmt.Sprintf(`{"model": "parrot", "input": "hi", "tools": [{"type": %q}]}`, typ))
			if status != http.StatusForbidden || !strings.Contains(reply, "USE TOOL") || !strings.Contains(reply, typ) {
				t.Errorf("%s: answered %d %s, want 403 that names USE TOOL and the type", typ, status, reply)
			}
		}
		if got := s.take(t); len(got) != 0 {
			t.Errorf("the services were asked %q for a user without the grant", got)
		}
	})
	t.Run("wrong declaration", func(t *testing.T) {
		status, reply := g.in(t).ask(g.alice, `{"model": "databricks-demo", "input": "hi", "tools": [{"type": "weather_py", "weather_py": {"place": 7}}]}`)
		if status != http.StatusBadRequest || !strings.Contains(reply, "tools[0].weather_py.place") {
			t.Errorf("answered %d %s, want 400 that names the field", status, reply)
		}
	})
	t.Run("secrets", func(t *testing.T) { g.in(t).noSecrets() })
}

// in is g for the assertions of a subtest.
func (g *gateway) in(t *testing.T) *gateway {
	return &gateway{t: t, dir: g.dir, url: g.url, alice: g.alice, bob: g.bob, pid: g.pid}
}

// noSecrets looks for the services' keys in the files of the gateway, and in
// the environment and memory of the plugin processes.
func (g *gateway) noSecrets() {
	t := g.t
	t.Helper()
	secrets := [][]byte{[]byte(weatherKey), []byte(echoKey)}
	search := func(where string, b []byte) {
		for _, s := range secrets {
			if bytes.Contains(b, s) {
				t.Errorf("%s holds %s", where, s)
			}
		}
	}
	err := filepath.WalkDir(g.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		search(path, b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	plugins := children(t, g.pid)
	if len(plugins) < 4 { // demo, weather, weather_py, echo
		t.Errorf("%d plugin processes run, want at least 4", len(plugins))
	}
	for _, pid := range plugins {
		proc := filepath.Join("/proc", strconv.Itoa(pid))
		env, err := os.ReadFile(filepath.Join(proc, "environ"))
		if err != nil {
			t.Error(err)
		}
		search(proc+"/environ", env)
		memory(t, proc, search)
	}
}

// children are the processes whose parent is pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// memory hands every writable mapping of a process to search.
func memory(t *testing.T, proc string, search func(string, []byte)) {
	t.Helper()
	maps, err := os.ReadFile(filepath.Join(proc, "maps"))
	if err != nil {
		t.Error(err)
		return
	}
	mem, err := os.Open(filepath.Join(proc, "mem"))
	if err != nil {
		t.Error(err)
		return
	}
	defer mem.Close()
	read := 0
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		from, to, ok := strings.Cut(f[0], "-")
		a, errA := strconv.ParseInt(from, 16, 64)
		b, errB := strconv.ParseInt(to, 16, 64)
		if !ok || errA != nil || errB != nil || !strings.HasPrefix(f[1], "rw") || b-a > 256<<20 {
			continue
		}
		part, err := io.ReadAll(io.NewSectionReader(mem, a, b-a))
		if err == nil {
			read += len(part)
		}
		search(proc+"/mem "+f[0], part)
	}
	if read < 1<<20 {
		t.Errorf("%s: only %d bytes of memory could be read", proc, read)
	}
}
