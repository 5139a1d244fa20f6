package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

const (
	maxIdle  = 64 // connections of an account that wait to be used again
	idleTime = 90 * time.Second

	// writeWait is how long a request may still be on its way when its answer has
	// been read, for the connection to be used again.
	writeWait = 50 * time.Millisecond
)

var (
	errLongHead = errors.New("the head of the response is too long")
	errReadLate = errors.New("read of a response that was closed")
	errEnded    = errors.New("the request was ended")
)

// plain asks a service over HTTP/1.1 without TLS. net/http would give each
// connection two goroutines, and hand every request to one and every answer from
// the other; here whoever asks writes and reads by himself. What is sent again, and
// when a connection is, are as in net/http.
type plain struct {
	host string // for the header Host
	dial func(context.Context) (net.Conn, error)

	mu     sync.Mutex
	idle   []*line // the one that was used last is the last
	timer  *time.Timer
	closed bool // connections are not kept
}

func newPlain(t target, dial func(context.Context) (net.Conn, error)) (*plain, error) {
	host, err := httpguts.PunycodeHostPort(t.base.Host)
	if err != nil {
		return nil, errors.New("names a host that cannot be written in a request")
	}
	if at := strings.IndexByte(host, '%'); at >= 0 { // the zone of an IPv6 address is of this machine
		host = host[:at] + host[strings.LastIndexByte(host, ']'):]
	}
	return &plain{host: host, dial: dial}, nil
}

// line is one connection. One request at a time uses it.
type line struct {
	conn  net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	room  int // bytes that may still come
	got   int // bytes that came for this request
	wrote int // bytes of this request that went out
	since time.Time
}

func newLine(c net.Conn) *line {
	l := &line{conn: c}
	l.r, l.w = bufio.NewReaderSize(reads{l}, pipeBuffer), bufio.NewWriterSize(writes{l}, pipeBuffer)
	return l
}

// reads and writes are the connection's two sides, counted.
type (
	reads  struct{ l *line }
	writes struct{ l *line }
)

func (r reads) Read(p []byte) (int, error) {
	if r.l.room <= 0 {
		return 0, errLongHead
	}
	n, err := r.l.conn.Read(p[:min(len(p), r.l.room)])
	r.l.room -= n
	r.l.got += n
	return n, err
}

func (w writes) Write(p []byte) (int, error) {
	n, err := w.l.conn.Write(p)
	w.l.wrote += n
	return n, err
}

// roundTrip asks once, and once more over a fresh connection if a kept one turns
// out to be dead and the service cannot have begun. body is that of the request;
// req has the rest. sent says whether the service may have been asked.
func (p *plain) roundTrip(ctx context.Context, e *ending, req *request, body [3][]byte) (res *http.Response, sent bool, err error) {
	l := p.take()
	for {
		kept := l != nil
		if !kept {
			c, err := p.connect(ctx, e)
			if err != nil {
				return nil, sent, err
			}
			l = newLine(c)
		}
		res, err = p.ask(ctx, e, l, req, body)
		if err == nil {
			return res, true, nil
		}
		sent = sent || l.wrote > 0
		if !kept || ctx.Err() != nil || e.why() != nil || l.wrote > 0 && (l.got > 0 || !replayable(req)) {
			return nil, sent, err
		}
		l = nil
	}
}

// connect makes a connection, unless the request ends first.
func (p *plain) connect(ctx context.Context, e *ending) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !e.covers(canceler(cancel)) {
		return nil, errEnded
	}
	c, err := p.dial(ctx)
	if !e.leaves() && err == nil {
		c.Close()
		return nil, errEnded
	}
	return c, err
}

// replayable reports whether a service does no more for a request that comes
// twice.
func replayable(req *request) bool {
	return req.method == http.MethodGet || req.method == http.MethodHead || req.has("Idempotency-Key") || req.has("X-Idempotency-Key")
}

// headRequest tells net/http that an answer has no body, whatever it says.
var headRequest = &http.Request{Method: http.MethodHead}

