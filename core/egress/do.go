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
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
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
	req, err := a.request(r)
	if err != nil {
		e := a.refuse("%s", scrub(err.Error(), key))
		e.Wrong = true
		return nil, e
	}
	if err := a.cred.attach(req, key); err != nil {
		return nil, a.refuse("%s", scrub(err.Error(), key))
	}
	parent, begin := ctx, time.Now()
	ctx, cancel := context.WithCancelCause(parent)
	body := a.await(parent, ctx, cancel)
	res, sent, err := a.roundTrip(ctx, req, r.pieces())
	if err == nil && !body.answered() {
		res.Body.Close()
		err = errFirstByte
	}
	if err != nil {
		body.timer.Stop()
		e := a.failure(parent, ctx, err, key)
		e.Sent = sent
		if e.Kind == Connect && e.Sent {
			e.Kind, e.Text = Cut, "the service ended the connection without an answer ("+reason(err, key)+")"
		}
		cancel(errClosed)
		return nil, e
	}
	if res.StatusCode < 200 { // 101 among them: nobody asked for another protocol
		body.timer.Stop()
		cancel(errClosed)
		res.Body.Close()
		return nil, &Error{Kind: Cut, Account: a.name, Sent: true, Text: fmt.Sprintf("the service answered with status %03d, which is no answer", res.StatusCode)}
	}
	if !r.Plain && res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified {
		to := ""
		if u, err := res.Location(); err == nil && u.Host != "" && u.Host != a.target.base.Host {
			to = " to " + scrub(u.Host, key)
		}
		body.timer.Stop()
		cancel(errClosed)
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
	out := &Response{Status: res.StatusCode, Header: replyHeader(res.Header, a.finder(key)), Body: body}
	if res.StatusCode >= 400 {
		body.slurp(key)
	} else if r.Plain || r.Relay {
		body.src = a.finder(key).reader(body.src)
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
func (a *Account) roundTrip(ctx context.Context, req *http.Request, body [3][]byte) (res *http.Response, sent bool, err error) {
	if a.plain != nil {
		return a.plain.roundTrip(ctx, req, body)
	}
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
		req.ContentLength = int64(n)
		req.Body, _ = open()
		// Lets the transport take a fresh connection when the pooled one was
		// closed by the service before anything was written to it.
		req.GetBody = open
	}
	var asked atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { asked.Store(true) }}
	res, err = a.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	return res, asked.Load(), err
}

// request builds the HTTP request but for the key and the body.
func (a *Account) request(r Request) (*http.Request, error) {
	if r.Relay {
		r.Query = a.without(r.Query)
	}
	u, err := a.resolve(r.Path, r.Query)
	if err != nil {
		return nil, err
	}
	if a.cred.Scheme == SchemeQuery && u.Query().Has(a.cred.Name) {
		return nil, fmt.Errorf("the query of the request already holds %q, which is where the key goes", a.cred.Name)
	}
	if name := a.named(r); name != "" {
		return nil, fmt.Errorf("the query of the request holds %.64q, which only the configured URL and credential may set", name)
	}
	req := &http.Request{
		Method: or(r.Method, http.MethodPost), URL: u, Host: u.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, len(r.Header)+5),
	}
	switch req.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead:
	default:
		return nil, fmt.Errorf("the method of the request, %q, is not one that is used here", req.Method)
	}
	named := ""
	if r.Relay {
		named = strings.Join(r.Header["Connection"], ",")
	}
	for k, vs := range r.Header {
		k = http.CanonicalHeaderKey(k)
		if r.Relay && (a.kept(k) || named != "" && connectionNames(named, k)) {
			continue
		}
		own := a.own != "" && len(k) == len(a.own) && folded(k) == a.own // a name stays as long as it is
		if own && k != http.CanonicalHeaderKey(a.cred.Name) {
			return nil, fmt.Errorf("the header %.64q of the request may be read as %s, which is where the key goes", k, a.cred.Name)
		}
		if own || dropped(k) || credentialHeaders[k] {
			continue
		}
		if r.Plain {
			// Many services cannot tell X_Api_Key from X-Api-Key.
			if like := folded(k); dropped(like) || credentialHeaders[like] || steering[like] {
				continue
			}
		}
		if !httpguts.ValidHeaderFieldName(k) {
			return nil, fmt.Errorf("%.64q is not a name that a header can have", k)
		}
		if !slices.ContainsFunc(vs, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			req.Header[k] = vs
			continue
		}
		return nil, fmt.Errorf("the header %s of the request holds line breaks or control characters", k)
	}
	agent, said := r.Header["User-Agent"]
	if !r.Relay || !said || slices.ContainsFunc(agent, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
		agent = []string{a.agent}
	}
	req.Header["User-Agent"] = agent
	req.Header[DepthHeader] = []string{strconv.Itoa(r.Depth + 1)}
	if r.Stream {
		req.Header["Accept-Encoding"] = identityOnly
	} else {
		req.Header["Accept-Encoding"] = gzipOnly
	}
	return req, nil
}

