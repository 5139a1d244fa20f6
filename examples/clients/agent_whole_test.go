//go:build e2e

package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// Agents get whole answers too, natively and translated, where they want no
// stream. Each does that at one place of its own: Claude Code repeats a turn
// so whose stream was cut, Gemini CLI has itself told who speaks next (a
// setting), opencode has an agent described. Codex has none: everything it
// asks is a stream, of the old version and the new one, titles and
// compactions included.
func TestAgentWhole(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cli   cli
		model string
		prove func(*testing.T, *stage, desk, string)
	}{
		{claudeOld, onAnthropic, repeatsWhole}, {claudeOld, onOpenAI, repeatsWhole},
		{claudeNew, onAnthropic, repeatsWhole}, {claudeNew, onGemini, repeatsWhole},
		{geminiCLI, onGemini, asksWhoSpeaks}, {geminiCLI, onAnthropic, asksWhoSpeaks},
		{opencode, onOpenAI, describesAgent}, {opencode, onAnthropic, describesAgent},
	} {
		t.Run(fmt.Sprintf("%s, %s", tt.cli, tt.model), func(t *testing.T) {
			t.Parallel()
			// The check of Gemini CLI asks for a model of its own.
			w := newWorld(t, "60s", "surfaces: {gemini: {default: "+tt.model+"}}\n")
			door := newDoor(t, w.URL)
			d := newDesk(t, tt.cli)
			d.setup(door.url, w.token, tt.model)
			tt.prove(t, w.of(tt.model), d, tt.model)
			if !door.whole() {
				t.Errorf("no request without a stream was answered with a document: %+v", door.calls(false))
			}
			if r := w.of(tt.model).Refusals(); len(r) > 0 {
				t.Errorf("the provider refused: %s", strings.Join(r, "\n"))
			}
		})
	}
}

// repeatsWhole: every stream is cut once the agent has its beginning, so the
// whole errand goes without one.
func repeatsWhole(t *testing.T, s *stage, d desk, model string) {
	s.direct(func(_ int, r upstream.Request) upstream.Turn {
		turn := upstream.Agent(r)
		if bytes.Contains(r.Body, []byte(`"stream":true`)) || strings.Contains(r.Path, ":stream") {
			turn = upstream.Turn{Text: half, Fault: upstream.Cut}
		}
		return turn
	})
	d.wantIn(upstream.Errand, upstream.Printed)
}

// asksWhoSpeaks: told that it is the model's turn, the agent has it go on.
func asksWhoSpeaks(t *testing.T, s *stage, d desk, model string) {
	file := filepath.Join(d.home, ".gemini", "settings.json")
	var settings map[string]any
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &settings)
	}
	if err != nil {
		t.Fatal(err)
	}
	settings["model"] = map[string]any{"skipNextSpeakerCheck": false}
	b, err = json.Marshal(settings)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	const more = "And that was all."
	s.direct(func(turn int, r upstream.Request) upstream.Turn {
		if turn == 1 {
			return upstream.Turn{Text: "First, this."}
		}
		return upstream.Turn{Text: more}
	})
	s.besides(func(r upstream.Request) upstream.Turn {
		speaker := "user"
		if !bytes.Contains(r.Body, []byte(more)) {
			speaker = "model"
		}
		return upstream.Turn{Text: `{"reasoning":"It says so.","next_speaker":"` + speaker + `"}`}
	})
	d.wantIn("hi", more)
}

// describesAgent: what the file of the new agent says was in the answer.
func describesAgent(t *testing.T, s *stage, d desk, model string) {
	s.besides(func(upstream.Request) upstream.Turn {
		return upstream.Turn{Text: `{"identifier":"counter","whenToUse":"Use it to count.","systemPrompt":"You count to twelve."}`}
	})
	dir := filepath.Join(d.home, "agents")
	out, code := d.run("opencode", "agent", "create", "--path", dir, "--description", "counts", "--mode", "subagent", "--permissions", "bash", "--model", "sallyport/"+model)
	all, err := filepath.Glob(filepath.Join(dir, "*", "counter.md"))
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 || len(all) != 1 {
		t.Fatalf("exit code %d, files %q:\n%s", code, all, tail(out))
	}
	if b, err := os.ReadFile(all[0]); err != nil || !strings.Contains(string(b), "You count to twelve.") {
		t.Errorf("the agent is not as the model described it: %s %v", b, err)
	}
}
