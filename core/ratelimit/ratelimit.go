// Package ratelimit decides whether a call of a model may be made now: whether
// the limits on requests and tokens have room for it and no budget is spent. The
// one rule it keeps: what was admitted is counted, and nothing is admitted that
// does not fit beside what is counted.
//
//	ticket, err := service.Reserve(ctx, request) // an error: do not make the call
//	…                                            // the call
//	ticket.Settle(usage, cost)                   // or Release, when nothing was sent
//
// # Limits
//
// A limit holds in every span of a minute, or an hour, wherever it begins: of the
// calls that were admitted within it, there are at most so many, and they have
// used at most so many tokens. A call counts from the moment it is admitted. Its
// tokens are an estimate until it is settled; what it has used beyond that and
// beyond the limit is a debt, which is paid before anything else is admitted, by
// up to ten spans. So the tokens of a span are above the limit by at most the
// error in the estimates of what was under way at one time; with Limit.Reserve
// "max" they are not. A call that is estimated to need more than the whole limit
// is admitted when nothing else counts.
//
// Refusals say after how long a call of the same size would be admitted, if
// nobody else makes one.
//
// # Budgets
//
// A budget is spent when the calls that were settled have cost that much within
// the day, week or month in which they began. The call that spends it ends as
// any other, and so do those under way beside it. Counting tokens costs nothing
// and is never refused for a budget.
//
// # Restart
//
// Counters are in memory. Restore rebuilds them from the rows of past calls.
package ratelimit

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Caller is who makes a call.
type Caller struct {
	Name             string
	ServicePrincipal bool
	Groups           []string          // that were given to the caller, each once; not those that everybody is in
	Tags             map[string]string // of the request
}

// Request is a call that is about to be made.
type Request struct {
	Op        provider.Op
	Model     string // its name in this gateway
	Caller    Caller
	Input     int64 // estimated tokens: a quarter of the request's bytes
	MaxOutput int64 // the most tokens that may be written; 0 means unknown
}

// Options are what a Service needs beside its configuration. The zero value is
// fit for use.
type Options struct {
	// Send posts the JSON of an Alert. Nil means that webhooks are not called.
	Send func(ctx context.Context, hook Webhook, body []byte) error
	// Now is the time of day, by which budgets begin anew; nil means time.Now.
	Now func() time.Time
	// Elapsed is the time since any one moment, by which limits go: a clock that
	// is set does not touch them. Nil means the system's monotonic clock.
	Elapsed func() time.Duration
}

// Service holds the counters. Its methods may be called side by side.
type Service struct {
	log     *slog.Logger
	now     func() time.Time
	elapsed func() time.Duration
	alerts  *alerts

	mu      sync.Mutex // of what changes models and budgets
	limits  map[string][]Limit
	models  atomic.Pointer[map[string]*model]
	budgets atomic.Pointer[[]*budget]
}

// model is the limits of one model.
type model struct{ calls, counts gate }

// maxUnknown is how many models that the configuration does not name are told
// apart. There are as many as it has models without limits.
const maxUnknown = 10_000

