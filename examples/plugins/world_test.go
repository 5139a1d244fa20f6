//go:build e2e

// Third-party plugins, end to end: built outside the gateway's build, checked
// with the kit, added, configured, granted, and used by requests through the
// real gateway program under the real confinement. Their services are scripted
// on loopback; packages come from PyPI and npm.
package plugins

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The keys of the services. They must be seen nowhere but there.
const (
	weatherKey = "canary-weather-key-2718281828"
	echoKey    = "canary-echo-key-1618033988"
)

// root is the directory of the clone.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// bin is where the gateway was built: bin, or what SALLYPORT_BIN names.
func bin(t *testing.T) string {
	t.Helper()
	return cmp.Or(os.Getenv("SALLYPORT_BIN"), filepath.Join(root(t), "bin"))
}

// command runs a program in dir and returns what it printed; a failure ends the
// test.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t, dir, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

func try(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// sallyport runs the command with the keys in its environment.
func sallyport(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return command(t, dir, []string{"WEATHER_KEY=" + weatherKey, "ECHO_KEY=" + echoKey}, filepath.Join(bin(t), "sallyport"), args...)
}

// services are the scripted services that plugins reach through the gateway.
type services struct {
	url string

	mu    sync.Mutex
	asked []string // method, path and query of each request that had the key
	wrong []string // the others
}

func newServices(t *testing.T) *services {
	t.Helper()
	s := &services{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /weather/{place}", s.guarded("X-Api-Key", weatherKey, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"current_condition": [{"temp_C": "3", "temp_F": "37", "weatherDesc": [{"value": "Light rain"}]}],
			"weather": [{"date": "2026-11-21", "maxtempC": "6", "maxtempF": "43", "mintempC": "-2", "mintempF": "28"}]}`)
	}))
	mux.HandleFunc("GET /service/lookup", s.guarded("X-Api-Key", weatherKey, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "sunny in %s", r.URL.Query().Get("name"))
	}))
	repeat := s.guarded("Authorization", "Bearer "+echoKey, func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Messages []struct{ Text string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Messages) == 0 {
			http.Error(w, `{"problem": "no messages"}`, http.StatusBadRequest)
			return
		}
		for _, word := range strings.SplitAfter(body.Messages[len(body.Messages)-1].Text, " ") {
			line, _ := json.Marshal(map[string]string{"text": word})
			fmt.Fprintf(w, "%s\n", line)
		}
		io.WriteString(w, `{"end": "stop", "read": 7, "wrote": 5}`+"\n")
	})
	mux.HandleFunc("POST /model/echo", repeat)
	mux.HandleFunc("POST /model/chat", repeat)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// guarded lets requests with the key pass, and remembers all.
func (s *services) guarded(header, key string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ok := r.Header.Get(header) == key
		s.mu.Lock()
		list := &s.wrong
		if ok {
			list = &s.asked
		}
		*list = append(*list, r.Method+" "+r.URL.String())
		s.mu.Unlock()
		if !ok {
			http.Error(w, "no key", http.StatusUnauthorized)
			return
		}
		h(w, r)
	}
}

// take returns what was asked since the last take.
func (s *services) take(t *testing.T) []string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) > 0 {
		t.Errorf("requests without the key: %q", s.wrong)
	}
	asked := s.asked
	s.asked, s.wrong = nil, nil
	return asked
}

// gateway is a running `sallyport serve`.
type gateway struct {
	t          *testing.T
	dir, url   string
	alice, bob string // tokens; alice is an analyst
	pid        int

	mu  sync.Mutex
	log bytes.Buffer
}

// configuration begins every configuration: the demo model, and two users.
const configuration = `version: 1
listen: 127.0.0.1:0
data: ./data
plugins: [./plugins, %q]
access:
  users: [{name: alice@example.com, groups: [analysts]}, {name: bob@example.com}, {name: root@example.com, admin: true}]
  grants:
    - {to: analysts, privileges: [EXECUTE], on: schema system.ai}
    - {to: bob@example.com, privileges: [EXECUTE], on: schema system.ai}
%s`

// configure writes gateway.yaml into dir: grants are lines of access.grants,
// the rest is added at the end.
func configure(t *testing.T, dir, grants, rest string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "plugins"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(configuration, filepath.Join(bin(t), "plugins"), grants+rest)
	if err := os.WriteFile(filepath.Join(dir, "gateway.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve runs the gateway that dir/gateway.yaml describes until the test ends.
func serve(t *testing.T, dir string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: dir}
	cmd := exec.Command(filepath.Join(bin(t), "sallyport"), "serve", "--config", "gateway.yaml", "--welcome", "--log-level", "debug")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "WEATHER_KEY="+weatherKey, "ECHO_KEY="+echoKey)
	cmd.Stderr = writer(func(p []byte) (int, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.log.Write(p)
	})
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (run `make build` first)", err)
	}
	g.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.logged())
		}
	})
	urls := make(chan string, 1)
	go func() {
		defer close(urls)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if f := strings.Fields(sc.Text()); len(f) == 2 && f[0] == "URL" {
				urls <- f[1]
			}
		}
	}()
	select {
	case g.url = <-urls:
	case <-time.After(2 * time.Minute):
	}
	if g.url == "" {
		t.Fatalf("the gateway did not start:\n%s", g.logged())
	}
	g.alice, g.bob = g.token("alice@example.com"), g.token("bob@example.com")
	return g
}

func (g *gateway) token(principal string) string {
	g.t.Helper()
	cmd := exec.Command(filepath.Join(bin(g.t), "sallyport"), "token", "create", "--config", "gateway.yaml", "--principal", principal)
	cmd.Dir = g.dir
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("token create: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func (g *gateway) logged() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.String()
}

// ask makes a Supervisor request and returns status and body.
func (g *gateway) ask(token, body string) (int, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.url+"/ai-gateway/mlflow/v1/responses", strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// want makes a request that must succeed with an answer that holds the text.
func (g *gateway) want(token, body, text string) string {
	g.t.Helper()
	status, reply := g.ask(token, body)
	if status != http.StatusOK || !strings.Contains(reply, text) {
		g.t.Errorf("%s\nanswered %d %s\nwant 200 with %q", body, status, reply, text)
	}
	return reply
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// copyTree copies an example out of the clone, without what tools left there.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch d.Name() {
		case "node_modules", ".venv", "__pycache__":
			return filepath.SkipDir
		case "package-lock.json":
			return nil
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wheels is a directory with everything that pip needs for sdk/python, so that
// it installs without a network.
func wheels(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(root(t), ".cache", "wheels")
	packages := []string{"setuptools==80.9.0", "wheel==0.45.1", "-r", filepath.Join(root(t), "examples", "weather-python", "requirements.txt")}
	args := append([]string{"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", dir}, packages...)
	command(t, root(t), nil, "python3", args...)
	return dir
}

// npm is the environment of an npm with a cache of its own.
func npm(t *testing.T) []string {
	t.Helper()
	return []string{"npm_config_cache=" + filepath.Join(root(t), ".cache", "npm"), "npm_config_audit=false", "npm_config_fund=false"}
}

// offlinePip makes pip use nothing but the wheels.
func offlinePip(t *testing.T) []string {
	return []string{"PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + wheels(t), "PIP_DISABLE_PIP_VERSION_CHECK=1"}
}
