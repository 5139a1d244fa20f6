package provider

import (
	"context"
	"sync"
	"time"
)

// watchEvery is how often a watcher looks.
const watchEvery = 50 * time.Millisecond

// watcher looks after what is under way on the connections of a server while
// the author's code neither reads nor writes: it cancels what the gateway has
// given up, and sends what lies in a write buffer. Authors who read on need
// neither, and a timer for each connection would cost more than its frames.
type watcher struct {
	mu      sync.Mutex
	under   map[*serverConn]context.CancelFunc
	running bool
	closed  bool
}

// watch gives the context of what begins on sc, and looks after it until leave.
func (w *watcher) watch(sc *serverConn) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.under == nil {
		w.under = make(map[*serverConn]context.CancelFunc)
	}
	w.under[sc] = cancel
	if w.closed {
		cancel()
	}
	if !w.running {
		w.running = true
		go w.run() // ends when nothing is under way
	}
	return ctx, cancel
}

func (w *watcher) leave(sc *serverConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.under, sc)
}

// close cancels what is under way, and whatever may still begin.
func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, cancel := range w.under {
		cancel()
	}
}

func (w *watcher) run() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for range tick.C {
		if !w.look() {
			return
		}
	}
}

// look looks at everything once, and reports whether there was anything.
func (w *watcher) look() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.under) == 0 {
		w.running = false
		return false
	}
	for sc, cancel := range w.under {
		if !sc.in.waits.Load() && hungUp(sc.c) { // who waits for more sees the end himself
			cancel()
		} else if sc.w.waiting() {
			go sc.w.flush() // may wait for the gateway, as long as the connection lives
		}
	}
	return true
}
