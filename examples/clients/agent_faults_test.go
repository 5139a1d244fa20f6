//go:build e2e

package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// fault is what a provider does to the first turns of an agent.
type fault struct {
	name  string
	turn  upstream.Turn
	times int // how many turns it hits; the next ones are answered
	// begun: it happens once the agent has what came before.
	begun bool
	hangs bool
	// mended: the gateway does that, whatever the agent is.
	mended bool
	// ends is how it ends, by "agent native" or "agent foreign", by "native" or
	// "foreign", by the agent, or else by "".
	ends map[string]ending
}

// ending is what becomes of a run that met a fault.
type ending struct {
	answered bool
	asks     int    // how many turns the agent asks for; 0 if that is not fixed
	says     string // what it shows when it is not answered
}

const (
	half  = "Half of this never comes to the reader."
	never = 1 << 20
)

// What a turn that breaks off in the middle leads to. The stream ends in the
// agent's dialect, and it asks again; Gemini CLI, whose dialect has no such
// end, shows what came and asks no more.
var brokenOff = map[string]ending{"": {answered: true, asks: 2}, "gemini": {asks: 1, says: "Half of"}}

var faults = []fault{
	{name: "400", turn: upstream.Turn{Status: 400, Body: `{"type":"error","error":{"type":"invalid_request_error","code":400,"status":"INVALID_ARGUMENT","message":"No such thing as a free lunch."}}`},
		times: never, ends: map[string]ending{"": {asks: 1, says: "free lunch"}}},
	{name: "401", turn: upstream.Turn{Status: http.StatusUnauthorized}, times: never, ends: map[string]ending{"": {asks: 1, says: "credential"}}},
	{name: "403", turn: upstream.Turn{Status: http.StatusForbidden}, times: never, ends: map[string]ending{"": {asks: 1, says: "credential"}}},
	// Natively the answer is the provider's. Claude Code asks the same again
	// without a stream; opencode's surface has no native lane.
	{name: "404", turn: upstream.Turn{Status: http.StatusNotFound}, times: never, ends: map[string]ending{"": {asks: 1, says: "does not exist"},
		"claude native": {asks: 2, says: "the selected model"}, "codex native": {asks: 6, says: "does not exist"}}},
	{name: "429", turn: upstream.Turn{Status: http.StatusTooManyRequests, RetryAfter: "1"}, times: 1, mended: true, ends: map[string]ending{"": {answered: true}}},
	{name: "500", turn: upstream.Turn{Status: http.StatusInternalServerError}, times: 1, mended: true, ends: map[string]ending{"": {answered: true}}},
	{name: "529", turn: upstream.Turn{Status: 529}, times: 1, mended: true, ends: map[string]ending{"": {answered: true}}},
	{name: "hang before the head", turn: upstream.Turn{Fault: upstream.Hang}, times: 1, mended: true, hangs: true, ends: map[string]ending{"": {answered: true}}},
	{name: "hang in the middle", turn: upstream.Turn{Text: half, Fault: upstream.HangMid}, times: 1, hangs: true, begun: true, ends: brokenOff},
	{name: "cut", turn: upstream.Turn{Text: half, Fault: upstream.Cut}, times: 1, begun: true, ends: brokenOff},
	{name: "error event", turn: upstream.Turn{Text: half, Fault: upstream.ErrorEvent}, times: 1, begun: true, ends: map[string]ending{"": {answered: true, asks: 2},
		"gemini foreign": {asks: 1, says: "Half of"}}},
	// Natively what comes is the provider's, a line that is none too, and the
	// rest of the answer after it. Gemini CLI does not get over it.
	{name: "malformed", turn: upstream.Turn{Text: half, Fault: upstream.Malformed}, times: 1, begun: true, ends: map[string]ending{"": {answered: true, asks: 2},
		"native": {asks: 1, says: half}, "gemini native": {asks: 1, says: "Half of"}, "gemini": {asks: 1, says: "Half of"}}},
	{name: "slow drip", turn: upstream.Turn{Text: upstream.Hello, Fault: upstream.Drip}, times: 1, mended: true, ends: map[string]ending{"": {answered: true, asks: 1}}},
}

