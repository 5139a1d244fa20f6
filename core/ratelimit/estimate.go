package ratelimit

import (
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// kinds is a set of kinds of tokens, a bit for each field of a Usage.
type kinds uint8

const (
	input kinds = 1 << iota
	cacheRead
	cacheWrite
	cacheWrite1h
	output
	reasoning

	inputs  = input | cacheRead | cacheWrite | cacheWrite1h
	outputs = output | reasoning
)

// kindsOf is the set that a Limit.Count means.
func kindsOf(names []string) kinds {
	var k kinds
	for _, n := range names {
		switch n {
		case "input":
			k |= input
		case "output":
			k |= output
		case "cache_read":
			k |= cacheRead
		case "cache_write":
			k |= cacheWrite | cacheWrite1h
		case "cache_write_1h":
			k |= cacheWrite1h
		case "reasoning":
			k |= reasoning
		}
	}
	if k == 0 {
		return inputs | outputs
	}
	return k
}

// split is the tokens of a Usage by kind, in the order of the bits.
func split(u *openresponses.Usage) [6]int64 {
	s := [6]int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning}
	for i := range s {
		s[i] = min(max(s[i], 0), maxTokens)
	}
	return s
}

// maxTokens bounds what one call is believed to have used of one kind.
const maxTokens = 1_000_000_000

// of is the tokens of a set of kinds.
func (k kinds) of(by [6]int64) (n int64) {
	for i, t := range by {
		if k&(1<<i) != 0 {
			n += t
		}
	}
	return n
}

// history is what the latest calls of one caller to one model have used. It
// predicts the next one's tokens, which for a coding tool differ much from the
// request's size: nine tenths of what it sends has usually been read before.
//
// A call is expected to use, of each kind of input, as much for each estimated
// token as the latest calls have, and to write as much as the ninetieth of a
// hundred of them did, if it may.
type history struct {
	seen time.Duration // when a call was settled last

	// Sums over the latest calls, in which each counts for nine tenths of the
	// one after it.
	estimated float64    // Request.Input
	used      [6]float64 // by kind

	calls [20]sample // the latest, in a circle
	n     int        // of calls that are set
	next  int
	p90   int64 // of written
	most  int64 // of written
	over  int64 // most of over
}

// sample is one call.
type sample struct {
	written int64 // output and reasoning
	over    int64 // input beyond what maximum would have reserved for it
}

// What a caller is thought to do before anything is known: to use the input
// that was estimated, without a cache, and to write this many tokens.
const (
	firstInput  = 1000 // estimated tokens that this counts for
	firstOutput = 2048 // tokens
)

const (
	fade = 0.9 // of the sums, with each call
	// inputFactor is how many tokens there may be at most for an estimated one,
	// in nearly any text. Estimates take four bytes for a token.
	inputFactor = 2
	// unknownOutput is what a call may write if nobody says how much: see
	// Limit.Reserve.
	unknownOutput = 8192
	// forget is how long a history is believed.
	forget = time.Hour
)

func newHistory() *history {
	h := &history{estimated: firstInput}
	h.used[0] = firstInput
	h.note(sample{written: firstOutput})
	return h
}

// expect is how many tokens of these kinds a call will use.
func (h *history) expect(q *Request, k kinds) int64 {
	var in, written, out float64
	for i, n := range h.used {
		if 1<<i&inputs != 0 && k&(1<<i) != 0 {
			in += n
		}
		if 1<<i&outputs != 0 {
			written += n
			if k&(1<<i) != 0 {
				out += n
			}
		}
	}
	sum := int64(float64(q.Input) * in / h.estimated)
	if k&outputs == 0 || q.Op == provider.Embed {
		return sum
	}
	n := h.p90
	if q.MaxOutput > 0 {
		n = min(n, q.MaxOutput)
	}
	switch {
	case k&outputs == outputs:
		sum += n
	case written == 0:
		if k&output != 0 {
			sum += n
		}
	default:
		sum += int64(float64(n) * out / written)
	}
	return sum
}

// maximum is how many tokens of these kinds a call may use at most. It rests on
// a bound for text: where input was more than that bound, the latest calls say by
// how much.
func (h *history) maximum(q *Request, k kinds) int64 {
	var sum int64
	if k&inputs != 0 {
		sum = inputFactor*q.Input + h.over
	}
	if k&outputs != 0 && q.Op != provider.Embed {
		if q.MaxOutput > 0 {
			sum += q.MaxOutput
		} else {
			sum += max(h.most, unknownOutput)
		}
	}
	return sum
}

// learn takes in what a call has used.
func (h *history) learn(now time.Duration, estimated int64, used [6]int64) {
	h.seen = max(h.seen, now)
	h.estimated = h.estimated*fade + float64(estimated)
	for i, n := range used {
		h.used[i] = h.used[i]*fade + float64(n)
	}
	h.note(sample{written: outputs.of(used), over: max(0, inputs.of(used)-inputFactor*estimated)})
}

// note puts s in the place of the oldest sample.
func (h *history) note(s sample) {
	h.calls[h.next] = s
	h.next = (h.next + 1) % len(h.calls)
	h.n = min(h.n+1, len(h.calls))
	var top [3]int64 // the largest, in order
	h.over = 0
	for _, c := range h.calls[:h.n] {
		h.over = max(h.over, c.over)
		switch w := c.written; {
		case w > top[0]:
			top = [3]int64{w, top[0], top[1]}
		case w > top[1]:
			top = [3]int64{top[0], w, top[1]}
		case w > top[2]:
			top[2] = w
		}
	}
	h.most = top[0]
	h.p90 = top[(h.n)/10] // of ten calls the second largest, of twenty the third
}
