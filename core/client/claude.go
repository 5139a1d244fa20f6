package client

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// claudeEnv are the variables of Claude Code, but for the token.
func claudeEnv(s *session) [][2]string {
	return [][2]string{
		{"ANTHROPIC_MODEL", s.gateway.Model},
		{"ANTHROPIC_DEFAULT_HAIKU_MODEL", s.small()}, // titles and sub-agents ask for it whatever the model is
		{"ANTHROPIC_BASE_URL", s.base()},
		{"ANTHROPIC_CUSTOM_HEADERS", "x-databricks-use-coding-agent-mode: true"},
		{"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS", "1"},
	}
}

// claudeKeys are variables that Claude Code takes before its helper.
var claudeKeys = []string{"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"}

func setupClaude(s *session) (Plan, error) {
	path := filepath.Join(s.place.dir("CLAUDE_CONFIG_DIR", ".claude"), "settings.json")
	if s.project {
		path = filepath.Join(s.place.Dir, ".claude", "settings.json")
	}
	helper, _, files := s.helper()
	edits := []Edit{{Path: []string{"apiKeyHelper"}, Value: helper}}
	for _, kv := range claudeEnv(s) {
		edits = append(edits, Edit{Path: []string{"env", kv[0]}, Value: kv[1]})
	}
	p := Plan{Try: "claude"}
	for _, k := range claudeKeys {
		edits = append(edits, Edit{Path: []string{"env", k}})
		if s.place.Getenv(k) != "" {
			p.Notes = append(p.Notes, fmt.Sprintf("%s is set in your environment, and Claude Code takes it before the token of the gateway: unset it.", k))
		}
	}
	p.Files = append(files, File{Path: path, Format: "json", Edits: edits})
	if _, text, _, err := readFile(path); err != nil {
		return Plan{}, err
	} else if text != nil && !standard(text) {
		return Plan{}, fmt.Errorf("%s holds comments or commas at the end of a list, and Claude Code takes nothing from such a file: take them out first", path)
	}
	if s.project {
		p.Notes = append(p.Notes, "The file holds no token. Who works in this project needs the program sallyport and the variable "+TokenVar+".")
	} else {
		p.Notes = append(p.Notes, s.tokenNote()...)
	}
	return p, nil
}

// tokenNote says what is needed when setup has no token to keep.
func (s *session) tokenNote() []string {
	if s.gateway.Token == (Token{}) {
		return []string{"No token is kept: set " + TokenVar + " where " + s.agent.Title + " is started."}
	}
	return nil
}

// launchClaude passes the settings by flag, which holds over the user's file,
// and the token by a helper: arguments of a process are seen by others.
func launchClaude(s *session, args []string) (Launch, error) {
	env := map[string]string{}
	l := Launch{Unset: claudeKeys}
	if t := s.gateway.Token.Text; t != "" {
		l.Env = append(l.Env, TokenVar+"="+t)
		s.gateway.Token = Token{}
	}
	helper, _, _ := s.helper()
	for _, kv := range claudeEnv(s) {
		env[kv[0]] = kv[1]
		l.Env = append(l.Env, kv[0]+"="+kv[1])
	}
	for _, k := range claudeKeys {
		env[k] = "" // of the user's file
	}
	if slices.ContainsFunc(args, func(a string) bool { return a == "--settings" || strings.HasPrefix(a, "--settings=") }) {
		return Launch{}, fmt.Errorf("--settings is what the gateway is handed over by: put its content into a file of Claude Code's own, such as .claude/settings.local.json")
	}
	b, err := json.Marshal(map[string]any{"env": env, "apiKeyHelper": helper})
	if err != nil {
		return Launch{}, err
	}
	l.Args = append([]string{"--settings", string(b)}, args...)
	return l, nil
}
