package gateway_test

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// aggregate is a question about the reviews, and its answer by another way
// than SQL.
type aggregate struct {
	sql  string
	want func([]samples.Review) float64
}

var aggregates = []aggregate{
	{"SELECT sum(helpful_votes) AS votes FROM main.sales.reviews WHERE stars <= 2 AND verified", func(rows []samples.Review) (sum float64) {
		for _, r := range rows {
			if r.Stars <= 2 && r.Verified {
				sum += float64(r.Helpful)
			}
		}
		return sum
	}},
	{"SELECT count(DISTINCT product_id) AS products FROM main.sales.reviews WHERE country = 'CZ' AND stars = 1", func(rows []samples.Review) float64 {
		seen := map[int64]bool{}
		for _, r := range rows {
			if r.Country == "CZ" && r.Stars == 1 {
				seen[r.ProductID] = true
			}
		}
		return float64(len(seen))
	}},
	{"SELECT avg(stars * length(body)) AS weight FROM main.sales.reviews WHERE product LIKE '%Lamp'", func(rows []samples.Review) float64 {
		sum, n := 0.0, 0.0
		for _, r := range rows {
			if strings.HasSuffix(r.Product, "Lamp") {
				sum, n = sum+float64(int(r.Stars)*len(r.Body)), n+1
			}
		}
		return sum / n
	}},
}

var aNumber = regexp.MustCompile(`-?\d+(\.\d+)?`)

// holds tells whether a result, as the model reads it, has the number.
func holds(result string, want float64) bool {
	for _, s := range aNumber.FindAllString(result, -1) {
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f-want) <= 1e-9*math.Max(1, math.Abs(want)) {
			return true
		}
	}
	return false
}

// What holds of every provider, in one world.
func TestProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"tool types", toolTypes}, // the first: no model is called
		{"same request", func(t *testing.T, w *world) { sameRequest(t, w, samples.Seed, false, true) }},
		{"conversation moves", conversationMoves},
		{"dialects", everyDialect},
		{"stop reasons", stopReasons},
		{"endless loop", endlessLoop},
	} {
		t.Run(part.name, func(t *testing.T) {
			for _, up := range []*upstream.Server{w.openai, w.anthropic, w.gemini} {
				up.Reset()
			}
			part.run(t, w)
		})
	}
}

// What the tables hold decides what the answer is.
func TestSameRequestOtherTables(t *testing.T) {
	t.Parallel()
	sameRequest(t, newWorld(t, 7), 7, false)
}

// One request, unchanged but for the model, over every provider: the table is
// queried, then a function of the client is called, and the echoed history
// goes on with the reasoning of each provider still valid.
func sameRequest(t *testing.T, w *world, seed uint64, streams ...bool) {
	rows := samples.Reviews(seed)
	for _, model := range []string{gpt, chat, claude, google} {
		for _, stream := range streams {
			t.Run(fmt.Sprintf("%s stream=%v", model, stream), func(t *testing.T) {
				conversation(t, w, rows, model, stream)
			})
		}
	}
}

