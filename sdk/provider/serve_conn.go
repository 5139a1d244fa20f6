package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

// server runs a Translator over connections, and a Front.
type server struct {
	translator Translator
	front      Front // nil when the translator is none
	wg         sync.WaitGroup
	watcher    watcher

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func newServer(t Translator) *server {
	front, _ := t.(Front)
	return &server{translator: t, front: front, conns: make(map[net.Conn]struct{})}
}

// close ends whatever is under way and waits for its goroutine.
func (s *server) close() {
	s.watcher.close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// conn serves the exchanges and dialogues of one connection, one after another,
// until either end closes it.
func (s *server) conn(c net.Conn) {
	defer c.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()

	in := &inReader{r: socket.Direct(c)}
	sc := &serverConn{c: c, in: in, r: newFrameReader(in), w: newFrameWriter(in.r), translator: s.translator, front: s.front, watcher: &s.watcher}
	sc.w.delay = 0 // see watcher
	for {
		t, n, err := sc.r.head()
		switch {
		case err != nil:
		case t == frameReq:
			err = sc.exchange(n)
		case t == frameAccept && sc.front != nil:
			err = sc.dialogue(n)
		default:
			err = unexpected(t, "between two exchanges")
		}
		if _, broken := errors.AsType[*frameError](err); broken {
			slog.Error("data connection broken", "error", err)
		}
		if err != nil {
			return
		}
	}
}

// inReader reads a connection, and tells whether somebody waits in Read.
type inReader struct {
	r     net.Conn
	waits atomic.Bool
}

func (r *inReader) Read(b []byte) (int, error) {
	r.waits.Store(true)
	n, err := r.r.Read(b)
	r.waits.Store(false)
	return n, err
}

// serverConn is one connection, with one exchange or dialogue on it at a time.
type serverConn struct {
	c          net.Conn
	in         *inReader // of c
	r          *frameReader
	w          *frameWriter
	translator Translator
	front      Front
	watcher    *watcher
	scratch    []byte // a frame being put together
	texts      texts  // of the exchange
	short      bool   // the gateway does not want them all
}

// maxScratch is the longest scratch that is kept for the next frame.
const maxScratch = 64 << 10

// keep gives the memory of b for the next frame, unless it is too much.
func keep(b []byte) []byte {
	if cap(b) > maxScratch {
		return nil
	}
	return b
}

// exchange serves one REQ, of n bytes. An error means that the connection is of
// no more use.
func (sc *serverConn) exchange(n int) error {
	req, err := sc.r.borrow(n)
	if err != nil {
		return err
	}
	ctx, cancel := sc.watcher.watch(sc)
	defer cancel()
	defer sc.watcher.leave(sc)

	turn, short, err := parseTurn(req)
	if err != nil {
		if _, broken := errors.AsType[*frameError](err); broken {
			return err
		}
		return sc.fail(ctx, err)
	}
	ex, err := sc.begin(ctx, turn)
	if err != nil {
		return sc.fail(ctx, err)
	}
	head, body := appendUpReq(sc.scratch[:0], ex)
	sc.scratch = keep(head)
	if err := sc.w.last(frameUpReq, head, body); err != nil {
		return sc.fail(ctx, err)
	}

	t, n, err := sc.r.head()
	if err != nil {
		return err // closed: the gateway gave the exchange up
	}
	if t != frameUpHead {
		return unexpected(t, "instead of the reply's head")
	}
	payload, err := sc.r.borrow(n)
	if err != nil {
		return err
	}
	h, err := parseUpHead(payload)
	if err != nil {
		return err
	}
	sc.short = short
	defer sc.texts.reset()
	reply := &replyBody{r: sc.r, w: sc.w}
	h.Body = reply
	if err := sc.decode(ctx, turn.Op, ex, h); err != nil {
		err = sc.fail(ctx, err)
		if err != nil {
			return err
		}
	} else if err := sc.end(frameDone); err != nil {
		return err
	}
	return reply.drain()
}

// begin runs the author's Begin.
func (sc *serverConn) begin(ctx context.Context, t Turn) (ex Exchange, err error) {
	defer survive(&err)
	ex, err = sc.translator.Begin(ctx, t)
	if err == nil && ex == nil {
		err = errors.New("Begin returned neither an Exchange nor an error")
	}
	return ex, err
}

// decode runs the author's decoder for the operation and sends what it gives.
func (sc *serverConn) decode(ctx context.Context, op Op, ex Exchange, r Reply) (err error) {
	defer survive(&err)
	switch op {
	case Embed:
		if d, ok := ex.(EmbedDecoder); ok {
			vs, usage, err := d.DecodeEmbed(ctx, r)
			if err != nil {
				return err
			}
			head, body, err := appendVectors(vs, usage)
			if err != nil {
				return err
			}
			return sc.w.frame(frameEmbed, head, body)
		}
	case CountTokens:
		if d, ok := ex.(CountDecoder); ok {
			n, err := d.DecodeCount(ctx, r)
			if err != nil {
				return err
			}
			j, err := json.Marshal(countBody{n})
			if err != nil {
				return err
			}
			return sc.w.frame(frameCount, j)
		}
	}
	var followed *texts // nil when the gateway wants every text
	if sc.short {
		followed = &sc.texts
	}
	for ev, err := range ex.Decode(ctx, r) {
		if err != nil {
			return err
		}
		b := followed.appendEvent(sc.scratch[:0], &ev)
		if err := sc.w.frame(frameEvent, b); err != nil {
			return err
		}
		sc.scratch = keep(b)
	}
	return nil
}

// fail ends the exchange with ERR.
func (sc *serverConn) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // nobody is there to read it
	}
	if sc.w.broken() {
		return err
	}
	e := apierror.From(err)
	if e.Code == apierror.Internal && e.Unwrap() != nil { // the cause stays here
		slog.Error("exchange failed", "error", err)
	}
	j, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return sc.end(frameErr, j)
}

