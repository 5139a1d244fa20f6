package ratelimit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// sink takes what is posted, after so many failures.
type sink struct {
	mu    sync.Mutex
	fail  int
	tries int
	got   []Alert
	hooks []Webhook
}

func (k *sink) send(_ context.Context, hook Webhook, body []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tries++
	if k.fail > 0 {
		k.fail--
		return errors.New("no route to host")
	}
	var a Alert
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	k.got, k.hooks = append(k.got, a), append(k.hooks, hook)
	return nil
}

// TestAlerts: each percentage is told once in a period, to the log and to the
// webhook, also when a post fails at first.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	k := &sink{fail: 2}
	c := newClock()
	o := c.options()
	o.Send = k.send
	hook := &Webhook{URL: "https://hooks.example.com/a"}
	s, err := New(Config{Budgets: []Budget{
		{Each: "user", USD: 10, Per: "month", Alert: []int{80, 100, 50, 80}, Webhook: hook},
		{Of: "model quiet", USD: 1, Per: "day", Alert: []int{}, Webhook: hook},
		{Of: "model m", USD: 10, Per: "day", Then: "alert"}, // at 100 by default, to the log alone
	}}, slog.New(slog.NewTextHandler(&lines, nil)), o)
	if err != nil {
		t.Fatal(err)
	}
	s.alerts.first = time.Millisecond
	ana := Caller{Name: "ana"}
	for _, cost := range []float64{4, 1, 0.5, 0.5, 3, 0.5, 1} { // 4, 5, 5.5, 6, 9, 9.5, 10.5
		if err := spend(t, s, ana, "m", cost); err != nil {
			t.Fatal(err)
		}
	}
	if err := spend(t, s, Caller{Name: "bob"}, "quiet", 9); err != nil {
		t.Fatal(err)
	}
	c.set(noon.AddDate(0, 1, 0))
	if err := spend(t, s, ana, "m", 5); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, a := range k.got {
		got = append(got, a.Scope+" "+a.Resets.Format("2006-01")+" "+string(rune('0'+a.Percent/10)))
		if k.hooks[i].URL != hook.URL || a.USD != 10 || a.Period != "month" || !a.Blocks || a.Spent < a.USD*float64(a.Percent)/100 || a.Time.IsZero() {
			t.Errorf("%+v", a)
		}
	}
	// Of bob the 9 USD pass 50 and 80 at once.
	want := "user ana 2026-12 5, user ana 2026-12 8, user ana 2026-12 :, user bob 2026-12 5, user bob 2026-12 8, user ana 2027-01 5"
	if strings.Join(got, ", ") != want {
		t.Errorf("posted\n%s, want\n%s", strings.Join(got, ", "), want)
	}
	if k.tries != len(k.got)+2 {
		t.Errorf("%d tries for %d posts, two of which fail once", k.tries, len(k.got))
	}
	if n := strings.Count(lines.String(), "msg=budget"); n != len(k.got)+1 || !strings.Contains(lines.String(), `scope="model m"`) {
		t.Errorf("%d lines:\n%s", n, lines.String())
	}
	s.tell(Alert{}, hook) // after Close: only a line
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestAlertsFail: a webhook that never answers holds nobody up, and is given up.
func TestAlertsFail(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	k := &sink{fail: 1 << 30}
	c := newClock()
	o := c.options()
	o.Send = k.send
	s, err := New(Config{Budgets: []Budget{{Each: "user", USD: 1, Per: "month", Webhook: &Webhook{URL: "http://127.0.0.1:1/"}}}}, slog.New(slog.NewTextHandler(&lines, nil)), o)
	if err != nil {
		t.Fatal(err)
	}
	s.alerts.first = time.Millisecond
	if err := spend(t, s, Caller{Name: "ana"}, "m", 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if k.tries != alertTries || !strings.Contains(lines.String(), "could not be posted") || !strings.Contains(lines.String(), "no route to host") {
		t.Errorf("%d tries:\n%s", k.tries, lines.String())
	}

	// A send that hangs is ended by Close.
	o.Send = func(ctx context.Context, _ Webhook, _ []byte) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if s, err = New(Config{Budgets: []Budget{{Each: "user", USD: 1, Per: "month", Webhook: &Webhook{URL: "http://127.0.0.1:1/"}}}}, quiet, o); err != nil {
		t.Fatal(err)
	}
	s.alerts.wait = 20 * time.Millisecond
	for range 3 * alertQueue { // more than may wait
		s.tell(Alert{}, &Webhook{})
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "not all posted") {
		t.Errorf("closed with %v", err)
	}
}
