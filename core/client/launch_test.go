package client

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// launched is the way to start an agent in a home with the files existing.
func launched(t *testing.T, name string, with map[string]string, args ...string) (Launch, Place) {
	t.Helper()
	p := place(t, with)
	before := tree(t, p.Home)
	a, _ := Named(name)
	l, err := Setup{Agent: a, Gateway: gateway("databricks-x"), Place: p}.Launch(args)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	sameTree(t, tree(t, p.Home), before)
	for _, a := range l.Args {
		if strings.Contains(a, canary) {
			t.Errorf("%s: the token is an argument, which others see: %s", name, a)
		}
	}
	return l, p
}

func value(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func TestLaunchClaude(t *testing.T) {
	t.Parallel()
	l, _ := launched(t, "claude", existing, "-p", "hello")
	if len(l.Args) != 4 || l.Args[0] != "--settings" || l.Args[2] != "-p" {
		t.Fatalf("got the arguments %q", l.Args)
	}
	var s struct {
		Env    map[string]string
		Helper string `json:"apiKeyHelper"`
	}
	if err := json.Unmarshal([]byte(l.Args[1]), &s); err != nil {
		t.Fatal(err)
	}
	if s.Helper != "/opt/bin/sallyport token" || s.Env["ANTHROPIC_MODEL"] != "databricks-x" || s.Env["ANTHROPIC_BASE_URL"] != "http://127.0.0.1:8080/anthropic" {
		t.Errorf("got the settings %+v", s)
	}
	if v, ok := s.Env["ANTHROPIC_AUTH_TOKEN"]; !ok || v != "" {
		t.Error("the token of the user's file would be taken")
	}
	env := l.Environ([]string{"PATH=/bin", "ANTHROPIC_API_KEY=sk-old", "ANTHROPIC_MODEL=old"})
	if want := "PATH=/bin"; env[0] != want || value(env, "ANTHROPIC_API_KEY") != "" || value(env, "ANTHROPIC_MODEL") != "databricks-x" || value(env, TokenVar) != canary {
		t.Errorf("got the environment %q", env)
	}
	claude, _ := Named("claude")
	if _, err := (Setup{Agent: claude, Gateway: gateway("m"), Place: place(t, nil)}).Launch([]string{"--settings", "x"}); err == nil {
		t.Error("settings of the user's were dropped in silence")
	}
}

func TestLaunchCodex(t *testing.T) {
	t.Parallel()
	l, _ := launched(t, "codex", existing, "exec", "hello")
	want := []string{
		"-c", `model_provider="sallyport-launch"`, "-c", `model="databricks-x"`,
		"-c", `model_providers.sallyport-launch={name = "Sallyport", base_url = "http://127.0.0.1:8080/openai/v1", wire_api = "responses", env_key = "SALLYPORT_TOKEN"}`,
		"-c", `profiles.work.model_provider="sallyport-launch"`, "-c", `profiles.work.model="databricks-x"`, // the user's old profile would win
		"exec", "hello",
	}
	if !slices.Equal(l.Args, want) || value(l.Env, TokenVar) != canary {
		t.Errorf("got\n%q\n%q, want\n%q", l.Args, l.Env, want)
	}
	if l, _ := launched(t, "codex", nil); len(l.Args) != 6 {
		t.Errorf("got %q", l.Args)
	}
}

// Gemini CLI has its own home for the run when the user's settings log in in
// another way, and all else of the user's is there.
func TestLaunchGemini(t *testing.T) {
	t.Parallel()
	l, p := launched(t, "gemini", existing, "-p", "hello")
	if value(l.Env, "GEMINI_API_KEY") != canary || value(l.Env, "GOOGLE_GEMINI_BASE_URL") != "http://127.0.0.1:8080/gemini" || l.Prepare == nil {
		t.Fatalf("got %+v", l)
	}
	dir := t.TempDir()
	more, err := l.Prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	if value(more, "GEMINI_CLI_HOME") != dir {
		t.Errorf("got %q", more)
	}
	b, err := os.ReadFile(filepath.Join(dir, ".gemini", "settings.json"))
	if err != nil || !strings.Contains(string(b), `"theme":"x"`) || !strings.Contains(string(b), `"selectedType":"gemini-api-key"`) {
		t.Errorf("got the settings %s (%v)", b, err)
	}
	if target, err := os.Readlink(filepath.Join(dir, ".gemini", ".env")); err != nil || target != filepath.Join(p.Home, ".gemini", ".env") {
		t.Errorf("the user's .env is %s (%v)", target, err)
	}
	l, _ = launched(t, "gemini", map[string]string{".gemini/settings.json": `{"security":{"auth":{"selectedType":"gemini-api-key"}}}`})
	if l.Prepare != nil {
		t.Error("another home although the user's settings do")
	}
}

func TestLaunchOpencode(t *testing.T) {
	t.Parallel()
	l, _ := launched(t, "opencode", existing, "run", "hello")
	text := value(l.Env, "OPENCODE_CONFIG_CONTENT")
	if strings.Contains(text, canary) || value(l.Env, TokenVar) != canary {
		t.Errorf("got the environment %q", l.Env)
	}
	m, err := jsonc{}.decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"model": "sallyport/databricks-x", "provider/sallyport/options/apiKey": "{env:SALLYPORT_TOKEN}", "provider/sallyport/options/baseURL": "http://127.0.0.1:8080/cursor/v1"} {
		if got, _ := find(m, strings.Split(path, "/")); got != want {
			t.Errorf("%s is %v, want %s", path, got, want)
		}
	}
}

func TestLaunchRefuses(t *testing.T) {
	t.Parallel()
	cursor, _ := Named("cursor")
	if _, err := (Setup{Agent: cursor, Gateway: gateway("m"), Place: place(t, nil)}).Launch(nil); err == nil || !strings.Contains(err.Error(), "cannot be started for one run") {
		t.Errorf("got %v", err)
	}
	codex, _ := Named("codex")
	g := gateway("m")
	g.Token = Token{}
	if _, err := (Setup{Agent: codex, Gateway: g, Place: place(t, nil)}).Launch(nil); err == nil || !strings.Contains(err.Error(), "set SALLYPORT_TOKEN") {
		t.Errorf("got %v", err)
	}
	g.Token = Token{Command: "echo from-helper"}
	l, err := Setup{Agent: codex, Gateway: g, Place: place(t, nil)}.Launch(nil)
	if err != nil || value(l.Env, TokenVar) != "from-helper" {
		t.Errorf("got %+v, %v", l, err)
	}
}
