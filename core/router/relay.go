package router

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// answer is a provider's reply as it came, for an attempt that failed: if no
// other follows, it is what the client gets.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// relay sends the client's request to d as it is, and the reply back.
func (s *serving) relay(ctx context.Context, d destination, n *provider.Native, action string) (res result) {
	s.w.Beat("") // a reply that is relayed has nothing in it that the provider did not send
	a := s.newAttempt(d, action)
	a.meter.sent = len(s.Body)
	defer a.leave(&res)
	path, body := relayed(n, s.Scan, d.model, s.Stream)
	reply, err := d.account.out.Do(ctx, egress.Request{
		Path: path, Query: s.Query, Header: s.Header, Pieces: body, Stream: s.Stream, Depth: s.Depth, Relay: true,
	})
	if err = a.answered(reply, err); err != nil {
		return a.failed(ctx, err, false)
	}
	defer a.body.Close()
	for name := range reply.Header {
		if notRelayed(name) {
			delete(reply.Header, name)
		}
	}
	switch {
	case reply.Status >= 400:
		return s.refused(ctx, a, reply)
	case isEvents(reply.Header):
		return s.stream(ctx, a, reply)
	case s.w.Begun(): // a ping has promised a stream
		return a.failed(ctx, apierror.New(apierror.UpstreamFailed, "Provider %q did not answer with a stream, as it was asked to.", d.account.name), false)
	}
	return s.body(ctx, a, reply)
}

// ownHeaders are headers of a provider's reply that its client is not given,
// by how they begin: they would speak for the gateway, which is who the client
// talks to, or tell a proxy before it what to do.
var ownHeaders = []string{
	"Sallyport-", "X-Sallyport-", "X-Databricks-", "Databricks-", "Authorization", "Www-Authenticate", "Proxy-", "Location", "Refresh",
	"Access-Control-", "Cross-Origin-", "Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data", "Set-Cookie", "X-Accel-", "X-Sendfile", "Nel", "Report",
}

func notRelayed(name string) bool {
	for _, own := range ownHeaders {
		if len(name) >= len(own) && name[0]|0x20 == own[0]|0x20 && strings.EqualFold(name[:len(own)], own) {
			return true
		}
	}
	return false
}

func isEvents(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "text/event-stream")
}

// refused ends an attempt that the provider answered with an error. Its answer
// is the client's, except where it is about the gateway's own credential.
func (s *serving) refused(ctx context.Context, a *attempt, reply *egress.Response) result {
	text, _ := io.ReadAll(a.body) // of an error status it is in memory
	e := a.status(nil)
	message, code := fault(text)
	if message != "" {
		e.Message = fmt.Sprintf("Provider %q answered with status %d: %s", a.d.account.name, reply.Status, cut(message))
	}
	if len(code) <= 128 {
		e.Upstream = &apierror.Upstream{Code: code}
	}
	if reply.Status == http.StatusUnauthorized || reply.Status == http.StatusForbidden {
		e.Code = apierror.UpstreamAuth
		e.Message = fmt.Sprintf("Provider %q refused the gateway's credential with status %d. An administrator should check its key.", a.d.account.name, reply.Status)
		return a.failed(ctx, e, false)
	}
	res := a.failed(ctx, e, false)
	res.answer = &answer{reply.Status, reply.Header, text}
	return res
}

// buffers hold what was read of replies. Those that grew stay out.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

const bufferSize = 32 << 10

// body relays a reply that is not a stream: whole, once it is there and the
// row is ended.
func (s *serving) body(ctx context.Context, a *attempt, reply *egress.Response) result {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	text, err := readAll(a.body, (*buf)[:0])
	if err != nil {
		a.reply.fail(err)
		return a.failed(ctx, err, false)
	}
	s.out.FirstByte = max(time.Since(s.began), 1)
	var t tally
	if _, failed := s.r.probe(a.d.account, &s.Ask).walk(text, kind{}, false, &t); failed {
		a.meter.said = t.usage()
		res := a.failed(ctx, a.inStream(text), false)
		res.answer = &answer{reply.Status, reply.Header, bytes.Clone(text)}
		return res
	}
	a.finished(&t, false)
	if t.named[1] > 0 {
		if name := s.echo(); name != nil {
			text = slices.Replace(text, t.named[0], t.named[1], name...)
		}
	}
	s.keep(a, text)
	s.settle()
	_ = s.whole(reply.Status, reply.Header, text) // a client that left has been served all the same
	return result{}
}

// echo gives, as JSON, the name that a relayed reply is to have for its model,
// where the dialect's Model says so: the one the client asked for. Some clients
// take the state in a reply for that of another model when it has another name,
// and drop it; a provider may refuse the next turn then.
func (s *serving) echo() []byte {
	asked := s.Asked
	if asked == "" {
		asked, _ = s.Scan.String("model")
	}
	if asked = strings.TrimSuffix(asked, "[1m]"); asked == "" {
		return nil
	}
	return openresponses.AppendString(nil, asked)
}

// readAll is io.ReadAll into buf as long as it is large enough.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// keep adds to the payload what the client is given. A provider may say the key
// back.
func (s *serving) keep(a *attempt, b []byte) {
	if p := s.row.Payload(); p != nil {
		_, _ = p.Write([]byte(strings.ToValidUTF8(a.scrub(string(b)), "\ufffd"))) // what cannot be kept is said in the row
	}
}

// inStream is the error that an event, or a body with a good status, tells of.
func (a *attempt) inStream(data []byte) *apierror.Error {
	message, code := fault(data)
	if message == "" {
		message = "it did not say why"
	}
	e := apierror.New(faultCode(code), "Provider %q failed in its reply: %s", a.d.account.name, cut(message))
	if code != "" && len(code) <= 128 {
		e.Upstream = &apierror.Upstream{Code: code}
	}
	return e
}

// probe is the one for a dialect at an account, made when it is needed first.
func (r *Router) probe(a *account, ask *Ask) *probe {
	key := probeKey{a, ask.Surface, ask.Dialect.Name}
	if p, ok := r.probes.Load(key); ok {
		return p.(*probe)
	}
	p, _ := r.probes.LoadOrStore(key, newProbe(ask.Dialect, a.manifest.Meter))
	return p.(*probe)
}

type probeKey struct {
	account          *account
	surface, dialect string
}
