package router

import (
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// How much of a reply may be held back for deciding whether to commit to it,
// counted from the reply's head.
const (
	holdTime  = 2 * time.Second
	holdBytes = 64 << 10
)

// holder stands between a reply and the client until the reply shows real
// content: providers often begin with success, announce an item, and only then
// find that they are overloaded.
type holder struct {
	until time.Time     // holding ends then
	read  *atomic.Int64 // bytes of the reply so far
	open  bool          // the client has been given something: the attempt is committed
	held  []openresponses.Event
	timer *time.Timer
}

// expired gives a channel to wait on beside the next event; nil while nothing
// is held back, or when the next event is there already.
func (h *holder) expired() <-chan time.Time {
	if n := len(h.held); n == 0 || h.held[n-1].More {
		return nil
	}
	if h.timer == nil {
		h.timer = time.NewTimer(time.Until(h.until))
	}
	return h.timer.C
}

// give passes ev on, or holds it back. It reports false when the consumer left.
func (h *holder) give(ev openresponses.Event, yield func(openresponses.Event, error) bool) bool {
	if !h.open {
		if !content(&ev) && h.read.Load() < holdBytes && time.Now().Before(h.until) {
			h.held = append(h.held, ev)
			return true
		}
		if !h.release(yield) {
			return false
		}
	}
	return yield(ev, nil)
}

// release commits: what was held goes to the consumer.
func (h *holder) release(yield func(openresponses.Event, error) bool) bool {
	h.open = true
	h.stop()
	held := h.held
	h.held = nil
	for _, ev := range held {
		if !yield(ev, nil) {
			return false
		}
	}
	return true
}

func (h *holder) stop() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// content reports whether an event holds something a person could see, or ends
// something. The announcement of an item or part does not.
func content(ev *openresponses.Event) bool {
	switch ev.Type {
	case openresponses.EventItemAdded, openresponses.EventPartAdded, openresponses.EventSummaryPartAdded:
		return false
	case openresponses.EventTextDelta, openresponses.EventRefusalDelta, openresponses.EventArgumentsDelta,
		openresponses.EventReasoningDelta, openresponses.EventSummaryDelta:
		return ev.Delta != ""
	}
	return true
}
