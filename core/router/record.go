package router

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// record begins the call's row. If the gateway dies before it is ended, the
// call is charged as asked of first.
func (c *call) record(ctx context.Context, first destination) error {
	if c.r.usage == nil {
		return nil
	}
	s := c.start()
	s.Provider, s.DestinationModel, s.Price = first.account.name, first.model, first.price
	if !c.free {
		s.EstimatedInput = tokens(c.size)
	}
	s.PayloadTable, s.PayloadMax = c.model.payloads, c.model.payloadMax
	var err error
	if c.row, err = c.r.usage.Begin(ctx, s); err != nil {
		return err
	}
	if p := c.row.Payload(); p != nil && !c.later {
		p.Request(asked(c.Request, c.model))
		c.kept = newCapture(p, c.row.ID(), c.model.name, c.began)
	}
	return nil
}

// reserve has the limits admit the call.
func (c *call) reserve(ctx context.Context) (err error) {
	if c.r.limits == nil {
		return nil
	}
	c.ticket, err = c.r.limits.Reserve(ctx, ratelimit.Request{
		Op: c.op, Model: c.model.name, Input: tokens(c.size), MaxOutput: c.most,
		Caller: ratelimit.Caller{
			Name: c.caller.Name, ServicePrincipal: c.caller.Kind == access.KindServicePrincipal,
			Groups: c.caller.NamedGroups(), Tags: c.Source.Tags,
		},
	})
	return err
}

// refuse records a call that is not made, and returns err.
func (c *call) refuse(ctx context.Context, err *apierror.Error) error {
	c.out.Status, c.out.Code, c.out.Latency = usage.Refused, err.Code, time.Since(c.began)
	if fault := c.r.usage.Refuse(ctx, c.start(), c.out); fault != nil {
		c.r.log.Error("a refused model call could not be recorded", "request", c.Source.RequestID, "model", c.model.name, "error", fault)
	}
	return err
}

func (c *call) start() usage.Start {
	return usage.Start{
		Op: c.op, Source: c.Source, Time: c.began,
		Requester: c.caller.Name, ServicePrincipal: c.caller.Kind == access.KindServicePrincipal, Groups: c.caller.NamedGroups(),
		Model: c.model.name,
	}
}

// spent is the tokens of all attempts together: each may be billed.
func (c *call) spent() (u openresponses.Usage) {
	for _, a := range c.out.Attempts {
		u = u.Add(a.Usage)
	}
	return u
}

// settle ends the call's row, once, and writes the line. A call that nothing
// else has ended by then is one through which a panic passes.
func (c *call) settle() {
	if c.settled {
		return
	}
	c.settled = true
	if c.out.Status == "" {
		c.out.Status, c.out.Code = usage.Failed, cmp.Or(c.out.Code, apierror.Internal)
	}
	c.out.Latency = time.Since(c.began)
	spent := c.spent()
	c.kept.end(c.out.Status, c.err, spent)
	c.row.End(c.out)
	if c.sent {
		if c.ticket != nil {
			cost, _ := usage.Cost(c.out.Attempts)
			c.ticket.Settle(spent, cost)
		}
	} else {
		c.ticket.Release()
	}
	c.line()
}

