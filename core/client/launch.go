package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Launch is how a client is started for the gateway.
type Launch struct {
	Args  []string
	Env   []string // NAME=value, over the environment
	Unset []string // names that are taken out of it
	// Prepare fills a directory that lasts as long as the process, and returns
	// more of the environment. Nil: none is needed.
	Prepare func(dir string) (env []string, err error)
}

// Launch says how to start an agent with args.
func (s Setup) Launch(args []string) (Launch, error) {
	if s.Agent.launch == nil {
		return Launch{}, fmt.Errorf("%s cannot be started for one run: see `sallyport setup %s`", s.Agent.Title, s.Agent.Name)
	}
	if err := s.Gateway.check(); err != nil {
		return Launch{}, err
	}
	return s.Agent.launch(&session{agent: s.Agent, gateway: s.Gateway, place: s.Place}, args)
}

// Read is the token itself; "" when none is given.
func (t Token) Read(ctx context.Context) (string, error) {
	if t.Command == "" {
		return t.text()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	shell := []string{"sh", "-c", t.Command}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/c", t.Command}
	}
	cmd := exec.CommandContext(ctx, shell[0], shell[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("the command for the token: %w", err)
	}
	return string(bytes.TrimSpace(out)), nil
}

// token is the token for clients that take it from the environment.
func (s *session) token() (string, error) {
	text, err := s.gateway.Token.Read(context.Background())
	if err == nil && text == "" {
		text = s.place.Getenv(TokenVar)
	}
	if err == nil && text == "" {
		err = errors.New("there is no token: set " + TokenVar)
	}
	return text, err
}

// Environ is the environment of the client: base without the names in Unset,
// and with Env and more.
func (l Launch) Environ(base []string, more ...string) []string {
	over := slices.Concat(l.Env, more)
	named := func(name string) bool {
		return slices.Contains(l.Unset, name) || slices.ContainsFunc(over, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	}
	var out []string
	for _, kv := range base {
		if name, _, _ := strings.Cut(kv, "="); !named(name) {
			out = append(out, kv)
		}
	}
	return append(out, over...)
}
