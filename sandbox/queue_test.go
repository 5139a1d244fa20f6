package sandbox

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func join(t *testing.T, q *queue, who string) *ticket {
	t.Helper()
	k, err := q.join(who)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// wait has k wait in its line, and returns what await will have returned.
func wait(t *testing.T, k *ticket, ctx context.Context) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- k.await(ctx, nil) }()
	for {
		k.q.mu.Lock()
		there := k.running || slices.Contains(k.q.lines[k.who], k)
		k.q.mu.Unlock()
		if there || ctx.Err() != nil {
			return done
		}
	}
}

func TestQueueTakesTurns(t *testing.T) {
	q := newQueue(1, 100)
	first := join(t, q, "alice")
	if err := first.await(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var tickets []*ticket
	for _, who := range []string{"alice", "alice", "alice", "bob", "carol", "bob"} {
		k := join(t, q, who)
		wait(t, k, t.Context())
		tickets = append(tickets, k)
	}
	var order []int
	for last := first; last != nil; {
		last.leave()
		last.leave()
		last = nil
		for i, k := range tickets {
			select {
			case <-k.turn:
				if !slices.Contains(order, i) {
					order = append(order, i)
					last = k
				}
			default:
			}
		}
	}
	if want := []int{3, 4, 0, 5, 1, 2}; !slices.Equal(order, want) {
		t.Errorf("they ran in the order %v, want %v", order, want)
	}
	if waiting, free := q.lengths(); waiting != 0 || free != 1 || len(q.each) != 0 || len(q.lines) != 0 {
		t.Errorf("at the end: %+v", q)
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := newQueue(1, 3)
	a := join(t, q, "alice")
	if _, err := q.join("alice"); !errors.Is(err, ErrShare) || !errors.Is(err, ErrBusy) {
		t.Errorf("more than half of it for one: %v", err)
	}
	join(t, q, "bob")
	join(t, q, "carol")
	if _, err := q.join("dave"); !errors.Is(err, ErrBusy) || errors.Is(err, ErrShare) {
		t.Errorf("more than all of it: %v", err)
	}
	a.leave()
	join(t, q, "dave").leave()
}

func TestQueueForgetsThoseWhoLeave(t *testing.T) {
	q := newQueue(1, 100)
	runs := join(t, q, "alice")
	if err := runs.await(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone, stays := join(t, q, "bob"), join(t, q, "bob")
	done := wait(t, gone, ctx)
	stayed := wait(t, stays, t.Context())
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	gone.leave()
	if err := gone.await(t.Context(), nil); err == nil {
		t.Error("it runs after it left")
	}
	// Who sleeps lets the next one run, and waits for its turn afterwards.
	runs.sleep()
	if err := <-stayed; err != nil {
		t.Fatal(err)
	}
	awake := wait(t, runs, t.Context())
	stays.leave()
	if err := <-awake; err != nil {
		t.Fatal(err)
	}
	runs.leave()
	if waiting, free := q.lengths(); waiting != 0 || free != 1 || len(q.each) != 0 || len(q.lines) != 0 || len(q.order) != 0 {
		t.Errorf("at the end: %+v", q)
	}
}
