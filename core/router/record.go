package router

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Record is what is known of one model call when it has ended. There is
// exactly one for every call that passed the permission check.
type Record struct {
	Time        time.Time // when the call began
	RequestID   string
	Session     string
	Principal   string
	Model       string    // the name here
	Provider    string    // of the last attempt
	Destination string    // the provider's model name in the last attempt
	Attempts    []Attempt // in order; empty when none began
	Status      string    // completed, incomplete, failed, canceled
	Code        apierror.Code
	Served      string              // the model that answered, as the provider names it
	Usage       openresponses.Usage // of all attempts together: each may be billed
	Lost        []string            // fields of the request the last destination has no place for
	FirstByte   time.Duration       // from the beginning to the first event of the model's reply; 0 if none came
	Latency     time.Duration       // from the beginning to the end
}

// Attempt is one try at one destination.
type Attempt struct {
	Provider   string
	Model      string
	Status     int           // HTTP; 0 when no answer came or none was asked for
	Code       apierror.Code // "" when it served the call
	RequestID  string        // the provider's own
	Usage      openresponses.Usage
	Latency    time.Duration
	ReachedOut bool // the request may have reached the provider
}

// Call statuses beside those of the terminal events.
const statusCanceled = "canceled"

// settle ends the record and tells everybody.
func (c *call) settle() {
	c.rec.Latency = time.Since(c.rec.Time)
	if c.rec.Status == "" {
		c.rec.Status = openresponses.StatusFailed
	}
	if n := len(c.rec.Attempts); n > 0 {
		last := &c.rec.Attempts[n-1]
		c.rec.Provider, c.rec.Destination = last.Provider, last.Model
	}
	for _, a := range c.rec.Attempts {
		c.rec.Usage = c.rec.Usage.Add(a.Usage)
	}
	c.r.record(c.rec)
}

// record writes the line and calls the hook.
func (r *Router) record(rec Record) {
	if r.log.Enabled(context.Background(), slog.LevelInfo) {
		tries := make([]string, len(rec.Attempts))
		for i, a := range rec.Attempts {
			tries[i] = fmt.Sprintf("%s/%s %d", a.Provider, a.Model, a.Status)
			if a.Code != "" {
				tries[i] += " " + string(a.Code)
			}
		}
		u := rec.Usage
		r.log.LogAttrs(context.Background(), slog.LevelInfo, "model call",
			slog.String("request", rec.RequestID), slog.String("principal", rec.Principal),
			slog.String("model", rec.Model), slog.String("provider", rec.Provider), slog.String("destination", rec.Destination),
			slog.Any("attempts", tries), slog.String("status", rec.Status), slog.String("code", string(rec.Code)),
			slog.Int64("input_tokens", u.Input), slog.Int64("cache_read_tokens", u.CacheRead),
			slog.Int64("cache_write_tokens", u.CacheWrite), slog.Int64("cache_write_1h_tokens", u.CacheWrite1h),
			slog.Int64("output_tokens", u.Output), slog.Int64("reasoning_tokens", u.Reasoning),
			slog.Bool("estimated", u.Estimated), slog.Any("lost", rec.Lost),
			slog.Float64("first_byte_ms", ms(rec.FirstByte)), slog.Float64("latency_ms", ms(rec.Latency)))
	}
	if r.OnCall != nil {
		r.OnCall(rec)
	}
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

// total is the usage of the attempt so far. An attempt that ended in good order
// is as the provider said, if it said anything. One that was cut has its input
// as said, and its output at least as large as what was seen of it: providers
// often count the output only at the end.
func (m *meter) total(ended bool) openresponses.Usage {
	if m.said == nil {
		return openresponses.Usage{Input: tokens(m.sent), Output: tokens(m.text), Reasoning: tokens(m.thoughts), Estimated: true}
	}
	u := *m.said
	if seen := tokens(m.text + m.thoughts); !ended && u.OutputTotal() < seen {
		u.Output, u.Reasoning, u.Estimated = tokens(m.text), max(u.Reasoning, tokens(m.thoughts)), true
	}
	return u
}
