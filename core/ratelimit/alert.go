package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Alert is what a webhook is sent, as JSON, when so much of a budget is spent.
// It is sent once for each percentage in a period; a gateway that starts in the
// middle of one does not send again what was passed before.
type Alert struct {
	Time    time.Time `json:"time"`    // when the call began that passed it, UTC
	Scope   string    `json:"scope"`   // whose budget: "user alice@example.com"
	Period  string    `json:"period"`  // day, week or month
	Percent int       `json:"percent"` // that is passed
	USD     float64   `json:"usd"`     // the budget
	Spent   float64   `json:"spent"`   // USD, in this period
	Blocks  bool      `json:"blocks"`  // calls are refused when it is spent
	Resets  time.Time `json:"resets"`  // when the next period begins
}

// alerts posts them, one after the other, in the background.
type alerts struct {
	send  func(context.Context, Webhook, []byte) error
	log   *slog.Logger
	queue chan post
	stop  context.CancelFunc
	ctx   context.Context
	wait  time.Duration // of close
	first time.Duration // pause before the second try

	mu     sync.Mutex
	closed bool
	begun  bool
	done   chan struct{}
}

type post struct {
	hook Webhook
	body []byte
}

// Bounds on posting.
const (
	alertQueue = 256 // that wait; more are only logged
	alertTries = 5
	alertTime  = 10 * time.Second // of one try
)

func newAlerts(send func(context.Context, Webhook, []byte) error, log *slog.Logger) *alerts {
	ctx, stop := context.WithCancel(context.Background())
	return &alerts{
		send: send, log: log, ctx: ctx, stop: stop, wait: 5 * time.Second, first: time.Second,
		queue: make(chan post, alertQueue), done: make(chan struct{}),
	}
}

// tell writes an alert to the log and has it posted.
func (s *Service) tell(a Alert, hook *Webhook) {
	level := slog.LevelWarn
	s.log.Log(context.Background(), level, "budget", "scope", a.Scope, "period", a.Period, "percent", a.Percent,
		"usd", a.USD, "spent", a.Spent, "blocks", a.Blocks && a.Percent >= 100, "resets", a.Resets)
	if hook == nil || s.alerts.send == nil {
		return
	}
	body, err := json.Marshal(a)
	if err != nil { // no field of it can fail
		s.log.Error("an alert cannot be written", "error", err)
		return
	}
	s.alerts.post(post{*hook, body})
}

func (a *alerts) post(p post) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	if !a.begun {
		a.begun = true
		go a.run()
	}
	select {
	case a.queue <- p:
	default:
		a.log.Error("a budget's alert is not posted: too many wait for their webhook", "alert", string(p.body))
	}
}

func (a *alerts) run() {
	defer close(a.done)
	for p := range a.queue {
		pause := backoff.NewExponentialBackOff()
		pause.InitialInterval, pause.MaxInterval = a.first, 30*a.first
		_, err := backoff.Retry(a.ctx, func() (struct{}, error) {
			ctx, cancel := context.WithTimeout(a.ctx, alertTime)
			defer cancel()
			return struct{}{}, a.send(ctx, p.hook, p.body)
		}, backoff.WithBackOff(pause), backoff.WithMaxTries(alertTries))
		if err != nil {
			a.log.Error("a budget's alert could not be posted", "alert", string(p.body), "error", err)
		}
	}
}

// close waits for what is queued, but not for long.
func (a *alerts) close() error {
	a.mu.Lock()
	first, begun := !a.closed, a.begun
	a.closed = true
	a.mu.Unlock()
	defer a.stop()
	if !first || !begun {
		return nil
	}
	close(a.queue)
	t := time.AfterFunc(a.wait, a.stop)
	defer t.Stop()
	<-a.done
	if a.ctx.Err() != nil {
		return errors.New("ratelimit: alerts of budgets were not all posted; the log has them")
	}
	return nil
}
