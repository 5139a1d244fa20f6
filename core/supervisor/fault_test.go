package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/lint"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const tableRequest = `{"model":"m","input":"x","tools":[{"type":"table","table":{"name":"main.sales.reviews"}}]}`

// fault is one run in which something goes wrong.
type fault struct {
	name   string
	body   string
	script string
	loop   bool          // the script's last turn is played for ever
	code   apierror.Code // of the error that is returned
	holds  []string      // what the final response must hold
	limits supervisor.Limits
}

// TestFaults runs each fault in all dialects, streamed and not. A bubble of
// synctest ends only when every goroutine of the run has ended, so this is the
// check for leaks too.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []fault{
		{name: "refused before the first event", body: tableRequest, script: "turn\nfail upstream_limited Busy.", code: apierror.UpstreamLimited},
		{name: "ends without a terminal event", body: tableRequest, script: "turn\ncall a main__sales__reviews {\"sql\":\"SELECT 1\"}\nturn\ncut", holds: []string{`"status":"failed"`, `"upstream_failed"`}},
		{name: "a loop that never ends", body: tableRequest, loop: true, script: "turn\ncall a main__sales__reviews {\"sql\":\"SELECT 1\"}",
			holds: []string{`"status":"incomplete"`, `{"reason":"max_turns"}`}},
		{name: "three turns", body: tableRequest, loop: true, script: "turn\ncall a invented {}", limits: supervisor.Limits{Turns: 3},
			holds: []string{`{"reason":"max_turns"}`, `"usage":null`}},
		{name: "a tool hangs", body: tableRequest, script: "turn\ncall a main__sales__reviews {\"sql\":\"hang\"}\nturn\ntext Too slow.",
			holds: []string{`"status":"completed"`, "was stopped after 2m0s", "Too slow."}},
		{name: "tokens run out between turns", body: strings.Replace(tableRequest, `"input"`, `"max_output_tokens":40,"input"`, 1),
			script: "turn\ncall a main__sales__reviews {\"sql\":\"SELECT 1\"}\nusage 1 30 0 0", holds: []string{`"status":"incomplete"`, `{"reason":"max_output_tokens"}`}},
		{name: "content filter", body: `{"model":"m","input":"x"}`, script: "turn\ntext Hm\nincomplete content_filter", holds: []string{`{"reason":"content_filter"}`}},
	}
	for _, tt := range tests {
		for _, d := range render.Dialects {
			t.Run(tt.name+"/"+string(d), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { tt.run(t, d, true); tt.run(t, d, false) })
			})
		}
	}
}

func (tt fault) run(t *testing.T, d render.Dialect, streamed bool) {
	t.Helper()
	w := newWorld(t, tt.limits, toolset.Limits{})
	model := parseScript(t, tt.script)
	model.loop = tt.loop
	w.model = model.generate
	var events []render.Event
	var emit func(render.Event) error
	if streamed {
		emit = func(e render.Event) error { events = append(events, e); return nil }
	}
	response, err := w.run(t, t.Context(), d, tt.body, emit)
	if got := apierror.CodeOf(err); got != tt.code {
		t.Fatalf("streamed %t: code = %q, want %q (%v)", streamed, got, tt.code, err)
	}
	if err != nil {
		if len(events) > 0 {
			t.Errorf("%d events came before the error", len(events))
		}
		return
	}
	for _, h := range tt.holds {
		if !strings.Contains(string(response), h) {
			t.Errorf("streamed %t: the response does not hold %s:\n%s", streamed, h, response)
		}
	}
	if err := lint.Response(d, response); err != nil {
		t.Error(err)
	}
	if streamed {
		if err := lint.Stream(d, events); err != nil {
			t.Error(err)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	scripts := map[string]string{
		"while the model is silent": "turn\nwait",
		"while the model speaks":    "turn\ntext Half\nwait",
		"while a tool runs":         "turn\ncall a main__sales__reviews {\"sql\":\"hang\"}\ncall b main__sales__reviews {\"sql\":\"hang\"}",
		"in the second turn":        "turn\ncall a main__sales__reviews {\"sql\":\"SELECT 1\"}\nturn\nwait",
	}
	for name, script := range scripts {
		for _, d := range render.Dialects {
			t.Run(name+"/"+string(d), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
					w.model = parseScript(t, script).generate
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					var events []render.Event
					response, err := w.run(t, ctx, d, tableRequest, func(e render.Event) error { events = append(events, e); return nil })
					if err != nil {
						t.Fatalf("error = %v, want a failed response: the stream had begun", err)
					}
					if err := lint.Stream(d, events); err != nil {
						t.Error(err)
					}
					if !strings.Contains(string(response), `"code":"canceled"`) {
						t.Errorf("the response does not say canceled: %s", response)
					}
				})
			})
		}
	}
}

func TestCancelBeforeAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
	w.model = parseScript(t, "turn\nwait").generate
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.run(t, ctx, render.Databricks, `{"model":"m","input":"x"}`, nil)
	if !apierror.Is(err, apierror.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
}

// TestHold: nothing is sent until the model speaks, but after a second the
// stream begins; an error after that is told by events.
func TestHold(t *testing.T) {
	t.Parallel()
	for _, silence := range []time.Duration{999 * time.Millisecond, 1001 * time.Millisecond} {
		t.Run(silence.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
				w.model = func(ctx context.Context, c router.Call) iter.Seq2[openresponses.Event, error] {
					return func(yield func(openresponses.Event, error) bool) {
						time.Sleep(silence)
						yield(openresponses.Event{}, apierror.New(apierror.UpstreamTimeout, "Too late."))
					}
				}
				var events []render.Event
				_, err := w.run(t, t.Context(), render.OpenAI, `{"model":"m","input":"x"}`, func(e render.Event) error { events = append(events, e); return nil })
				if begun := silence > time.Second; begun {
					if err != nil || len(events) != 4 {
						t.Errorf("error = %v with %d events, want none with 4", err, len(events))
					} else if err := lint.Stream(render.OpenAI, events); err != nil {
						t.Error(err)
					}
				} else if !apierror.Is(err, apierror.UpstreamTimeout) || len(events) > 0 {
					t.Errorf("error = %v with %d events, want upstream_timeout with none", err, len(events))
				}
			})
		})
	}
}

// TestClientGone: when an event cannot be sent, the model and the tools are
// stopped, and nothing more is sent.
func TestClientGone(t *testing.T) {
	t.Parallel()
	const script = "turn\ntext Hello\ncall a main__sales__reviews {\"sql\":\"hang\"}\nturn\ntext End"
	for _, last := range []int{0, 1, 2, 4, 9, 11} {
		t.Run(fmt.Sprint(last), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
				w.model = parseScript(t, script).generate
				n := 0
				_, err := w.run(t, t.Context(), render.Databricks, tableRequest, func(render.Event) error {
					if n++; n > last {
						return errors.New("broken pipe")
					}
					return nil
				})
				if err != nil {
					t.Errorf("error = %v, want none: something was sent", err)
				}
				if n != last+1 {
					t.Errorf("%d events were sent, want %d and no more after the first failure", n, last+1)
				}
			})
		})
	}
}

// TestLoginIsAResponse: a tool whose connection needs a login does not fail
// the request but ends the response.
func TestLoginIsAResponse(t *testing.T) {
	t.Parallel()
	const message = "Failed request to github. Please login first at https://gate.example/login."
	w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
	w.tools["uc_connection"] = served{loginTool{message}, tool.Manifest{Type: "uc_connection"}}
	body := `{"model":"m","input":"x","tools":[{"type":"uc_connection","uc_connection":{"name":"github"}}]}`
	for _, d := range render.Dialects {
		var events []render.Event
		streamed, err := w.run(t, t.Context(), d, body, func(e render.Event) error { events = append(events, e); return nil })
		if err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		if err := lint.Stream(d, events); err != nil {
			t.Errorf("%s: %v", d, err)
		}
		plain, err := w.run(t, t.Context(), d, body, nil)
		if err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		for _, r := range [][]byte{streamed, plain} {
			if !strings.Contains(string(r), `"status":"failed"`) || !strings.Contains(string(r), `"code":"oauth","message":"`+message) {
				t.Errorf("%s: the response does not ask for the login: %s", d, r)
			}
		}
	}
}

type loginTool struct{ message string }

func (l loginTool) Open(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
	return tool.Opened{}, apierror.New(apierror.OAuth, "%s", l.message)
}

