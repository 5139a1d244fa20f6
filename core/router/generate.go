package router

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
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
	row     *usage.Call       // nil records nothing
	kept    *capture          // of a reply in the inner language; nil when it is not kept
	ticket  *ratelimit.Ticket // nil limits nothing
	out     usage.Outcome
	few     [2]usage.Attempt // room of out.Attempts, for the usual call
	first   attempt          // the usual call has one
	err     *apierror.Error  // that the call ends with
	settled bool

	op    provider.Op
	size  int      // bytes of the request, for estimates
	most  int64    // tokens the reply may have, 0 for unknown
	lost  []string // fields of the client's request that no provider is told
	sent  bool     // a provider may have seen the request
	free  bool     // what is asked costs no tokens
	later bool     // the row is ended by who writes to the client, not with the last event
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
		k := &call{Call: c, r: r, caller: p, model: m, began: time.Now(), op: provider.Generate}
		k.size, k.most = size(c.Request), m.context.Output
		if c.Request.MaxOutputTokens != nil {
			k.most = int64(*c.Request.MaxOutputTokens)
		}
		defer k.settle()
		destinations := r.order(m, k.session())
		if err := k.open(ctx, destinations[0]); err != nil {
			k.fail(yield, apierror.From(err))
			return
		}
		k.run(ctx, destinations, yield)
	}
}

// open lets a call that was admitted begin: there is room for it in every
// limit, and it is on record. After an error the call is over.
func (c *call) open(ctx context.Context, first destination) error {
	if c.Depth >= egress.MaxDepth {
		return c.refuse(ctx, apierror.New(apierror.Invalid,
			"This request has passed %d gateways. A model of this gateway probably leads back to it; an administrator should check the base URLs of its providers.", c.Depth))
	}
	if err := c.reserve(ctx); err != nil {
		return c.refuse(ctx, apierror.From(err))
	}
	if err := c.record(ctx, first); err != nil {
		c.ticket.Release()
		c.ticket, c.out.Status = nil, usage.Refused
		if ctx.Err() != nil {
			c.out.Status, err = usage.Canceled, canceled(ctx)
		}
		return err
	}
	return nil
}

// session is the key by which calls stay with one destination; "" for none.
func (c *call) session() string {
	if c.Source.Session == "" && c.Request != nil {
		return c.Request.PromptCacheKey
	}
	return c.Source.Session
}

// run makes attempts until one commits or none is left.
func (c *call) run(ctx context.Context, destinations []destination, yield func(openresponses.Event, error) bool) {
	p := plan{call: c, destinations: destinations}
	for {
		d, action := p.next()
		res := c.attempt(ctx, d, action, yield)
		if res.err == nil { // served, or the consumer left
			return
		}
		if err := p.after(ctx, res); err != nil {
			c.fail(yield, err)
			return
		}
	}
}

// plan is the order of a call's attempts.
type plan struct {
	*call
	destinations []destination
	at           int // of the destination that is tried
	tries        int // there
}

// next gives the destination to try, and why.
func (p *plan) next() (d destination, action string) {
	p.tries++
	action = usage.Retry
	switch {
	case len(p.out.Attempts) == 0:
		action = usage.Primary
	case p.tries == 1:
		action = usage.Fallback
	}
	return p.destinations[p.at], action
}

// after decides on what follows an attempt that failed. It has waited when it
// returns nil, and next gives the next attempt; else the call ends with the
// error.
func (p *plan) after(ctx context.Context, res result) *apierror.Error {
	if ctx.Err() != nil {
		p.out.Status = usage.Canceled
		return canceled(ctx)
	}
	if res.committed || res.verdict == stop || len(p.out.Attempts) == maxAttempts || time.Since(p.began) > retryWindow {
		return res.err
	}
	wait := time.Duration(0)
	switch {
	case res.verdict == fresh && p.tries < maxTries:
	case res.verdict == again && p.tries < maxTries && res.err.RetryAfter <= maxWait:
		wait = pause(res.err.RetryAfter, p.r.random())
	case p.at+1 < len(p.destinations):
		p.at, p.tries = p.at+1, 0
	default:
		return res.err
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			p.out.Status = usage.Canceled
			return canceled(ctx)
		}
	}
	return nil
}

func canceled(ctx context.Context) *apierror.Error {
	return apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was cancelled.")
}

// fail gives the one error of a call.
func (c *call) fail(yield func(openresponses.Event, error) bool, err *apierror.Error) {
	c.err = c.last(err)
	var ev openresponses.Event
	if spent := c.spent(); spent.Total() > 0 {
		ev.Usage = &spent
	}
	c.settle()
	yield(ev, c.err)
}

// last completes the error that a call ends with by what is needed to find out
// more: how many attempts failed, and how the provider answered the last one.
func (c *call) last(err *apierror.Error) *apierror.Error {
	c.out.Code = err.Code
	n := len(c.out.Attempts)
	if n == 0 || err.Code == apierror.Canceled {
		return err
	}
	var more []string
	if n > 1 {
		more = append(more, fmt.Sprintf("%d attempts failed; this is the last one's error", n))
	}
	if up := err.Upstream; up != nil {
		if text := fmt.Sprintf("status %d", up.Status); up.Status >= 400 && !strings.Contains(err.Message, text) {
			more = append(more, text)
		}
		if up.RequestID != "" && !strings.Contains(err.Message, up.RequestID) {
			more = append(more, "the provider's request id is "+up.RequestID)
		}
	}
	if len(more) == 0 {
		return err
	}
	told := *err
	told.Message += " (" + strings.Join(more, "; ") + ")"
	return &told
}
