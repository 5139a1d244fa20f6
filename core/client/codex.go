package client

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/mod/semver"
)

// Versions of Codex at which its configuration changed.
const (
	codexHelpers  = "v0.118.0" // from here on it takes a command that prints the token
	codexProfiles = "v0.134.0" // from here on a profile is a file of its own, and the key `profile` stops it
)

// codexVersion asks the installed Codex for its version; "" when there is none
// that answers.
func codexVersion() string {
	path, err := exec.LookPath("codex")
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return ""
	}
	return versionIn(string(out))
}

var versionPattern = regexp.MustCompile(`\d+\.\d+\.\d+`)

func versionIn(text string) string {
	if v := versionPattern.FindString(text); v != "" {
		return "v" + v
	}
	return ""
}

func codexDir(p Place) string { return p.dir("CODEX_HOME", ".codex") }

func setupCodex(s *session) (Plan, error) {
	if s.project {
		return Plan{}, fmt.Errorf("%s takes no provider from the file of a project: leave out --project; a project may name another model in .codex/config.toml", s.agent.Title)
	}
	return codexPlan(s, codexVersion())
}

// codexPlan is the plan for a version of Codex, "" for one that is not known:
// what is written then is read by old and new ones alike.
func codexPlan(s *session, version string) (Plan, error) {
	config := filepath.Join(codexDir(s.place), "config.toml")
	table := []string{"model_providers", provider}
	in := func(keys ...string) []string { return append(table[:2:2], keys...) }
	edits := []Edit{
		{Path: in("name"), Value: "Sallyport"},
		{Path: in("base_url"), Value: s.base()},
		{Path: in("wire_api"), Value: "responses"},
	}
	p := Plan{Try: "codex"}
	if semver.Compare(version, codexHelpers) >= 0 {
		line, words, files := s.helper()
		if words == nil {
			words = []string{"sh", "-c", line}
			if s.place.OS == "windows" {
				words = []string{"cmd", "/c", line}
			}
		}
		p.Files = files
		edits = append(edits, Edit{Path: in("env_key")}, // only one of the two may be there
			Edit{Path: in("auth", "command"), Value: words[0]}, Edit{Path: in("auth", "args"), Value: words[1:]})
		p.Notes = s.tokenNote()
	} else {
		edits = append(edits, Edit{Path: in("env_key"), Value: TokenVar})
		why := "This version of Codex takes its token only from the environment"
		if version == "" {
			why = "Codex was not found, so that its version is not known: what was written works with all, and takes the token from the environment"
		}
		p.Notes = append(p.Notes, why+": set "+TokenVar+" where Codex is started.")
	}
	keys := func(prefix ...string) []Edit {
		return []Edit{
			{Path: append(prefix[:len(prefix):len(prefix)], "model_provider"), Value: provider},
			{Path: append(prefix[:len(prefix):len(prefix)], "model"), Value: s.gateway.Model},
		}
	}
	switch {
	case s.profile == "":
		// A profile named in the file would win over the keys, and newer versions
		// refuse to start with it.
		edits = append(append(keys(), Edit{Path: []string{"profile"}}), edits...)
		if has(config, "profile") {
			p.Notes = append(p.Notes, "The key `profile` was taken out of "+config+": newer versions do not start with it. --undo puts it back.")
		}
	case version == "":
		return Plan{}, fmt.Errorf("profiles are written in two ways, and Codex was not found to ask for its version: leave out --profile, or install Codex first")
	case semver.Compare(version, codexProfiles) >= 0:
		p.Files = append(p.Files, File{Path: filepath.Join(codexDir(s.place), s.profile+".config.toml"), Format: "toml", Edits: keys()})
		p.Try = "codex --profile " + s.profile
	default:
		edits = append([]Edit{{Path: []string{"profile"}, Value: s.profile}}, edits...)
		edits = append(edits, keys("profiles", s.profile)...)
	}
	p.Files = append(p.Files, File{Path: config, Format: "toml", Edits: edits})
	return p, nil
}

// has tells whether the TOML file has a member of that name at its top.
func has(path, name string) bool {
	v, _ := topLevel(path)[name].(string)
	return v != ""
}

func topLevel(path string) map[string]any {
	_, text, _, err := readFile(path)
	if err != nil {
		return nil
	}
	m, err := tomlFile{}.decode(text)
	if err != nil {
		return nil
	}
	return m
}

// launchCodex overrides single keys; the token comes from the environment,
// which all versions take it from.
func launchCodex(s *session, args []string) (Launch, error) {
	token, err := s.token()
	if err != nil {
		return Launch{}, err
	}
	var over []string
	set := func(path []string, literal string) { over = append(over, "-c", tomlPath(path)+"="+literal) }
	text := func(v string) string { return tomlFile{}.literal(v) }
	set([]string{"model_provider"}, text(launchProvider))
	set([]string{"model"}, text(s.gateway.Model))
	set([]string{"model_providers", launchProvider}, fmt.Sprintf("{name = %s, base_url = %s, wire_api = %s, env_key = %s}", text("Sallyport"), text(s.base()), text("responses"), text(TokenVar)))
	if profile, ok := topLevel(filepath.Join(codexDir(s.place), "config.toml"))["profile"].(string); ok && bareKey.MatchString(profile) {
		// An old version, in which the profile wins over the top of the file.
		set([]string{"profiles", profile, "model_provider"}, text(launchProvider))
		set([]string{"profiles", profile, "model"}, text(s.gateway.Model))
	}
	return Launch{Args: append(over, args...), Env: []string{TokenVar + "=" + token}}, nil
}

// launchProvider is not the name that setup writes: a table on the command
// line is merged with the file's of the same name.
const launchProvider = provider + "-launch"
