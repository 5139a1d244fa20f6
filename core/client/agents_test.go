package client

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// codexFiles sets up Codex of a version and returns its files.
func codexFiles(t *testing.T, version, profile string, with map[string]string) (map[string]string, Plan) {
	t.Helper()
	p := place(t, with)
	agent, _ := Named("codex")
	plan, err := codexPlan(&session{agent: agent, gateway: gateway("databricks-gpt-5-2"), place: p, profile: profile}, version)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Setup{Agent: agent, Gateway: gateway("databricks-gpt-5-2"), Place: p, Profile: profile}).Apply(plan); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	names, _ := filepath.Glob(filepath.Join(p.Home, ".codex", "*"))
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(n)] = strings.ReplaceAll(string(b), p.Home, "~")
	}
	return out, plan
}

// The forms of Codex's configuration, by version.
func TestCodexForms(t *testing.T) {
	t.Parallel()
	const (
		top    = "model_provider = \"sallyport\"\nmodel = \"databricks-gpt-5-2\"\n"
		table  = "[model_providers.sallyport]\nname = \"Sallyport\"\nbase_url = \"http://127.0.0.1:8080/openai/v1\"\nwire_api = \"responses\"\n"
		env    = "env_key = \"SALLYPORT_TOKEN\"\n"
		helper = "\n[model_providers.sallyport.auth]\ncommand = \"/opt/bin/sallyport\"\nargs = [\"token\", \"--file\", \"~/.local/state/sallyport/setup/codex/token\"]\n"
	)
	tests := []struct {
		version, profile string
		want             map[string]string
	}{
		{"", "", map[string]string{"config.toml": top + "\n" + table + env}},
		{"v0.104.0", "", map[string]string{"config.toml": top + "\n" + table + env}},
		{"v0.133.0", "", map[string]string{"config.toml": top + "\n" + table + helper}},
		{"v0.169.0", "", map[string]string{"config.toml": top + "\n" + table + helper}},
		{"v0.104.0", "default", map[string]string{"config.toml": "profile = \"default\"\n\n" + table + env + "\n[profiles.default]\n" + top}},
		{"v0.169.0", "default", map[string]string{"config.toml": table + helper, "default.config.toml": top}},
	}
	for _, tt := range tests {
		got, _ := codexFiles(t, tt.version, tt.profile, nil)
		if len(got) != len(tt.want) {
			t.Errorf("%q %q: got %d files, want %d", tt.version, tt.profile, len(got), len(tt.want))
		}
		for name, text := range tt.want {
			if got[name] != text {
				t.Errorf("%q %q: %s is\n%s\nwant\n%s", tt.version, tt.profile, name, got[name], text)
			}
		}
	}
}

// A profile that the user has chosen would win over the keys at the top.
func TestCodexOldProfile(t *testing.T) {
	t.Parallel()
	got, plan := codexFiles(t, "v0.104.0", "", existing)
	want := "# mine\nmodel = \"databricks-gpt-5-2\" # the best\nmodel_provider = \"sallyport\"\n\n[profiles.work]"
	if !strings.HasPrefix(got["config.toml"], want) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", got["config.toml"], want)
	}
	if !slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.Contains(n, "`profile` was taken out") }) {
		t.Errorf("the notes do not say that the profile was taken out: %v", plan.Notes)
	}
}

func TestVersionIn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"codex-cli 0.104.0\n": "v0.104.0", "codex-cli 0.169.0-alpha.1": "v0.169.0", "hello": ""} {
		if got := versionIn(text); got != want {
			t.Errorf("versionIn(%q) = %q, want %q", text, got, want)
		}
	}
}

// What is not in a file is said.
func TestNotes(t *testing.T) {
	t.Parallel()
	env := map[string]string{"ANTHROPIC_API_KEY": "x", "GEMINI_MODEL": "other", "OPENAI_BASE_URL": "x"}
	tests := []struct {
		agent string
		token Token
		with  map[string]string
		want  []string
	}{
		{"claude", Token{}, existing, []string{"ANTHROPIC_API_KEY is set in your environment", "No token is kept: set SALLYPORT_TOKEN"}},
		{"gemini", Token{Command: "pass x"}, nil, []string{"takes no helper command", "only in folders that you trust", "--trust-folders", "GEMINI_MODEL is set in your environment"}},
		{"gemini", Token{Text: "t"}, map[string]string{".gemini/settings.json": `{"security":{"folderTrust":{"enabled":true}}}`}, []string{"only in folders that you trust"}},
		{"qwen", Token{Text: "t"}, nil, []string{"OPENAI_BASE_URL is set"}},
		{"cursor", Token{Text: "t"}, nil, []string{"http://127.0.0.1:8080/cursor/v1", "Add Custom Model\": m", "reachable from the internet over https"}},
		{"copilot", Token{Text: "t"}, nil, []string{"export COPILOT_PROVIDER_BASE_URL=http://127.0.0.1:8080/openai/v1", "COPILOT_PROVIDER_API_KEY=$(/opt/bin/sallyport token --file ", "/copilot/token)\n", "COPILOT_MODEL=m"}},
		{"copilot", Token{}, nil, []string{"COPILOT_PROVIDER_API_KEY=$(/opt/bin/sallyport token)\n", "No token is kept: set SALLYPORT_TOKEN"}},
		{"opencode", Token{Command: "pass x"}, nil, []string{"takes no helper command"}},
	}
	for _, tt := range tests {
		p := place(t, tt.with)
		p.Getenv = func(k string) string { return env[k] }
		a, _ := Named(tt.agent)
		g := gateway("m")
		g.Token = tt.token
		plan, err := Setup{Agent: a, Gateway: g, Place: p}.Plan()
		if err != nil {
			t.Errorf("%s: %v", tt.agent, err)
			continue
		}
		notes := strings.Join(plan.Notes, "\n")
		for _, w := range tt.want {
			if !strings.Contains(notes, w) {
				t.Errorf("%s: the notes lack %q:\n%s", tt.agent, w, notes)
			}
		}
	}
}

