package supervisor

import (
	"context"
	"fmt"
	"sync"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// runCalls runs the hosted calls of a turn side by side and gives their
// results to the writer and to the model, in the order of the calls.
func (l *loop) runCalls(ctx context.Context, calls []*action) error {
	var run []*action
	for _, a := range calls {
		if a.Kind != render.Client && a.Approval != render.Asked && a.answer == "" {
			if l.beyond() {
				a.answer = l.skipped()
				continue
			}
			run = append(run, a)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	done, wait := l.start(ctx, run)
	defer wait() // after cancel: nothing outlives the turn
	defer cancel()
	for _, a := range calls {
		if ready, ok := done[a]; ok {
			select {
			case <-ready:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := l.give(a); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// beyond counts a hosted call, and says whether it is one more than
// max_tool_calls.
func (l *loop) beyond() bool {
	l.calls++
	return l.run.Request.MaxToolCalls != nil && l.calls > *l.run.Request.MaxToolCalls
}

func (l *loop) skipped() string {
	return fmt.Sprintf("Skipped: this call was not run, because max_tool_calls (%d) is reached. Answer with what you have.", *l.run.Request.MaxToolCalls)
}

// start runs the actions with a bounded number of workers. Each action's
// channel is closed when its result is there; wait returns when all workers
// have ended.
func (l *loop) start(ctx context.Context, run []*action) (done map[*action]chan struct{}, wait func()) {
	workers := min(len(run), l.s.limits.SideBySide)
	if p := l.run.Request.ParallelToolCalls; p != nil && !*p {
		workers = min(len(run), 1)
	}
	done = make(map[*action]chan struct{}, len(run))
	queue := make(chan *action, len(run))
	for _, a := range run {
		done[a] = make(chan struct{})
		queue <- a
	}
	close(queue)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for a := range queue {
				if ctx.Err() != nil {
					return
				}
				l.call(ctx, a)
				close(done[a])
			}
		})
	}
	return done, wg.Wait
}

// call runs one action.
func (l *loop) call(ctx context.Context, a *action) {
	r := l.set.Call(ctx, toolset.Call{ID: a.CallID, Name: a.Name, Arguments: a.Arguments, Traceparent: l.run.Traceparent})
	a.Output, a.Status = r.Output, openresponses.StatusCompleted
	if r.Failed {
		a.Status = openresponses.StatusFailed
	}
	for _, c := range r.Citations {
		a.Sources = append(a.Sources, render.Source{URL: c.URL, Title: c.Title})
	}
}

// give tells the result of a call to the model and, if it sees the call, to
// the client. A call that waits has no result yet.
func (l *loop) give(a *action) error {
	if a.answer != "" {
		a.Output, a.Status = openresponses.Output{Text: a.answer}, openresponses.StatusFailed
	}
	if a.Status == openresponses.StatusInProgress {
		return nil
	}
	l.input = append(l.input, openresponses.Item{
		Type: openresponses.TypeFunctionCallOutput, CallID: a.CallID, Output: a.Output, Status: openresponses.StatusCompleted,
	})
	if a.hidden {
		return nil
	}
	return l.writer.Result(&a.Record)
}

// skipAll ends a turn that the model did not finish: none of its calls is
// run. Calls that are whole are answered, so that the conversation can go on
// from what the client saw, unless an unfinished item already ends the output.
func (l *loop) skipAll(t *turn) error {
	open := len(t.items) > 0 && t.items[len(t.items)-1].Status == openresponses.StatusIncomplete
	if open && l.run.Dialect != render.OpenAI {
		return nil
	}
	for _, a := range t.calls {
		if a.hidden || a.cut || a.Kind == render.Client || a.Approval == render.Asked {
			continue
		}
		a.answer = "Skipped: this call was not run, because the reply was cut short."
		if err := l.give(a); err != nil {
			return err
		}
	}
	return nil
}

// runApproved runs the calls of earlier responses that the client has agreed
// to since, before the model is asked again. The history is the client's word:
// no record says what was asked. An approval is therefore worth what its sender
// may do, and opens nothing but functions that wait for one.
func (l *loop) runApproved(ctx context.Context) error {
	if len(l.past.approved) == 0 {
		return nil
	}
	if err := l.beginOutput(); err != nil {
		return err
	}
	var run []*action
	for _, p := range l.past.approved {
		f, ok := l.set.Function(p.Name)
		switch {
		case !ok || f.Client:
			p.answer = fmt.Sprintf("Error: The call was approved, but no tool declared in this request offers %q.", p.Name)
		case !l.allowed(p.Name):
			p.answer = fmt.Sprintf("Error: The function %q may not be called in this conversation now.", p.Name)
		case f.Approval != tool.Always:
			p.answer = fmt.Sprintf("Error: The call was not run: calls of %q wait for nobody's approval, so that none was asked for. Call the function if you need it.", p.Name)
		case l.beyond():
			p.answer = l.skipped()
		default:
			p.Label = f.Type
			run = append(run, p)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	done, wait := l.start(ctx, run)
	defer wait()
	defer cancel()
	for _, p := range l.past.approved {
		if ready, ok := done[p]; ok {
			select {
			case <-ready:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if p.answer != "" {
			p.Output, p.Status = openresponses.Output{Text: p.answer}, openresponses.StatusFailed
		}
		l.input[p.slot].Output = p.Output
		if err := l.writer.Result(&p.Record); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}
