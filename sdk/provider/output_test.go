package provider

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// told runs build and returns its events, one line each, and the items they
// add up to.
func told(t *testing.T, build func(*Output)) (lines []string, acc *openresponses.Accumulator, err error) {
	t.Helper()
	acc = new(openresponses.Accumulator)
	build(NewOutput(func(e openresponses.Event, e2 error) bool {
		if err != nil {
			t.Fatalf("event %+v after the error %v", e, err)
		}
		if err = e2; err != nil {
			return true
		}
		if bad := acc.Add(e); bad != nil {
			t.Fatalf("%v\nafter:\n%s", bad, strings.Join(lines, "\n"))
		}
		lines = append(lines, string(e.AppendJSON(nil)))
		return true
	}))
	return lines, acc, err
}

func items(acc *openresponses.Accumulator) string {
	var b strings.Builder
	for _, it := range acc.Items() {
		b.Write(append(it.AppendJSON(nil), '\n'))
	}
	return b.String()
}

func TestOutput(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		build func(*Output)
		want  string // items
	}{
		{"text", func(o *Output) { o.Text("Hel"); o.Text(""); o.Text("lo"); o.Finish(openresponses.Terminal{}) },
			`{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[]}]}` + "\n"},
		{"text then refusal is one message", func(o *Output) { o.Text("a"); o.Refusal("no"); o.Finish(openresponses.Terminal{}) },
			`{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]},{"type":"refusal","refusal":"no"}]}` + "\n"},
		{"two summary parts and state", func(o *Output) {
			o.Summary("one")
			o.ClosePart()
			o.Summary("two")
			o.ReasoningState(openresponses.OpaqueState{Provider: "p", Family: "f", Data: []byte("x")})
			o.Text("hi")
			o.Finish(openresponses.Terminal{})
		}, `{"type":"reasoning","summary":[{"type":"summary_text","text":"one"},{"type":"summary_text","text":"two"}],"encrypted_content":"sp1.p.f.eA","status":"completed"}
{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}` + "\n"},
		{"a second state is a second item", func(o *Output) {
			st := openresponses.OpaqueState{Provider: "p", Family: "f", Data: []byte("x")}
			o.ReasoningState(st)
			o.ReasoningState(st)
			o.Finish(openresponses.Terminal{})
		}, strings.Repeat(`{"type":"reasoning","summary":[],"encrypted_content":"sp1.p.f.eA","status":"completed"}`+"\n", 2)},
		{"interleaved calls, text among them", func(o *Output) {
			o.Text("t")
			o.Call("0", "c0", "f")
			o.Call("1", "c1", "g")
			o.Arguments("1", "{1")
			o.Arguments("0", "{0")
			o.Text("later")
			o.Arguments("1", "}")
			o.Arguments("0", "}")
			o.Finish(openresponses.Terminal{})
		}, `{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"t","annotations":[]}]}
{"type":"function_call","call_id":"c0","name":"f","arguments":"{0}","status":"completed"}
{"type":"function_call","call_id":"c1","name":"g","arguments":"{1}","status":"completed"}
{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"later","annotations":[]}]}` + "\n"},
		{"arguments before the name", func(o *Output) {
			o.Arguments("0", "{")
			o.Call("0", "c", "f")
			o.Arguments("0", "}")
			o.CloseCall("0")
			o.Text("x")
			o.Finish(openresponses.Terminal{})
		}, `{"type":"function_call","call_id":"c","name":"f","arguments":"{}","status":"completed"}
{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[]}]}` + "\n"},
		{"call ids: none, twice, too long", func(o *Output) {
			for i, id := range []string{"", "c", "c", strings.Repeat("l", 65)} {
				k := fmt.Sprint(i)
				o.Call(k, id, "f")
				o.CloseCall(k)
			}
			o.Finish(openresponses.Terminal{})
		}, `{"type":"function_call","call_id":"call_0","name":"f","arguments":"","status":"completed"}
{"type":"function_call","call_id":"c","name":"f","arguments":"","status":"completed"}
{"type":"function_call","call_id":"call_2","name":"f","arguments":"","status":"completed"}
{"type":"function_call","call_id":"call_6cf9087d227669bc6aa90a6c6b5181d9","name":"f","arguments":"","status":"completed"}` + "\n"},
		{"cut by the token limit", func(o *Output) {
			o.Text("a")
			o.Call("0", "c0", "f")
			o.Call("1", "c1", "g")
			o.Arguments("1", "{")
			o.Finish(openresponses.Terminal{Status: openresponses.StatusIncomplete, Reason: "max_output_tokens"})
		}, `{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]}]}
{"type":"function_call","call_id":"c0","name":"f","arguments":"","status":"completed"}
{"type":"function_call","call_id":"c1","name":"g","arguments":"{","status":"incomplete"}` + "\n"},
		{"failed in the middle of several calls", func(o *Output) {
			o.Call("0", "c0", "f")
			o.Call("1", "c1", "g")
			o.Call("2", "c2", "h")
			o.Arguments("0", "{}")
			o.Arguments("1", `{"a":`)
			o.Arguments("2", "{}")
			o.Finish(openresponses.Terminal{Status: openresponses.StatusFailed})
		}, `{"type":"function_call","call_id":"c0","name":"f","arguments":"{}","status":"completed"}
{"type":"function_call","call_id":"c1","name":"g","arguments":"{\"a\":","status":"incomplete"}` + "\n"},
		{"failed after a call that was closed", func(o *Output) {
			o.Call("0", "c0", "f")
			o.Call("1", "c1", "g")
			o.Arguments("1", "{}")
			o.Arguments("0", "oddly closed")
			o.CloseCall("0")
			o.Finish(openresponses.Terminal{Status: openresponses.StatusFailed})
		}, `{"type":"function_call","call_id":"c0","name":"f","arguments":"oddly closed","status":"completed"}
{"type":"function_call","call_id":"c1","name":"g","arguments":"{}","status":"incomplete"}` + "\n"},
		{"annotations", func(o *Output) {
			o.Text("see")
			o.Annotate(openresponses.Annotation{Type: "url_citation", URL: "https://e.example", Title: "E", EndIndex: 3})
			o.Text(" it")
			o.Finish(openresponses.Terminal{})
		}, `{"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"see it","annotations":[{"type":"url_citation","url":"https://e.example","title":"E","start_index":0,"end_index":3}]}]}` + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, acc, err := told(t, tt.build)
			if err != nil || acc.Terminal() == nil {
				t.Fatalf("ended with error %v, terminal %v", err, acc.Terminal())
			}
			if got := items(acc); got != tt.want {
				t.Errorf("items:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func TestOutputUsageRides(t *testing.T) {
	t.Parallel()
	_, acc, _ := told(t, func(o *Output) {
		o.Usage(openresponses.Usage{Input: 5})
		o.Text("x")
		o.Usage(openresponses.Usage{Input: 5, Output: 7})
		o.Finish(openresponses.Terminal{})
	})
	if got, ok := acc.Usage(); !ok || got != (openresponses.Usage{Input: 5, Output: 7}) {
		t.Errorf("usage = %+v, %v", got, ok)
	}
}

func TestOutputUnnamedCall(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Output) bool{
		"finish": func(o *Output) bool { return o.Finish(openresponses.Terminal{}) },
		"close":  func(o *Output) bool { return o.CloseCall("0") },
	} {
		_, acc, err := told(t, func(o *Output) {
			o.Arguments("0", "{}")
			end(o)
			o.Text("nothing follows")
		})
		if apierror.CodeOf(err) != apierror.UpstreamFailed || acc.Terminal() != nil {
			t.Errorf("%s: err = %v, terminal = %v", name, err, acc.Terminal())
		}
	}
}

func TestOutputStopsWithItsConsumer(t *testing.T) {
	t.Parallel()
	n := 0
	o := NewOutput(func(openresponses.Event, error) bool { n++; return n < 3 })
	for range 10 {
		o.Text("x")
	}
	if o.Call("0", "c", "f") || o.Finish(openresponses.Terminal{}) || o.Fail(errors.New("late")) || n != 3 {
		t.Errorf("went on after the consumer stopped: %d events", n)
	}
}

// TestOutputAnyOrder calls the methods in random orders: whatever a translator
// does, its events keep the grammar, and no delta is lost.
func TestOutputAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		want := map[byte]int{}
		give := func(o *Output, c byte) string {
			n := r.IntN(3)
			if !o.ended {
				want[c] += n
			}
			return strings.Repeat(string(c), n)
		}
		_, acc, err := told(t, func(o *Output) {
			for range 1 + r.IntN(25) {
				key := fmt.Sprint(r.IntN(4))
				switch r.IntN(14) {
				case 0, 1:
					o.Text(give(o, 't'))
				case 2:
					o.Refusal(give(o, 'r'))
				case 3:
					o.Reasoning(give(o, 'R'))
				case 4:
					o.Summary(give(o, 's'))
				case 5:
					o.ReasoningState(openresponses.OpaqueState{Provider: "p", Family: "f"})
				case 6, 7:
					o.Call(key, []string{"", "a", "b"}[r.IntN(3)], "f"+key)
				case 8, 9:
					if o.call(key) != nil {
						o.Arguments(key, give(o, 'a'))
					}
				case 10:
					o.CloseCall(key)
				case 11:
					o.CloseItem()
				case 12:
					o.Annotate(openresponses.Annotation{Type: "url_citation"})
					o.ClosePart()
				case 13:
					o.Usage(openresponses.Usage{Output: int64(r.IntN(9))})
				}
			}
			o.Finish(openresponses.Terminal{Status: []string{"", "incomplete", "failed"}[r.IntN(3)]})
		})
		if err != nil || acc.Terminal() == nil {
			t.Fatalf("seed %d: err %v, terminal %v", seed, err, acc.Terminal())
		}
		got := map[byte]int{}
		for _, it := range acc.Items() {
			got['a'] += len(it.Arguments)
			for _, p := range append(it.Content, it.Summary...) {
				for _, c := range []byte(p.Text + p.Refusal) {
					got[c]++
				}
			}
		}
		cut := acc.Terminal().Status != openresponses.StatusCompleted // what waited behind a call that is not whole is lost then
		for c, n := range want {
			if got[c] != n && !(cut && got[c] < n) {
				t.Fatalf("seed %d: %d of %q told, want %d", seed, got[c], c, n)
			}
		}
	}
}
