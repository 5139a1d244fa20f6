package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/core/supervisor/lint"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// Every output dialect over every provider: reasoning, text, parallel calls of
// the table, then a call of the client. The history that a client echoes in
// one dialect goes on in any other.
func everyDialect(t *testing.T, w *world) {
	for _, model := range []string{gpt, chat, claude, google} {
		var input []any
		for i, d := range append(render.Dialects, render.Dialects...) {
			stream := i >= len(render.Dialects)
			if i%3 == 0 { // else the next dialect takes over in mid-turn
				input = append(input, user("Look at the reviews."))
			}
			w.upstream(model).Script(
				upstream.Turn{Reasoning: "Two questions.", Text: "Looking.", Calls: []upstream.Call{sql(aggregates[0].sql), sql("SELECT nothing FROM main.sales.reviews")}},
				upstream.Turn{Calls: []upstream.Call{{Name: "flag_review", Arguments: fmt.Sprintf(`{"review_id":%d}`, i)}}},
			)
			status, _, raw := w.Post(w.token, "/ai-gateway/mlflow/v1/responses", object{"model": model, "stream": stream, "tools": tools(), "input": input,
				"reasoning": object{"effort": "low", "summary": "auto"}, "include": []string{"reasoning.encrypted_content"}}, "Sallyport-Output", string(d))
			if status != 200 {
				t.Fatalf("%s %s: got %d %s", model, d, status, raw)
			}
			a := answer{status: status, raw: raw}
			err := lint.Response(d, raw)
			if stream {
				err = lint.SSE(d, raw)
				for line := range strings.Lines(string(raw)) {
					var ev object
					data, _ := strings.CutPrefix(line, "data: ")
					if json.Unmarshal([]byte(data), &ev) == nil && ev["response"] != nil {
						a.response = ev["response"].(object)
					}
				}
			} else if err := json.Unmarshal(raw, &a.response); err != nil {
				t.Fatal(err)
			}
			if err != nil {
				t.Errorf("%s %s stream=%v: %v\n%s", model, d, stream, err, raw)
			}
			if want := aggregates[0].want(samples.Reviews(samples.Seed)); !holds(string(raw), want) {
				t.Errorf("%s %s stream=%v: no result %v in %s", model, d, stream, want, raw)
			}
			calls := a.output("function_call")
			if a.response["status"] != "completed" || len(calls) == 0 || calls[len(calls)-1]["name"] != "flag_review" {
				t.Fatalf("%s %s stream=%v: got %s", model, d, stream, raw)
			}
			all, _ := a.response["output"].([]any)
			input = append(input, all...)
			input = append(input, object{"type": "function_call_output", "call_id": calls[len(calls)-1]["call_id"], "output": "flagged"})
		}
	}
	w.refused(t)
}

// Whatever makes a model stop is said in the one way that clients know.
func stopReasons(t *testing.T, w *world) {
	for _, model := range []string{gpt, chat, claude, google} {
		for _, stream := range []bool{false, true} {
			ask := func(turn upstream.Turn) answer {
				w.upstream(model).Script(turn)
				return w.ask(t, object{"model": model, "input": "hi", "stream": stream, "max_output_tokens": 500})
			}
			a := ask(upstream.Turn{Text: "It goes on and", Stop: upstream.MaxTokens})
			details, _ := a.response["incomplete_details"].(object)
			if a.response["status"] != "incomplete" || details["reason"] != "max_output_tokens" || a.text() != "It goes on and" {
				t.Errorf("%s stream=%v, cut by its limit: got %d %s", model, stream, a.status, a.raw)
			}
			a = ask(upstream.Turn{Text: "No", Stop: upstream.Filter})
			details, _ = a.response["incomplete_details"].(object)
			if s := a.response["status"]; a.status != 200 || s == "failed" || s == "incomplete" && details["reason"] != "content_filter" {
				t.Errorf("%s stream=%v, filtered: got %d %s", model, stream, a.status, a.raw)
			}
			if model == google { // has no words for a refusal
				continue
			}
			a = ask(upstream.Turn{Refusal: "I will not do that."})
			if a.status != 200 || !strings.Contains(string(a.raw), "I will not do that.") {
				t.Errorf("%s stream=%v, refused: got %d %s", model, stream, a.status, a.raw)
			}
		}
	}
	w.refused(t)
}
