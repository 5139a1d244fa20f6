package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// want takes n bytes for a share as a large claim, or as a small one.
func want(t *testing.T, s *share, n int64, large bool) error {
	total := int64(0)
	if large {
		total = s.bytes + n
	}
	return s.budget.acquire(t.Context(), s, n, total, time.Second)
}

func TestBudgetShares(t *testing.T) {
	t.Parallel()
	type step struct {
		who   string
		n     int64
		large bool
		ok    bool
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"large claims leave a quarter to small ones", []step{
			{"a", 800, true, true}, {"b", 400, true, true}, {"c", 8, true, false}, {"c", 400, false, true}, {"d", 8, false, false},
		}},
		{"large claims of one hold half", []step{
			{"a", 400, true, true}, {"a", 400, true, true}, {"a", 8, true, false}, {"b", 400, true, true}, {"b", 8, true, false},
		}},
		{"one claim that is alone may be larger", []step{{"a", 1000, true, true}, {"a", 8, true, false}, {"b", 200, true, true}}},
		{"one has room for small ones beside its claims", []step{{"a", 800, true, true}, {"a", 200, false, true}, {"a", 8, false, false}, {"b", 200, true, true}}},
		{"small ones of one hold five eighths", []step{{"a", 600, false, true}, {"a", 400, false, true}, {"a", 8, false, false}, {"b", 200, true, true}}},
		{"a largest body always fits", []step{{"a", 1600, true, true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(1600, 1600)
				var all []*share
				for i, st := range tt.steps {
					s := b.open(party{name: st.who})
					all = append(all, s)
					err := want(t, s, st.n, st.large)
					if (err == nil) != st.ok {
						t.Errorf("step %d: %v", i, err)
					}
					if e := apierror.From(err); err != nil && (e.Code != apierror.RateLimited || e.RetryAfter == 0) {
						t.Errorf("step %d: got %v, want rate_limited with a time", i, err)
					}
				}
				for _, s := range all {
					s.release()
					s.release() // does nothing
				}
				empty(t, b)
			})
		})
	}
}

// empty checks that nothing is held, and nobody known.
func empty(t *testing.T, b *budget) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left != b.size || len(b.accounts)+len(b.small)+len(b.large)+len(b.reading) != 0 {
		t.Errorf("left over: %d bytes, %d accounts, %d small and %d large waiters, %d uploads", b.size-b.left, len(b.accounts), len(b.small), len(b.large), len(b.reading))
	}
}

func TestBudgetWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(16, 16)
		first, second := b.open(party{name: "a"}), b.open(party{name: "b"})
		if err := want(t, first, 12, false); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(4 * time.Second)
			first.shrink(10)
		}()
		if err := b.acquire(t.Context(), second, 6, 0, 5*time.Second); err != nil {
			t.Errorf("bytes came back in time: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.acquire(ctx, second, 1, 0, 5*time.Second); apierror.CodeOf(err) != apierror.Canceled {
			t.Errorf("the client left: got %v, want canceled", err)
		}
		if err := first.grow(t.Context(), 17); apierror.CodeOf(err) != apierror.TooLarge {
			t.Errorf("more than there is: got %v, want too_large", err)
		}
		first.release()
		second.release()
		empty(t, b)
	})
}

// Of the claims that wait, the next is of who would hold the least then; those
// of one principal go in the order of their coming.
func TestClaimsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1600, 400)
		full := b.open(party{})
		if err := want(t, full, 1200, true); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		for _, w := range []struct {
			name string
			n    int64
		}{{"a1", 300}, {"a2", 100}, {"b1", 300}, {"b2", 200}, {"c1", 100}} {
			wg.Go(func() {
				s := b.open(party{name: w.name[:1]})
				defer s.release()
				if err := b.acquire(t.Context(), s, w.n, w.n, time.Minute); err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
				mu.Lock()
				order = append(order, w.name)
				mu.Unlock()
				time.Sleep(time.Second)
			})
			synctest.Wait()
		}
		for range 5 {
			full.shrink(full.bytes - 240)
			synctest.Wait() // others give back only after a second
		}
		wg.Wait()
		full.release()
		if got := fmt.Sprint(order); got != "[c1 a1 b1 a2 b2]" {
			t.Errorf("got the order %v", got)
		}
		empty(t, b)
	})
}

// client is one that sends a body through a connection of its own.
type client struct {
	*httptest.ResponseRecorder
	conn net.Conn // the gateway's end
	send net.Conn
}