var identityOnly, gzipOnly = []string{"identity"}, []string{"gzip"}

// kept reports whether a header of a client's request stays here when the
// request is relayed, beyond those that never leave.
func (a *Account) kept(k string) bool {
	like := k
	for i := range len(k) {
		if c := k[i]; c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			like = folded(k) // many services cannot tell X_Api_Key from X-Api-Key
			break
		}
	}
	return dropped(like) || credentialHeaders[like] || steering[like] || like == "X-Goog-Fieldmask" || like == "X-Goog-User-Project" ||
		strings.HasPrefix(like, "X-Databricks-") || strings.HasPrefix(like, "Databricks-") || strings.HasPrefix(like, "Sallyport-") ||
		a.own != "" && strings.EqualFold(like, a.own)
}

// connectionNames reports whether a header is named in a Connection header: it
// is about that connection then.
func connectionNames(named, k string) bool {
	for name := range strings.SplitSeq(named, ",") {
		if strings.EqualFold(strings.TrimSpace(name), k) {
			return true
		}
	}
	return false
}

// without is a client's query without the parameters that the base URL or the
// credential names, and without system parameters; all else stays as it is
// written.
func (a *Account) without(query string) string {
	if query == "" {
		return ""
	}
	base := a.target.base.Query()
	var rest []string
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || systemParameter(plain, value) || a.cred.Scheme == SchemeQuery && parameter(plain) == parameter(a.cred.Name) {
			continue
		}
		taken := false
		for own := range base {
			taken = taken || parameter(own) == parameter(plain)
		}
		if !taken {
			rest = append(rest, part)
		}
	}
	return strings.Join(rest, "&")
}

// systemParameter reports whether Google's services read a parameter of a query
// as one about the call itself, whatever is called: who makes it, what of the
// reply is sent (without the counts a call looks as if it cost nothing) and in
// which form, other than the two that are read here. Each may be written with a
// dollar sign. Source: Google's "System parameters".
func systemParameter(name, value string) bool {
	switch parameter(strings.TrimLeft(name, "$. ")) {
	case "Alt":
		form, err := url.QueryUnescape(value)
		return err != nil || form != "sse" && form != "json"
	case "Fields", "Callback", "Jsonp", "Userproject", "Quotauser", "Userip", "Key", "Access-Token", "Oauth-Token", "Bearer-Token", "Authuser",
		"Httpmethod", "Httpheaders", "Upload-Protocol", "Uploadtype":
		return true
	}
	return false
}

// named returns a parameter in the query of a plain request that the base URL
// or the credential names already, "" when there is none. Services differ in
// which of two they take, and in how much of a name they look at.
func (a *Account) named(r Request) string {
	if !r.Plain || r.Query == "" {
		return ""
	}
	q, err := url.ParseQuery(r.Query)
	if err != nil {
		return ""
	}
	taken := map[string]bool{}
	if a.cred.Scheme == SchemeQuery {
		taken[parameter(a.cred.Name)] = true
	}
	for name := range a.target.base.Query() {
		taken[parameter(name)] = true
	}
	for name := range q {
		if taken[parameter(name)] {
			return name
		}
	}
	return ""
}

// parameter is the name of a query parameter as the least exact service reads
// it: key[0] and KEY are key.
func parameter(name string) string {
	name, _, _ = strings.Cut(name, "[")
	return folded(strings.TrimSpace(name))
}

// folded is a name in the canonical form of a header, with a dash for all that
// is neither letter nor digit: services that keep headers in variables see no
// difference.
func folded(name string) string {
	return http.CanonicalHeaderKey(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, name))
}

// failure turns an error of the transport into ours.
func (a *Account) failure(parent, ctx context.Context, err error, key string) *Error {
	e := &Error{Account: a.name}
	var refused *addressError
	switch {
	case parent.Err() != nil:
		e.Kind, e.Text, e.cause = Canceled, "the request was cancelled", parent.Err()
	case context.Cause(ctx) == errFirstByte:
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

// dropped reports whether a header belongs to one connection, or is set here.
func dropped(k string) bool {
	switch k {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Host", "Content-Length", "Accept-Encoding", "User-Agent", "Expect", DepthHeader:
		return true
	}
	return strings.HasPrefix(k, "X-Forwarded-")
}

// credentialHeaders are where clients and services put credentials. None is
// passed on: the account's own key is the only credential that leaves.
var credentialHeaders = map[string]bool{
	"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "X-Api-Key": true, "Api-Key": true,
	"X-Goog-Api-Key": true, "Forwarded": true,
}

// steering are headers that a plain request must not hold: some services take
// the path or the method from them, or send a part of the answer.
var steering = map[string]bool{
	"Range": true, "If-Range": true, "X-Original-Url": true, "X-Original-Uri": true, "X-Rewrite-Url": true,
	"X-Http-Method-Override": true, "X-Http-Method": true, "X-Method-Override": true,
}

// CredentialHeader reports whether a header of that canonical name is one that
// credentials travel in.
func CredentialHeader(name string) bool { return credentialHeaders[name] }

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