func (loginTool) Call(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
	return tool.Result{}, errors.New("never called")
}

// TestSideBySide: calls of one turn run at the same time up to the limit, one
// after the other when the client asks for it, and finish in any order.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	tests := []struct {
		calls, limit int
		serial       bool
		most         int32
		elapsed      time.Duration // each call takes 1 s, the first 2 s
	}{
		{calls: 3, most: 3, elapsed: 2 * time.Second},
		{calls: 40, most: 16, elapsed: 3 * time.Second},
		{calls: 4, limit: 2, most: 2, elapsed: 3 * time.Second},
		{calls: 3, serial: true, most: 1, elapsed: 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d calls limit %d serial %t", tt.calls, tt.limit, tt.serial), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, supervisor.Limits{SideBySide: tt.limit}, toolset.Limits{})
				s := &slow{}
				w.tools["acme_slow"] = served{s, tool.Manifest{Type: "acme_slow"}}
				script := "turn\n"
				for i := range tt.calls {
					script += fmt.Sprintf("call c%d slow {\"n\":%d}\n", i, i)
				}
				w.model = parseScript(t, script+"turn\ntext Done").generate
				body := fmt.Sprintf(`{"model":"m","input":"x","parallel_tool_calls":%t,"tools":[{"type":"acme_slow"}]}`, !tt.serial)
				start := time.Now()
				for _, d := range []render.Dialect{render.Databricks, render.OpenAI} {
					w.model = parseScript(t, script+"turn\ntext Done").generate
					start = time.Now()
					var events []render.Event
					response, err := w.run(t, t.Context(), d, body, func(e render.Event) error { events = append(events, e); return nil })
					if err != nil {
						t.Fatal(err)
					}
					if err := lint.Stream(d, events); err != nil {
						t.Error(err)
					}
					at := 0
					for i := range tt.calls {
						next := strings.Index(string(response)[at:], fmt.Sprintf(`"output":"result %d"`, i))
						if next < 0 {
							t.Fatalf("%s: result %d is missing or out of order: %s", d, i, response)
						}
						at += next
					}
				}
				if got := time.Since(start); got != tt.elapsed {
					t.Errorf("the run took %v, want %v", got, tt.elapsed)
				}
				if got := s.most.Load(); got != tt.most {
					t.Errorf("%d calls ran at once, want %d", got, tt.most)
				}
			})
		})
	}
}

// slow counts how many of its calls run at once.
type slow struct{ now, most atomic.Int32 }

func (*slow) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "slow"}}}, nil
}

func (s *slow) Call(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for {
		m := s.most.Load()
		if n <= m || s.most.CompareAndSwap(m, n) {
			break
		}
	}
	time.Sleep(time.Second)
	if string(c.Arguments) == `{"n":0}` {
		time.Sleep(time.Second)
	}
	return tool.Text("result " + strings.Trim(string(c.Arguments), `{}":n`)), nil
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	if _, err := supervisor.New(supervisor.Deps{}); err == nil {
		t.Error("New accepted no dependencies")
	}
}

// The tokens that come with an error are the whole call's: what its events
// said before is among them and is not counted twice.
func TestTokensOfAFailedTurnCountOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
		turns := 0
		w.model = func(_ context.Context, _ router.Call) iter.Seq2[openresponses.Event, error] {
			turns++
			first := turns == 1
			return func(yield func(openresponses.Event, error) bool) {
				o := provider.NewOutput(yield)
				if first {
					o.Call("a", "a", "main__sales__reviews")
					o.Arguments("a", `{"sql":"SELECT 1"}`)
					o.Usage(openresponses.Usage{Input: 1, Output: 1})
					o.Finish(openresponses.Terminal{Status: "completed"})
					return
				}
				o.Usage(openresponses.Usage{Input: 10, Output: 5})
				o.Text("Half an ans")
				yield(openresponses.Event{Usage: &openresponses.Usage{Input: 10, Output: 5}}, apierror.New(apierror.UpstreamFailed, "Cut."))
			}
		}
		response, err := w.run(t, t.Context(), render.Databricks, tableRequest, nil)
		if err != nil || !strings.Contains(string(response), `"total_tokens":17`) {
			t.Errorf("got %s, %v; want 17 tokens in all", response, err)
		}
	})
}
