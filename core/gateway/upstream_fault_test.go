package gateway_test

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

const (
	answered = "Here is the answer that you asked for."
	fallback = "Another provider says this."
)

// outcome is how a request may end.
type outcome int

const (
	completes outcome = iota // with the scripted text
	fails                    // response.failed, after response.created
	refuses                  // an HTTP error, or response.failed for a stream that has begun
)

// Each fault of a provider ends as a clear error or is made good, streamed or
// not, and the next request works.
func TestUpstreamFaults(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name            string
		turn            upstream.Turn
		streamed, plain outcome
		status          int    // of the HTTP error
		code            string // of the failure
	}{
		{"drip", upstream.Turn{Text: answered, Fault: upstream.Drip}, completes, completes, 0, ""},
		{"cut", upstream.Turn{Text: answered, Fault: upstream.Cut}, fails, refuses, 502, "upstream_failed"},
		{"ended", upstream.Turn{Text: answered, Fault: upstream.Ended}, fails, refuses, 502, "upstream_failed"},
		{"garbage", upstream.Turn{Fault: upstream.Garbage}, refuses, refuses, 502, "upstream_failed"},
		{"garbage in the middle", upstream.Turn{Text: answered, Fault: upstream.GarbageMid}, fails, refuses, 502, "upstream_failed"},
		{"error event", upstream.Turn{Text: answered, Fault: upstream.ErrorEvent}, fails, refuses, 502, ""},
		{"rate limit", upstream.Turn{Status: 429, RetryAfter: "0"}, refuses, refuses, 429, "upstream_limited"},
		{"broken", upstream.Turn{Status: 500}, refuses, refuses, 502, "upstream_failed"},
		{"overloaded", upstream.Turn{Status: 503}, refuses, refuses, 429, "upstream_limited"},
		{"bad request", upstream.Turn{Status: 400}, refuses, refuses, 400, "upstream_invalid"},
		{"key refused", upstream.Turn{Status: 401}, refuses, refuses, 502, "upstream_auth"},
	}
	w := newWorld(t, samples.Seed)
	for _, model := range []string{claude, google, gpt, chat} {
		t.Run(model, func(t *testing.T) {
			up := w.upstream(model)
			if model == claude { // whose fallback is OpenAI
				w.openai.Repeat(upstream.Turn{Text: fallback})
			}
			for _, f := range faults {
				for _, stream := range []bool{false, true} {
					name := fmt.Sprintf("%s stream=%v", f.name, stream)
					up.Reset()
					up.Repeat(f.turn)
					a := w.ask(t, object{"model": model, "input": "hi", "stream": stream})
					want := f.plain
					if stream {
						want = f.streamed
					}
					helped := model == claude && want == refuses && f.status != 400 && f.code != "upstream_auth"
					switch {
					case helped:
						if a.status != 200 || a.text() != fallback {
							t.Errorf("%s: got %d %s, want the fallback's answer", name, a.status, a.raw)
						}
					case want == completes:
						if a.status != 200 || a.text() != answered || a.response["status"] != "completed" {
							t.Errorf("%s: got %d %s", name, a.status, a.raw)
						}
					case want == fails:
						failedStream(t, name, a, f.code)
					default:
						code, message := a.failure()
						if f.code != "" && !strings.EqualFold(code, f.code) || message == "" {
							t.Errorf("%s: got code %q, message %q, want %q", name, code, message, f.code)
						}
						if a.status != f.status && !(stream && a.status == 200 && a.response["status"] == "failed") {
							t.Errorf("%s: got %d %s, want %d", name, a.status, a.raw, f.status)
						}
						clear := strings.Contains(message, "rovider") || strings.Contains(message, "Gemini") || f.status == 400
						if !clear {
							t.Errorf("%s: %q does not say who is at fault", name, message)
						}
					}
					if strings.Contains(string(a.raw), "canary") {
						t.Errorf("%s: a secret is in the reply %s", name, a.raw)
					}
				}
			}
			up.Reset()
			up.Repeat(upstream.Turn{Text: answered})
			if a := w.ask(t, object{"model": model, "input": "hi", "stream": true}); a.text() != answered {
				t.Errorf("the next request: got %d %s", a.status, a.raw)
			}
			w.refused(t)
		})
	}
}

