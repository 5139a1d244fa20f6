package router

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// result is how an attempt ended. A nil err means the call is over: a terminal
// event was given, or the consumer left.
type result struct {
	err       *apierror.Error
	verdict   verdict
	committed bool
	answer    *answer // the provider's own words, of a request that was relayed; nil for none
}

// attempt is one try at one destination. One goroutine owns it, but for the
// reply's body, which the translator may read from another.
type attempt struct {
	*call
	d     destination
	rec   *usage.Attempt
	meter meter
	began time.Time
	head  time.Time    // when the reply's head came
	body  *egress.Body // nil without HTTP
	reply replyReader
	asked time.Duration // the provider's Retry-After

	reached bool // the provider may have begun to count
	offline bool // the translator answers by itself
	over    bool // rec is complete
}

// attempt tries d.
func (c *call) attempt(ctx context.Context, d destination, action string, yield func(openresponses.Event, error) bool) (res result) {
	ctx, cancelCause := context.WithCancelCause(ctx)
	cancel := func() { cancelCause(nil) }
	defer cancel()
	a := c.newAttempt(d, action)
	c.kept.restart(a.scrub)
	ended := false // by a terminal event of success
	defer a.leave(&res)

	watch := startWatchdog(&a.reply, cancelCause)
	defer watch.stop()
	ex, reply, err := a.begin(ctx, watch, provider.Turn{Op: provider.Generate, Request: c.Request})
	if a.body != nil {
		defer a.body.Close()
	}
	if err != nil {
		return a.failed(ctx, err, false)
	}
	p := newPuller(ctx, ex, reply, watch)
	defer func() {
		if !ended {
			cancel() // wakes a translator that waits for more
		}
		p.close(ended, cancel)
		if ended && a.body != nil {
			a.body.Finish()
		}
	}()
	h := holder{until: a.head.Add(holdTime), read: &a.reply.n}
	defer h.stop()
	var rules grammar
	for {
		got, ok := p.get(h.expired())
		if !ok { // held back for long enough
			if !h.release(yield) {
				return a.left()
			}
			continue
		}
		switch {
		case got.err != nil:
			return a.failed(ctx, got.err, h.open)
		case !got.more:
			return a.failed(ctx, a.broken("the reply ended without a terminal event"), h.open)
		}
		if ctx.Err() != nil { // a translator need not notice
			return a.failed(ctx, context.Cause(ctx), h.open)
		}
		ev := got.ev
		if a.rec.Status >= 400 {
			return a.failed(ctx, a.broken("an error answer became an event ("+ev.Type+")"), h.open)
		}
		if fault := rules.check(&ev); fault != "" {
			return a.failed(ctx, a.broken(fault), h.open)
		}
		if c.out.FirstByte == 0 {
			c.out.FirstByte = max(time.Since(c.began), 1)
		}
		a.meter.see(&ev)
		c.kept.see(&ev)
		if ev.Type == openresponses.EventItemDone && ev.Item != nil && ev.Item.Type == openresponses.TypeFunctionCall {
			c.out.ToolCalls++
		}
		if ev.Type == openresponses.EventFailed {
			return a.failed(ctx, a.told(&ev), h.open)
		}
		if ev.IsTerminal() {
			ended = true
			a.finish(&ev)
		}
		if !h.give(ev, yield) {
			return a.left()
		}
		if ended {
			return result{}
		}
	}
}

// newAttempt notes that d is tried.
func (c *call) newAttempt(d destination, action string) *attempt {
	if c.out.Attempts == nil {
		c.out.Attempts = c.few[:0]
	}
	c.out.Attempts = append(c.out.Attempts, usage.Attempt{Provider: d.account.name, Model: d.model, Action: action, Price: d.price})
	c.out.FirstByte, c.out.Lost = 0, nil // of the reply that is given on, or the last one
	n := len(c.out.Attempts)
	a := &c.first
	if n > 1 {
		a = new(attempt)
	}
	a.call, a.d, a.rec, a.began = c, d, &c.out.Attempts[n-1], time.Now()
	return a
}

// leave completes the record of an attempt that ends with res.
func (a *attempt) leave(res *result) {
	code := apierror.Internal // a panic is passing by
	if res.err != nil {
		code = res.err.Code
	}
	a.close(false, code)
}

