package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// loop is the state of one run. It belongs to one goroutine, except for the
// beginning of the stream, which a timer may do.
type loop struct {
	s       *Supervisor
	run     Run
	past    *past
	set     *toolset.Set
	writer  *render.Writer
	cancel  context.CancelCauseFunc
	started time.Time

	input   []openresponses.Item // history and what happened since
	turn    int
	calls   int64 // hosted calls run or skipped
	usage   *openresponses.Usage
	tier    string
	outcome render.Outcome

	begin struct {
		sync.Mutex
		done     bool
		err      error
		streamed bool
	}
}

// startWriter makes the writer and wraps emit so that its failure is known as
// such.
func (l *loop) startWriter(emit func(render.Event) error) {
	h := render.Head{
		ID: l.run.ID, Created: l.run.Created, Dialect: l.run.Dialect,
		Request: l.run.Request, Listed: l.past.listed,
	}
	if l.set != nil {
		for _, f := range l.set.Hosted() {
			kind := render.Hosted
			switch {
			case f.Type == "web_search":
				kind = render.WebSearch
			case f.Object == toolset.PythonFunction: // the others are no code_interpreter to OpenAI's clients
				kind = render.Code
			}
			h.Hosted = append(h.Hosted, render.Function{
				Tool: f.Tool, Label: f.Type, Kind: kind,
				Approval: f.Approval == tool.Always, ReadOnly: f.Effect == tool.ReadOnly,
			})
		}
	}
	var send func(render.Event) error
	if emit != nil {
		l.begin.streamed = true
		send = func(e render.Event) error {
			if err := emit(e); err != nil {
				return fmt.Errorf("%w: %w", errGone, err)
			}
			return nil
		}
	}
	l.writer = render.NewWriter(h, send)
}

// beginOutput sends the first events, once.
func (l *loop) beginOutput() error {
	l.begin.Lock()
	defer l.begin.Unlock()
	if !l.begin.done {
		l.begin.done = true
		l.begin.err = l.writer.Begin()
	}
	return l.begin.err
}

// holdBegin begins the stream when the model has said nothing for too long.
// stop waits until the timer can do nothing any more.
func (l *loop) holdBegin(streamed bool) (stop func()) {
	if !streamed {
		return func() {}
	}
	var wg sync.WaitGroup
	wg.Add(1)
	timer := time.AfterFunc(l.s.limits.Hold, func() {
		defer wg.Done()
		if err := l.beginOutput(); err != nil {
			l.cancel(err)
		}
	})
	return func() {
		if timer.Stop() {
			wg.Done()
		}
		wg.Wait()
	}
}

// checkFunctions holds what the request asks of functions against the ones
// there are.
func (l *loop) checkFunctions() error {
	if l.run.Dialect == render.OpenResponses {
		for _, f := range l.set.Hosted() {
			if f.Approval == tool.Always {
				return apierror.At(apierror.Unsupported, fmt.Sprintf("tools[%d]", f.Declaration),
					"Calls of %s need a person's approval, which the openresponses output cannot ask for; use the databricks or openai output.", f.Object)
			}
		}
	}
	c := l.run.Request.ToolChoice
	if c == nil {
		return nil
	}
	if c.Mode == "required" && len(l.set.Functions()) == 0 {
		return apierror.At(apierror.Invalid, "tool_choice", "tool_choice requires a call, but the request declares no tools.")
	}
	if len(c.Raw) > 0 && c.Raw[0] == '{' && c.Name == "" && len(c.Names) == 0 {
		return apierror.At(apierror.Unsupported, "tool_choice.type",
			"This tool_choice is not offered: use {\"type\":\"function\"} with a name, {\"type\":\"allowed_tools\"}, or one of auto, required and none.")
	}
	names := c.Names
	if c.Name != "" {
		names = []string{c.Name}
	}
	for _, n := range names {
		if _, ok := l.set.Function(n); !ok {
			return apierror.At(apierror.Invalid, "tool_choice", "tool_choice names the function %q, which no declared tool offers.", n)
		}
	}
	return nil
}

