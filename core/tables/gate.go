package tables

import (
	"context"
	"errors"
	"sync"
)

// errPaused is the cause of a context that ends because of Set.Pause.
var errPaused = errors.New("paused for a backup")

// gate lets work pass while nobody has it shut.
type gate struct {
	mu      sync.Mutex
	shut    int                             // how many hold it shut
	inside  map[int]context.CancelCauseFunc // of the work that may be broken off
	working int
	next    int
	changed chan struct{} // closed at the next change
}

// wait gives mu up until something changes, or ctx ends.
func (g *gate) wait(ctx context.Context) error {
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	changed := g.changed
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) tell() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// enter waits until the gate is open. Work that may be broken off gets a
// context that ends when somebody shuts it. Call leave when the work is done.
func (g *gate) enter(ctx context.Context, breakable bool) (inner context.Context, leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut > 0 {
		if err := g.wait(ctx); err != nil {
			return nil, nil, err
		}
	}
	g.working++
	g.next++
	n := g.next
	inner, cancel := context.WithCancelCause(ctx)
	if breakable {
		if g.inside == nil {
			g.inside = map[int]context.CancelCauseFunc{}
		}
		g.inside[n] = cancel
	}
	return inner, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		cancel(nil)
		delete(g.inside, n)
		g.working--
		g.tell()
	}, nil
}

// close shuts the gate and waits until nobody works. Call open, once.
func (g *gate) close(ctx context.Context) (open func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut++
	for _, cancel := range g.inside {
		cancel(errPaused)
	}
	open = sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut--
		g.tell()
	})
	for g.working > 0 {
		if err = g.wait(ctx); err != nil {
			g.shut--
			g.tell()
			return nil, err
		}
	}
	return open, nil
}