// begin translates the request and sends it. t lacks what the destination
// decides. The caller decodes the reply, and closes a.body.
func (a *attempt) begin(ctx context.Context, watch *watchdog, t provider.Turn) (ex provider.Exchange, reply provider.Reply, err error) {
	acc := a.d.account
	t.Account, t.Model, t.Carry = acc.turn, a.d.model, carry(a.Header, acc.manifest.Carry)
	watch.enter()
	ex, err = acc.translator.Begin(ctx, t)
	watch.leave()
	if err != nil {
		return nil, reply, err
	}
	defer func() {
		// An exchange that will not be decoded may hold a connection.
		if c, ok := ex.(io.Closer); ok && err != nil {
			c.Close()
		}
	}()
	up := ex.Upstream()
	if up == nil {
		if !acc.manifest.Offline {
			return nil, reply, a.broken("it made no request, which only a translator that declares itself offline may do")
		}
		a.head, a.offline, a.out.Lost = time.Now(), true, a.lost
		return ex, reply, nil
	}
	a.out.Lost, a.meter.sent = slices.Concat(a.lost, up.Lost), len(up.Body)
	if acc.out == nil {
		return nil, reply, a.broken("it declares itself offline and made a request")
	}
	res, err := acc.out.Do(ctx, egress.Request{
		Method: up.Method, Path: up.Path, Query: up.Query, Header: up.Header, Body: up.Body, Stream: up.Stream, Depth: a.Depth,
	})
	if err = a.answered(res, err); err != nil {
		return nil, reply, err
	}
	return ex, provider.Reply{Status: res.Status, Header: res.Header, Body: &a.reply}, nil
}

// answered notes how the provider began to answer.
func (a *attempt) answered(res *egress.Response, err error) error {
	a.head = time.Now()
	if err != nil {
		a.reply.fail(err)
		return err
	}
	a.body, a.rec.Status = res.Body, res.Status
	a.reached = res.Status < 400 // an error answer costs no tokens
	a.asked = retryAfter(res.Header, a.head)
	for _, name := range a.d.account.manifest.RequestIDs {
		if id := res.Header.Get(name); id != "" {
			a.rec.RequestID = id
			break
		}
	}
	a.reply.src = res.Body
	return nil
}

// carry picks the client's headers that the translator asks for. Credentials
// are none of its business, whatever its manifest says.
func carry(h http.Header, names []string) http.Header {
	var out http.Header
	for _, name := range names {
		k := http.CanonicalHeaderKey(name)
		if vs := h[k]; len(vs) > 0 && !egress.CredentialHeader(k) {
			if out == nil {
				out = http.Header{}
			}
			out[k] = vs
		}
	}
	return out
}

// close completes the record of the attempt, once.
func (a *attempt) close(ended bool, code apierror.Code) {
	if a.over {
		return
	}
	a.over = true
	a.sent = a.sent || a.reached || a.offline || a.rec.Status != 0
	if (a.reached || a.offline) && !a.free {
		a.rec.Usage = a.meter.total(ended)
	}
	a.rec.Code, a.rec.Latency = code, time.Since(a.began)
}

// finish completes the terminal event of a turn that ended in good order, and
// with it the call.
func (a *attempt) finish(ev *openresponses.Event) {
	a.close(true, "")
	spent := a.rec.Usage
	ev.Usage = &spent
	a.out.Status = usage.Completed
	if ev.Type == openresponses.EventIncomplete {
		a.out.Status = usage.Incomplete
	}
	if ev.Terminal != nil {
		a.out.Served, a.out.Tier = ev.Terminal.Model, ev.Terminal.Tier
	}
	if !a.later {
		a.settle()
	}
}

// left ends an attempt whose consumer does not want more.
func (a *attempt) left() result {
	if a.out.Status == "" {
		a.out.Status, a.out.Code = usage.Canceled, apierror.Canceled
	}
	a.close(false, apierror.Canceled)
	return result{}
}

// told is the error inside a failed terminal event.
func (a *attempt) told(ev *openresponses.Event) *apierror.Error {
	if ev.Terminal != nil && ev.Terminal.Error != nil {
		return ev.Terminal.Error
	}
	return apierror.New(apierror.UpstreamFailed, "Provider %q ended its reply as failed and did not say why.", a.d.account.name)
}

// replyReader is the body as a translator sees it: counted, and remembering
// how it ended, since an error that crossed a process border may not tell.
type replyReader struct {
	src     *egress.Body
	closed  atomic.Bool  // by the translator, which wants no more
	n       atomic.Int64 // bytes read
	reading atomic.Bool  // waiting for the provider
	end     atomic.Pointer[egress.Error]
}

func (r *replyReader) Read(p []byte) (int, error) {
	r.reading.Store(true)
	n, err := r.src.Read(p)
	r.reading.Store(false)
	r.n.Add(int64(n))
	if err != nil && err != io.EOF && !r.closed.Load() {
		r.fail(err)
	}
	return n, err
}

// Close lets the translator end a Read that another goroutine of it waits in.
func (r *replyReader) Close() error {
	r.closed.Store(true)
	r.src.Cancel()
	return nil
}

func (r *replyReader) fail(err error) {
	if e, ok := err.(*egress.Error); ok {
		r.end.Store(e)
	}
}
