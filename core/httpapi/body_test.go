package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// bodyServer answers with the size of the body it read, or with the error.
func bodyServer(t *testing.T, l Limits) (*API, *httptest.Server) {
	t.Helper()
	a := New(func() *State { return nil }, l, "test", slog.New(slog.DiscardHandler))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, release, err := a.readBody(w, r)
		if err != nil {
			a.fail(w, r, err, false)
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
		case 429:
		default:
			t.Errorf("got status %d, want 200 or 429", st)
		}
	}
	if ok == 0 {
		t.Error("no upload succeeded")
	}
	if n := a.budget.inUse(); n != 0 {
		t.Errorf("%d bytes of the budget are still charged", n)
	}
}

func TestSmallBodyFindsRoomBesideLargeOnes(t *testing.T) {
	t.Parallel()
	b := newBudget(100)
	if err := b.acquire(t.Context(), 75, true, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := b.acquire(t.Context(), 1, true, time.Millisecond); apierror.CodeOf(err) != apierror.RateLimited {
		t.Errorf("a large body beyond three quarters: got %v, want rate_limited", err)
	}
	if err := b.acquire(t.Context(), 25, false, time.Millisecond); err != nil {
		t.Errorf("a small body within the last quarter: %v", err)
	}
	if err := b.acquire(t.Context(), 1, false, time.Millisecond); apierror.From(err).RetryAfter == 0 {
		t.Errorf("a full budget: got %v, want an error with RetryAfter", err)
	}
}

func TestBudgetWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		if err := b.acquire(t.Context(), 10, false, time.Second); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(4 * time.Second)
			b.release(10)
		}()
		if err := b.acquire(t.Context(), 3, false, 5*time.Second); err != nil {
			t.Errorf("bytes came back in time: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.acquire(ctx, 10, false, 5*time.Second); apierror.CodeOf(err) != apierror.Canceled {
			t.Errorf("the client left: got %v, want canceled", err)
		}
	})
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
		a := New(func() *State { return nil }, Limits{}, "test", slog.New(slog.DiscardHandler))
		body := &slowBody{every: time.Second, n: 100} // 6 kB a minute
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", body)
		r.ContentLength = 1 << 20
		start := time.Now()
		_, _, err := a.readBody(deadlineWriter{httptest.NewRecorder(), body}, r)
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
