package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
)

// recordingListener keeps every write its connections make.
type recordingListener struct {
	net.Listener
	mu     sync.Mutex
	writes []string
}

type recordingConn struct {
	net.Conn
	l *recordingListener
}

func (l *recordingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return recordingConn{c, l}, nil
}

func (c recordingConn) Write(b []byte) (int, error) {
	c.l.mu.Lock()
	c.l.writes = append(c.l.writes, string(b))
	c.l.mu.Unlock()
	return c.Conn.Write(b)
}

// serveStream runs one streamed reply through a real server and returns every
// write to the connection and what the client read.
func serveStream(t *testing.T, send func(s *stream, ctx context.Context)) (writes []string, body string) {
	t.Helper()
	a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
	a.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := newStream(w, r)
		send(s, r.Context())
		s.close()
	})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rec := &recordingListener{Listener: tcp}
	srv, l := a.Server(t.Context(), rec)
	go srv.Serve(l)
	defer srv.Close()
	resp, err := http.Get("http://" + tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") {
		t.Errorf("got Content-Type %q", ct)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.writes, string(b)
}

// An event is never split over two writes, whatever its size: clients exist
// that lose an event whose lines come in separate reads.
func TestEventsAreNeverSplit(t *testing.T) {
	t.Parallel()
	sizes := []int{1, 100, 2000, 2048, 4096, 5000, 40_000, 700_000, 3}
	writes, body := serveStream(t, func(s *stream, ctx context.Context) {
		for i, n := range sizes {
			if err := s.emit(ctx, render.Event{Type: "x", Data: []byte(fmt.Sprintf(`{"i":%d,"s":"%s"}`, i, strings.Repeat("a", n)))}); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range sizes {
		head := fmt.Sprintf("event: x\ndata: {\"i\":%d,", i)
		whole := 0
		for _, w := range writes {
			if at := strings.Index(w, head); at >= 0 && strings.Contains(w[at:], "\"}\n\n") {
				whole++
			}
		}
		if whole != 1 {
			t.Errorf("event %d stands whole in %d writes, want 1", i, whole)
		}
	}
	if !strings.HasSuffix(body, "data: [DONE]\n\n") || strings.Count(body, "[DONE]") != 1 {
		t.Errorf("the stream ends with %q", body[max(0, len(body)-40):])
	}
	if n := strings.Count(body, "event: x\n"); n != len(sizes) {
		t.Errorf("got %d events, want %d", n, len(sizes))
	}
}

// Events that are ready together share a write.
func TestReadyEventsShareAWrite(t *testing.T) {
	t.Parallel()
	const n = 2000
	writes, _ := serveStream(t, func(s *stream, ctx context.Context) {
		for i := range n {
			s.emit(ctx, render.Event{Type: "x", Data: []byte(fmt.Sprintf(`{"i":%d}`, i))})
		}
	})
	if len(writes) > n/2 {
		t.Errorf("%d events took %d writes; ready events should share them", n, len(writes))
	}
}

func TestStreamThatNeverBegan(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	s := newStream(w, httptest.NewRequest("GET", "/", nil))
	if s.close() || w.Body.Len() > 0 || w.Header().Get("Content-Type") != "" {
		t.Errorf("an unused stream wrote %q with %v", w.Body, w.Header())
	}
}

// stuckWriter is a client that stopped reading until it is let go on.
type stuckWriter struct {
	http.ResponseWriter
	gate chan struct{}
}

func (s *stuckWriter) Write(b []byte) (int, error) {
	<-s.gate
	return s.ResponseWriter.Write(b)
}
func (s *stuckWriter) Flush()                           {}
func (s *stuckWriter) SetWriteDeadline(time.Time) error { return nil }

func TestSlowClientHoldsTheLoopBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{httptest.NewRecorder(), make(chan struct{})}
		s := newStream(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		sent := 0
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range 100 {
				if err := s.emit(t.Context(), render.Event{Type: "x", Data: make([]byte, 100<<10)}); err != nil {
					t.Error(err)
				}
				sent++
			}
		}()
		synctest.Wait()
		if sent > 30 {
			t.Errorf("%d events of 100 KiB were taken while the client read nothing", sent)
		}
		close(w.gate)
		<-ended
		s.close()
		if sent != 100 {
			t.Errorf("got %d events, want 100", sent)
		}
	})
}

type quietWriter struct{ *httptest.ResponseRecorder }

func (quietWriter) SetWriteDeadline(time.Time) error { return nil }

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		s := newStream(quietWriter{rec}, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		s.emit(t.Context(), render.Event{Type: "x", Data: []byte("{}")})
		time.Sleep(50 * time.Second)
		s.close()
		comments := 0
		for sc := bufio.NewScanner(rec.Body); sc.Scan(); {
			if strings.HasPrefix(sc.Text(), ":") {
				comments++
			}
		}
		if comments != 3 {
			t.Errorf("50 s of silence had %d keep-alives, want 3", comments)
		}
	})
}

// brokenWriter is a client that left.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (brokenWriter) SetWriteDeadline(time.Time) error { return nil }

func TestEmitTellsThatTheClientLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStream(brokenWriter{httptest.NewRecorder()}, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		s.emit(t.Context(), render.Event{Type: "x", Data: []byte("{}")})
		synctest.Wait()
		if err := s.emit(t.Context(), render.Event{Type: "x", Data: []byte("{}")}); err == nil {
			t.Error("emit after the client left: got no error")
		}
		s.close()
	})
}
