package egress

import (
	"context"
	"io"
	"sync"
)

// ending ends a request before its time: whoever has a reason closes what is
// under way, a connection or the making of one. A context of its own for each
// request, and a watch over that, would do the same and cost more.
type ending struct {
	mu    sync.Mutex
	cause error     // nil while nobody has ended the request
	open  io.Closer // what is under way; nil for nothing
}

// end ends the request for cause, unless it was ended before.
func (e *ending) end(cause error) {
	e.mu.Lock()
	open := e.open
	if e.cause == nil {
		e.cause = cause
	}
	e.open = nil
	e.mu.Unlock()
	if open != nil {
		open.Close()
	}
}

// left ends the request of a caller that left.
func (e *ending) left() { e.end(context.Canceled) }

// why is why the request was ended, nil while it was not.
func (e *ending) why() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause
}

// covers has an end of the request close c from now on. It is false for a request
// that was ended already, which leaves c as it is.
func (e *ending) covers(c io.Closer) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil {
		e.open = c
	}
	return e.cause == nil
}

// leaves lets go of what is under way, and reports whether it was left open.
func (e *ending) leaves() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = nil
	return e.cause == nil
}

// canceler is the end of a context as something to close.
type canceler context.CancelFunc

func (c canceler) Close() error {
	c()
	return nil
}