// endingOf is how the fault ends for an agent.
func (f fault) endingOf(agent string, native bool) ending {
	lane := "foreign"
	if native {
		lane = "native"
	}
	for _, key := range []string{agent + " " + lane, lane, agent} {
		if e, ok := f.ends[key]; ok {
			return e
		}
	}
	return f.ends[""]
}

// What a provider does wrong ends for the agent as it should: mended by the
// gateway or by the agent's own next attempt, or, where no attempt can help,
// with the reason and without another one. Each call has its usage row.
func TestAgentFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cli    cli
		model  string
		native bool
		own    bool // only what does not end for all agents alike
	}{
		{claudeOld, onAnthropic, true, false}, {claudeOld, onOpenAI, false, false},
		{codexNew, onOpenAI, true, false}, {codexNew, onAnthropic, false, false},
		{codexOld, onOpenAI, true, true}, {codexOld, onAnthropic, false, true},
		{geminiCLI, onGemini, true, false}, {geminiCLI, onAnthropic, false, false},
		{opencode, onAnthropic, false, true}, // no surface takes opencode natively
	} {
		t.Run(fmt.Sprintf("%s, %s", tt.cli, tt.model), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "60s")
			for _, f := range faults {
				if f.mended && tt.own {
					continue
				}
				t.Run(f.name, func(t *testing.T) { f.meet(t, w, tt.cli, tt.model, f.endingOf(tt.cli.agent, tt.native)) })
			}
		})
	}
}

// meet has an agent ask while the provider of the model does it.
func (f fault) meet(t *testing.T, w *world, c cli, model string, want ending) {
	door, began := newDoor(t, w.URL), upstream.NewGate()
	if f.begun {
		first, _, _ := strings.Cut(f.turn.Text, " ")
		door.when(first, began.Open)
		f.turn.Middle = began
	}
	w.of(model).direct(func(turn int, r upstream.Request) upstream.Turn {
		if turn <= f.times {
			return f.turn
		}
		return upstream.Agent(r)
	})
	if f.hangs {
		model += hasty
	}
	kept := w.kept(t)
	d := newDesk(t, c, "GEMINI_CLI_NO_RELAUNCH=true") // with more memory, which takes its time
	d.setup(door.url, w.token, model)
	out, code := d.ask("hi")
	turns := door.calls(true)
	switch {
	case want.answered && (code != 0 || !strings.Contains(out, upstream.Hello)):
		t.Errorf("exit code %d, and the answer lacks %q:\n%s", code, upstream.Hello, tail(out))
	case !want.answered && !strings.Contains(out, want.says):
		t.Errorf("exit code %d, and the output lacks %q:\n%s", code, want.says, tail(out))
	}
	if want.asks != 0 && len(turns) != want.asks {
		t.Errorf("the agent asked for %d turns, want %d: %+v\n%s", len(turns), want.asks, turns, tail(out))
	}
	var all []string // of the rows of this run
	gatewaytest.Eventually(t, patience, fmt.Sprintf("each of the %d requests has its usage row", len(door.calls(false))), func() bool {
		all = w.kept(t)[len(kept):]
		return len(all) >= len(door.calls(false))
	})
	if n := len(door.calls(false)); len(all) != n {
		t.Errorf("%d usage rows for %d requests: %q", len(all), n, all)
	}
	if failed := strings.Contains(strings.Join(all, " "), "failed"); !failed && (len(turns) > 1 || f.times == never) {
		t.Errorf("no usage row tells of the failure: %q", all)
	}
}

// kept are the statuses of the usage rows so far, the oldest first.
func (w *world) kept(t *testing.T) []string {
	var all []string
	for _, r := range rows(t, w.Gateway, "status", "true") {
		all = append(all, r[0])
	}
	return all
}
