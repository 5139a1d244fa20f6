package supervisor

import (
	"context"
	"fmt"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// turn is one turn of the model.
type turn struct {
	items    []openresponses.Item // in the order they came, for the next turn
	calls    []*action            // of those, the calls
	terminal openresponses.Terminal
	pending  pending
}

// action is one call that the model made.
type action struct {
	render.Record
	answer string // what the model is told instead of a result; "" runs the call
	hidden bool   // the client sees nothing of it
	cut    bool   // the model stopped in the middle of it
	slot   int    // of an approved call: where in the input its result belongs
}

// pending says for whom the run waits after a turn. A response waits for one
// thing only: the client's results, or a person's approvals.
type pending int

const (
	nobody pending = iota
	forClient
	forApproval
)

// ask runs one turn: the model's events go to the writer as they come.
func (l *loop) ask(ctx context.Context) (*turn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &turn{}
	var (
		gather  openresponses.Accumulator
		current *action // the call that is open
		spent   *openresponses.Usage
	)
	defer func() {
		if u, ok := gather.Usage(); ok && spent == nil {
			spent = &u
		}
		if spent != nil {
			l.count(*spent)
		}
	}()
	for ev, err := range l.s.deps.Generate(ctx, l.run.Principal, router.Call{
		Request: l.request(), Source: l.run.Source, Header: l.run.Header,
	}) {
		if err != nil {
			spent = ev.Usage // of the whole call; nil leaves what its events said
			return nil, err
		}
		if err := l.beginOutput(); err != nil {
			return nil, err
		}
		isCall := ev.Item != nil && ev.Item.Type == openresponses.TypeFunctionCall
		switch {
		case isCall && ev.Type == openresponses.EventItemAdded:
			current = l.openAction(t, ev.Item)
			ev.Item = renamed(ev.Item, current)
		case isCall && ev.Type == openresponses.EventItemDone && current != nil:
			current.Arguments, current.cut = ev.Item.Arguments, ev.Item.Status == openresponses.StatusIncomplete
			ev.Item = renamed(ev.Item, current)
		}
		if err := gather.Add(ev); err != nil {
			return nil, apierror.Wrap(apierror.UpstreamFailed, err, "The model's reply broke off or was not well-formed.")
		}
		if current == nil || !current.hidden {
			if err := l.writer.Model(&ev); err != nil {
				return nil, err
			}
		}
		if isCall && ev.Type == openresponses.EventItemDone {
			current = nil
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	end := gather.Terminal()
	if end == nil {
		return nil, apierror.New(apierror.UpstreamFailed, "The model's reply ended before it was finished.")
	}
	if end.Status == openresponses.StatusFailed {
		if end.Error != nil {
			return nil, end.Error
		}
		return nil, apierror.New(apierror.UpstreamFailed, "The model failed without saying why.")
	}
	t.terminal, t.items = *end, gather.Items()
	if end.Tier != "" {
		l.tier = end.Tier
	}
	return t, nil
}

// count adds a turn's tokens, however it ended.
func (l *loop) count(u openresponses.Usage) {
	if l.usage != nil {
		u = l.usage.Add(u)
	}
	l.usage = &u
}

// openAction decides what becomes of a call as soon as its name is known.
func (l *loop) openAction(t *turn, it *openresponses.Item) *action {
	a := &action{}
	a.CallID, a.Name, a.Status = l.past.unique(it.CallID), it.Name, openresponses.StatusInProgress
	t.calls = append(t.calls, a)
	f, ok := l.set.Function(it.Name)
	switch {
	case !ok:
		a.Name = speakable(it.Name)
		a.hidden, a.answer = true, fmt.Sprintf("Error: There is no function called %q. Use only the functions you were given.", it.Name)
		return a
	case !l.allowed(it.Name):
		a.hidden, a.answer = true, fmt.Sprintf("Error: The function %q may not be called in this conversation now.", it.Name)
		return a
	}
	waits := nobody
	switch {
	case f.Client:
		waits = forClient
	case f.Approval == tool.Always:
		a.Kind, a.Label, a.Approval, waits = render.MCP, f.Type, render.Asked, forApproval
	default:
		a.Kind, a.Label = render.Hosted, f.Type
	}
	if waits == nobody {
		return a
	}
	if t.pending != nobody && t.pending != waits {
		a.hidden, a.answer = true, "Error: This call was not run: another call waits for the user first. Repeat it later."
		return a
	}
	t.pending = waits
	return a
}

// renamed is the item under the call id that is unique in this conversation,
// and the name that the call has there.
func renamed(it *openresponses.Item, a *action) *openresponses.Item {
	if it.CallID == a.CallID && it.Name == a.Name {
		return it
	}
	c := *it
	c.CallID, c.Name, c.Raw = a.CallID, a.Name, nil
	return &c
}

// speakable is the name of a function that a model made up, as a conversation
// can hold it: the next turn sends it back, and providers refuse other letters
// and longer names.
func speakable(name string) string {
	const most = 64 // Source: OpenResponses specification, FunctionCallItemParam
	if openresponses.ValidName(name) {
		return name
	}
	var b strings.Builder
	for _, r := range name {
		if b.Len() == most {
			break
		}
		if !openresponses.ValidName(string(r)) {
			r = '_'
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return "unnamed"
	}
	return b.String()
}
