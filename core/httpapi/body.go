package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Limits bounds what request bodies may cost the gateway. Source: promise of
// bounded memory; zero values mean the defaults.
type Limits struct {
	Body   int64 `yaml:"body"`   // bytes of one body; 0 means 32 MiB
	Budget int64 `yaml:"budget"` // bytes of all bodies and their parsed copies in flight; 0 means 256 MiB

	// TrustedProxies are the addresses whose forwarding headers count. It is set
	// from another section of the configuration.
	TrustedProxies []netip.Prefix `yaml:"-"`
}

const (
	defaultBody   = 32 << 20
	defaultBudget = 256 << 20

	// parsedCopies is how many bytes of the budget one byte of a body costs:
	// itself, the parser's copy, the parsed request, and the translator's
	// frame.
	parsedCopies = 4

	smallBody = 1 << 20 // larger bodies share three quarters of the budget, so that small ones always find room

	minRate   = float64(1<<20) / 60 // bytes a second; slower uploads end in 408
	patience  = 2 * time.Second     // the time in which a large body must keep the rate while others wait for its share
	grace     = 10 * time.Second    // before the rate counts, and longest wait for budget
	drainMax  = 64 << 20            // read and dropped after a refusal, so that the client sees the answer
	drainIdle = 5 * time.Second     // without a byte of it
	drainFor  = 2 * time.Minute     // in all
)

// readBody reads the body of r into memory, charging p's part of the budget as
// bytes arrive. The returned func gives the charge back; call it when the request's
// copies are gone. Errors are apierror TooLarge, Timeout, RateLimited, or
// Canceled when the client left.
func (a *API) readBody(w http.ResponseWriter, r *http.Request, p *access.Principal) ([]byte, func(), error) {
	body, sh, err := a.readShare(w, r, p)
	if err != nil {
		return nil, nil, err
	}
	return body, sh.release, nil
}

// readShare is readBody for those who change the charge while they work.
func (a *API) readShare(w http.ResponseWriter, r *http.Request, p *access.Principal) ([]byte, *share, error) {
	if r.ContentLength > a.limits.Body {
		return nil, nil, a.tooLarge()
	}
	sh := a.budget.open(partyOf(p))
	body, err := a.fill(w, r, sh)
	if err != nil {
		sh.release()
		return nil, nil, err
	}
	sh.shrink(int64(len(body)) * parsedCopies) // of an unknown length the most was charged
	r.Body = http.NoBody                       // at its end: an answer leaves the connection open
	return body, sh, nil
}

func (a *API) tooLarge() error {
	return apierror.New(apierror.TooLarge, "The request body is larger than %d MiB, the most this gateway takes. Send less history or smaller files.", a.limits.Body>>20)
}

func (a *API) fill(w http.ResponseWriter, r *http.Request, sh *share) ([]byte, error) {
	rc := http.NewResponseController(w)
	defer rc.SetReadDeadline(time.Time{})
	claim := r.ContentLength // bytes to make room for; -1 is unknown
	if claim < 0 {
		claim = a.limits.Body
	}
	var up *upload
	if claim > smallBody {
		sh.claim()
		up = newUpload(w, sh)
		defer a.budget.done(up)
	}
	var body []byte
	pace := pace{end: time.Now().Add(grace)}
	for {
		need := int64(64 << 10)
		if r.ContentLength >= 0 {
			need = min(need, r.ContentLength-int64(len(body))+1)
		}
		if err := a.charge(r.Context(), sh, up, int64(len(body))+need, claim); err != nil {
			return nil, err
		}
		body = grow(body, int(need), r.ContentLength, a.limits.Body)
		if err := rc.SetReadDeadline(pace.end); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil, apierror.Wrap(apierror.Canceled, err, "The connection was closed.")
		}
		n, err := r.Body.Read(body[len(body) : len(body)+int(need)])
		body = body[:len(body)+n]
		pace.add(n, time.Now())
		if up != nil {
			up.add(n)
		}
		switch {
		case int64(len(body)) > a.limits.Body:
			return nil, a.tooLarge()
		case err == io.EOF:
			return body, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, apierror.New(apierror.Timeout, "The request body came slower than 1 MiB a minute. Send it again over a faster connection.")
		case errors.Is(err, io.ErrUnexpectedEOF) || isNetwork(err):
			return nil, apierror.Wrap(apierror.Canceled, err, "The connection was closed before the request body was complete.")
		case err != nil:
			return nil, apierror.Wrap(apierror.Invalid, err, "The request body is not well-formed chunked transfer encoding.")
		}
		if err := r.Context().Err(); err != nil {
			return nil, apierror.Wrap(apierror.Canceled, err, "The connection was closed.")
		}
	}
}

