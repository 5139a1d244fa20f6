package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/core/supervisor/lint"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
)

// stationKey is the operator's key for the weather service.
const stationKey = "station-canary-6b1f+/=0815"

// stationWorld is a gateway with a plugin of a stranger (testdata/station) and
// the service that the operator bound to its target "api".
type stationWorld struct {
	*gatewaytest.Gateway
	model *upstream.Server
	api   string // the service's URL
	dir   string

	mu    sync.Mutex
	asked []string // of the service: method, URI, key
}

// stationPlugin is the plugin's program, built once.
var stationPlugin struct {
	sync.Once
	path string
	err  error
}

// stationDir is a plugins directory that holds the station, added as an
// operator would.
func stationDir(t testing.TB) string {
	t.Helper()
	stationPlugin.Do(func() {
		dir, err := os.MkdirTemp("", "sallyport-station-") // outlives this test
		if err != nil {
			stationPlugin.err = err
			return
		}
		stationPlugin.path = filepath.Join(dir, "tool-station")
		cmd := exec.Command("go", "build", "-o", stationPlugin.path, "./core/gateway/testdata/station")
		cmd.Dir, cmd.Env = gatewaytest.Root(t), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			stationPlugin.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if stationPlugin.err != nil {
		t.Fatal(stationPlugin.err)
	}
	dir := filepath.Join(t.TempDir(), "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	gatewaytest.AddPlugin(t, dir, stationPlugin.path)
	return dir
}

// stationConfig is a configuration whose tools part is given.
func stationConfig(model, tools string) string {
	return `version: 1
data: ./data
providers: {openai: {translator: openai, base_url: "` + model + `", key: {file: model-key}}}
models: {` + gpt + `: {destinations: [{provider: openai, model: gpt-5.2}]}}
access:
  users: [{name: alice@example.com, groups: [analysts]}, {name: carol@example.com, groups: [analysts]}, {name: bob@example.com}, {name: root@example.com, admin: true}]
  grants:
    - {to: account users, privileges: [EXECUTE], on: schema system.ai}
    - {to: analysts, privileges: [USE TOOL], on: tool station}
tools: ` + tools + "\n"
}

// newStation starts the gateway. more is further members of the tool's entry;
// target is further members of its target.
func newStation(t testing.TB, more, target string) *stationWorld {
	t.Helper()
	w := &stationWorld{dir: t.TempDir()}
	w.model = upstream.OpenAI(t, "sk-model")
	api := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(api.Close)
	w.api = api.URL
	write(t, filepath.Join(w.dir, "model-key"), "sk-model")
	write(t, filepath.Join(w.dir, "station-key"), stationKey)
	for _, name := range []string{"model-key", "station-key"} {
		if err := os.Chmod(filepath.Join(w.dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tools := `{station: {targets: {api: {url: "` + api.URL + `/v2", key: {file: station-key}` + target + `}}` + more + `}}`
	w.Gateway = gatewaytest.Start(t, stationConfig(w.model.URL, tools), w.dir, stationDir(t))
	return w
}

// serve is the service: hours of a day, and what it was sent under "echo".
func (w *stationWorld) serve(rw http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("X-Station-Key")
	w.mu.Lock()
	w.asked = append(w.asked, r.Method+" "+r.URL.RequestURI()+" "+key)
	w.mu.Unlock()
	switch r.URL.Path {
	case "/v2/hours":
		if r.URL.Query().Get("city") != "Brno" {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(rw, "[11.5, 14, 25.5, 19]")
	case "/v2/echo", "/v2/echo-refused", "/v2/echo-moved":
		rw.Header().Set("X-Echo", key)
		switch r.URL.Path {
		case "/v2/echo-refused":
			rw.WriteHeader(http.StatusForbidden)
		case "/v2/echo-moved":
			rw.Header().Set("Location", "https://elsewhere.example/?key="+key)
			rw.WriteHeader(http.StatusTemporaryRedirect)
		}
		fmt.Fprintf(rw, "%v %s and escaped station-canary-6b1f%%2B%%2F%%3D0815", r.Header, r.URL)
	}
}

// seen is what the service was asked.
func (w *stationWorld) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

// forget forgets what the service was asked, and what the model was.
func (w *stationWorld) forget() {
	w.mu.Lock()
	w.asked = nil
	w.mu.Unlock()
	w.model.Reset()
}

var stationTool = object{"type": "station", "station": object{}}

// call lets the model call one function and gives its result as the client
// sees it.
func (w *stationWorld) call(t testing.TB, token, function, arguments string) string {
	t.Helper()
	w.model.Script(upstream.Turn{Calls: []upstream.Call{{Name: "station__" + function, Arguments: arguments}}}, upstream.Turn{Text: answered})
	status, _, raw := w.Post(token, "/ai-gateway/mlflow/v1/responses", object{"model": gpt, "input": "Look.", "tools": []any{stationTool}})
	a := read(t, status, raw, false)
	if results := a.results(); status == 200 && a.text() == answered && len(results) == 1 {
		return results[0]
	}
	t.Fatalf("%s %s: got %d %s", function, arguments, status, raw)
	return ""
}

// A user with the grant gets an answer that the plugin computed from what the
// operator's service said; in every dialect.
func TestThirdPartyTool(t *testing.T) {
	t.Parallel()
	w := newStation(t, ", settings: {units: fahrenheit}", ", credential: {scheme: header, name: X-Station-Key}")
	const want = "Warmest at 02:00 with 77.9 °F."
	for _, user := range []string{"alice@example.com", "root@example.com"} {
		if got := w.call(t, w.Token(user), "warmest", `{"city":"Brno"}`); got != want {
			t.Errorf("%s: got %q, want %q", user, got, want)
		}
	}
	if got := w.call(t, w.Token("alice@example.com"), "warmest", `{"city":"Atlantis"}`); got != "The station knows nothing of Atlantis (status 404)." {
		t.Errorf("got %q", got)
	}
	for _, d := range render.Dialects {
		for _, stream := range []bool{false, true} {
			w.model.Script(upstream.Turn{Calls: []upstream.Call{{Name: "station__warmest", Arguments: `{"city":"Brno"}`}}}, upstream.Turn{Text: answered})
			status, _, raw := w.Post(w.Token("alice@example.com"), "/ai-gateway/mlflow/v1/responses",
				object{"model": gpt, "input": "Look.", "stream": stream, "tools": []any{stationTool}}, "Sallyport-Output", string(d))
			err := lint.Response(d, raw)
			if stream {
				err = lint.SSE(d, raw)
			}
			if status != 200 || err != nil || !strings.Contains(string(raw), want) {
				t.Errorf("%s stream=%t: got %d (%v) %s", d, stream, status, err, raw)
			}
		}
	}
	if got := w.seen()[0]; got != "GET /v2/hours?city=Brno "+stationKey {
		t.Errorf("the service was asked %q", got)
	}
	if r := w.model.Refusals(); len(r) > 0 {
		t.Errorf("the model refused: %q", r)
	}
}

// Without the grant the request is refused before any model is called, with
// words that say who can do what, in every dialect; also when the type is one
// of several tools.
func TestToolNeedsGrant(t *testing.T) {
	t.Parallel()
	w := newStation(t, "", "")
	const want = "Permission denied for tool station: bob@example.com lacks USE TOOL on tool station. An administrator (root@example.com) can add under access.grants in the gateway's configuration: {to: bob@example.com, privileges: [USE TOOL], on: tool station}."
	token := w.Token("bob@example.com")
	mixed := []any{object{"type": "function", "name": "mine", "parameters": object{"type": "object"}}, stationTool}
	for _, list := range [][]any{{stationTool}, mixed} {
		for _, path := range []string{"/ai-gateway/mlflow/v1/responses", "/ai-gateway/openresponses/v1/responses"} {
			for _, d := range render.Dialects {
				for _, stream := range []bool{false, true} {
					status, _, raw := w.Post(token, path, object{"model": gpt, "input": "Look.", "stream": stream, "tools": list}, "Sallyport-Output", string(d))
					var reply object
					if err := json.Unmarshal(raw, &reply); err != nil {
						t.Fatalf("%s: %v in %s", path, err, raw)
					}
					message := reply["message"]
					if e, ok := reply["error"].(object); ok {
						message = e["message"]
					}
					if status != http.StatusForbidden || message != want {
						t.Errorf("%s %s stream=%t: got %d %s", path, d, stream, status, raw)
					}
				}
			}
		}
	}
	if n := len(w.model.Requests()); n != 0 {
		t.Errorf("the model was called %d times", n)
	}
	for _, p := range w.Plugins() {
		if p.Name == "station" && p.PID != 0 {
			t.Error("the plugin was started for somebody who may not use it")
		}
	}
}

// A plugin reaches the targets that the operator bound, and nothing else,
// whatever it writes into a request.
func TestPluginReachesItsTargetsOnly(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a service that is not bound was asked") }))
	t.Cleanup(other.Close)
	w := newStation(t, "", ", credential: {scheme: header, name: X-Station-Key}")
	token := w.Token("alice@example.com")
	tests := []struct{ arguments, want string }{
		{`{"target":"archive"}`, `Error: The target "archive" of station tools is not set on this gateway. An administrator can add tools.station.targets.archive to its configuration.`},
		{`{"target":"` + other.URL + `"}`, "that its manifest does not name; it has api, archive."},
		{`{"target":"127.0.0.1"}`, "that its manifest does not name"},
		{`{"target":"api","path":"` + other.URL + `/x"}`, "was not sent: the path of the request"},
		{`{"target":"api","path":"//` + strings.TrimPrefix(other.URL, "http://") + `/x"}`, "was not sent: the path of the request is not relative."},
		{`{"target":"api","path":"../v1/secrets"}`, "was not sent: the path of the request holds . or .. as a segment."},
		{`{"target":"api","path":"a%2f..%2f..%2fb"}`, "holds . or .. as a segment."},
		{`{"target":"api","method":"CONNECT","path":"x"}`, "was not sent: the method of the request"},
		{`{"target":"api","path":"x","header":"X-A=b\r\nHost: evil"}`, "was not sent: the header X-A of the request"},
		{`{"target":"api","path":"echo","header":"Host=evil.example"}`, "status 200"},
		{`{"target":"api","path":"echo","header":"X-Station-Key=mine"}`, "status 200"},
	}
	for _, tt := range tests {
		got := w.call(t, token, "try", tt.arguments)
		if !strings.Contains(got, tt.want) || strings.Contains(got, "evil") || strings.Contains(got, "[mine]") {
			t.Errorf("%s: got %q, want %q", tt.arguments, got, tt.want)
		}
	}
	if n := len(w.seen()); n != 2 {
		t.Errorf("the service was asked %d times, want 2: %q", n, w.seen())
	}
}

// With a process for each user no two of them share one; else all do.
func TestIsolationOfUsers(t *testing.T) {
	t.Parallel()
	pid := regexp.MustCompile(`^pid [0-9]+`)
	for _, isolation := range []string{"shared", "per_user"} {
		w := newStation(t, ", isolation: "+isolation, "")
		of := func(user string) string { return pid.FindString(w.call(t, w.Token(user), "self", `{}`)) }
		alice, carol, again := of("alice@example.com"), of("carol@example.com"), of("alice@example.com")
		if alice == "" || alice != again || (alice == carol) != (isolation == "shared") {
			t.Errorf("%s: alice's calls ran in %q and %q, carol's in %q", isolation, alice, again, carol)
		}
	}
}

// What does not fit the plugins is named by `sallyport check`, before anything
// is served.
func TestToolConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	dir, plugins := t.TempDir(), stationDir(t)
	write(t, filepath.Join(dir, "model-key"), "sk-model")
	bound := `targets: {api: {url: "https://h"}, archive: {url: "https://h"}}`
	tests := []struct{ tools, fault, warning string }{
		{`{station: {` + bound + `, settings: {units: celsius}}}`, "", ""},
		{`{station: {` + bound + `, settings: {units: kelvin}}}`, "tools.station.settings: at '/units': value must be one of 'celsius', 'fahrenheit'", ""},
		{`{station: {` + bound + `, settings: {unit: celsius}}}`, `tools.station.settings: additional properties 'unit' not allowed; did you mean "units"?`, ""},
		{`{station: {targets: {apy: {url: "https://h"}}}}`, `tools.station.targets.apy: the plugin has no target of that name (it has api, archive); did you mean "api"?`, ""},
		{`{statoin: {}}`, `tools.statoin: no plugin serves this tool type; did you mean "station"?`, ""},
		{`{}`, "", "tools.station.targets.api: is not set"},
		{`{station: {targets: {api: {url: "https://h"}}}}`, "", "tools.station.targets.archive: is not set"},
		{`{station: {` + bound + `}, calendar: {}}`, "", "tools.calendar: no plugin serves this tool type, so the entry has no effect; `sallyport plugin add` adds one"},
		{`{station: {` + bound + `}, web_search: {targets: {search: {url: "http://127.0.0.1:8888/search"}}}}`, "", "tools.web_search: no plugin serves this tool type"},
	}
	for _, tt := range tests {
		cfg, err := config.Parse([]byte(stationConfig("http://127.0.0.1:1", tt.tools)), dir)
		if err != nil {
			t.Errorf("%s: %v", tt.tools, err)
			continue
		}
		cfg.Plugins, cfg.Launcher = []string{gatewaytest.Plugins(t), plugins}, gatewaytest.Launcher(t)
		warnings, err := gateway.Check(t.Context(), cfg)
		if (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: Check = %v, want %q", tt.tools, err, tt.fault)
		}
		if all := strings.Join(warnings, "\n"); err == nil && ((all == "") != (tt.warning == "") || !strings.Contains(all, tt.warning)) {
			t.Errorf("%s: warnings %q, want %q", tt.tools, warnings, tt.warning)
		}
	}
	text := strings.Replace(stationConfig("http://127.0.0.1:1", `{station: {`+bound+`}}`), "on: tool station", "on: tool statoin", 1)
	cfg, err := config.Parse([]byte(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Plugins, cfg.Launcher = []string{gatewaytest.Plugins(t), plugins}, gatewaytest.Launcher(t)
	if warnings, err := gateway.Check(t.Context(), cfg); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "access.grants[1]: there is no tool statoin yet, so this grant has no effect. Did you mean station?") {
		t.Errorf("a grant on a tool that is not there: %q, %v", warnings, err)
	}
}