// Whether folders are trusted is the user's to say: setup leaves it as it is
// unless it is asked for.
func TestTrustFolders(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, agent, settings string
		trust, project        bool
		want, note, err       string // want is security.folderTrust
	}{
		{"nothing said", "gemini", ``, false, false, `{}`, "asks when it is started", ""},
		{"switched on", "gemini", `{"security":{"folderTrust":{"enabled":true}}}`, false, false, `{"enabled":true}`, "asks when it is started", ""},
		{"switched off", "gemini", `{"security":{"folderTrust":{"enabled":false}}}`, false, false, `{"enabled":false}`, "", ""},
		{"asked for", "gemini", ``, true, false, `{"enabled":false}`, "Folder trust is switched off", ""},
		{"asked for, switched on", "gemini", `{"security":{"folderTrust":{"enabled":true}}}`, true, false, `{"enabled":false}`, "Folder trust is switched off", ""},
		{"a project", "gemini", ``, false, true, `{}`, "once the folder is trusted", ""},
		{"asked for, a project", "gemini", ``, true, true, "", "", "leave it out"},
		{"another agent", "claude", ``, true, false, "", "", "leave it out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			with := map[string]string{}
			if tt.settings != "" {
				with[".gemini/settings.json"] = tt.settings
			}
			p := place(t, with)
			a, _ := Named(tt.agent)
			s := Setup{Agent: a, Gateway: gateway("m"), Place: p, Project: tt.project, TrustFolders: tt.trust}
			plan, err := s.Plan()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err == nil {
				err = s.Apply(plan)
			}
			if err != nil {
				t.Fatal(err)
			}
			dir := p.Home
			if tt.project {
				dir = p.Dir
			}
			b, err := os.ReadFile(filepath.Join(dir, ".gemini", "settings.json"))
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Security struct {
					FolderTrust map[string]any `json:"folderTrust"`
				} `json:"security"`
			}
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			trust, err := json.Marshal(got.Security.FolderTrust)
			if err != nil {
				t.Fatal(err)
			}
			if got.Security.FolderTrust == nil {
				trust = []byte("{}")
			}
			notes := strings.Join(plan.Notes, "\n")
			if string(trust) != tt.want || !strings.Contains(notes, tt.note) || tt.note == "" && strings.Contains(notes, "trust") {
				t.Errorf("folderTrust is %s, want %s; the notes, which should have %q:\n%s", trust, tt.want, tt.note, notes)
			}
		})
	}
}

// The clients' own variables say where their files are.
func TestPlaces(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"CLAUDE_CONFIG_DIR": "/c", "CODEX_HOME": "/x", "GEMINI_CLI_HOME": "/g", "XDG_CONFIG_HOME": "/xdg", "XDG_STATE_HOME": "/state",
	}
	for agent, want := range map[string]string{"claude": "/c/settings.json", "codex": "/x/config.toml", "gemini": "/g/.gemini/.env", "opencode": "/xdg/opencode/opencode.json"} {
		p := place(t, nil)
		p.Getenv = func(k string) string { return env[k] }
		a, _ := Named(agent)
		plan, err := Setup{Agent: a, Gateway: gateway("m"), Place: p}.Plan()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(plan.Files, func(f File) bool { return f.Path == want }) {
			t.Errorf("%s: got %+v, want %s", agent, plan.Files, want)
		}
		if got := p.state(); got != "/state/sallyport/setup" {
			t.Errorf("the state is in %s", got)
		}
	}
	mac := Place{Home: "/Users/a", OS: "darwin", Getenv: func(string) string { return "" }}
	if got := mac.state(); got != "/Users/a/Library/Application Support/sallyport/setup" {
		t.Errorf("on macOS the state is in %s", got)
	}
}

func TestHelper(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		os, program string
		token       Token
		project     bool
		want        string
	}{
		{"linux", "/opt/sallyport", Token{}, false, "/opt/sallyport token"},
		{"linux", "/home/it's me/sallyport", Token{File: "/a b"}, false, `'/home/it'\''s me/sallyport' token --file '/a b'`},
		{"windows", "C:/Program Files/sallyport.exe", Token{File: "C:/x"}, false, `"C:/Program Files/sallyport.exe" token --file C:/x`},
		{"linux", "/opt/sallyport", Token{Command: "pass show x"}, false, "pass show x"},
		{"linux", "/opt/sallyport", Token{}, true, "sallyport token"},
	} {
		s := &session{gateway: Gateway{Token: tt.token}, place: Place{OS: tt.os, Program: tt.program, Getenv: os.Getenv}, project: tt.project}
		if got, _, _ := s.helper(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
