//go:build e2e

package clients

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// Every agent answers and runs a command on the order of every provider, its
// own and two others: the command's output is in no prompt, so an answer with
// it has gone all the way round. It is configured by `sallyport setup`, and
// once more by `sallyport launch`.
func TestAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "60s")
	tools := map[string]string{"claude": "claude-code", "codex": "codex", "gemini": "gemini-cli", "opencode": "opencode"}
	var want sync.Map // tool and model of the runs
	t.Run("all", func(t *testing.T) {
		for _, c := range []cli{claudeOld, claudeNew, codexOld, codexNew, geminiCLI, opencode} {
			for _, model := range []string{onAnthropic, onOpenAI, onGemini} {
				t.Run(fmt.Sprintf("%s, %s", c, model), func(t *testing.T) {
					t.Parallel()
					d := newDesk(t, c)
					d.setup(w.URL, w.token, model)
					d.wantIn(upstream.Errand, upstream.Printed)
					want.Store(tools[c.agent]+" "+model, true)
				})
			}
			t.Run(fmt.Sprintf("%s, launched", c), func(t *testing.T) {
				t.Parallel()
				d := newDesk(t, c, "SALLYPORT_URL="+w.URL, "SALLYPORT_TOKEN="+w.token)
				out, code := d.run("sallyport", append([]string{"launch", c.agent, "--model", onOpenAI, "--"}, c.args(upstream.Errand)...)...)
				if code != 0 || !strings.Contains(out, upstream.Printed) {
					t.Errorf("exit code %d, and the answer lacks %q:\n%s", code, upstream.Printed, tail(out))
				}
			})
		}
	})
	for name, s := range map[string]*stage{"anthropic": w.anthropic, "openai": w.openai, "gemini": w.gemini} {
		if r := s.Refusals(); len(r) > 0 {
			t.Errorf("%s refused %d requests: %s", name, len(r), strings.Join(r, "\n"))
		}
	}
	got := map[string]bool{}
	for _, r := range sqlRows(t, w.Gateway, "SELECT DISTINCT coding_tool, endpoint_name FROM system.ai_gateway.usage WHERE status = 'completed'") {
		got[r[0]+" "+r[1]] = true
	}
	want.Range(func(run, _ any) bool {
		if !got[run.(string)] {
			t.Errorf("no usage row says that %s was used: %v", run, got)
		}
		return true
	})
}

// A conversation falls back from Claude to GPT in the middle of a tool round
// and returns: the strict provider meets neither a signature that is not its
// own nor a turn that lacks one.
func TestAgentFallback(t *testing.T) {
	t.Parallel()
	for _, c := range []cli{claudeOld, claudeNew} {
		t.Run(c.String(), func(t *testing.T) {
			w := newWorld(t, "60s")
			order := func(r upstream.Request, command string) upstream.Turn {
				turn := upstream.Agent(upstream.Request{Body: r.Body})
				return upstream.Turn{Reasoning: "One more.", Text: "I count on.", Calls: []upstream.Call{{Name: "Bash", Arguments: fmt.Sprintf(`{"command":%q,"description":"Counts"}`, command)}}, Usage: turn.Usage}
			}
			down := true
			w.anthropic.play = func(turn int, r upstream.Request) upstream.Turn {
				switch {
				case turn == 1:
					return order(r, "seq -s- 9 12")
				case down:
					return upstream.Turn{Status: 529}
				case turn > 8:
					return upstream.Turn{Text: "The end: " + results(r.Body)}
				}
				return order(r, "seq -s- 17 20")
			}
			w.openai.play = func(turn int, r upstream.Request) upstream.Turn {
				down = false
				return order(r, "seq -s- 13 16")
			}
			d := newDesk(t, c)
			d.setup(w.URL, w.token, wandering)
			out, code := d.ask("Count on with the tool.")
			if code != 0 {
				t.Errorf("exit code %d:\n%s", code, tail(out))
			}
			if w.openai.turns == 0 || w.anthropic.turns < 3 {
				t.Errorf("%d turns of GPT and %d of Claude: the conversation has not wandered", w.openai.turns, w.anthropic.turns)
			}
			for _, s := range []*stage{w.anthropic, w.openai} {
				if r := s.Refusals(); len(r) > 0 {
					t.Errorf("refused: %s", strings.Join(r, "\n"))
				}
			}
			if !strings.Contains(out, "9-10-11-12") || !strings.Contains(out, "13-14-15-16") {
				t.Errorf("the answer lacks what the commands printed:\n%s", tail(out))
			}
			for _, r := range rows(t, w.Gateway, "destination_name, status", "endpoint_name = '"+wandering+"'") {
				t.Log(r)
			}
		})
	}
}

// results are the outputs of counting that a request holds.
func results(body []byte) string {
	var found []string
	for _, s := range []string{"9-10-11-12", "13-14-15-16", "17-18-19-20"} {
		if strings.Contains(string(body), s) {
			found = append(found, s)
		}
	}
	return strings.Join(found, " ")
}

// Who has spent their budget reads so in their own agent, which stops after
// one request; no provider is asked.
func TestAgentBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "60s")
	token := w.Token("broke@example.com")
	if status, _, body := w.Post(token, "/anthropic/v1/messages", `{"model":"`+budgeted+`","max_tokens":100,"messages":[{"role":"user","content":"Spend it."}]}`, "anthropic-version", "2023-06-01"); status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	asked := w.anthropic.calls() + w.openai.calls() + w.gemini.calls()
	for _, c := range []cli{claudeOld, claudeNew, codexOld, codexNew, geminiCLI} {
		t.Run(c.String(), func(t *testing.T) {
			before := len(rows(t, w.Gateway, "invocation_id", "requester = 'broke@example.com'"))
			d := newDesk(t, c)
			d.setup(w.URL, token, onAnthropic)
			out, _ := d.ask("hi")
			if !strings.Contains(out, "budget") || !strings.Contains(out, "0.50") {
				t.Errorf("the output does not say that the budget is spent:\n%s", tail(out))
			}
			if n := len(rows(t, w.Gateway, "invocation_id", "requester = 'broke@example.com'")) - before; n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
	if n := w.anthropic.calls() + w.openai.calls() + w.gemini.calls() - asked; n != 0 {
		t.Errorf("%d requests reached a provider", n)
	}
}
