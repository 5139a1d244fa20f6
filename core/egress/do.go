package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// DepthHeader counts the gateways a request has passed, so that one that was
// configured to call itself does not do so for ever.
const DepthHeader = "X-Sallyport-Depth"

// MaxDepth is how many gateways a request may pass.
const MaxDepth = 3

// Depth reads the count from the headers of a request that came in. What
// cannot be read counts as too deep.
func Depth(h http.Header) int {
	depth := 0
	for _, v := range h[DepthHeader] {
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil || n < 0 || n > MaxDepth {
			return MaxDepth
		}
		depth = max(depth, n)
	}
	return depth
}

// Request is what to ask of an account's service.
type Request struct {
	Method string      // "" means POST
	Path   string      // relative to the base URL, escaped; no "..", no empty segment
	Query  string      // escaped, without the leading "?"
	Header http.Header // credentials, cookies and hop-by-hop headers in it are not sent
	Body   []byte      // nil means none
	Pieces [3][]byte   // the body in pieces, one behind the other, when Body is nil; empty means none
	Stream bool        // the reply is read as it comes, so no compression is offered
	Depth  int         // gateways the request has passed before this one

	// Plain is a request for somebody who may know nothing of the key and may
	// not leave the base URL: the key is taken out of the response's body
	// whatever the status, and a redirect is a response, not an error. Range
	// and If-Range are not sent, since a key that comes in pieces is not
	// recognised; nor are headers by which some services take another path or
	// method than those of the request. The query may not name again what the
	// base URL's query or the credential names.
	Plain bool

	// Relay is a client's own request, sent on as it is: its User-Agent goes with
	// it, and of its headers all but credentials in any spelling, those that
	// speak of the way it took, those that Plain leaves out too, those meant for
	// this gateway, and those by which Google's services leave parts out of a
	// reply or charge another project. Of its query, what the base URL or the
	// credential names already is left out, and what Google's services read so.
	// The key is taken out of the response's body whatever the status.
	Relay bool
}

// Response is the service's answer, whatever its status except a redirect.
type Response struct {
	Status int
	Header http.Header // without cookies and hop-by-hop headers
	Body   *Body       // of an error status: read already, at most 256 KiB, without the key
}

// Do makes one request. Every error is an *Error. Cancelling ctx ends the
// request at once, also while the body is being read. The caller closes Body.
func (a *Account) Do(ctx context.Context, r Request) (*Response, error) {
	if r.Depth >= MaxDepth {
		return nil, a.refuse("the request has passed %d gateways, which looks like a gateway configured to call itself", r.Depth)
	}
	key, err := a.key.text()
	if err != nil {
		return nil, a.refuse("the key of the account cannot be read (%v)", err)
	}
	req, err := a.request(&r)
	if err != nil {
		e := a.refuse("%s", scrub(err.Error(), key))
		e.Wrong = true
		return nil, e
	}
	if req, err = a.attach(req, key); err != nil {
		return nil, a.refuse("%s", scrub(err.Error(), key))
	}
	begin := time.Now()
	body := a.await(ctx)
	res, sent, err := a.roundTrip(ctx, &body.ending, &req, r.pieces())
	if err == nil && !body.answered() {
		res.Body.Close()
		err = errFirstByte
	}
	if err != nil {
		e := a.failure(body, err, key)
		e.Sent = sent
		if e.Kind == Connect && e.Sent {
			e.Kind, e.Text = Cut, "the service ended the connection without an answer ("+reason(err, key)+")"
		}
		body.drop()
		return nil, e
	}
	if res.StatusCode < 200 { // 101 among them: nobody asked for another protocol
		body.drop()
		res.Body.Close()
		return nil, &Error{Kind: Cut, Account: a.name, Sent: true, Text: fmt.Sprintf("the service answered with status %03d, which is no answer", res.StatusCode)}
	}
	if !r.Plain && res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified {
		to := ""
		if u, err := res.Location(); err == nil && u.Host != "" && u.Host != a.target.base.Host {
			to = " to " + scrub(u.Host, key)
		}
		body.drop()
		res.Body.Close()
		return nil, &Error{Kind: Redirect, Account: a.name, Sent: true, Text: fmt.Sprintf(
			"the service answered with a redirect%s (status %d), which is never followed; base_url must name the final place", to, res.StatusCode)}
	}
	if err := body.open(res, a.firstByte-time.Since(begin)); err != nil {
		return nil, err
	}
	if r.Stream {
		body.left *= streamFactor
	}
	find := a.finder(key)
	out := &Response{Status: res.StatusCode, Header: replyHeader(res.Header, find), Body: body}
	if res.StatusCode >= 400 {
		body.slurp(find)
	} else if (r.Plain || r.Relay) && find != nil {
		body.scrub = scrubber{src: body.src, finder: find}
		body.src = &body.scrub
	}
	return out, nil
}

