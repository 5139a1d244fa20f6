//go:build e2e

package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// fault is what a provider does to the first turns of an agent.
type fault struct {
	name  string
	turn  upstream.Turn
	times int // how many turns it hits; the next ones are answered
	// ends: the agent stops, having shown says, after one request of a turn.
	// Otherwise it gets its answer.
	ends bool
	says string
}

var faults = []fault{
	{name: "400", turn: upstream.Turn{Status: 400, Body: `{"type":"error","error":{"type":"invalid_request_error","code":400,"status":"INVALID_ARGUMENT","message":"No such thing as a free lunch."}}`}, times: 99, ends: true, says: "free lunch"},
	{name: "401", turn: upstream.Turn{Status: 401}, times: 99, ends: true, says: "key"},
	{name: "429", turn: upstream.Turn{Status: 429, RetryAfter: "1"}, times: 1},
	{name: "500", turn: upstream.Turn{Status: 500}, times: 1},
	{name: "529", turn: upstream.Turn{Status: 529}, times: 1},
	{name: "hang before the head", turn: upstream.Turn{Fault: upstream.Hang}, times: 1},
	{name: "cut", turn: upstream.Turn{Text: "Half of this never comes to the reader.", Fault: upstream.Cut}, times: 1},
	{name: "error event", turn: upstream.Turn{Text: "Half of this never comes to the reader.", Fault: upstream.ErrorEvent}, times: 1},
	{name: "slow drip", turn: upstream.Turn{Text: upstream.Hello, Fault: upstream.Drip}, times: 1},
}

// What a provider does wrong ends for the agent as it should: mended by the
// gateway or by the agent's own next attempt, or, where no attempt can help,
// with the reason and without another one. Each call has its usage row.
func TestAgentFaults(t *testing.T) {
	for _, tt := range []struct {
		cli    cli
		model  string
		stage  func(*world) *stage
		except map[string]string // why an agent does not get over a fault
	}{
		{claudeOld, onAnthropic, func(w *world) *stage { return w.anthropic }, nil},
		{claudeOld, onOpenAI, func(w *world) *stage { return w.openai }, nil},
		{codexNew, onOpenAI, func(w *world) *stage { return w.openai }, nil},
		{codexNew, onAnthropic, func(w *world) *stage { return w.anthropic }, nil},
		{geminiCLI, onGemini, func(w *world) *stage { return w.gemini }, map[string]string{"cut": "Gemini CLI prints what came and asks no more"}},
	} {
		t.Run(fmt.Sprintf("%s, %s", tt.cli, tt.model), func(t *testing.T) {
			t.Parallel()
			for _, f := range faults {
				t.Run(f.name, func(t *testing.T) {
					w := newWorld(t, "3s")
					s := tt.stage(w)
					s.play = func(turn int, r upstream.Request) upstream.Turn {
						if turn <= f.times {
							return f.turn
						}
						return upstream.Agent(r)
					}
					d := newDesk(t, tt.cli)
					d.setup(w.URL, w.token, tt.model)
					out, code := d.ask("hi")
					switch why, excepted := tt.except[f.name]; {
					case f.ends:
						if !strings.Contains(out, f.says) || s.turns != 1 {
							t.Errorf("exit code %d after %d requests, want one, and a reason with %q:\n%s", code, s.turns, f.says, ending(out))
						}
					case excepted:
						t.Log(why)
					case code != 0 || !strings.Contains(out, upstream.Hello):
						t.Errorf("exit code %d, and the answer lacks %q:\n%s", code, upstream.Hello, ending(out))
					}
					if f.name == "cut" && tt.cli.agent == "claude" && tt.model == onAnthropic && !s.asked(`"stream":true`, false) {
						t.Error("Claude Code did not ask again without a stream, as it does after a cut")
					}
					if n := len(rows(t, w.Gateway, "invocation_id", "endpoint_name = '"+tt.model+"'")); n == 0 {
						t.Error("there is no usage row")
					}
				})
			}
		})
	}
}
