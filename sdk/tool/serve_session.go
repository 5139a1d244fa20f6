package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
)

const (
	// maxHostCalls is how many Host calls of one stream may be without their
	// end. One more waits in the plugin; a plugin that sends it all the same
	// has its stream ended by the gateway.
	maxHostCalls = 32
	// windowBytes is the cost of pieces the gateway may have outstanding for
	// each Host call, give or take one piece: what waits for a slow reader.
	windowBytes = 256 << 10
	// creditBytes is how much cost the plugin collects before it gives it
	// back, so that not each small piece costs a message.
	creditBytes = windowBytes / 4
)

var (
	errOver   = errors.New("the Open or Call that this Host belongs to has ended")
	errClosed = fmt.Errorf("answer of the gateway: %w", fs.ErrClosed)
)

// session is the plugin's end of one stream. Its receiver never waits for the
// author: what the author has not read yet is bounded by the window.
type session struct {
	slots chan struct{} // one for each Host call without its end
	done  chan struct{} // closed when the authority has ended

	sending sync.Mutex
	send    func(*toolv1.ToGateway) error
	sealed  bool // the last frame was sent

	mu      sync.Mutex
	over    bool // done is closed
	lastID  uint64
	answers map[uint64]*answer
}

func newSession(send func(*toolv1.ToGateway) error) *session {
	return &session{
		slots: make(chan struct{}, maxHostCalls), done: make(chan struct{}), send: send, answers: map[uint64]*answer{},
	}
}

// end takes the authority away: every Host call, running or to come, fails.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		close(s.done)
	}
}

// finish ends the authority and sends the last frame. A gateway that is gone
// does not get it, which is no news to anybody.
func (s *session) finish(last *toolv1.ToGateway) {
	s.end()
	s.sending.Lock()
	defer s.sending.Unlock()
	s.sealed = true
	_ = s.send(last)
}

// write sends a frame that is not the last.
func (s *session) write(f *toolv1.ToGateway) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.sealed {
		return fault.Canceled(errOver)
	}
	if err := s.send(f); err != nil {
		return fault.Canceled(err)
	}
	return nil
}

// deliver hands a frame of the gateway to the answer it belongs to. Frames we
// do not know, and pieces nobody wants any more, are dropped.
func (s *session) deliver(f *toolv1.ToPlugin) {
	piece, end := f.GetPiece(), f.GetEnd()
	id := piece.GetId()
	if end != nil {
		id = end.GetId()
	}
	s.mu.Lock()
	a := s.answers[id]
	if end != nil {
		delete(s.answers, id)
	}
	s.mu.Unlock()
	if a == nil {
		return
	}
	a.mu.Lock()
	if end != nil {
		a.end = end
	} else if !a.dropped {
		a.queue = append(a.queue, piece)
	}
	a.mu.Unlock()
	a.wake()
	if end != nil {
		<-s.slots
	}
}

// begin makes a Host call. The caller reads the answer, or drops it.
func (s *session) begin(ctx context.Context, call *toolv1.HostCall) (*answer, error) {
	if ctx.Err() != nil {
		return nil, fault.Canceled(context.Cause(ctx))
	}
	if err := fault.Fits(call, "The Host call"); err != nil {
		return nil, err
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.Canceled(context.Cause(ctx))
	case <-s.done:
		return nil, fault.Canceled(errOver)
	}
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return nil, fault.Canceled(errOver)
	}
	s.lastID++
	a := &answer{session: s, id: s.lastID, ready: make(chan struct{}, 1)}
	s.answers[a.id] = a
	s.mu.Unlock()
	call.Id = a.id
	if err := s.write(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Host{Host: call}}); err != nil {
		return nil, err // the stream is broken, so slot and answer end with it
	}
	return a, nil
}

// ask makes a Host call that is answered in its end.
func (s *session) ask(ctx context.Context, call *toolv1.HostCall) (*toolv1.HostEnd, error) {
	a, err := s.begin(ctx, call)
	if err != nil {
		return nil, err
	}
	defer a.drop()
	for {
		_, end, err := a.next(ctx)
		if err != nil {
			return nil, err
		}
		if end != nil {
			return end, nil
		}
	}
}

// answer is the answer to one Host call as it arrives.
type answer struct {
	session *session
	id      uint64
	ready   chan struct{} // holds a token when there is something new

	mu      sync.Mutex
	queue   []*toolv1.HostPiece
	end     *toolv1.HostEnd
	dropped bool
	owed    int64 // cost used and not given back yet
}

func (a *answer) wake() {
	select {
	case a.ready <- struct{}{}:
	default:
	}
}

// next waits for a piece or the end; one of the two, or the error, is set. An
// error of the gateway comes as error.
func (a *answer) next(ctx context.Context) (*toolv1.HostPiece, *toolv1.HostEnd, error) {
	for {
		select {
		case <-a.session.done:
			return nil, nil, fault.Canceled(errOver)
		default:
		}
		if ctx.Err() != nil {
			return nil, nil, fault.Canceled(context.Cause(ctx))
		}
		a.mu.Lock()
		var piece *toolv1.HostPiece
		if len(a.queue) > 0 {
			piece, a.queue = a.queue[0], a.queue[1:]
		}
		end, dropped := a.end, a.dropped
		a.mu.Unlock()
		switch {
		case dropped:
			return nil, nil, fault.Canceled(errClosed)
		case piece != nil:
			return piece, nil, nil
		case end.GetError() != nil:
			return nil, nil, fault.Decode(end.GetError())
		case end != nil:
			return nil, end, nil
		}
		select {
		case <-a.ready:
		case <-ctx.Done():
		case <-a.session.done:
		}
	}
}

// used gives the cost of a piece back to the gateway.
func (a *answer) used(p *toolv1.HostPiece) {
	a.mu.Lock()
	a.owed += p.GetCost()
	credit := a.owed
	if credit < creditBytes || a.end != nil || a.dropped {
		credit = 0
	}
	a.owed -= credit
	a.mu.Unlock()
	if credit > 0 {
		// A broken stream shows at the next piece.
		_ = a.session.write(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Credit{Credit: &toolv1.HostCredit{Id: a.id, Cost: credit}}})
	}
}

// drop gives up the rest of the answer, if there is any, and stops the
// gateway's work on it. The slot is free when the gateway has confirmed.
func (a *answer) drop() {
	a.mu.Lock()
	running := a.end == nil && !a.dropped
	a.dropped, a.queue = true, nil
	a.mu.Unlock()
	a.wake()
	if running {
		_ = a.session.write(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Cancel{Cancel: &toolv1.HostCancel{Id: a.id}}})
	}
}

// unexpected is a frame of the gateway that does not answer what was asked.
func unexpected(what string) error {
	return apierror.From(errors.New("the gateway answered " + what + " with another frame"))
}
