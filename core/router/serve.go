package router

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// LostHeader names the fields of the request that no provider was told, as far
// as that is known before the reply begins.
const LostHeader = "Sallyport-Lost"

// maxLostHeader bounds LostHeader, in bytes.
const maxLostHeader = 1 << 10

// serving is an Ask under way.
type serving struct {
	*call
	Ask
	w        Replier
	dialogue provider.Dialogue // nil until Accept was called
	written  bool              // by the dialogue
	broken   error             // why the client's connection has to be broken off
}

// Serve answers a on behalf of p. Each attempt relays the request as it is
// where the destination's provider speaks the client's dialect, and translates
// it elsewhere; one may follow the other until the client has been given
// something of a reply.
//
// An error is for the caller to write in the client's dialect: nothing was sent
// then, and w.Begun is false. When it is true, the connection has to be broken
// off, because that is how a reply of the dialect ends that was cut.
//
// What Generate says of usage rows holds here too.
func (r *Router) Serve(ctx context.Context, p *access.Principal, a Ask, w Replier) error {
	m, err := r.admit(p, a.Model)
	if err != nil {
		return err
	}
	if a.Scan == nil {
		if a.Scan, err = ScanBody(a.Body); err != nil {
			return err
		}
	}
	if a.Source == nil {
		a.Source = &noSource
	}
	// The answer would come later, at another address, and what it cost nowhere.
	if v := string(a.Scan.at("background")); a.Op == provider.Generate && v != "" && v != "false" && v != "null" {
		return apierror.At(apierror.Unsupported, "background", "Responses in the background are not offered here. Leave background out, and ask for a stream if the answer takes long.")
	}
	s := &serving{Ask: a, w: w, call: &call{
		Call: Call{Source: a.Source, Header: a.Header, Depth: max(a.Depth, egress.Depth(a.Header))},
		r:    r, caller: p, model: m, began: time.Now(),
		op: a.Op, size: len(a.Body), free: a.Op == provider.CountTokens, later: true,
	}}
	for _, path := range a.Dialect.MaxTokens {
		if n, ok := a.Scan.Int(path); ok && n > 0 {
			s.most = n
			break
		}
	}
	if s.most == 0 && !s.free {
		s.most = m.context.Output
	}
	defer s.close()
	destinations := r.order(m, s.session())
	if s.lane(destinations[0]) == nil {
		if err := s.accept(ctx); err != nil { // a request that is wrong costs nothing
			return err
		}
	}
	defer s.settle()
	if err := s.open(ctx, destinations[0]); err != nil {
		return s.end(apierror.From(err))
	}
	s.row.Payload().Request(a.Body)
	plan := plan{call: s.call, destinations: destinations}
	switch a.Op {
	case provider.Generate:
		err = s.generate(ctx, &plan)
	case provider.CountTokens:
		err = s.count(ctx, &plan)
	case provider.Embed:
		err = s.embed(ctx, &plan)
	default:
		err = s.end(apierror.New(apierror.Unsupported, "The operation %q is not offered here.", a.Op))
	}
	return cmp.Or(err, s.broken)
}

// accept has the client's request read for translation, once.
func (s *serving) accept(ctx context.Context) error {
	if s.dialogue != nil {
		return nil
	}
	if s.Accept == nil {
		return apierror.New(apierror.Unsupported, "The model %q is served by a provider that does not speak the dialect %s, and requests in it cannot be translated.", s.model.name, s.Dialect.Name)
	}
	d, err := s.Accept(ctx)
	if err != nil {
		return err
	}
	s.dialogue = d
	asked := d.Asked()
	s.lost = asked.Lost
	if s.Request = asked.Request; s.Request != nil && !s.Dialect.State {
		s.r.states.restore(s.caller.Name, s.Request)
	}
	return nil
}

// close lets go of a dialogue whose reply was not written.
func (s *serving) close() {
	if c, ok := s.dialogue.(io.Closer); ok && !s.written {
		c.Close()
	}
}

// generate makes attempts until one has answered. From the first that needs it
// the dialogue has the word.
func (s *serving) generate(ctx context.Context, p *plan) error {
	for {
		d, action := p.next()
		n := s.lane(d)
		if n == nil {
			return s.translate(ctx, p, action)
		}
		res := s.relay(ctx, d, n, action)
		if res.err == nil {
			return nil
		}
		if err := p.after(ctx, res); err != nil {
			return s.endWith(err, res.answer)
		}
	}
}

// end ends a call with an error that the client has not been told, and gives
// what is to be told.
func (s *serving) end(err *apierror.Error) error {
	if s.err == nil {
		s.err = s.last(err)
	}
	s.settle()
	return s.err
}

// endWith is end, where the provider's own answer is passed on if there is one.
func (s *serving) endWith(err *apierror.Error, own *answer) error {
	if own == nil || err.Code == apierror.Canceled || s.w.Begun() {
		return s.end(err)
	}
	if s.err == nil {
		s.err = s.last(err)
	}
	s.row.Payload().Write(own.body)
	s.settle()
	_ = s.whole(own.status, own.header, own.body) // a client that left
	return nil
}

// whole sends a reply that is all there.
func (s *serving) whole(status int, h http.Header, body []byte) error {
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if err := s.w.Head(status, h); err != nil {
		return err
	}
	_, err := s.w.Write(body)
	return err
}

// json sends a body that a dialogue has written.
func (s *serving) json(body []byte) error {
	h := http.Header{"Content-Type": {"application/json"}}
	s.tellLost(h)
	return s.whole(http.StatusOK, h, body)
}

// tellLost adds LostHeader.
func (s *serving) tellLost(h http.Header) {
	var b strings.Builder
	for _, field := range s.out.Lost {
		if b.Len()+len(field)+2 > maxLostHeader {
			break
		}
		if strings.ContainsFunc(field, func(c rune) bool { return c < ' ' || c > '~' || c == ',' }) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(field)
	}
	if b.Len() > 0 {
		h.Set(LostHeader, b.String())
	}
}

// finished completes the record of an attempt that ended in good order, and of
// the call.
func (a *attempt) finished(t *tally, partial bool) {
	a.meter.said, a.meter.text = t.usage(), t.text
	a.close(true, "")
	a.out.Status, a.out.Served, a.out.Tier, a.out.ToolCalls = usage.Completed, t.model, t.tier, t.calls
	if partial {
		a.out.Status = usage.Incomplete
	}
}
