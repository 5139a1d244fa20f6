package router

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// count answers how many tokens a request has: as the provider says, where it
// can be asked, and else by an estimate. Clients that get no number ask a model
// instead, which costs money.
func (s *serving) count(ctx context.Context, p *plan) error {
	var last result
	for range p.destinations {
		d, action := p.next()
		offers := slices.Contains(d.account.manifest.Ops, provider.CountTokens)
		if n := s.lane(d); n != nil {
			last = s.relay(ctx, d, n, action)
		} else if offers {
			last = s.ask(ctx, d, action, s.countAt)
		} else {
			break // an estimate is as good as a count by another model
		}
		switch {
		case last.err == nil:
			return nil
		case ctx.Err() != nil:
			s.out.Status = usage.Canceled
			return s.end(canceled(ctx))
		case wrongRequest(last.err):
			return s.endWith(last.err, last.answer)
		}
		p.at, p.tries = p.at+1, 0
	}
	return s.estimate(ctx)
}

// wrongRequest reports whether an error is about the request, so that no other
// answer helps.
func wrongRequest(err *apierror.Error) bool {
	switch err.Code {
	case apierror.Invalid, apierror.Unsupported, apierror.TooLarge:
		return true
	}
	if up := err.Upstream; up != nil {
		return up.Status == http.StatusBadRequest || up.Status == http.StatusRequestEntityTooLarge || up.Status == http.StatusUnprocessableEntity
	}
	return false
}

// countAt has the provider of a translated request count.
func (s *serving) countAt(ctx context.Context, ex provider.Exchange, r provider.Reply, a *attempt) (tell func() error, err error) {
	x, ok := ex.(provider.CountDecoder)
	if !ok {
		return nil, a.broken("it offers to count tokens and cannot")
	}
	n, err := x.DecodeCount(ctx, r)
	return func() error { return s.tell(ctx, n) }, err
}

// estimate counts bytes.
func (s *serving) estimate(ctx context.Context) error {
	if err := s.accept(ctx); err != nil {
		return s.end(apierror.From(err))
	}
	n := len(s.Body)
	if s.Request != nil {
		n = size(s.Request)
	}
	s.out.Status, s.out.Lost = usage.Completed, nil
	if err := s.tell(ctx, max(1, tokens(n))); err != nil {
		s.out.Status = usage.Failed
		return s.end(apierror.From(err))
	}
	return nil
}

// tell writes a count, once the row is ended.
func (s *serving) tell(ctx context.Context, n int64) error {
	w, ok := s.dialogue.(provider.CountWriter)
	if !ok {
		return apierror.New(apierror.Unsupported, "Tokens cannot be counted in the dialect %s.", s.Dialect.Name)
	}
	var b bytes.Buffer
	s.written = true
	if err := w.WriteCount(ctx, n, &b); err != nil {
		return err
	}
	s.send(b.Bytes())
	return nil
}

// send gives the client a body, once the row is ended.
func (s *serving) send(body []byte) {
	s.row.Payload().Write(body)
	s.settle()
	_ = s.json(body) // a client that left has been served all the same
}

// embed answers with vectors.
func (s *serving) embed(ctx context.Context, p *plan) error {
	for {
		d, action := p.next()
		var res result
		if n := s.lane(d); n != nil {
			res = s.relay(ctx, d, n, action)
		} else if slices.Contains(d.account.manifest.Ops, provider.Embed) {
			res = s.ask(ctx, d, action, s.embedAt)
		} else {
			res = result{verdict: next, err: apierror.New(apierror.Unsupported, "The model %q makes no embeddings. Ask a model that does.", s.model.name)}
			p.tries = maxTries
		}
		if res.err == nil {
			return nil
		}
		if err := p.after(ctx, res); err != nil {
			return s.endWith(err, res.answer)
		}
	}
}

// embedAt decodes the vectors of a translated request.
func (s *serving) embedAt(ctx context.Context, ex provider.Exchange, r provider.Reply, a *attempt) (tell func() error, err error) {
	x, ok := ex.(provider.EmbedDecoder)
	if !ok {
		return nil, a.broken("it offers embeddings and cannot decode them")
	}
	w, ok := s.dialogue.(provider.EmbedWriter)
	if !ok {
		return nil, apierror.New(apierror.Unsupported, "The dialect %s has no embeddings.", s.Dialect.Name)
	}
	vectors, said, err := x.DecodeEmbed(ctx, r)
	a.meter.said = said
	return func() error {
		var b bytes.Buffer
		s.written = true
		if err := w.WriteEmbed(ctx, vectors, &a.rec.Usage, &b); err != nil {
			return err
		}
		s.send(b.Bytes())
		return nil
	}, err
}

// ask makes an attempt at d that is translated and answers in one piece. decode
// reads it and gives what tells the client.
func (s *serving) ask(ctx context.Context, d destination, action string,
	decode func(context.Context, provider.Exchange, provider.Reply, *attempt) (func() error, error)) (res result) {
	a := s.newAttempt(d, action)
	defer a.leave(&res)
	if err := s.accept(ctx); err != nil {
		return result{err: apierror.From(err), verdict: stop}
	}
	asked := s.dialogue.Asked()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := startWatchdog(&a.reply, cancel)
	defer watch.stop()
	ex, reply, err := a.begin(ctx, watch, provider.Turn{Op: s.Op, Request: s.Request, Embed: asked.Embed})
	if a.body != nil {
		defer a.body.Close()
	}
	if err != nil {
		return a.failed(ctx, err, false)
	}
	watch.enter()
	tell, err := decode(ctx, ex, reply, a)
	watch.leave()
	if err != nil {
		return a.failed(ctx, err, false)
	}
	s.out.FirstByte = max(time.Since(s.began), 1)
	a.close(true, "")
	s.out.Status = usage.Completed
	if err := tell(); err != nil {
		s.out.Status = usage.Failed
		return a.failed(ctx, err, true)
	}
	return result{}
}