// line writes what is known of the call to the log, and leaves out what is not
// so or nothing.
func (c *call) line() {
	h := c.r.log.Handler()
	if !h.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	var room [20]slog.Attr
	all := room[:0]
	word := func(key, v string) {
		if v != "" {
			all = append(all, slog.String(key, v))
		}
	}
	number := func(key string, n int64) {
		if n != 0 {
			all = append(all, slog.Int64(key, n))
		}
	}
	all = append(all, slog.String("request", c.Source.RequestID), slog.String("call", c.row.ID()), slog.String("principal", c.caller.Name),
		slog.String("model", c.model.name))
	if n := len(c.out.Attempts); n > 0 {
		last := &c.out.Attempts[n-1]
		all = append(all, slog.String("provider", last.Provider), slog.String("destination", last.Model))
		if n > 1 || last.Code != "" { // one that went well is known by now
			all = append(all, slog.Any("attempts", tries(c.out.Attempts)))
		}
	}
	all = append(all, slog.String("status", c.out.Status))
	word("code", string(c.out.Code))
	u := c.spent()
	all = append(all, slog.Int64("input_tokens", u.InputTotal()))
	number("cache_read_tokens", u.CacheRead)
	number("cache_write_tokens", u.CacheWrite)
	number("cache_write_1h_tokens", u.CacheWrite1h)
	all = append(all, slog.Int64("output_tokens", u.OutputTotal()))
	number("reasoning_tokens", u.Reasoning)
	if u.Estimated {
		all = append(all, slog.Bool("estimated", true))
	}
	if len(c.out.Lost) > 0 {
		all = append(all, slog.Any("lost", c.out.Lost))
	}
	if c.out.FirstByte > 0 {
		all = append(all, slog.Float64("first_byte_ms", ms(c.out.FirstByte)))
	}
	all = append(all, slog.Float64("latency_ms", ms(c.out.Latency)))
	rec := slog.NewRecord(time.Now(), slog.LevelInfo, "model call", 0) // where in the source says nothing
	rec.AddAttrs(all...)
	_ = h.Handle(context.Background(), rec)
}

// tries is what the line says of attempts: where, the provider's status, and the
// code of one that failed.
func tries(all []usage.Attempt) []string {
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.Provider + "/" + a.Model + " " + strconv.Itoa(a.Status)
		if a.Code != "" {
			out[i] += " " + string(a.Code)
		}
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// meter counts one attempt's tokens from what passes by.
type meter struct {
	said     *openresponses.Usage // the provider's last word
	sent     int                  // bytes of the request
	text     int                  // bytes of text received, reasoning apart
	thoughts int                  // bytes of reasoning received
}

func (m *meter) see(ev *openresponses.Event) {
	if ev.Usage != nil {
		m.said = ev.Usage
	}
	switch ev.Type {
	case openresponses.EventTextDelta, openresponses.EventRefusalDelta, openresponses.EventArgumentsDelta:
		m.text += len(ev.Delta)
	case openresponses.EventReasoningDelta, openresponses.EventSummaryDelta:
		m.thoughts += len(ev.Delta)
	}
}

// bytesPerToken turns bytes into tokens where a provider did not count. It is
// rough on purpose: nobody should take an estimate for a count.
const bytesPerToken = 4

func tokens(n int) int64 { return int64((n + bytesPerToken - 1) / bytesPerToken) }

// maxCount is the largest count of tokens of one attempt that is believed: more
// than any model reads or writes at once.
const maxCount = 1_000_000_000

// believable reports whether a provider's counts can be true.
func believable(u openresponses.Usage) bool {
	for _, n := range [...]int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning} {
		if n < 0 || n > maxCount {
			return false
		}
	}
	return true
}

// total is the usage of the attempt so far. An attempt that ended in good order
// is as the provider said, if it said anything that can be true; a side of which
// it counted nothing, though there was something, is estimated. One that was cut has its input
// as said, and its output at least as large as what was seen of it: providers
// often count the output only at the end.
func (m *meter) total(ended bool) openresponses.Usage {
	if m.said == nil || !believable(*m.said) {
		return openresponses.Usage{Input: tokens(m.sent), Output: tokens(m.text), Reasoning: tokens(m.thoughts), Estimated: true}
	}
	u := *m.said
	if seen := tokens(m.text + m.thoughts); !ended && u.OutputTotal() < seen {
		u.Output, u.Reasoning, u.Estimated = tokens(m.text), max(u.Reasoning, tokens(m.thoughts)), true
	}
	if u.InputTotal() == 0 && m.sent > 0 {
		u.Input, u.Estimated = tokens(m.sent), true
	}
	if u.OutputTotal() == 0 && m.text+m.thoughts > 0 {
		u.Output, u.Reasoning, u.Estimated = tokens(m.text), tokens(m.thoughts), true
	}
	return u
}
