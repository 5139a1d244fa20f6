package upstream

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Turn is one scripted reply. The zero Turn answers with an empty text.
type Turn struct {
	Reasoning string // shown and signed as far as the provider and the request have it
	Redacted  bool   // Anthropic: the reasoning is sealed, not shown
	Text      string
	Refusal   string // instead of Text
	Calls     []Call
	Stop      Stop
	Usage     Usage

	Status     int    // an error answer with this status; nothing else is sent
	RetryAfter string // its Retry-After header
	Body       string // of that answer, in place of the provider's usual words
	Before     *Gate  // holds the reply back before its head
	Middle     *Gate  // holds it after about half of the frames
	Fault      Fault
	Pace       time.Duration // passes before each frame but the first (with Drip: each byte): a slow provider
	Gzip       bool          // compressed, when the client takes it
	Batch      bool          // all frames in one write: a provider that costs little
	Raw        *Raw          // in place of all but Before, Pace and Gzip
}

// Call is a call of one of the declared functions.
type Call struct {
	Name      string
	Arguments string // JSON
}

// Stop says why the model stopped.
type Stop int

// The reasons to stop. Natural is the end of the text, or the calls.
const (
	Natural Stop = iota
	MaxTokens
	Filter
)

// Usage counts tokens, disjoint. A zero Usage stands for small numbers. A
// provider says of them what its dialect has a place for: only Anthropic tells
// input written to its caches from other input.
type Usage struct {
	Input    int // read, not from a cache and not into one
	Cached   int // read from a cache
	Cached5m int // written to the cache of five minutes
	Cached1h int // written to the cache of an hour

	Output    int // reasoning apart
	Reasoning int
}

// fresh is all input that is not from a cache.
func (u Usage) fresh() int { return u.Input + u.Cached5m + u.Cached1h }

func (u Usage) orSmall() Usage {
	if u == (Usage{}) {
		return Usage{Input: 11, Output: 7}
	}
	return u
}

// Fault is something a provider does wrong.
type Fault int

// The faults. All but Garbage and Hang begin as a good reply.
const (
	None       Fault = iota
	Cut              // the connection is closed after half of the frames
	Ended            // the reply ends properly, but after half of the frames
	Drip             // the reply comes one byte a write
	Garbage          // status 200 and a body that is none
	GarbageMid       // half of the frames, then a frame that is none, then the end
	ErrorEvent       // half of the frames, then the provider's error event
	Malformed        // a frame that is none in the middle of the others
	NoEnd            // all frames but the last
	Hang             // not even a head, until the client leaves
	HangMid          // half of the frames, then nothing until the client leaves
)

// Gate holds a reply until the test lets it go.
type Gate struct {
	reached, gone, open chan struct{}
	once, opened, left  sync.Once
}

// NewGate makes a closed gate.
func NewGate() *Gate {
	return &Gate{reached: make(chan struct{}), gone: make(chan struct{}), open: make(chan struct{})}
}

// Reached is closed when a reply has come to the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Gone is closed when the client left while its reply was held.
func (g *Gate) Gone() <-chan struct{} { return g.gone }

// Open lets the reply, and all that come later, pass.
func (g *Gate) Open() { g.opened.Do(func() { close(g.open) }) }

// pass waits at the gate. It is false when the client left.
func (g *Gate) pass(ctx context.Context) bool {
	if g == nil {
		return true
	}
	g.once.Do(func() { close(g.reached) })
	select {
	case <-g.open:
		return true
	case <-ctx.Done():
		g.left.Do(func() { close(g.gone) })
		return false
	}
}

// malformed is a frame that is no JSON.
const malformed = "data: {\"this is\": no JSON\n\n"

// deliver sends the frames with the turn's faults.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, q *query, t Turn, frames []string) {
	kind := "application/json"
	if q.stream && !q.list {
		kind = "text/event-stream; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Request-Id", "req_upstream")
	w.Header().Set("Request-Id", "req_upstream")
	if !q.stream && len(frames) == 1 { // so that there is a middle
		frames = []string{frames[0][:len(frames[0])/2], frames[0][len(frames[0])/2:]}
	}
	if t.Fault == Garbage {
		frames = []string{"<html><body>502 \x00\xff it is a proxy", " speaking</body></html>"}
	}
	if t.Fault == NoEnd {
		frames = frames[:len(frames)-1]
	}
	if t.Batch && t.Fault == None && t.Middle == nil {
		frames = []string{strings.Join(frames, "")}
	}
	half := len(frames) / 2
	send, end := sender(w, r, t.Gzip)
	defer end()
	for i, f := range frames {
		if i > 0 && t.Fault != Drip && !wait(r.Context(), t.Pace) {
			return
		}
		if i == half {
			if !t.Middle.pass(r.Context()) {
				return
			}
			switch t.Fault {
			case Cut:
				panic(http.ErrAbortHandler)
			case Ended:
				return
			case GarbageMid:
				send(malformed)
				return
			case Malformed:
				send(malformed)
			case ErrorEvent:
				send(s.speak.broken(q))
				return
			case HangMid:
				<-r.Context().Done()
				return
			}
		}
		if t.Fault != Drip {
			send(f)
			continue
		}
		for j := range len(f) {
			if !wait(r.Context(), t.Pace) {
				return
			}
			send(f[j : j+1])
		}
	}
}

// sender gives what writes a piece of a reply at once, and what ends it. A
// client that left ends the request's context.
func sender(w http.ResponseWriter, r *http.Request, packed bool) (send func(string), end func()) {
	rc := http.NewResponseController(w)
	if !packed || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		return func(text string) {
			io.WriteString(w, text)
			rc.Flush()
		}, func() {}
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	return func(text string) {
		io.WriteString(z, text)
		z.Flush()
		rc.Flush()
	}, func() { z.Close() }
}

// Raw is a reply byte by byte.
type Raw struct {
	Status int // 0 means 200
	Header http.Header
	Pieces []string // one write each
	Cut    bool     // the connection is closed after the last one
}

// whole is a reply in one piece.
func whole(body string) *Raw {
	return &Raw{Header: http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {"req_upstream"}, "Request-Id": {"req_upstream"}}, Pieces: []string{body}}
}

func (a *Raw) deliver(w http.ResponseWriter, r *http.Request, t Turn) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	send, end := sender(w, r, t.Gzip)
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	for i, p := range a.Pieces {
		if i > 0 && !wait(r.Context(), t.Pace) {
			return
		}
		send(p)
	}
	if a.Cut {
		panic(http.ErrAbortHandler)
	}
	end()
}

// wait lets d pass. It is false when the client left.
func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pieces splits a text into a few deltas, at character borders.
func pieces(text string) []string {
	var out []string
	for _, word := range strings.SplitAfter(text, " ") {
		if word != "" {
			out = append(out, word)
		}
	}
	if len(out) == 1 {
		runes := []rune(text)
		if n := len(runes) / 2; n > 0 {
			return []string{string(runes[:n]), string(runes[n:])}
		}
	}
	return out
}

func unix() int64 { return time.Now().Unix() }