func (c client) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// read is what the gateway makes of a request by who with a body of this length,
// of which so many bytes come and then no more. It gives back all at once.
func (c client) read(ctx context.Context, a *API, who string, length, comes int64) error {
	go c.send.Write(make([]byte, comes))
	var body io.Reader = cut{c.conn}
	if length >= 0 {
		body = io.LimitReader(body, length)
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", body)
	r.ContentLength = length
	_, release, err := a.readBody(c, r, &access.Principal{Kind: access.KindUser, Name: who})
	if err == nil {
		release()
	}
	c.send.Close()
	c.conn.Close()
	return err
}

// cut reads as net/http does: a connection that ends does not end a body.
type cut struct{ io.Reader }

func (c cut) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func newClient() client {
	a, b := net.Pipe()
	return client{httptest.NewRecorder(), a, b}
}

// Connections of one principal that hold what they can do not delay another's
// requests, however large, nor for longer than a stalled upload may be there.
func TestHogDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		length, comes int64 // of the hog's requests
		size          int64 // of the other's
		rounds        int
		within        time.Duration
	}{
		{"claims of the largest size, few bytes", 31_000_000, 10, 3_000_000, 10, 0},
		{"claims of the largest size, the start", 31_000_000, 100_000, 3_000_000, 10, 0},
		{"many claims", 1_500_000, 100_000, 3_000_000, 10, 0},
		{"unknown lengths", -1, 60_000, 3_000_000, 10, 0},
		{"small bodies", 1_000_000, 900_000, 3_000_000, 10, 0},
		{"a body that needs what the hog has", 31_000_000, 10, 31_000_000, 3, 2 * patience},
		{"a body that needs what many have", 3_000_000, 10, 31_000_000, 3, 2 * patience},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range 120 {
					wg.Go(func() {
						for ctx.Err() == nil { // it opens the next at once
							c := newClient()
							stop := context.AfterFunc(ctx, func() { c.send.Close() })
							c.read(ctx, a, "hog", tt.length, tt.comes)
							stop()
						}
					})
				}
				synctest.Wait()
				if a.budget.inUse() < a.budget.size/20 {
					t.Errorf("the hog holds %d bytes only", a.budget.inUse())
				}
				for range tt.rounds {
					start := time.Now()
					if err := newClient().read(ctx, a, "other", tt.size, tt.size); err != nil {
						t.Errorf("the other's request: %v", err)
					}
					if took := time.Since(start); took > tt.within {
						t.Errorf("the other's request waited %v", took)
					}
					time.Sleep(333 * time.Millisecond)
				}
				cancel()
				wg.Wait()
				empty(t, a.budget)
			})
		})
	}
}

// Who is alone has room for what one user sends: some large bodies at once, and
// one of the largest size.
func TestOneUserAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
		var held []func()
		for i, size := range []int{32 << 20, 3 << 20, 3 << 20, 3 << 20, 3 << 20, 3 << 20, 3 << 20, 3 << 20, 3 << 20, 3 << 20, 3 << 20, 64 << 10, 1 << 20} {
			if i == 1 { // the largest has been served
				held[0]()
				held = nil
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(make([]byte, size)))
			start := time.Now()
			_, release, err := a.readBody(httptest.NewRecorder(), r, &access.Principal{Kind: access.KindUser, Name: "alone"})
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("request %d waited %v", i, took)
			}
			held = append(held, release)
		}
		for _, release := range held {
			release()
		}
		empty(t, a.budget)
	})
}

// What clients that vanish while they wait or send held, others get.
func TestVanishedClientsLeaveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(fixed(&State{}), Limits{}, "test", slog.New(slog.DiscardHandler))
		var wg sync.WaitGroup
		for i := range 120 {
			ctx, cancel := context.WithCancel(t.Context())
			c := newClient()
			wg.Go(func() {
				if err := c.read(ctx, a, fmt.Sprint(i%3), []int64{31_000_000, 3_000_000, -1, 500_000}[i%4], 100_000); apierror.CodeOf(err) != apierror.Canceled {
					t.Errorf("got %v, want canceled", err)
				}
			})
			time.AfterFunc(time.Duration(i)*time.Millisecond, func() {
				cancel()
				c.send.Close()
			})
		}
		wg.Wait()
		empty(t, a.budget)
		time.Sleep(time.Second)
		a.budget.mu.Lock()
		defer a.budget.mu.Unlock()
		if a.budget.looking {
			t.Error("it looks for stalled uploads, and nobody waits")
		}
	})
}
