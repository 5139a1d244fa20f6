//go:build e2e

package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
)

// The models of the world, by the provider behind them.
const (
	onAnthropic = "databricks-claude-opus-4-6"
	onOpenAI    = "databricks-gpt-5-2"
	onGemini    = "databricks-gemini-2-5-flash"
	wandering   = "databricks-claude-opus-4-6-or-gpt" // Anthropic, then OpenAI
	budgeted    = "databricks-claude-priced"
	hasty       = "-hasty" // ends the names of the same models by accounts that lose patience soon
)

// stage is a provider that plays one role after another.
type stage struct {
	*upstream.Server
	mu    sync.Mutex
	turns int // requests with tools since direct: an agent's turns, not its titles
	play  func(turn int, r upstream.Request) upstream.Turn
	aside func(r upstream.Request) upstream.Turn // answers the requests without tools
	seen  []upstream.Request
}

func newStage(t *testing.T, s *upstream.Server) *stage {
	st := &stage{Server: s}
	s.Play(func(r upstream.Request) upstream.Turn {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.seen = append(st.seen, r)
		switch turn := hasTools(r.Body); {
		case turn && st.play == nil, !turn && st.aside == nil:
			return upstream.Agent(r)
		case !turn:
			return st.aside(r)
		}
		st.turns++
		return st.play(st.turns, r)
	})
	t.Cleanup(func() {
		if t.Failed() && len(s.Refusals()) > 0 {
			t.Logf("the provider refused:\n%s", strings.Join(s.Refusals(), "\n"))
		}
	})
	return st
}

// direct sets the role, from its first turn on.
func (s *stage) direct(play func(turn int, r upstream.Request) upstream.Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns, s.play = 0, play
}

// besides sets what answers the requests without tools.
func (s *stage) besides(aside func(upstream.Request) upstream.Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside = aside
}

// calls is how many requests the provider has answered.
func (s *stage) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// hasTools tells a turn of an agent from its requests for titles.
func hasTools(body []byte) bool {
	var r struct{ Tools []json.RawMessage }
	return json.Unmarshal(body, &r) == nil && len(r.Tools) > 0
}

// of is the provider of a model.
func (w *world) of(model string) *stage {
	return map[string]*stage{onAnthropic: w.anthropic, onOpenAI: w.openai, onGemini: w.gemini}[strings.TrimSuffix(model, hasty)]
}

// world is a gateway before three strict providers.
type world struct {
	*gatewaytest.Gateway
	anthropic, openai, gemini *stage
	token                     string
}

const worldConfig = `version: 1
data: ./data
providers:
  anthropic: {translator: anthropic, base_url: %[1]s, key: {file: ./key}, timeouts: {first_byte: %[4]s, idle: %[4]s}}
  openai: {translator: openai, base_url: %[2]s, key: {file: ./key}, timeouts: {first_byte: %[4]s, idle: %[4]s}}
  gemini: {translator: gemini, base_url: %[3]s, key: {file: ./key}, timeouts: {first_byte: %[4]s, idle: %[4]s}}
  anthropic-hasty: {translator: anthropic, base_url: %[1]s, key: {file: ./key}, timeouts: {first_byte: 2s, idle: 2s}}
  openai-hasty: {translator: openai, base_url: %[2]s, key: {file: ./key}, timeouts: {first_byte: 2s, idle: 2s}}
  gemini-hasty: {translator: gemini, base_url: %[3]s, key: {file: ./key}, timeouts: {first_byte: 2s, idle: 2s}}
models:
  databricks-claude-opus-4-6: {destinations: [{provider: anthropic, model: claude-opus-4-6}], aliases: [claude-haiku-4-5-20251001]}
  databricks-gpt-5-2: {destinations: [{provider: openai, model: gpt-5.2}]}
  databricks-gemini-2-5-flash: {destinations: [{provider: gemini, model: gemini-2.5-flash}]}
  databricks-claude-opus-4-6-hasty: {destinations: [{provider: anthropic-hasty, model: claude-opus-4-6}]}
  databricks-gpt-5-2-hasty: {destinations: [{provider: openai-hasty, model: gpt-5.2}]}
  databricks-gemini-2-5-flash-hasty: {destinations: [{provider: gemini-hasty, model: gemini-2.5-flash}]}
  databricks-claude-opus-4-6-or-gpt: {destinations: [{provider: anthropic, model: claude-opus-4-6}], fallback: [{provider: openai, model: gpt-5.2}]}
  databricks-claude-priced: {destinations: [{provider: anthropic, model: claude-opus-4-6, price: {input: 100000, output: 100000}}]}
budgets: [{of: user broke@example.com, usd: 0.5, per: month, then: block}]
access:
  users: [{name: alice@example.com, groups: [analysts]}, {name: broke@example.com, groups: [analysts]}, {name: root@example.com, admin: true}]
  grants: [{to: analysts, privileges: [EXECUTE], on: schema system.ai}]
%[5]s`

// newWorld starts a gateway whose providers may be silent for as long as
// silence says, before they begin to answer and later. more is added to its
// configuration.
func newWorld(t *testing.T, silence string, more ...string) *world {
	t.Helper()
	const key = "upstream-key"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{anthropic: newStage(t, upstream.Anthropic(t, key)), openai: newStage(t, upstream.OpenAI(t, key)), gemini: newStage(t, upstream.Gemini(t, key))}
	w.Gateway = gatewaytest.Start(t, fmt.Sprintf(worldConfig, w.anthropic.URL, w.openai.URL, w.gemini.URL, silence, strings.Join(more, "")), dir)
	w.token = w.Token("alice@example.com")
	return w
}

// sqlRows runs a statement as the operator.
func sqlRows(t *testing.T, g *gatewaytest.Gateway, statement string) [][]string {
	t.Helper()
	reply, err := g.SQL(t.Context(), sqlapi.Statement{Statement: statement})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Result == nil {
		t.Fatalf("%s: %+v", statement, reply.Status.Error)
	}
	var cells [][]*string
	if err := json.Unmarshal(reply.Result.Data, &cells); err != nil {
		t.Fatal(err)
	}
	out := make([][]string, len(cells))
	for i, row := range cells {
		for _, c := range row {
			if c == nil {
				out[i] = append(out[i], "")
				continue
			}
			out[i] = append(out[i], *c)
		}
	}
	return out
}