// ask sends a request over l and reads the head of its answer. The end of the
// request, or of ctx, closes l.
func (p *plain) ask(ctx context.Context, e *ending, l *line, req *request, body [3][]byte) (*http.Response, error) {
	l.got, l.wrote, l.room = 0, 0, maxHeaderBytes
	if !e.covers(l.conn) {
		l.conn.Close()
		return nil, errEnded
	}
	b := &plainBody{p: p, l: l, ending: e, stop: context.AfterFunc(ctx, e.left)}
	var err error
	if size(body) <= joinPieces {
		err = l.send(p.host, req, body)
	} else { // a service may answer before it has read everything
		b.written = make(chan error, 1)
		own := &request{method: req.method, url: req.url, fields: slices.Clone(req.fields)}
		go func() { b.written <- l.send(p.host, own, body) }()
	}
	var asked *http.Request // nil stands for all that are answered with a body
	if req.method == http.MethodHead {
		asked = headRequest
	}
	var res *http.Response
	for err == nil {
		if res, err = http.ReadResponse(l.r, asked); err == nil && (res.StatusCode/100 != 1 || res.StatusCode == http.StatusSwitchingProtocols) {
			break
		}
	}
	if err != nil {
		if l.room <= 0 {
			err = errLongHead
		}
		b.end(false)
		return nil, err
	}
	l.room = math.MaxInt
	b.keep = !res.Close && res.StatusCode != http.StatusSwitchingProtocols
	if res.Body == http.NoBody {
		b.end(true)
		return res, nil
	}
	b.src, res.Body = res.Body, b
	return res, nil
}

func size(body [3][]byte) int { return len(body[0]) + len(body[1]) + len(body[2]) }

// send writes a request whose names and values were looked at before.
func (l *line) send(host string, req *request, body [3][]byte) error {
	w := l.w
	w.Reset(writes{l})
	w.WriteString(req.method)
	w.WriteByte(' ')
	w.WriteString(req.url.RequestURI())
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(host)
	for _, f := range req.fields {
		for _, v := range f.values {
			w.WriteString("\r\n")
			w.WriteString(f.name)
			w.WriteString(": ")
			w.WriteString(v)
		}
	}
	if n := size(body); n > 0 || req.method == http.MethodPost || req.method == http.MethodPut || req.method == http.MethodPatch {
		w.WriteString("\r\nContent-Length: ")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(n), 10))
	}
	w.WriteString("\r\n\r\n")
	for _, piece := range body {
		w.Write(piece)
	}
	return w.Flush() // or the first error
}

// plainBody is the body of an answer. Its end gives the connection back.
type plainBody struct {
	p       *plain
	l       *line
	src     io.Reader
	ending  *ending     // of the request; it covers l until the answer is at its end
	stop    func() bool // ends the watch over the context
	written chan error  // how a large request went; nil for one that is written
	keep    bool        // the service lets the connection stay

	mu   sync.Mutex
	over error // what every further Read gives
}

func (b *plainBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	over := b.over
	b.mu.Unlock()
	if over != nil {
		return 0, over
	}
	n, err := b.src.Read(p)
	if err != nil {
		b.finish(err)
	}
	return n, err
}

// Close ends an answer, also one that another goroutine reads, whose connection
// is closed when it was not read to its end.
func (b *plainBody) Close() error {
	b.finish(errReadLate)
	return nil
}

func (b *plainBody) finish(err error) {
	b.mu.Lock()
	over := b.over
	if over == nil {
		b.over = err
	}
	b.mu.Unlock()
	if over == nil {
		b.end(err == io.EOF)
	}
}

// end gives the connection back, once: whole says that the answer was read to its
// end.
func (b *plainBody) end(whole bool) {
	b.stop()
	whole = b.ending.leaves() && whole && b.keep && b.l.r.Buffered() == 0
	if b.written != nil && whole {
		late := time.NewTimer(writeWait)
		select {
		case err := <-b.written:
			b.written, whole = nil, err == nil
		case <-late.C:
			whole = false
		}
		late.Stop()
	}
	if whole && b.p.put(b.l) {
		return
	}
	b.l.conn.Close()
	if b.written != nil {
		<-b.written
	}
}

// take gives a connection that waits and is still there, nil for none.
func (p *plain) take() *line {
	for {
		p.mu.Lock()
		n := len(p.idle) - 1
		if n < 0 {
			p.mu.Unlock()
			return nil
		}
		l := p.idle[n]
		p.idle[n], p.idle = nil, p.idle[:n]
		p.mu.Unlock()
		if socket.Quiet(l.conn) {
			return l
		}
		l.conn.Close()
	}
}

// put keeps a connection for another request, and reports whether it does.
func (p *plain) put(l *line) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		return false
	}
	l.since = time.Now()
	p.idle = append(p.idle, l)
	if p.timer == nil {
		p.timer = time.AfterFunc(idleTime, p.sweep)
	} else if len(p.idle) == 1 {
		p.timer.Reset(idleTime)
	}
	return true
}

// sweep closes what has waited for too long.
func (p *plain) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := 0
	for old < len(p.idle) && time.Since(p.idle[old].since) >= idleTime {
		p.idle[old].conn.Close()
		old++
	}
	p.idle = append(p.idle[:0:0], p.idle[old:]...)
	if len(p.idle) > 0 {
		p.timer.Reset(idleTime - time.Since(p.idle[0].since))
	}
}

// close ends the connections that wait, and lets no other wait.
func (p *plain) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, l := range p.idle {
		l.conn.Close()
	}
	p.idle = nil
}
