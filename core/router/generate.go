package router

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Call is one turn asked of a model.
type Call struct {
	Request *openresponses.Request // Model is the name here; not changed
	// Source is the HTTP request that the call is made for; nil for none. Calls
	// of the same Session go to the same destination; without one it is
	// Request.PromptCacheKey that keeps them together.
	Source *usage.Source
	Header http.Header // of the client's request: what the translator's manifest lists is handed to it
	Depth  int         // gateways that the request has passed, when no Header says it; see egress.Depth
}

// call is a Call under way. One goroutine owns it.
type call struct {
	Call
	r       *Router
	caller  *access.Principal
	model   *model
	began   time.Time
	row     *usage.Call // nil records nothing
	kept    *capture    // of the reply; nil when it is not kept
	out     usage.Outcome
	err     *apierror.Error // that the call ends with
	settled bool
}

// noSource is that of a call which no HTTP request asked for.
var noSource usage.Source

// Generate makes the call on behalf of p and gives the model's events: item
// and content events, then exactly one terminal event, completed or
// incomplete. Any failure is one *apierror.Error behind the events already
// given; the event beside it is empty but for Usage, the tokens the call has
// cost so far, when it has. Cancelling ctx, or leaving the loop, cancels the
// provider's side at once.
//
// The last event always carries Usage: the provider's count, or an estimate
// that says so.
//
// A call that passed the permission check has exactly one usage row, however it
// ends; one that was denied there has none. The row is begun before any provider
// is asked: if that fails, the call is refused with the recorder's error, and
// there is no row. It is ended before the last event or the error is given on,
// and else by the time the loop has been left.
func (r *Router) Generate(ctx context.Context, p *access.Principal, c Call) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		m, err := r.admit(p, c.Request.Model)
		if err != nil {
			yield(openresponses.Event{}, err)
			return
		}
		if c.Source == nil {
			c.Source = &noSource
		}
		c.Depth = max(c.Depth, egress.Depth(c.Header))
		k := &call{Call: c, r: r, caller: p, model: m, began: time.Now()}
		defer k.settle()
		k.run(ctx, yield)
	}
}

// session is the key by which calls stay with one destination; "" for none.
func (c *call) session() string {
	return cmp.Or(c.Source.Session, c.Request.PromptCacheKey)
}

// run makes attempts until one commits or none is left.
func (c *call) run(ctx context.Context, yield func(openresponses.Event, error) bool) {
	if c.Depth >= egress.MaxDepth {
		c.refuse(ctx, yield, apierror.New(apierror.Invalid,
			"This request has passed %d gateways. A model of this gateway probably leads back to it; an administrator should check the base URLs of its providers.", c.Depth))
		return
	}
	destinations := c.r.order(c.model, c.session())
	if err := c.record(ctx, destinations[0]); err != nil {
		c.out.Status = usage.Refused
		if ctx.Err() != nil {
			c.out.Status, err = usage.Canceled, canceled(ctx)
		}
		c.fail(yield, apierror.From(err))
		return
	}
	at, tries := 0, 0
	for {
		d := destinations[at]
		tries++
		action := usage.Retry
		switch {
		case len(c.out.Attempts) == 0:
			action = usage.Primary
		case tries == 1:
			action = usage.Fallback
		}
		res := c.attempt(ctx, d, action, yield)
		switch {
		case res.err == nil: // served, or the consumer left
			return
		case ctx.Err() != nil:
			c.out.Status = usage.Canceled
			c.fail(yield, canceled(ctx))
			return
		case res.committed, res.verdict == stop, len(c.out.Attempts) == maxAttempts, time.Since(c.began) > retryWindow:
			c.fail(yield, res.err)
			return
		}
		more := at+1 < len(destinations)
		wait := time.Duration(0)
		switch {
		case res.verdict == fresh && tries < maxTries:
		case res.verdict == again && tries < maxTries && res.err.RetryAfter <= maxWait:
			wait = pause(res.err.RetryAfter, c.r.random())
		case more:
			at, tries = at+1, 0
		default:
			c.fail(yield, res.err)
			return
		}
		if wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				c.out.Status = usage.Canceled
				c.fail(yield, canceled(ctx))
				return
			}
		}
	}
}

func canceled(ctx context.Context) *apierror.Error {
	return apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was cancelled.")
}

// fail gives the one error of a call.
func (c *call) fail(yield func(openresponses.Event, error) bool, err *apierror.Error) {
	c.out.Code = err.Code
	if n := len(c.out.Attempts); n > 1 && err.Code != apierror.Canceled {
		told := *err
		told.Message += fmt.Sprintf(" (%d attempts failed; this is the last one's error.)", n)
		err = &told
	}
	c.err = err
	var ev openresponses.Event
	if spent := c.spent(); spent.Total() > 0 {
		ev.Usage = &spent
	}
	c.settle()
	yield(ev, err)
}