// failedStream checks that a stream began and ended as failed.
func failedStream(t *testing.T, name string, a answer, code string) {
	t.Helper()
	if a.status != 200 || a.response["status"] != "failed" || !slices.Contains(a.events, "response.failed") || !slices.Contains(a.events, "error") {
		t.Errorf("%s: got %d %s, want a stream that ends in error and response.failed", name, a.status, a.raw)
	}
	got, message := a.failure()
	if code != "" && got != code || message == "" {
		t.Errorf("%s: got code %q, message %q, want %q", name, got, message, code)
	}
}

// A provider that says nothing, or stops in the middle, is given up after the
// configured time.
func TestUpstreamHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed, "timeouts: {first_byte: 120s, idle: 300s}", "timeouts: {first_byte: 1s, idle: 1s}")
	w.openai.Repeat(upstream.Turn{Text: fallback})
	for _, stream := range []bool{false, true} {
		before, middle := upstream.NewGate(), upstream.NewGate()
		w.anthropic.Script(upstream.Turn{Text: answered, Before: before})
		a := w.ask(t, object{"model": claude, "input": "hi", "stream": stream})
		if a.status != 200 || a.text() != fallback {
			t.Errorf("before the head, stream=%v: got %d %s, want the fallback", stream, a.status, a.raw)
		}
		<-before.Gone()
		w.anthropic.Script(upstream.Turn{Text: answered, Middle: middle})
		a = w.ask(t, object{"model": claude, "input": "hi", "stream": stream})
		if stream {
			failedStream(t, "in the middle", a, "upstream_timeout")
		} else if a.status != 200 || a.text() != fallback {
			t.Errorf("in the middle of a document: got %d %s, want the fallback", a.status, a.raw)
		}
		<-middle.Gone()
	}
	w.refused(t)
}

// A model that calls the table for ever is stopped after the last turn.
func endlessLoop(t *testing.T, w *world) {
	w.gemini.Repeat(upstream.Turn{Calls: []upstream.Call{sql("SELECT 1 AS one")}})
	for _, stream := range []bool{false, true} {
		before := len(w.gemini.Requests())
		a := w.ask(t, object{"model": google, "input": "Go on for ever.", "tools": tools(), "stream": stream})
		details, _ := a.response["incomplete_details"].(object)
		if a.status != 200 || a.response["status"] != "incomplete" || details["reason"] != "max_turns" {
			t.Errorf("stream=%v: got %d, status %v, %v", stream, a.status, a.response["status"], details)
		}
		if n := len(w.gemini.Requests()) - before; n != 25 {
			t.Errorf("stream=%v: the model was called %d times, want 25", stream, n)
		}
		if n := len(a.results()); n != 25 {
			t.Errorf("stream=%v: got %d results, want 25", stream, n)
		}
	}
	w.refused(t)
}

// A client that leaves in the middle of a stream ends the call of the
// provider.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed)
	for _, model := range []string{gpt, chat, claude, google} {
		gate := upstream.NewGate()
		w.upstream(model).Script(upstream.Turn{Text: answered, Middle: gate})
		resp := w.open(t, object{"model": model, "input": "hi", "stream": true})
		readUntil(t, bufio.NewReader(resp.Body), "response.output_text.delta")
		<-gate.Reached()
		resp.Body.Close()
		<-gate.Gone()

		w.upstream(model).Script(upstream.Turn{Text: answered})
		if a := w.ask(t, object{"model": model, "input": "hi"}); a.text() != answered {
			t.Errorf("%s: the next request: got %d %s", model, a.status, a.raw)
		}
	}
}

// readUntil reads events until one of the type has come whole.
func readUntil(t testing.TB, r *bufio.Reader, typ string) string {
	t.Helper()
	var all strings.Builder
	found := false
	for {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			t.Fatalf("no %s before the end of the stream (%v): %s", typ, err, all.String())
		}
		found = found || line == "event: "+typ+"\n"
		if found && line == "\n" {
			return all.String()
		}
	}
}
