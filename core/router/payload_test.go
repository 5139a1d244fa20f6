package router

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

const payloads = "main.logs.m_payload"

// kept is a bench whose model keeps its payloads in the table payloads, at most
// max bytes of each.
func kept(t *testing.T, max int64, steps ...http.HandlerFunc) (*usagetest.Log, *bench) {
	t.Helper()
	log := usagetest.New(t, statusOf, payloads)
	cfg := priced(newUpstream(t, steps...).URL)
	m := cfg.Models["m"]
	m.InferenceTable = &InferenceTable{Parent: "main.Logs", Prefix: "M", MaxBytes: max}
	cfg.Models["m"] = m
	return log, newRecordedBench(t, cfg, plugins{"lines": &lines{}}, log.Recorder)
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	message := func(status, text string) string {
		return `{"type":"message","status":"` + status + `","role":"assistant","content":[{"type":"output_text","text":"` + text + `","annotations":[]}]}`
	}
	spent := func(in, out int, estimated string) string {
		return fmt.Sprintf(`"usage":{"input_tokens":%d,"input_tokens_details":{"cached_tokens":0},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d%s}`, in, out, in+out, estimated)
	}
	const guess = `,"estimated":true`
	tests := []struct {
		name, script string
		output       string
		rest         string
	}{
		{"finished", good, message("completed", "hello"), `"status":"completed","incomplete_details":null,` + spent(7, 3, "") + `,"error":null`},
		{"calls", `call f {"a":1}; usage 7 3; finish`, `{"type":"function_call","call_id":"c-f","name":"f","arguments":"{\"a\":1}","status":"completed"}`,
			`"status":"completed","incomplete_details":null,` + spent(7, 3, "") + `,"error":null`},
		{"two items", `call f {}; item; part; text hi; usage 7 3; end`, `{"type":"function_call","call_id":"c-f","name":"f","arguments":"{}","status":"completed"},` + message("completed", "hi"),
			`"status":"completed","incomplete_details":null,` + spent(7, 3, "") + `,"error":null`},
		{"incomplete", "item; part; text he; usage 7 3; cut-short", message("incomplete", "he"),
			`"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},` + spent(7, 3, "") + `,"error":null`},
		{"failed in the middle", "call f {}; item; part; text par; text tial; fail upstream_failed sorry", `{"type":"function_call","call_id":"c-f","name":"f","arguments":"{}","status":"completed"},` + message("incomplete", "partial"),
			`"status":"failed","incomplete_details":null,` + spent(4, 3, guess) + `,"error":{"code":"upstream_failed","message":"sorry (the provider's request id is up-1)"}`},
		{"failed before a word", "fail upstream_invalid no", "", `"status":"failed","incomplete_details":null,` + spent(4, 0, guess) + `,"error":{"code":"upstream_invalid","message":"no (the provider's request id is up-1)"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log, b := kept(t, 0, says(tt.script))
			c := recorded("system.ai.M")
			c.Request.Input = []openresponses.Item{openresponses.Text("user", "hi there")}
			c.Request.Instructions = "Be brief."
			began := make(map[string]any)
			for ev, err := range b.Generate(t.Context(), caller, c) {
				if (err != nil || ev.IsTerminal()) && len(log.Payloads(payloads)) != 1 {
					t.Error("the payload is not there when the end is given on")
				}
			}
			rows := log.Payloads(payloads)
			if len(rows) != 1 {
				t.Fatalf("%d payload rows, want 1", len(rows))
			}
			r := rows[0]
			if want := `{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi there"}]}],"instructions":"Be brief.","stream":true}`; r["request"] != want {
				t.Errorf("request = %s\nwant %s", r["request"], want)
			}
			if err := json.Unmarshal([]byte(r["response"]), &began); err != nil {
				t.Fatalf("response = %s: %v", r["response"], err)
			}
			id := log.Settled()[0]["invocation_id"]
			want := fmt.Sprintf(`{"id":%q,"object":"response","created_at":%.0f,"model":"m","output":[%s],%s}`, id, began["created_at"], tt.output, tt.rest)
			if r["response"] != want {
				t.Errorf("response = %s\nwant %s", r["response"], want)
			}
			if r["endpoint_name"] != "m" || r["request_id"] != "req-1" || r["requester"] != "alice" || r["logging_error_codes"] != "" {
				t.Errorf("row = %v", r)
			}
			if got := log.Rows()[0]["endpoint_metadata.inference_table"]; got != payloads {
				t.Errorf("the usage row names the payload table %q", got)
			}
		})
	}
}

// What an attempt that was given up began to say is in no payload.
func TestPayloadOfFallback(t *testing.T) {
	t.Parallel()
	log, b := kept(t, 0, says("item; part; fail upstream_limited overloaded"), says(good))
	collect(b.Generate(t.Context(), caller, recorded("m")))
	if got := log.Payloads(payloads)[0]["response"]; strings.Count(got, `"type":"message"`) != 1 || !strings.Contains(got, "hello") {
		t.Errorf("response = %s, want the second attempt's item only", got)
	}
}

