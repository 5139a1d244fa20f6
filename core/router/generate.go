package router

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Call is one turn asked of a model.
type Call struct {
	Request   *openresponses.Request // Model is the name here; not changed
	Session   string                 // calls with the same one go to the same destination; "" takes Request.PromptCacheKey
	RequestID string                 // for the log and the record
	Header    http.Header            // of the client's request: what the translator's manifest lists is handed to it
}

// call is a Call under way. One goroutine owns it.
type call struct {
	Call
	r     *Router
	model *model
	rec   Record
	depth int
}

// Generate makes the call on behalf of p and gives the model's events: item
// and content events, then exactly one terminal event, completed or
// incomplete. Any failure is one *apierror.Error behind the events already
// given; the event beside it is empty but for Usage, the tokens the call has
// cost so far, when it has. Cancelling ctx, or leaving the loop, cancels the
// provider's side at once.
//
// The last event always carries Usage: the provider's count, or an estimate
// that says so.
func (r *Router) Generate(ctx context.Context, p *access.Principal, c Call) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		m, err := r.admit(p, c.Request.Model)
		if err != nil {
			yield(openresponses.Event{}, err)
			return
		}
		if c.Session == "" {
			c.Session = c.Request.PromptCacheKey
		}
		k := &call{Call: c, r: r, model: m, depth: egress.Depth(c.Header)}
		k.rec = Record{Time: time.Now(), RequestID: c.RequestID, Session: c.Session, Principal: p.Name, Model: m.name}
		defer k.settle()
		k.run(ctx, yield)
	}
}

// run makes attempts until one commits or none is left.
func (c *call) run(ctx context.Context, yield func(openresponses.Event, error) bool) {
	if c.depth >= egress.MaxDepth {
		c.fail(yield, apierror.New(apierror.Invalid,
			"This request has passed %d gateways. A model of this gateway probably leads back to it; an administrator should check the base URLs of its providers.", c.depth))
		return
	}
	destinations := c.r.order(c.model, c.Session)
	at, tries := 0, 0
	for {
		d := destinations[at]
		tries++
		res := c.attempt(ctx, d, yield)
		switch {
		case res.err == nil: // served, or the consumer left
			return
		case ctx.Err() != nil:
			c.rec.Status = statusCanceled
			c.fail(yield, apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was cancelled."))
			return
		case res.committed, res.verdict == stop, len(c.rec.Attempts) == maxAttempts, time.Since(c.rec.Time) > retryWindow:
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
				c.rec.Status = statusCanceled
				c.fail(yield, apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was cancelled."))
				return
			}
		}
	}
}

// fail gives the one error of a call.
func (c *call) fail(yield func(openresponses.Event, error) bool, err *apierror.Error) {
	c.rec.Code = err.Code
	if n := len(c.rec.Attempts); n > 1 && err.Code != apierror.Canceled {
		told := *err
		told.Message += fmt.Sprintf(" (%d attempts failed; this is the last one's error.)", n)
		err = &told
	}
	var ev openresponses.Event
	var spent openresponses.Usage
	for _, a := range c.rec.Attempts {
		spent = spent.Add(a.Usage)
	}
	if spent.Total() > 0 {
		ev.Usage = &spent
	}
	yield(ev, err)
}