func conversation(t *testing.T, w *world, rows []samples.Review, model string, stream bool) {
	up := w.upstream(model)
	before := len(up.Requests())
	up.Script(
		upstream.Turn{Reasoning: "I need two numbers.", Text: "Let me look.", Calls: []upstream.Call{sql(aggregates[0].sql), sql(aggregates[1].sql)},
			Usage: upstream.Usage{Input: 100, Cached: 20, Output: 30, Reasoning: 5}},
		upstream.Turn{Reasoning: "And a third.", Calls: []upstream.Call{sql(aggregates[2].sql)}, Usage: upstream.Usage{Input: 200, Cached: 40, Output: 10}},
		upstream.Turn{Reasoning: "Now tell the shop.", Calls: []upstream.Call{{Name: "flag_review", Arguments: `{"review_id": 17}`}}, Usage: upstream.Usage{Input: 300, Output: 10}},
	)
	request := object{
		"model": model, "stream": stream, "tools": tools(), "instructions": "You help the shop.", "store": false,
		"reasoning": object{"effort": "medium", "summary": "auto"}, "include": []string{"reasoning.encrypted_content"},
		"input": []any{object{"role": "user", "content": "Which reviews are urgent?"}},
	}
	a := w.ask(t, request)
	if a.status != 200 || a.response["status"] != "completed" {
		w.refused(t)
		t.Fatalf("first turn: got %d %s", a.status, a.raw)
	}
	results := a.results()
	if len(results) != 3 {
		t.Fatalf("got %d results, want 3: %s", len(results), a.raw)
	}
	for i, q := range aggregates {
		if want := q.want(rows); !holds(results[i], want) {
			t.Errorf("%s: got %q, want %v", q.sql, results[i], want)
		}
	}
	calls := a.output("function_call")
	pending := calls[len(calls)-1]
	if len(calls) != 4 || pending["name"] != "flag_review" || !strings.Contains(fmt.Sprint(pending["arguments"]), "17") {
		t.Fatalf("calls: got %v", calls)
	}
	usage, _ := json.Marshal(a.response["usage"])
	if got := a.response["usage"].(object); got["input_tokens"] != 660.0 || got["output_tokens"] != 55.0 || got["total_tokens"] != 715.0 {
		t.Errorf("usage of three turns: got %s, want 660 in, 55 out", usage)
	}

	up.Script(upstream.Turn{Reasoning: "Done.", Text: "Review 17 is flagged."})
	input := append(request["input"].([]any), a.echo()...)
	input = append(input, object{"type": "function_call_output", "call_id": pending["call_id"], "output": `{"flagged":true}`})
	request["input"] = input
	b := w.ask(t, request)
	if b.status != 200 || b.response["status"] != "completed" || b.text() != "Review 17 is flagged." {
		w.refused(t)
		t.Fatalf("second turn: got %d %s", b.status, b.raw)
	}
	w.refused(t)
	requests := up.Requests()[before:]
	if len(requests) != 4 || up.Left() != 0 {
		t.Fatalf("the provider got %d requests, want 4, and %d turns are left", len(requests), up.Left())
	}
	last := string(requests[3].Body)
	for _, want := range []string{"flagged", "You help the shop.", "Which reviews are urgent?"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last request does not hold %q: %s", want, last)
		}
	}
	state := map[string]string{gpt: `"encrypted_content":"gAAAAA`, claude: `"signature":"`, google: `"thoughtSignature":"`, chat: ""}[model]
	if n := strings.Count(last, state); state != "" && n < 3 {
		t.Errorf("the last request holds the state of %d reasonings, want 3: %s", n, last)
	}
}

// A conversation moves between the providers with every turn.
func conversationMoves(t *testing.T, w *world) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("stream=", stream), func(t *testing.T) {
			input := []any{user("Look at the reviews.")}
			for i, model := range []string{claude, gpt, google, claude, chat, google, gpt, claude} {
				up := w.upstream(model)
				up.Script(
					upstream.Turn{Reasoning: "Step " + strconv.Itoa(i), Text: "Looking.", Calls: []upstream.Call{sql(aggregates[i%3].sql), sql("SELECT 1 AS one")}},
					upstream.Turn{Reasoning: "Ask", Calls: []upstream.Call{{Name: "flag_review", Arguments: fmt.Sprintf(`{"review_id":%d}`, i)}}},
				)
				request := object{"model": model, "stream": stream, "tools": tools(), "input": input,
					"reasoning": object{"effort": "low"}, "include": []string{"reasoning.encrypted_content"}}
				a := w.ask(t, request)
				if a.status != 200 || a.response["status"] != "completed" {
					w.refused(t)
					t.Fatalf("turn %d on %s: got %d %s", i, model, a.status, a.raw)
				}
				calls := a.output("function_call")
				input = append(input, a.echo()...)
				input = append(input, object{"type": "function_call_output", "call_id": calls[len(calls)-1]["call_id"], "output": "flagged"})
				if i%2 == 0 { // sometimes the user speaks, sometimes the next model takes over in mid-turn
					input = append(input, user("Go on."))
				}
			}
			w.refused(t)
		})
	}
}
