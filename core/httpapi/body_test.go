package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// bodyServer answers with the size of the body it read, or with the error.
func bodyServer(t *testing.T, l Limits) (*API, *httptest.Server) {
	t.Helper()
	a := New(fixed(&State{}), l, "test", slog.New(slog.DiscardHandler))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, release, err := a.readBody(w, r, nil)
		if err != nil {
			a.refuse(w, r, err, manner{})
			return
		}
		defer release()
		writeJSON(w, 200, len(b))
	}))
	t.Cleanup(s.Close)
	return a, s
}

func TestReadBody(t *testing.T) {
	t.Parallel()
	a, s := bodyServer(t, Limits{Body: 3 << 20, Budget: 40 << 20})
	tests := []struct {
		name    string
		size    int
		chunked bool
		status  int
	}{
		{"empty", 0, false, 200}, {"small", 10, false, 200}, {"64 KiB exactly", 64 << 10, false, 200}, {"large", 2 << 20, false, 200},
		{"the limit", 3 << 20, false, 200}, {"above the limit", 3<<20 + 1, false, 413}, {"far above", 8 << 20, false, 413},
		{"chunked", 100 << 10, true, 200}, {"chunked, large", 2 << 20, true, 200}, {"chunked, above the limit", 3<<20 + 1, true, 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var body io.Reader = bytes.NewReader(make([]byte, tt.size))
			if tt.chunked {
				body = io.MultiReader(body) // hides the length
			}
			resp, err := http.Post(s.URL, "application/json", body)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("got status %d, want %d", resp.StatusCode, tt.status)
			}
			if n := a.budget.inUse(); n != 0 {
				t.Errorf("%d bytes of the budget are still charged", n)
			}
		})
	}
}

// A refusal is told before the body has come, and the rest of the body is read
// all the same: a client meets the answer whether it reads early or late.
func TestRefusalNeedNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	_, s := bodyServer(t, Limits{Body: 1 << 20, Budget: 40 << 20})
	for _, early := range []bool{true, false} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		const size = 24 << 20
		if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		answer := func() {
			t.Helper()
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("early=%v: %v", early, err)
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 413 {
				t.Errorf("early=%v: got status %d, %v", early, resp.StatusCode, err)
			}
		}
		if early {
			answer()
		}
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Errorf("early=%v: the body could not be sent: %v", early, err)
		}
		if !early {
			answer()
		}
	}
}

// Large uploads that together exceed the budget wait for each other: none is
// starved for ever, and every one gets an answer.
func TestLargeUploadsTakeTurns(t *testing.T) {
	t.Parallel()
	a, s := bodyServer(t, Limits{Body: 4 << 20, Budget: 30 << 20})
	body := make([]byte, 4<<20-1)
	var wg sync.WaitGroup
	statuses := make([]int, 24)
	for i := range statuses {
		wg.Go(func() {
			resp, err := http.Post(s.URL, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			statuses[i] = resp.StatusCode
		})
	}
	wg.Wait()
	ok := 0
	for _, st := range statuses {
		switch st {
		case 200:
			ok++
		case 429, 408: // 408 where the machine is so busy that a sender of its own stalls
		default:
			t.Errorf("got status %d, want 200, 429 or 408", st)
		}
	}
	if ok == 0 {
		t.Error("no upload succeeded")
	}
	if n := a.budget.inUse(); n != 0 {
		t.Errorf("%d bytes of the budget are still charged", n)
	}
}

// slowBody is a request body that comes as slowly as the test likes, and that
// a read deadline ends as it would a connection.
type slowBody struct {
	every    time.Duration
	n        int
	deadline time.Time
}

func (s *slowBody) Read(p []byte) (int, error) {
	if !s.deadline.IsZero() && time.Now().Add(s.every).After(s.deadline) {
		time.Sleep(time.Until(s.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(s.every)
	n := min(len(p), s.n)
	return n, nil
}
func (s *slowBody) Close() error { return nil }

type deadlineWriter struct {
	*httptest.ResponseRecorder
	b *slowBody
}

func (d deadlineWriter) SetReadDeadline(t time.Time) error { d.b.deadline = t; return nil }

func TestSlowUploadEndsInTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
		body := &slowBody{every: time.Second, n: 100} // 6 kB a minute
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", body)
		r.ContentLength = 1 << 20
		start := time.Now()
		_, _, err := a.readBody(deadlineWriter{httptest.NewRecorder(), body}, r, nil)
		if apierror.CodeOf(err) != apierror.Timeout {
			t.Fatalf("got %v, want timeout", err)
		}
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("it took %v", took)
		}
		if n := a.budget.inUse(); n != 0 {
			t.Errorf("%d bytes of the budget are still charged", n)
		}
		if errors.Is(err, context.Canceled) {
			t.Error("a timeout is not a cancellation")
		}
	})
}

// What follows a broken body on the same connection is not another request.
func TestNothingFollowsABrokenBody(t *testing.T) {
	t.Parallel()
	a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
	a.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/smuggled" {
			t.Error("the rest of a broken body was served as a request")
		}
		if r.URL.Path == "/unread" {
			a.refuse(w, r, apierror.New(apierror.Unauthenticated, "Who?"), manner{})
			return
		}
		_, release, err := a.readBody(w, r, nil)
		if err != nil {
			a.refuse(w, r, err, manner{})
			return
		}
		release()
	})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, l := a.Server(t.Context(), tcp)
	go srv.Serve(l)
	defer srv.Close()
	for path, status := range map[string]string{"/read": "400 ", "/unread": "401 "} {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
		reply, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("%s: the connection was not closed in good order: %v", path, err)
		}
		if n := strings.Count(string(reply), "HTTP/1.1 "); n != 1 || !strings.HasPrefix(string(reply), "HTTP/1.1 "+status) {
			t.Errorf("%s: got %d replies, want one with %s:\n%s", path, n, status, reply)
		}
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	p := pace{end: now.Add(grace)}
	p.add(1<<20, now) // much at once buys one window, not a minute
	if want := now.Add(grace); !p.end.Equal(want) {
		t.Errorf("got end %v, want %v", p.end, want)
	}
	for range 60 { // 1 MiB a minute, steadily, goes on for ever
		now = now.Add(time.Second)
		p.add(1<<20/60+1, now)
		if now.After(p.end) {
			t.Fatalf("a steady sender of the least rate was late at %v", now)
		}
	}
}

// A large body that stalls does not keep the others from being read.
func TestStalledUploadGivesWay(t *testing.T) {
	t.Parallel()
	a, s := bodyServer(t, Limits{Body: 4 << 20, Budget: 20 << 20})
	stalled, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	fmt.Fprintf(stalled, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 4<<20)
	stalled.Write(make([]byte, 100<<10))
	for a.budget.inUse() < 4<<20*parsedCopies { // it has its claim
		time.Sleep(time.Millisecond)
	}
	resp, err := http.Post(s.URL, "application/json", bytes.NewReader(make([]byte, 4<<20-1)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("the second upload: got status %d, want 200", resp.StatusCode)
	}
	reply := make([]byte, 12)
	if _, err := io.ReadFull(stalled, reply); err != nil || string(reply) != "HTTP/1.1 408" {
		t.Errorf("the stalled upload: got %q, %v; want 408", reply, err)
	}
}
