package router

import (
	"cmp"
	"context"
	"net/http"
	"sync"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// comment is sent while a stream waits in a dialect that has no ping of its
// own.
const comment = ": keep-alive\n\n"

// translate makes the attempts from here on inside the dialogue, which writes
// what the first good one says. An attempt that relays, in between or after
// them, writes past it.
func (s *serving) translate(ctx context.Context, p *plan, action string) error {
	if err := s.accept(ctx); err != nil {
		return s.end(apierror.From(err))
	}
	if s.Request == nil {
		return s.end(apierror.New(apierror.Internal, "The gateway met an internal error."))
	}
	g := &gate{s: s}
	s.written = true
	var own *answer // of the last attempt
	fault := s.dialogue.Write(ctx, func(yield func(openresponses.Event, error) bool) {
		own = s.events(ctx, p, action, g, yield)
	}, g)
	s.w.Beat("")
	switch {
	case g.muted: // a relayed reply was the answer
		return nil
	case s.err != nil && !g.open && !s.w.Begun(): // there is still a status to choose
		return s.endWith(s.err, own)
	case g.err != nil || ctx.Err() != nil:
		s.out.Status, s.out.Code = usage.Canceled, apierror.Canceled
		return nil
	case fault == nil:
		return s.seal(g)
	}
	// The front's process died, or it broke a rule.
	if s.err == nil {
		s.err = apierror.From(fault)
	}
	s.out.Status, s.out.Code = usage.Failed, s.err.Code
	if !s.w.Begun() {
		s.settle()
		return s.err
	}
	s.settle()
	if s.Stream && len(g.held) > 0 && g.begin() == nil { // whole events that came with the error
		_, _ = s.w.Write(g.held)
	}
	return s.breakOff(s.err)
}

// seal ends the row, and then gives what the dialogue wrote last: of a stream
// its end, or the whole body.
func (s *serving) seal(g *gate) error {
	s.row.Payload().Write(g.held)
	s.settle()
	if !s.Stream {
		_ = s.json(g.held) // a client that left has been served all the same
		return nil
	}
	if len(g.held) > 0 && g.begin() == nil {
		_, _ = s.w.Write(g.held)
	}
	return nil
}

// breakOff ends a stream that nobody else can end.
func (s *serving) breakOff(err *apierror.Error) error {
	s.settle()
	if s.Dialect.Cut == "" || !s.dialogue.Asked().Stream {
		return err
	}
	_, _ = s.w.Write([]byte("\n" + cutText(s.Dialect.Cut, err.Message)))
	return nil
}

// events are those of the first good attempt, or the error of the last, whose
// own words are given back if there are any.
func (s *serving) events(ctx context.Context, p *plan, action string, g *gate, yield func(openresponses.Event, error) bool) *answer {
	var turn []openresponses.Item // of a dialect that keeps no state
	give := func(ev openresponses.Event, err error) bool {
		if !s.Dialect.State && ev.Type == openresponses.EventItemDone && ev.Item != nil {
			turn = append(turn, *ev.Item)
		}
		if ev.IsTerminal() {
			g.close() // before the event, so that nothing of it gets by
		}
		g.pass()
		return yield(ev, err)
	}
	d := p.destinations[p.at]
	for {
		var res result
		if n := s.lane(d); n != nil {
			if res = s.relay(ctx, d, n, action); res.err == nil {
				g.mute()
				return nil
			}
		} else {
			if s.Stream && s.dialogue.Asked().Stream { // in a list there is no room for pings
				s.w.Beat(cmp.Or(s.Dialect.Ping, comment))
			}
			turn = turn[:0]
			if res = s.attempt(ctx, d, action, give); res.err == nil {
				s.r.states.keep(s.caller.Name, turn)
				return nil
			}
		}
		if err := p.after(ctx, res); err != nil {
			s.err = s.last(err)
			s.out.Status = cmp.Or(s.out.Status, usage.Failed)
			g.close()
			var ev openresponses.Event
			if spent := s.spent(); spent.Total() > 0 {
				ev.Usage = &spent
			}
			yield(ev, s.err)
			return res.answer
		}
		d, action = p.next()
	}
}

// gate stands between a dialogue and the client. What comes before the first
// event is held back, since another attempt may have the word yet, and so is
// what comes with the last, until the row is ended. A body that is no stream is
// held back whole.
type gate struct {
	s *serving

	mu     sync.Mutex
	open   bool // an event was given
	closed bool // the last one was
	muted  bool
	begun  bool
	held   []byte
	err    error // of the client's connection
}

// Write implements io.Writer. A dialogue calls it from where it likes, one
// call at a time.
func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.err != nil:
		return 0, g.err
	case g.muted:
		return len(b), nil
	case !g.open || g.closed || !g.s.Stream:
		g.held = append(g.held, b...)
		return len(b), nil
	}
	if g.err = g.begin(); g.err == nil && len(g.held) > 0 {
		g.s.row.Payload().Write(g.held)
		_, g.err = g.s.w.Write(g.held)
		g.held = nil
	}
	if g.err == nil {
		g.s.row.Payload().Write(b)
		_, g.err = g.s.w.Write(b)
	}
	if g.err != nil {
		return 0, g.err
	}
	return len(b), nil
}

// begin sends the head, once. What goes out piece by piece is events, or a list
// that grows: the dialogue knows.
func (g *gate) begin() error {
	if g.begun {
		return nil
	}
	g.begun = true
	h := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}, "Cache-Control": {"no-cache"}}
	if !g.s.dialogue.Asked().Stream {
		h.Set("Content-Type", "application/json")
	}
	g.s.tellLost(h)
	return g.s.w.Head(http.StatusOK, h)
}

func (g *gate) pass() {
	if g.open { // only this goroutine sets it
		return
	}
	g.mu.Lock()
	g.open = true
	g.mu.Unlock()
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

func (g *gate) mute() {
	g.mu.Lock()
	g.muted, g.held = true, nil
	g.mu.Unlock()
}
