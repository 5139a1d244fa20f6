package client

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
)

func geminiDir(p Place) string {
	return filepath.Join(p.dir("GEMINI_CLI_HOME"), ".gemini")
}

// geminiEnv are the variables of Gemini CLI, but for the token.
func geminiEnv(s *session) [][2]string {
	return [][2]string{
		{"GEMINI_MODEL", s.gateway.Model},
		{"GOOGLE_GEMINI_BASE_URL", s.base()},
		{"GEMINI_API_KEY_AUTH_MECHANISM", "bearer"},
	}
}

// geminiLogin is the setting without which Gemini CLI, from 0.61 at the latest,
// does not begin: it does not choose a key by itself when a base URL is set.
func geminiLogin() Edit {
	return Edit{Path: []string{"security", "auth", "selectedType"}, Value: "gemini-api-key"}
}

// folderTrust is the setting that has Gemini CLI ask whether to trust a folder.
// It reads its .env only in folders that it trusts.
var folderTrust = []string{"security", "folderTrust", "enabled"}

func setupGemini(s *session) (Plan, error) {
	dir := geminiDir(s.place)
	if s.project {
		dir = filepath.Join(s.place.Dir, ".gemini")
	}
	env, settings := File{Path: filepath.Join(dir, ".env"), Format: "env"}, File{Path: filepath.Join(dir, "settings.json"), Format: "json"}
	for _, kv := range geminiEnv(s) {
		env.Edits = append(env.Edits, Edit{Path: []string{kv[0]}, Value: kv[1]})
	}
	p := Plan{Try: "gemini"}
	if s.project {
		settings.Edits = []Edit{geminiLogin()}
		p.Notes = append(p.Notes, "The files hold no token: set GEMINI_API_KEY to it where Gemini CLI is started. They count once the folder is trusted.")
	} else {
		token, err := s.gateway.Token.text()
		if err != nil {
			return Plan{}, err
		}
		if token != "" {
			env.Edits, env.Secret = append(env.Edits, Edit{Path: []string{"GEMINI_API_KEY"}, Value: token, Secret: true}), true
		} else {
			p.Notes = append(p.Notes, "No token was written, and Gemini CLI takes no helper command: set GEMINI_API_KEY to it where it is started, or start it with `sallyport launch gemini`.")
		}
		settings.Edits = []Edit{geminiLogin()}
		if s.trust {
			settings.Edits = append(settings.Edits, Edit{Path: folderTrust, Value: false})
			p.Notes = append(p.Notes, "Folder trust is switched off in "+settings.Path+": Gemini CLI does not ask any more whether you trust a folder, and reads what lies in it.")
		} else if asks, said := geminiTrust(settings.Path); asks || !said {
			p.Notes = append(p.Notes, "Gemini CLI reads "+env.Path+" only in folders that you trust, and asks when it is started in another one. For scripts set GEMINI_CLI_TRUST_WORKSPACE=true; with --trust-folders setup switches the question off.")
		}
	}
	for _, kv := range geminiEnv(s) {
		if v := s.place.Getenv(kv[0]); v != "" && v != kv[1] {
			p.Notes = append(p.Notes, kv[0]+" is set in your environment, and holds over the file: unset it.")
		}
	}
	p.Files = []File{env, settings}
	return p, nil
}

// geminiTrust is the folder trust of the user's settings, if they say it.
func geminiTrust(path string) (value, ok bool) {
	_, text, _, err := readFile(path)
	if err != nil {
		return false, false
	}
	m, err := jsonc{}.decode(text)
	if err != nil {
		return false, false
	}
	v, _ := find(m, folderTrust)
	value, ok = v.(bool)
	return value, ok
}

// launchGemini gives Gemini CLI everything by its environment. When the user's
// settings choose another way to log in it gets a home of its own for this
// run, with all that is in the user's but for that choice.
func launchGemini(s *session, args []string) (Launch, error) {
	token, err := s.token()
	if err != nil {
		return Launch{}, err
	}
	l := Launch{Args: args, Env: []string{"GEMINI_API_KEY=" + token}, Unset: []string{"GOOGLE_GENAI_USE_GCA", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_API_KEY"}}
	for _, kv := range geminiEnv(s) {
		l.Env = append(l.Env, kv[0]+"="+kv[1])
	}
	if s.place.Getenv("GEMINI_CLI_TRUST_WORKSPACE") == "" {
		l.Env = append(l.Env, "GEMINI_CLI_TRUST_WORKSPACE=true")
	}
	user := geminiDir(s.place)
	_, text, _, err := readFile(filepath.Join(user, "settings.json"))
	if err != nil {
		return Launch{}, err
	}
	m, err := jsonc{}.decode(text)
	if err != nil {
		return Launch{}, err
	}
	first := geminiLogin()
	if v, _ := find(m, first.Path); v == first.Value {
		return l, nil
	}
	l.Prepare = func(dir string) ([]string, error) {
		home := filepath.Join(dir, ".gemini")
		if err := os.Mkdir(home, 0o700); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(user)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for _, e := range entries {
			if e.Name() == "settings.json" {
				continue
			}
			if err := stand(filepath.Join(user, e.Name()), filepath.Join(home, e.Name())); err != nil {
				return nil, err
			}
		}
		b, err := json.Marshal(with(m, first.Path, first.Value))
		if err != nil {
			return nil, err
		}
		return []string{"GEMINI_CLI_HOME=" + dir}, os.WriteFile(filepath.Join(home, "settings.json"), b, 0o600)
	}
	return l, nil
}

// stand puts a link to a file at path, or, where only administrators may make
// links, a copy of it; directories are left out there.
func stand(file, path string) error {
	if err := os.Symlink(file, path); err == nil || runtime.GOOS != "windows" {
		return err
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}