// pieces is the body, in pieces.
func (r *Request) pieces() [3][]byte {
	if r.Body != nil {
		return [3][]byte{r.Body}
	}
	return r.Pieces
}

// roundTrip sends req with body and gives the answer as soon as its head is there.
// sent says of a request that failed whether the service may have been asked.
func (a *Account) roundTrip(ctx context.Context, e *ending, req *request, body [3][]byte) (res *http.Response, sent bool, err error) {
	if a.plain != nil {
		return a.plain.roundTrip(ctx, e, req, body)
	}
	return a.transported(ctx, e, req.http(), body)
}

// transported is roundTrip by net/http.
func (a *Account) transported(ctx context.Context, e *ending, r *http.Request, body [3][]byte) (res *http.Response, sent bool, err error) {
	if n := size(body); n > 0 {
		var whole []byte
		if n == len(body[0]) {
			whole = body[0]
		} else if n <= joinPieces {
			whole = slices.Concat(body[:]...)
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(whole)), nil }
		if whole == nil {
			open = func() (io.ReadCloser, error) { return &pieces{rest: body}, nil }
		}
		r.ContentLength = int64(n)
		r.Body, _ = open()
		// Lets the transport take a fresh connection when the pooled one was
		// closed by the service before anything was written to it.
		r.GetBody = open
	}
	ctx, cancel := context.WithCancel(ctx)
	if !e.covers(canceler(cancel)) {
		cancel()
	}
	var asked atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { asked.Store(true) }}
	res, err = a.transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, trace)))
	return res, asked.Load(), err
}

// failure turns an error of the transport into ours.
func (a *Account) failure(b *Body, err error, key string) *Error {
	e := &Error{Account: a.name}
	var refused *addressError
	switch {
	case b.parent.Err() != nil:
		e.Kind, e.Text, e.cause = Canceled, "the request was cancelled", b.parent.Err()
	case err == errFirstByte || b.ended() == errFirstByte:
		return a.late()
	case errors.As(err, &refused):
		e.Kind, e.Text = Refused, refused.text
	default:
		e.Kind, e.Text = Connect, "the service could not be reached ("+reason(err, key)+")"
	}
	return e
}

// late is the failure of a service that took too long to begin.
func (a *Account) late() *Error {
	return &Error{Kind: FirstByte, Account: a.name, After: a.firstByte, Sent: true,
		Text: fmt.Sprintf("the service did not begin to answer within %s", a.firstByte)}
}

func (a *Account) refuse(format string, args ...any) *Error {
	return &Error{Kind: Refused, Account: a.name, Text: fmt.Sprintf(format, args...)}
}

// reason names what went wrong on the network without addresses, which are
// nobody's business but the operator's, and without anything that was sent.
func reason(err error, key string) string {
	var (
		errno syscall.Errno
		dns   *net.DNSError
		cert  *tls.CertificateVerificationError
		host  x509.HostnameError
		netw  net.Error
	)
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return "name lookup: " + dns.Err
	case errors.As(err, &host):
		return "its certificate is for another name"
	case errors.As(err, &cert):
		return "its certificate is not trusted"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "connection closed"
	case errors.As(err, &netw) && netw.Timeout():
		return "timed out"
	}
	s := scrub(err.Error(), key)
	if len(s) > 200 {
		s = s[:200]
	}
	return s
}

// replyHeader takes out of a reply's head what may not be seen further in.
func replyHeader(h http.Header, find *finder) http.Header {
	named := strings.Join(h["Connection"], ",")
	for k, vs := range h {
		if dropped(k) || k == "Set-Cookie" || named != "" && connectionNames(named, k) {
			delete(h, k)
			continue
		}
		for i, v := range vs {
			vs[i] = find.text(v)
		}
	}
	return h
}