// turns runs the loop to its end; what there is to say about a good end is in
// l.outcome.
func (l *loop) turns(ctx context.Context) error {
	if err := l.runApproved(ctx); err != nil {
		return err
	}
	for l.turn = 1; ; l.turn++ {
		t, err := l.ask(ctx)
		if err != nil {
			return err
		}
		l.input = append(l.input, t.items...)
		if t.terminal.Status == openresponses.StatusIncomplete {
			l.outcome.Status, l.outcome.Reason = openresponses.StatusIncomplete, t.terminal.Reason
			return l.skipAll(t)
		}
		l.outcome.Status = openresponses.StatusCompleted
		if len(t.calls) == 0 {
			return nil
		}
		if err := l.runCalls(ctx, t.calls); err != nil {
			return err
		}
		if t.pending != nobody {
			return nil // the client's turn
		}
		if l.turn == l.s.limits.Turns {
			l.outcome.Status, l.outcome.Reason = openresponses.StatusIncomplete, "max_turns"
			return nil
		}
		if left := l.outputLeft(); left != nil && *left < minOutput {
			l.outcome.Status, l.outcome.Reason = openresponses.StatusIncomplete, "max_output_tokens"
			return nil
		}
	}
}

// minOutput is the least that max_output_tokens may be.
// Source: OpenResponses specification, CreateResponseBody.
const minOutput = 16

// outputLeft is what remains of max_output_tokens, which is a budget over all
// turns; nil means there is no limit.
func (l *loop) outputLeft() *int64 {
	limit := l.run.Request.MaxOutputTokens
	if limit == nil {
		return nil
	}
	left := *limit
	if l.usage != nil {
		left -= l.usage.OutputTotal()
	}
	return &left
}

// request is the next turn as the router is asked for it.
func (l *loop) request() *openresponses.Request {
	r := *l.run.Request
	r.Input = slices.Clip(l.input)
	r.Tools = l.set.Functions()
	r.Stream = l.begin.streamed
	r.MaxOutputTokens = l.outputLeft()
	r.MaxToolCalls = nil // counts hosted calls, which are ours
	r.ToolChoice = l.toolChoice()
	r.Extra = nil
	for _, m := range l.run.Request.Extra {
		if !slices.Contains(vendorMembers, m.Name) {
			r.Extra = append(r.Extra, m)
		}
	}
	return &r
}

// toolChoice is what the model is told. A forced call holds for the first turn
// only, or the model could never answer.
func (l *loop) toolChoice() *openresponses.ToolChoice {
	c := l.run.Request.ToolChoice
	if c == nil || len(l.set.Functions()) == 0 {
		return nil
	}
	next := openresponses.ToolChoice{Mode: c.Mode, Name: c.Name, Names: c.Names}
	if l.turn > 1 && c.Mode == "required" {
		next.Mode, next.Name = "auto", ""
	}
	return &next
}

// allowed tells whether tool_choice lets the model call the function. The list
// of allowed_tools is a promise to the client, whatever the model does.
func (l *loop) allowed(name string) bool {
	c := l.run.Request.ToolChoice
	return c == nil || c.Mode != "none" && (c.Names == nil || slices.Contains(c.Names, name))
}

// end says how the run ended, in the way that is still open.
func (l *loop) end(ctx context.Context, err error) ([]byte, error) {
	defer l.logEnd()
	cause := context.Cause(ctx)
	gone := errors.Is(err, errGone) || errors.Is(cause, errGone)
	if err != nil {
		if gone || cause != nil {
			err = apierror.Wrap(apierror.Canceled, err, "The run was canceled before it was finished.")
		}
		e := l.s.shown(err)
		l.outcome = render.Outcome{Status: openresponses.StatusFailed, Error: e}
		told := l.writer.Shown()
		if l.begin.streamed {
			told = l.begin.done
		}
		if !told && e.Code != apierror.OAuth {
			return nil, e
		}
	}
	if l.beginOutput() != nil || gone {
		l.writer.Mute()
	}
	l.outcome.Usage, l.outcome.Tier, l.outcome.At = l.usage, l.tier, time.Now()
	response, err := l.writer.Finish(l.outcome)
	if err != nil {
		l.s.log.Debug("client left before the end", "response", l.run.ID, "error", err)
	}
	return response, nil
}

func (l *loop) logEnd() {
	attrs := []any{"response", l.run.ID, "request", l.run.Source.RequestID, "principal", l.run.Principal.Name, "model", l.run.Request.Model,
		"status", l.outcome.Status, "turns", l.turn, "calls", l.calls, "elapsed", time.Since(l.started)}
	if l.usage != nil {
		attrs = append(attrs, "input_tokens", l.usage.InputTotal(), "output_tokens", l.usage.OutputTotal())
	}
	if l.outcome.Error != nil {
		attrs = append(attrs, "code", l.outcome.Error.Code)
	}
	l.s.log.Info("run finished", attrs...)
}