// New makes a Service. An error says what is wrong with cfg. Close it.
func New(cfg Config, log *slog.Logger, o Options) (*Service, error) {
	s := &Service{log: cmp.Or(log, slog.Default()), now: o.Now, elapsed: o.Elapsed}
	if s.now == nil {
		s.now = time.Now
	}
	if s.elapsed == nil {
		began := time.Now()
		s.elapsed = func() time.Duration { return time.Since(began) }
	}
	s.alerts = newAlerts(o.Send, s.log)
	s.models.Store(&map[string]*model{})
	s.budgets.Store(&[]*budget{})
	if err := s.Apply(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// Close waits for alerts that are being posted, for at most 5 s.
func (s *Service) Close() error { return s.alerts.close() }

// Apply puts other limits and budgets in force. Those that stay, perhaps with
// another number, keep their counts; Restore counts the past for those that are
// new. An error says what is wrong with cfg, and changes nothing.
func (s *Service) Apply(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.limits = maps.Clone(cfg.Models)
	models := map[string]*model{}
	for name, m := range *s.models.Load() { // the counts of one that lost its limits end with them
		models[name] = m
		m.apply(s.limits[name], now)
	}
	for name := range s.limits {
		if models[name] == nil {
			models[name] = newModel(name, s.limits[name], now)
		}
	}
	s.models.Store(&models)
	list := applyBudgets(*s.budgets.Load(), cfg.Budgets, now)
	s.budgets.Store(&list)
	return nil
}

func newModel(name string, limits []Limit, now time.Time) *model {
	m := &model{calls: gate{model: name}, counts: gate{model: name, op: "count_tokens"}}
	m.apply(limits, now)
	return m
}

func (m *model) apply(limits []Limit, now time.Time) {
	var calls, counts []Limit
	for _, l := range limits {
		if l.Op == "" {
			calls = append(calls, l)
		} else {
			counts = append(counts, l)
		}
	}
	m.calls.apply(calls, now)
	m.counts.apply(counts, now)
}

// model is the limits of the model of that name.
func (s *Service) model(name string) *model {
	if m := (*s.models.Load())[name]; m != nil {
		return m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	models := *s.models.Load()
	if len(models) >= maxUnknown+len(s.limits) {
		name = ""
	}
	if m := models[name]; m != nil {
		return m
	}
	models = maps.Clone(models)
	m := newModel(name, nil, s.now())
	for _, r := range m.counts.rules {
		r.known = true
	}
	models[name] = m
	s.models.Store(&models)
	return m
}

// gate is the limits that a call meets.
func (s *Service) gate(name string, op provider.Op) *gate {
	m := s.model(name)
	if op == provider.CountTokens {
		return &m.counts
	}
	return &m.calls
}

// Reserve admits a call and counts it, or refuses it and counts nothing. The
// error is apierror.BudgetExceeded; apierror.RateLimited, with RetryAfter; or
// apierror.Invalid for a call that a limit can never have room for. The Ticket
// has to be ended; it is nil when nothing bounds the call.
func (s *Service) Reserve(_ context.Context, q Request) (*Ticket, error) {
	if s == nil {
		return nil, nil
	}
	q.Input, q.MaxOutput = min(max(q.Input, 0), maxTokens), min(max(q.MaxOutput, 0), maxTokens)
	budgets := *s.budgets.Load()
	var found accounts
	if len(budgets) > 0 {
		var refused *spent
		if found, refused = findAccounts(budgets, &q, s.now()); refused != nil && q.Op != provider.CountTokens {
			return nil, refused.error()
		}
	}
	g := s.gate(q.Model, q.Op)
	if g.open.Load() && len(budgets) == 0 {
		return nil, nil
	}
	t, refused := g.reserve(&q, s.elapsed())
	if refused != nil {
		return nil, refused.error()
	}
	t.service, t.accounts = s, found
	return t, nil
}

// Ticket is what a call that was admitted holds. A nil Ticket does nothing.
type Ticket struct {
	service  *Service
	gate     *gate
	history  *history // nil when no tokens are counted
	input    int64    // Request.Input
	held     [4]hold
	n        int    // of held
	more     []hold // beyond those
	accounts accounts
	ended    atomic.Bool
}

// hold is what a call holds of a count.
type hold struct {
	bucket  *bucket
	slot    uint64
	tokens  int64 // 0 when they do not count
	request bool
}

func (t *Ticket) hold(h hold) {
	if t.n < len(t.held) {
		t.held[t.n] = h
		t.n++
		return
	}
	t.more = append(t.more, h)
}

// Settle says what the call has used in all its attempts, and what that cost in
// USD of 1e-12. The first call of Settle or Release counts.
func (t *Ticket) Settle(u openresponses.Usage, costPico int64) {
	if t == nil || t.ended.Swap(true) {
		return
	}
	t.gate.settle(t, &u, t.service.elapsed())
	t.accounts.charge(costPico, t.service.tell)
}

// Release takes back what the call holds, its request too: nothing was sent to a
// provider. The first call of Settle or Release counts.
func (t *Ticket) Release() {
	if t == nil || t.ended.Swap(true) {
		return
	}
	t.gate.settle(t, nil, t.service.elapsed())
}

// at is the i-th hold.
func (t *Ticket) at(i int) *hold {
	if i < t.n {
		return &t.held[i]
	}
	return &t.more[i-t.n]
}
