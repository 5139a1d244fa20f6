package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serveReply serves one reply that send writes, and returns the server's
// address and every write to its connections.
func serveReply(t *testing.T, stream bool, send func(p *reply)) (string, *recordingListener) {
	t.Helper()
	a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
	a.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := newReply(w, r, stream)
		defer p.close()
		send(p)
	})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rec := &recordingListener{Listener: tcp}
	srv, l := a.Server(t.Context(), rec)
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return "http://" + tcp.Addr().String(), rec
}

var eventStream = http.Header{"Content-Type": {"text/event-stream"}, "Set-Cookie": {"a=b"}, "Request-Id": {"theirs"}, "X-Databricks-Request-Id": {"theirs"}, "X-Ratelimit-Left": {"7"}, "Connection": {"close"}}

// What is written at once is in one write to the connection, and a client has
// it before the next is made.
func TestReplySendsAtOnce(t *testing.T) {
	t.Parallel()
	sizes := []int{1, 100, 2047, 2048, 4096, 5000, 40_000, 700_000, 3}
	next := make(chan bool)
	url, rec := serveReply(t, true, func(p *reply) {
		if err := p.Head(200, eventStream); err != nil {
			t.Error(err)
		}
		for i, n := range sizes {
			if _, err := fmt.Fprintf(p, "event: x\ndata: {\"i\":%d,\"s\":\"%s\"}\n\n", i, strings.Repeat("a", n)); err != nil {
				t.Error(err)
			}
			<-next
		}
	})
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for k, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Set-Cookie": "", "Request-Id": "theirs", "X-Databricks-Request-Id": "", "X-Ratelimit-Left": "7"} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("%s: got %q, want %q", k, got, want)
		}
	}
	r := bufio.NewReaderSize(resp.Body, 1<<20)
	for i := range sizes {
		line, err := r.ReadString('\n')
		data, derr := r.ReadString('\n')
		r.ReadString('\n')
		if err != nil || derr != nil || line != "event: x\n" || !strings.HasPrefix(data, fmt.Sprintf(`data: {"i":%d,`, i)) {
			t.Fatalf("event %d: got %q, %v", i, line, err)
		}
		next <- true
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("behind the last event: %v", err)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for i := range sizes {
		whole := 0
		for _, w := range rec.writes {
			if at := strings.Index(w, fmt.Sprintf("{\"i\":%d,", i)); at >= 0 && strings.Contains(w[at:], "\"}\n\n") {
				whole++
			}
		}
		if whole != 1 {
			t.Errorf("event %d stands whole in %d writes, want 1", i, whole)
		}
	}
}

// A body that is no stream keeps its length, and one that is cut is seen to be.
func TestReplyOfABody(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		url, _ := serveReply(t, false, func(p *reply) {
			p.Head(404, http.Header{"Content-Type": {"application/json"}, "Content-Length": {"8000"}})
			p.Write([]byte(strings.Repeat("a", 5000)))
			if !cut {
				p.Write([]byte(strings.Repeat("b", 3000)))
			}
		})
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 404 || resp.ContentLength != 8000 || (err == nil) == cut || !cut && len(b) != 8000 {
			t.Errorf("cut %v: got %d with %d of %d bytes, %v", cut, resp.StatusCode, len(b), resp.ContentLength, err)
		}
	}
}

// Pings come in silence only, begin the reply when nothing else has, end when
// they are told to, and never after the end.
func TestBeat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		run  func(p *reply)
		want string
	}{
		{"none asked for", func(p *reply) { p.Head(200, eventStream); time.Sleep(time.Minute); p.Write([]byte("a")) }, "a"},
		{"before the reply", func(p *reply) { p.Beat("p"); time.Sleep(50 * time.Second) }, "ppp"},
		{"busy", func(p *reply) {
			p.Head(200, eventStream)
			p.Beat("p")
			for range 6 {
				time.Sleep(10 * time.Second)
				p.Write([]byte("a"))
			}
			time.Sleep(14 * time.Second)
		}, "aaaaaa"},
		{"busy, then silent", func(p *reply) {
			p.Head(200, eventStream)
			p.Beat("p")
			time.Sleep(10 * time.Second)
			p.Write([]byte("a"))
			time.Sleep(14 * time.Second)
			p.Write([]byte("b"))
			time.Sleep(16 * time.Second)
			p.Write([]byte("c"))
		}, "abpc"},
		{"stopped and begun again", func(p *reply) {
			p.Beat("p")
			time.Sleep(16 * time.Second)
			p.Beat("")
			time.Sleep(time.Minute)
			p.Beat("q")
			time.Sleep(31 * time.Second)
		}, "pqq"},
		{"ended", func(p *reply) { p.Beat("p"); p.close(); time.Sleep(time.Minute) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := httptest.NewRecorder()
				p := newReply(quietWriter{rec}, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), true)
				tt.run(p)
				p.close()
				time.Sleep(time.Minute)
				if got := rec.Body.String(); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if p.Begun() != (tt.want != "") || p.Begun() && !strings.HasPrefix(rec.Header().Get("Content-Type"), streamType) {
					t.Errorf("begun is %v with %v", p.Begun(), rec.Header())
				}
			})
		})
	}
}

// A reply that a ping has begun can only go on as a stream.
func TestHeadAfterBeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		p := newReply(quietWriter{rec}, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), true)
		if _, err := p.Write([]byte("a")); err == nil {
			t.Error("a write before the head: got no error")
		}
		p.Beat(": p\n\n")
		time.Sleep(20 * time.Second)
		if err := p.Head(429, http.Header{}); err == nil {
			t.Error("status 429 after a ping: got no error")
		}
		if err := p.Head(200, eventStream); err != nil {
			t.Errorf("status 200 after a ping: %v", err)
		}
		p.close()
	})
}

// Who has left is told to the one who writes, and once.
func TestReplyToOneWhoLeft(t *testing.T) {
	t.Parallel()
	p := newReply(brokenWriter{httptest.NewRecorder()}, httptest.NewRequest("POST", "/", nil), true)
	p.Head(200, eventStream)
	for range 2 {
		if _, err := p.Write([]byte("a")); err != io.ErrClosedPipe {
			t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
		}
	}
}

// A client has a minute for each write, and the deadline is not set anew for
// each.
func TestWriteDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &patientWriter{quietWriter: quietWriter{httptest.NewRecorder()}}
		p := newReply(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), true)
		p.Head(200, eventStream)
		for range 1000 {
			if _, err := p.Write([]byte("a")); err != nil {
				t.Fatal(err)
			}
			if left := time.Until(w.deadline); left < writeTimeout {
				t.Fatalf("a write has %v, want %v", left, writeTimeout)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if w.set > 10 {
			t.Errorf("the deadline was set %d times in 100 s", w.set)
		}
	})
}

type patientWriter struct {
	quietWriter
	deadline time.Time
	set      int
}

func (w *patientWriter) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	w.set++
	return nil
}

// What a chunk costs beside the write itself.
func BenchmarkReply(b *testing.B) {
	p := newReply(nowhere{http.Header{}}, httptest.NewRequest("POST", "/", nil), true)
	p.Head(200, eventStream)
	p.conn = newCorkConn(nobody{})
	p.Beat("p")
	defer p.close()
	chunk := []byte(strings.Repeat("a", 200))
	b.ReportAllocs()
	for b.Loop() {
		p.Write(chunk)
	}
}

type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header            { return n.h }
func (nowhere) WriteHeader(int)                  {}
func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) FlushError() error                { return nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }

type nobody struct{ net.Conn }

func (nobody) Write(b []byte) (int, error) { return len(b), nil }