func (sc *serverConn) end(t frameType, parts ...[]byte) error { return sc.w.last(t, parts...) }

// survive turns a panic of the author's code into an error of its exchange.
func survive(err *error) {
	if p := recover(); p != nil {
		slog.Error("translator panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = apierror.New(apierror.Internal, "The provider's translator met an internal error.")
	}
}

// replyBody is the reply as the author reads it. A read that would wait first
// sends what was decoded so far: with a slow provider every event leaves at
// once, in a burst many leave together.
type replyBody struct {
	r    *frameReader
	w    *frameWriter
	left int   // bytes of the present UP_DATA frame
	end  error // io.EOF, why the reply was cut, or what happened to the connection; nil as long as it goes on
	rest bool  // UP_EOF was read
}

var _ io.Reader = (*replyBody)(nil)

func (b *replyBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.left == 0 {
		if b.end != nil {
			return 0, b.end
		}
		b.end = b.next()
	}
	if err := b.ready(); err != nil {
		return 0, err
	}
	n, err := b.r.br.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil {
		b.end, b.left = midFrame(err), 0
	}
	return n, b.end
}

// ready flushes before a read that would wait.
func (b *replyBody) ready() error {
	if b.r.buffered() {
		return nil
	}
	return b.w.flush()
}

// next reads the head of the next frame of the reply.
func (b *replyBody) next() error {
	if err := b.ready(); err != nil {
		return err
	}
	t, n, err := b.r.head()
	switch {
	case err != nil:
		return midFrame(err)
	case t == frameUpData:
		b.left = n
		return nil
	case t == frameUpEOF:
		eof, err := b.r.payload(n)
		if err != nil {
			return err
		}
		end := parseCut(eof)
		_, broken := errors.AsType[*frameError](end)
		b.rest = !broken
		return end
	}
	return unexpected(t, "in the reply")
}

// drain passes over what the author did not read, so that the connection is at
// rest.
func (b *replyBody) drain() error {
	for b.end == nil {
		if err := b.r.skip(b.left); err != nil {
			return err
		}
		b.left = 0
		b.end = b.next()
	}
	if b.rest {
		return nil
	}
	return b.end
}
