package client

import (
	"encoding/json"
	"path/filepath"
)

const opencodeSchema = "https://opencode.ai/config.json"

// opencodeFile is the file that opencode reads: the one named by its variable,
// or the one that is there.
func opencodeFile(s *session) string {
	dir := s.place.Dir
	if !s.project {
		if f := s.place.Getenv("OPENCODE_CONFIG"); filepath.IsAbs(f) {
			return f
		}
		dir = filepath.Join(s.place.dir("XDG_CONFIG_HOME", ".config"), "opencode")
	}
	if f := filepath.Join(dir, "opencode.jsonc"); exists(f) {
		return f
	}
	return filepath.Join(dir, "opencode.json")
}

// opencodeEdits are opencode's settings; key is its notation for the token.
func opencodeEdits(s *session, key string) []Edit {
	of := func(path ...string) []string { return append([]string{"provider", provider}, path...) }
	edits := []Edit{
		{Path: []string{"$schema"}, Value: opencodeSchema, IfNone: true}, // opencode adds it itself otherwise
		{Path: of("npm"), Value: "@ai-sdk/openai-compatible"},
		{Path: of("name"), Value: "Sallyport"},
		{Path: of("options", "baseURL"), Value: s.base()},
		{Path: of("options", "apiKey"), Value: key},
		{Path: of("models", s.gateway.Model, "name"), Value: s.gateway.Model},
	}
	if s.small() != s.gateway.Model {
		edits = append(edits, Edit{Path: of("models", s.small(), "name"), Value: s.small()})
	}
	return append(edits, Edit{Path: []string{"model"}, Value: provider + "/" + s.gateway.Model},
		Edit{Path: []string{"small_model"}, Value: provider + "/" + s.small()})
}

func setupOpencode(s *session) (Plan, error) {
	p := Plan{Try: "opencode"}
	key := "{env:" + TokenVar + "}"
	switch t := s.gateway.Token; {
	case s.project:
		p.Notes = append(p.Notes, "The file holds no token: set "+TokenVar+" where opencode is started.")
	case t.Text != "":
		key = "{file:" + s.tokenFile() + "}"
		p.Files = append(p.Files, File{Path: s.tokenFile(), Text: t.Text + "\n", Secret: true})
	case t.File != "":
		key = "{file:" + t.File + "}"
	case t.Command != "":
		p.Notes = append(p.Notes, "opencode takes no helper command: set "+TokenVar+" where it is started.")
	default:
		p.Notes = append(p.Notes, s.tokenNote()...)
	}
	p.Files = append(p.Files, File{Path: opencodeFile(s), Format: "json", Edits: opencodeEdits(s, key)})
	return p, nil
}

// launchOpencode hands the settings over in a variable, which holds over the
// user's files.
func launchOpencode(s *session, args []string) (Launch, error) {
	token, err := s.token()
	if err != nil {
		return Launch{}, err
	}
	text := []byte("{}")
	for _, e := range opencodeEdits(s, "{env:"+TokenVar+"}") {
		if text, err = (jsonc{}).set(text, e.Path, jsonc{}.literal(e.Value)); err != nil {
			return Launch{}, err
		}
	}
	m, err := jsonc{}.decode(text)
	if err != nil {
		return Launch{}, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return Launch{}, err
	}
	return Launch{Args: args, Env: []string{TokenVar + "=" + token, "OPENCODE_CONFIG_CONTENT=" + string(b)}}, nil
}