// A provider may say the key back; the table is read by people who must not have it.
func TestPayloadsHoldNoKey(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf, payloads)
	cfg := priced(newUpstream(t, says("item; part; text you sent Bearer "+canary+" to me; end")).URL)
	m := cfg.Models["m"]
	m.InferenceTable = &InferenceTable{Parent: "main.logs", Prefix: "m"}
	cfg.Models["m"] = m
	b := newRecordedBench(t, cfg, plugins{"lines": &lines{}}, log.Recorder)
	collect(b.Generate(t.Context(), caller, recorded("m")))
	got := log.Payloads(payloads)[0]["response"]
	if strings.Contains(got, canary) || !strings.Contains(got, "you sent Bearer") {
		t.Errorf("response = %s, want it without the key", got)
	}
}

func TestLargePayloads(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 3000)
	log, b := kept(t, 10_000, says("item; part; text "+long+"; end"))
	c := recorded("m")
	for range 1000 { // far more than is kept
		c.Request.Input = append(c.Request.Input, openresponses.Text("user", long))
	}
	collect(b.Generate(t.Context(), caller, c))
	r := log.Payloads(payloads)[0]
	if len(r["request"]) != 10_000 || !strings.HasPrefix(r["request"], `{"model":"m","input":[{"type":"message"`) {
		t.Errorf("%d bytes of the request are kept, want the first 10,000: %.60s", len(r["request"]), r["request"])
	}
	if len(r["response"]) != 10_000 || !strings.HasPrefix(r["response"], `{"id":"`) {
		t.Errorf("%d bytes of the reply are kept, want the first 10,000: %.60s", len(r["response"]), r["response"])
	}
	if got := r["logging_error_codes"]; got != "MAX_REQUEST_SIZE_EXCEEDED, MAX_RESPONSE_SIZE_EXCEEDED" {
		t.Errorf("logging_error_codes = %s", got)
	}
	big := asked(c.Request, &model{name: "m", payloadMax: 10_000})
	if len(big) > 30_000 {
		t.Errorf("%d bytes are written of a request of which 10,000 are kept", len(big))
	}
}

// However far a reply got, what is kept of it is one JSON object, with every
// word that was said.
func TestPayloadIsWhole(t *testing.T) {
	t.Parallel()
	var all []openresponses.Event
	o := provider.NewOutput(func(ev openresponses.Event, _ error) bool { all = append(all, ev); return true })
	o.Summary("su")
	o.Summary("mmary")
	o.Reasoning("thought \"1\"")
	o.Reasoning(" and 2")
	o.Text("first\n")
	o.ClosePart()
	o.Text("second")
	o.Refusal("no, ")
	o.Refusal("sorry")
	o.Call("c1", "c1", "f")
	o.Arguments("c1", `{"a":`)
	o.Arguments("c1", `1}`)
	o.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	log := usagetest.New(t, statusOf, payloads)
	cfg := offline(1)
	m := cfg.Models["m"]
	m.InferenceTable = &InferenceTable{Parent: "main.logs", Prefix: "m"}
	cfg.Models["m"] = m
	upTo := 0
	b := newRecordedBench(t, cfg, plugins{"offline": scripted(func(_ context.Context, _ provider.Turn, _ *provider.Output, yield func(openresponses.Event, error) bool) {
		for _, ev := range all[:upTo] {
			if !yield(ev, nil) {
				return
			}
		}
		yield(openresponses.Event{}, apierror.New(apierror.UpstreamInvalid, "cut"))
	})}, log.Recorder)
	for upTo = range len(all) + 1 {
		said := ""
		for ev, err := range b.Generate(t.Context(), caller, recorded("m")) {
			if said += ev.Delta; err != nil || ev.IsTerminal() {
				break
			}
		}
		rows := log.Payloads(payloads)
		var reply struct {
			Output []openresponses.Item `json:"output"`
			Status string               `json:"status"`
		}
		text := rows[len(rows)-1]["response"]
		if err := json.Unmarshal([]byte(text), &reply); err != nil || len(rows) != upTo+1 {
			t.Fatalf("cut after %d events: %d rows, the last with %s: %v", upTo, len(rows), text, err)
		}
		kept := ""
		for _, it := range reply.Output {
			for _, p := range append(it.Summary, it.Content...) {
				kept += p.Text + p.Refusal
			}
			kept += it.Arguments
		}
		if kept != said {
			t.Errorf("cut after %d events: %q is kept of %q:\n%s", upTo, kept, said, text)
		}
	}
}

// What a call costs more when its row is written.
func BenchmarkRecordedCall(b *testing.B) {
	for _, table := range []string{"", payloads} {
		name := "usage"
		if table != "" {
			name = "usage and payload"
		}
		b.Run(name, func(b *testing.B) {
			log := usagetest.New(b, statusOf, payloads)
			cfg := offline(1)
			if table != "" {
				m := cfg.Models["m"]
				m.InferenceTable = &InferenceTable{Parent: "main.logs", Prefix: "m"}
				cfg.Models["m"] = m
			}
			out, err := egress.New(egress.Config{})
			if err != nil {
				b.Fatal(err)
			}
			r, err := New(cfg, plugins{"offline": deltas{1}}, out, newAccess(b, everyModel), log.Recorder, nil, slog.New(slog.NewJSONHandler(io.Discard, nil)))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(r.Close)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range r.Generate(b.Context(), caller, recorded("m")) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