// pace watches that a body keeps coming: in any window of the grace time, as
// much of it as the least rate gives. A sender that stalls is found within two
// windows, however much it sent before.
type pace struct {
	end  time.Time // of the window
	came int       // bytes in it
}

func (p *pace) add(n int, now time.Time) {
	if p.came += n; float64(p.came) >= minRate*grace.Seconds() {
		p.came, p.end = 0, now.Add(grace)
	}
}

func isNetwork(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, net.ErrClosed)
}

// charge makes sure that size bytes of body are paid for. A small body pays as
// it comes. A large one pays its whole claim once, in turn: paid in pieces,
// many large uploads would each hold a part of the budget and none could end. up
// is the upload of a claim that is no small one.
func (a *API) charge(ctx context.Context, sh *share, up *upload, size, claim int64) error {
	cost, large := size*parsedCopies, claim > smallBody && size > smallBody/16
	if large {
		cost = (claim + 1) * parsedCopies
	}
	if cost <= sh.bytes {
		return nil
	}
	total := int64(0)
	if large {
		total = cost
	}
	if err := a.budget.acquire(ctx, sh, cost-sh.bytes, total, grace); err != nil {
		return err
	}
	if large {
		a.budget.reads(up)
	}
	return nil
}

// upload is a large body that has its claim and is being read.
type upload struct {
	share *share

	mu    sync.Mutex
	since time.Time // when the bytes in came began to be counted
	came  int
	stop  func() // ends the read that waits for more of it
}

func newUpload(w http.ResponseWriter, sh *share) *upload {
	rc := http.NewResponseController(w)
	return &upload{share: sh, stop: func() { rc.SetReadDeadline(time.Now()) }}
}

func (u *upload) begin(now time.Time) {
	u.mu.Lock()
	u.since, u.came = now, 0
	u.mu.Unlock()
}

func (u *upload) add(n int) {
	u.mu.Lock()
	u.came += n
	u.mu.Unlock()
}

// stalled reports whether too little of the body came while others waited.
func (u *upload) stalled(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.since) < patience {
		return false
	}
	slow := float64(u.came) < minRate*patience.Seconds()
	u.since, u.came = now, 0
	return slow
}

// grow makes room for n more bytes. A known length is allocated in steps that
// never run far ahead of what has arrived: a length is only a claim.
func grow(b []byte, n int, length, limit int64) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	size := int64(max(2*len(b), len(b)+n, 4<<10))
	if length >= 0 && size > length+1 {
		size = max(length+1, int64(len(b)+n))
	}
	next := make([]byte, len(b), min(size, limit+64<<10+1))
	copy(next, b)
	return next
}

// refuse answers with err, which may come before the body was read, and then
// reads and drops the rest of it. A client that writes its whole body before it
// reads would otherwise meet a closed connection in place of our answer; one
// that reads while it writes has the answer at once and may stop.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error, m manner) {
	a.drained(w, r, apierror.CodeOf(err) == apierror.Canceled, func() { a.fail(w, r, err, m) })
}

// refuseAs is refuse with an answer that no code stands for.
func (a *API) refuseAs(w http.ResponseWriter, r *http.Request, an answer, e *apierror.Error, m manner) {
	a.drained(w, r, false, func() { writeError(w, r, m.envelope, an, e) })
}

func (a *API) drained(w http.ResponseWriter, r *http.Request, gone bool, fail func()) {
	rc := http.NewResponseController(w)
	duplex := r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody && rc.EnableFullDuplex() == nil // HTTP/2 ends the one request
	if duplex {
		// Nothing that follows may be read as another request: with full duplex
		// net/http no longer looks whether the body came to its end.
		w.Header().Set("Connection", "close")
	}
	fail()
	if !duplex {
		return
	}
	if gone || rc.Flush() != nil {
		rc.SetReadDeadline(time.Now()) // net/http reads on when the body is closed
		return
	}
	end := time.Now().Add(drainFor)
	buf := make([]byte, 32<<10)
	read, raw := r.Body.Read, connOf(r)
	for left := drainMax; left > 0; {
		deadline := time.Now().Add(drainIdle)
		if deadline.After(end) {
			deadline = end
		}
		if rc.SetReadDeadline(deadline) != nil {
			return
		}
		n, err := read(buf)
		left -= n
		if errors.Is(err, os.ErrDeadlineExceeded) && raw != nil {
			// A chunked body that was stopped once gives the same error for ever.
			// What is on the connection is of no more use, so it is read as it is.
			read, raw = raw.Read, nil
			continue
		}
		if err != nil {
			break
		}
	}
	rc.SetReadDeadline(time.Now())
}
