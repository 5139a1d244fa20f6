// Package client configures the coding agents of this machine for a gateway:
// in their own files, or for one process only. What it writes into a file it
// can take out again: the rest of the file, its order and its comments stay as
// they were, and without a change by somebody else in between the file comes
// back byte for byte.
package client

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Gateway is what a client is configured for.
type Gateway struct {
	URL   string // without a path and a slash at the end: http://127.0.0.1:8080
	Model string // the model's name at the gateway
	Small string // the model for titles and other small work; "" means Model
	Token Token
}

// Token is where a client gets its token from. One field is set; none means
// that the user's environment has it, in the variable TokenVar.
type Token struct {
	Text    string // to be kept in a file that only its owner may read
	File    string // a file that exists and holds it, as an absolute path
	Command string // a shell command that prints it
}

// The environment variables that name a gateway and a token for it.
const (
	URLVar   = "SALLYPORT_URL"
	TokenVar = "SALLYPORT_TOKEN"
)

// provider is the name that the gateway gets in the files of clients that have
// a list of providers.
const provider = "sallyport"

// Agent is a coding agent that can be configured.
type Agent struct {
	Name    string // as in `sallyport setup NAME`
	Title   string
	Program string // its executable; "" for one that cannot be started from a shell
	Surface string // the surface of the gateway that it speaks to
	Base    string // the path of that surface below the gateway's URL

	setup  func(s *session) (Plan, error)
	launch func(s *session, args []string) (Launch, error) // nil: cannot be launched
}

// Agents are all of them, in the order in which they are listed.
func Agents() []Agent {
	return []Agent{
		{Name: "claude", Title: "Claude Code", Program: "claude", Surface: "anthropic", Base: "/anthropic", setup: setupClaude, launch: launchClaude},
		{Name: "codex", Title: "Codex CLI", Program: "codex", Surface: "openai", Base: "/openai/v1", setup: setupCodex, launch: launchCodex},
		{Name: "gemini", Title: "Gemini CLI", Program: "gemini", Surface: "gemini", Base: "/gemini", setup: setupGemini, launch: launchGemini},
		{Name: "cursor", Title: "Cursor", Surface: "cursor", Base: "/cursor/v1", setup: setupCursor},
		{Name: "opencode", Title: "opencode", Program: "opencode", Surface: "cursor", Base: "/cursor/v1", setup: setupOpencode, launch: launchOpencode},
		{Name: "copilot", Title: "Copilot CLI", Program: "copilot", Surface: "openai", Base: "/openai/v1", setup: setupCopilot},
		{Name: "qwen", Title: "Qwen Code", Program: "qwen", Surface: "cursor", Base: "/cursor/v1", setup: setupQwen},
	}
}

// Named is the agent of that name.
func Named(name string) (Agent, bool) {
	all := Agents()
	i := slices.IndexFunc(all, func(a Agent) bool { return a.Name == name })
	if i < 0 {
		return Agent{}, false
	}
	return all[i], true
}

// Launchable tells whether the agent can be started for a gateway without
// changing a file.
func (a Agent) Launchable() bool { return a.launch != nil }

// session is one setup or launch: what for, and where.
type session struct {
	agent   Agent
	gateway Gateway
	place   Place
	project bool
	profile string // of Codex
	trust   bool   // Gemini CLI is to trust every folder
}

// base is the base URL of the agent's surface.
func (s *session) base() string { return s.gateway.URL + s.agent.Base }

func (s *session) small() string {
	if s.gateway.Small != "" {
		return s.gateway.Small
	}
	return s.gateway.Model
}

// CheckURL is the URL of a gateway, without the slash at its end.
func CheckURL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("is no URL such as http://127.0.0.1:8080")
	}
	if path := strings.TrimRight(u.Path, "/"); path != "" {
		return "", fmt.Errorf("has the path %s: give scheme, host and port alone; the path of a surface is added to it", path)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("names a user, a query or a fragment; give scheme, host and port alone")
	}
	return strings.TrimRight(address, "/"), nil
}

// checkName refuses a name that could not be written into every kind of file.
func checkName(what, name string) error {
	if name == "" {
		return fmt.Errorf("the %s is empty", what)
	}
	if i := strings.IndexFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"'`\\$#,", r)
	}); i >= 0 {
		return fmt.Errorf("the %s holds %q, which no %s has", what, name[i], what)
	}
	return nil
}

func (g Gateway) check() error {
	if _, err := CheckURL(g.URL); err != nil {
		return fmt.Errorf("the gateway %s %w", g.URL, err)
	}
	if err := checkName("model", g.Model); err != nil {
		return err
	}
	if g.Small != "" {
		if err := checkName("small model", g.Small); err != nil {
			return err
		}
	}
	if g.Token.Text != "" {
		return checkName("token", g.Token.Text)
	}
	return nil
}
