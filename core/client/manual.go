package client

import (
	"fmt"
	"path/filepath"
)

// setupQwen writes what Qwen Code reads: its variables and how it logs in.
func setupQwen(s *session) (Plan, error) {
	dir := s.place.dir("", ".qwen")
	if s.project {
		dir = filepath.Join(s.place.Dir, ".qwen")
	}
	env := File{Path: filepath.Join(dir, ".env"), Format: "env", Edits: []Edit{
		{Path: []string{"OPENAI_BASE_URL"}, Value: s.base()},
		{Path: []string{"OPENAI_MODEL"}, Value: s.gateway.Model},
	}}
	p := Plan{Try: "qwen"}
	token, err := s.gateway.Token.text()
	if err != nil {
		return Plan{}, err
	}
	if token != "" && !s.project {
		env.Edits, env.Secret = append(env.Edits, Edit{Path: []string{"OPENAI_API_KEY"}, Value: token, Secret: true}), true
	} else {
		p.Notes = append(p.Notes, "No token was written, and Qwen Code takes no helper command: set OPENAI_API_KEY to it where it is started.")
	}
	p.Files = []File{env, {Path: filepath.Join(dir, "settings.json"), Format: "json", Edits: []Edit{
		{Path: []string{"security", "auth", "selectedType"}, Value: "openai"},
		{Path: []string{"model", "name"}, Value: s.gateway.Model},
	}}}
	for _, k := range []string{"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"} {
		if s.place.Getenv(k) != "" {
			p.Notes = append(p.Notes, k+" is set in your environment, and Qwen Code takes it before its file: unset it.")
		}
	}
	return p, nil
}

// setupCursor says what to do: Cursor keeps its settings in a database of its
// own, and its servers, not this machine, send the requests.
func setupCursor(s *session) (Plan, error) {
	if s.project {
		return Plan{}, fmt.Errorf("%s has no file of a project for this: leave out --project", s.agent.Title)
	}
	return Plan{Notes: []string{
		"Cursor keeps these settings in its own database, so set them there:",
		"  1. Cursor Settings > Models > API Keys: switch on \"Override OpenAI Base URL\" and give " + s.base(),
		"  2. Paste your token of the gateway as the OpenAI API key.",
		"  3. \"+ Add Custom Model\": " + s.gateway.Model + ", and switch it on.",
		"  4. Open a chat in Ask mode (Cmd+L or Ctrl+L), choose the model and send a message.",
		"Cursor's servers send the requests, not your machine: the gateway must be reachable from the internet over https with a public",
		"certificate; Cursor refuses private addresses. A listener that carries this surface alone is enough: listeners: [{…, surfaces: [cursor]}].",
	}}, nil
}

// setupCopilot keeps the token and prints variables: Copilot CLI reads its
// provider from the environment only.
func setupCopilot(s *session) (Plan, error) {
	if s.project {
		return Plan{}, fmt.Errorf("%s has no file of a project for this: leave out --project", s.agent.Title)
	}
	set := func(name, value string) string {
		if s.place.OS == "windows" {
			return "  $env:" + name + " = \"" + value + "\""
		}
		return "  export " + name + "=" + value
	}
	line, _, files := s.helper()
	key := "$(" + line + ")"
	return Plan{Files: files, Manual: true, Notes: append([]string{
		"Copilot CLI takes its provider from the environment only. Put this into the profile of your shell:",
		set("COPILOT_PROVIDER_TYPE", "openai"),
		set("COPILOT_PROVIDER_BASE_URL", s.base()),
		set("COPILOT_PROVIDER_WIRE_API", "responses"),
		set("COPILOT_PROVIDER_API_KEY", key),
		set("COPILOT_MODEL", s.gateway.Model),
		set("COPILOT_OFFLINE", "true"),
	}, s.tokenNote()...), Try: "copilot"}, nil
}
