package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
)

const (
	streamType = "text/event-stream"

	keepAlive    = 15 * time.Second // of silence before a comment
	writeTimeout = 60 * time.Second // for one write to a client that reads slowly
	pendingMax   = 1 << 20          // bytes of events waiting for the client before the loop is held back
)

// stream writes server-sent events. An event is never split over two writes,
// and events that are ready together share one. A goroutine of its own does
// the writing, so that the next event is made while the last one is sent.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	conn *corkConn

	mu      sync.Mutex
	pending []byte
	started bool // an event was sent
	closed  bool
	err     error
	wake    chan struct{} // something to write, or closed
	room    chan struct{} // pending was taken, or the writer failed
	done    chan struct{} // the writer has ended
}

func newStream(w http.ResponseWriter, r *http.Request) *stream {
	s := &stream{
		w: w, rc: http.NewResponseController(w), conn: connOf(r),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
	return s
}

// emit queues one event. It waits while the client is far behind and returns
// the error that ended the connection.
func (s *stream) emit(ctx context.Context, ev render.Event) error {
	for {
		s.mu.Lock()
		if s.err != nil {
			defer s.mu.Unlock()
			return s.err
		}
		if len(s.pending) < pendingMax {
			if !s.started {
				s.started = true
				go s.write()
			}
			s.pending = append(s.pending, "event: "...)
			s.pending = append(s.pending, ev.Type...)
			s.pending = append(s.pending, "\ndata: "...)
			s.pending = append(s.pending, ev.Data...)
			s.pending = append(s.pending, "\n\n"...)
			s.mu.Unlock()
			signal(s.wake)
			return nil
		}
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// close ends the stream with [DONE] and waits until everything is written. It
// reports whether anything was sent at all.
func (s *stream) close() bool {
	s.mu.Lock()
	if !s.started {
		s.mu.Unlock()
		return false
	}
	s.pending = append(s.pending, "data: [DONE]\n\n"...)
	s.closed = true
	s.mu.Unlock()
	signal(s.wake)
	<-s.done
	return true
}

func (s *stream) write() {
	defer close(s.done)
	h := s.w.Header()
	h.Set("Content-Type", streamType+"; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // proxies must not hold events back
	silence := time.NewTimer(keepAlive)
	defer silence.Stop()
	var out []byte
	for {
		s.mu.Lock()
		out, s.pending = s.pending, out[:0]
		closed := s.closed
		s.mu.Unlock()
		if len(out) > 0 {
			signal(s.room)
			if err := s.send(out); err != nil {
				s.mu.Lock()
				s.err = err
				s.mu.Unlock()
				signal(s.room)
				return
			}
			silence.Reset(keepAlive)
			continue
		}
		if closed {
			return
		}
		select {
		case <-s.wake:
		case <-silence.C:
			s.mu.Lock()
			if len(s.pending) == 0 && !s.closed {
				s.pending = append(s.pending, ": keep-alive\n\n"...)
			}
			s.mu.Unlock()
			silence.Reset(keepAlive)
		}
	}
}

func (s *stream) send(b []byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if s.conn != nil {
		s.conn.cork()
	}
	_, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	if s.conn != nil {
		if cerr := s.conn.uncork(); err == nil {
			err = cerr
		}
	}
	return err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
