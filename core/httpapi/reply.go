package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/router"
)

// reply is the client's side of a call on a surface. The one who has the reply
// writes it on its own goroutine: what it gives is sent before Write returns,
// as one write to the connection where that is possible. Only pings come from
// elsewhere, from a timer.
type reply struct {
	w      http.ResponseWriter
	rc     http.ResponseController
	conn   *corkConn // nil where corking does not apply
	stream bool      // the client asked for one: nothing may wait in a buffer

	mu       sync.Mutex
	status   int // 0: nothing was sent
	events   bool
	closed   bool
	begun    bool      // the first bytes of a stream are sent
	err      error     // that ended the connection
	deadline time.Time // for writes, as it was set last
	ping     []byte    // nil: no pings
	last     time.Time // something was written
	timer    *time.Timer
}

var _ router.Replier = (*reply)(nil)

func newReply(w http.ResponseWriter, r *http.Request, stream bool) *reply {
	return &reply{w: w, rc: *http.NewResponseController(w), conn: connOf(r), stream: stream}
}

// ownHeader reports whether a header of a provider's reply is not passed on: it
// is about another connection, or says what the gateway says itself. The provider's
// request ids are passed on, for its support; X-Databricks-Request-Id stays ours.
func ownHeader(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Set-Cookie", "X-Databricks-Request-Id", "Alt-Svc", "Strict-Transport-Security", "Www-Authenticate", "Location":
		return true
	}
	return false
}

// Head begins the reply. When a ping has begun it, only a stream that goes well
// can follow.
func (p *reply) Head(status int, h http.Header) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != 0 {
		if p.events && status == http.StatusOK {
			return nil
		}
		return fmt.Errorf("a reply that has begun with status %d cannot become one with %d", p.status, status)
	}
	to := p.w.Header()
	for k, v := range h {
		if k = http.CanonicalHeaderKey(k); !ownHeader(k) {
			to[k] = v
		}
	}
	p.begin(status)
	return nil
}

// begin sends the status with the first bytes that are written.
func (p *reply) begin(status int) {
	p.status = status
	h := p.w.Header()
	if p.stream && status == http.StatusOK {
		p.events = true
		if h.Get("Cache-Control") == "" {
			h.Set("Cache-Control", "no-cache")
		}
		h.Set("X-Accel-Buffering", "no") // proxies must not hold events back
	}
	p.w.WriteHeader(status)
}

// corkFrom is how many bytes of a body are too many for the buffer of net/http,
// which would send them in pieces. A shorter body leaves with the head when the
// reply ends.
const corkFrom = 2 << 10

// Write sends b: at once in a stream, by and by in a body.
func (p *reply) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status == 0 {
		return 0, fmt.Errorf("a reply was written before its status")
	}
	return p.send(b)
}

func (p *reply) send(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	now := time.Now()
	p.last = now
	if p.deadline.Sub(now) < writeTimeout {
		p.deadline = now.Add(writeTimeout + writeTimeout/4) // not anew for each event
		if p.err = p.rc.SetWriteDeadline(p.deadline); p.err != nil {
			return 0, p.err
		}
	}
	if !p.stream && (p.conn == nil || len(b) < corkFrom) {
		var n int
		n, p.err = p.w.Write(b)
		return n, p.err
	}
	if p.conn != nil {
		p.conn.cork()
	}
	n, err := p.w.Write(b)
	if err == nil {
		err = p.rc.Flush()
	}
	if p.conn != nil {
		if cerr := p.conn.uncork(); err == nil {
			err = cerr
		}
	}
	p.err = err
	if p.stream && !p.begun {
		// On a machine of few processors the client may wait for this one until
		// all that the provider has sent is read.
		p.begun = true
		giveWay()
	}
	return n, err
}

// Beat sends ping after each keepAlive of silence from now on, and begins the
// reply as a stream if nothing else has; "" ends it.
func (p *reply) Beat(ping string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ping = []byte(ping)
	switch {
	case ping == "" && p.timer != nil:
		p.timer.Stop()
	case ping == "" || p.closed:
	case p.timer == nil:
		p.last = time.Now()
		p.timer = time.AfterFunc(keepAlive, p.beat)
	default:
		p.last = time.Now()
		p.timer.Reset(keepAlive)
	}
}

// beat is called by the timer, which is not moved with each write: it looks
// when the last one was.
func (p *reply) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.ping) == 0 || p.err != nil {
		return
	}
	if silence := time.Since(p.last); silence < keepAlive {
		p.timer.Reset(keepAlive - silence)
		return
	}
	if p.status == 0 {
		p.w.Header().Set("Content-Type", streamType+"; charset=utf-8")
		p.begin(http.StatusOK)
	}
	if _, err := p.send(p.ping); err == nil {
		p.timer.Reset(keepAlive)
	}
}

// Begun reports whether the client has been sent something.
func (p *reply) Begun() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status != 0
}

// unread reports whether the reply ended because the client read nothing of it
// for writeTimeout.
func (p *reply) unread() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Is(p.err, os.ErrDeadlineExceeded)
}

// close ends the pings. Nothing may be written after it.
func (p *reply) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
