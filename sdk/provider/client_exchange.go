package provider

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// finishGrace is how long the end of an exchange waits for what is already on
// its way (the plugin's DONE, the reply's end), so that the connection can
// serve the next one.
const finishGrace = 50 * time.Millisecond

// clientConn is one connection, used by one exchange or dialogue at a time.
type clientConn struct {
	c   net.Conn
	r   *frameReader
	out []byte       // where frames are put together; the pump's while there is one
	in  *frameWriter // what is to be written for the client; nil before the first dialogue
	put []byte       // an event being sent
	got []byte       // several frames for the client, put together
}

func newClientConn(c net.Conn) *clientConn {
	return &clientConn{c: c, r: newFrameReader(c), out: make([]byte, 0, writeBuffer)}
}

// interrupt makes every read and write fail, now and later.
func (cc *clientConn) interrupt() { cc.c.SetDeadline(time.Unix(1, 0)) }

// begin sends REQ and reads the answer. again says that the connection can
// serve another exchange although this one failed.
func (cc *clientConn) begin(ctx context.Context, turn Turn) (up upReqHead, again bool, err error) {
	b, err := appendTurn(appendHeader(cc.out[:0], frameReq, 0), turn)
	if err != nil {
		return upReqHead{}, true, apierror.Wrap(apierror.Internal, err, "The gateway met an internal error.")
	}
	payload, again, err := cc.ask(ctx, b, nil, frameUpReq)
	if err != nil {
		return upReqHead{}, again, err
	}
	up, err = parseUpReq(payload)
	return up, false, err
}

// ask sends the frame that b begins and rest ends, and reads the answer, which
// is of type want. The length in b is filled in.
func (cc *clientConn) ask(ctx context.Context, b, rest []byte, want frameType) (payload []byte, again bool, err error) {
	n := len(b) - frameHeader + len(rest)
	if n > MaxFrame {
		return nil, true, apierror.New(apierror.TooLarge, "The request is too large for a translator: %d bytes, at most %d.", n, MaxFrame)
	}
	binary.BigEndian.PutUint32(b, uint32(n))
	stop := context.AfterFunc(ctx, cc.interrupt)
	payload, err = cc.answer(net.Buffers{b, rest}, want)
	if !stop() {
		return nil, false, cmp.Or(err, context.Canceled)
	}
	_, again = errors.AsType[*pluginError](err)
	return payload, again, err
}

func (cc *clientConn) answer(request net.Buffers, want frameType) ([]byte, error) {
	if _, err := request.WriteTo(cc.c); err != nil {
		return nil, err
	}
	t, payload, err := cc.r.next()
	switch {
	case err != nil:
		return nil, err
	case t == want:
		return payload, nil
	case t == frameErr:
		return nil, parseErr(payload)
	}
	return nil, unexpected(t, "in answer to a request")
}

func parseErr(payload []byte) error {
	e := new(apierror.Error)
	if err := json.Unmarshal(payload, e); err != nil {
		return &frameError{"error: " + err.Error()}
	}
	return &pluginError{e}
}

// exchange is one turn under way.
type exchange struct {
	client  *Client
	op      Op
	up      *Upstream
	begun   time.Time
	cleanup runtime.Cleanup

	mu sync.Mutex
	cc *clientConn // nil once decoded or closed
}

type embedExchange struct{ *exchange }
type countExchange struct{ *exchange }

var (
	_ Exchange     = (*exchange)(nil)
	_ io.Closer    = (*exchange)(nil)
	_ EmbedDecoder = (*embedExchange)(nil)
	_ CountDecoder = (*countExchange)(nil)
)

func (e *exchange) Upstream() *Upstream { return e.up }

// take hands out the connection, once.
func (e *exchange) take() *clientConn {
	e.mu.Lock()
	defer e.mu.Unlock()
	cc := e.cc
	e.cc = nil
	if cc != nil {
		e.cleanup.Stop()
	}
	return cc
}

// Close gives up an exchange that is not to be decoded. After Decode it does
// nothing.
func (e *exchange) Close() error {
	if cc := e.take(); cc != nil {
		e.client.release(cc, false)
	}
	return nil
}

func (e *exchange) Decode(ctx context.Context, r Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		var told texts
		err := e.run(ctx, r, func(cc *clientConn, t frameType, payload []byte) (verdict, error) {
			if t != frameEvent || len(payload) == 0 {
				return 0, unexpected(t, "among events")
			}
			ev, err := told.parseEvent(payload)
			if err != nil {
				return 0, err
			}
			ev.More = cc.r.follows(frameEvent)
			switch {
			case yield(ev, nil):
				return goOn, nil
			case payload[0]&eventTerminal != 0:
				return enough, nil
			}
			return giveUp, nil
		})
		if err != nil {
			yield(openresponses.Event{}, err)
		}
	}
}

func (e *embedExchange) DecodeEmbed(ctx context.Context, r Reply) (vs [][]float32, u *openresponses.Usage, err error) {
	err = e.run(ctx, r, func(_ *clientConn, t frameType, payload []byte) (verdict, error) {
		if t != frameEmbed {
			return 0, unexpected(t, "instead of vectors")
		}
		vs, u, err = parseVectors(payload)
		return goOn, err
	})
	return vs, u, err
}

func (e *countExchange) DecodeCount(ctx context.Context, r Reply) (tokens int64, err error) {
	err = e.run(ctx, r, func(_ *clientConn, t frameType, payload []byte) (verdict, error) {
		if t != frameCount {
			return 0, unexpected(t, "instead of a count")
		}
		var c countBody
		if err := json.Unmarshal(payload, &c); err != nil {
			return 0, &frameError{"count: " + err.Error()}
		}
		tokens = c.Tokens
		return goOn, nil
	})
	return tokens, err
}

// verdict says how the reading of an exchange goes on after a frame.
type verdict int

const (
	goOn   verdict = iota
	enough         // the consumer has what it wants and the plugin is about to end too
	giveUp         // the consumer stopped early: cancel
)

// run sends the reply and hands every result frame to take, until DONE.
func (e *exchange) run(ctx context.Context, r Reply, take func(*clientConn, frameType, []byte) (verdict, error)) (err error) {
	if ended := e.client.cfg.Ended; ended != nil {
		defer func() { ended(e.begun, err) }()
	}
	cc := e.take()
	if cc == nil {
		return apierror.Wrap(apierror.Internal, errors.New("exchange used twice, or closed"), "The gateway met an internal error.")
	}
	again := false // set when the connection has come to rest
	defer func() { e.client.release(cc, again) }()
	stop := context.AfterFunc(ctx, cc.interrupt)
	defer stop()

	p := startPump(cc, r)
	ended := false // by DONE or ERR
	defer func() {
		if !ended {
			cc.interrupt() // what the pump still sends goes nowhere
		}
		rest := p.finish(r.Body, ended)
		again = ended && rest && stop()
	}()

	for {
		t, payload, err := cc.result()
		switch {
		case err != nil:
			return e.client.explain(ctx, err)
		case t == frameDone:
			ended = true
			return nil
		case t == frameErr:
			err := parseErr(payload)
			_, ended = errors.AsType[*pluginError](err)
			return e.client.explain(ctx, err)
		}
		v, err := take(cc, t, payload)
		switch {
		case err != nil:
			return e.client.explain(ctx, err)
		case v == giveUp:
			return nil
		case v == enough:
			ended = cc.awaitDone(ctx)
			return nil
		}
	}
}

// result reads a frame. An event is only borrowed: what is parsed from it shares
// nothing with it.
func (cc *clientConn) result() (frameType, []byte, error) {
	t, n, err := cc.r.head()
	if err != nil {
		return 0, nil, err
	}
	read := cc.r.payload
	if t == frameEvent {
		read = cc.r.borrow
	}
	b, err := read(n)
	return t, b, err
}

// awaitDone reads the DONE that follows the terminal event.
func (cc *clientConn) awaitDone(ctx context.Context) bool {
	if ctx.Err() != nil || cc.c.SetReadDeadline(time.Now().Add(finishGrace)) != nil {
		return false
	}
	t, _, err := cc.r.next()
	return err == nil && t == frameDone
}

// pump sends the reply to the plugin. It reads the body as the plugin takes it,
// at most one buffer ahead of the socket's.
type pump struct {
	cc   *clientConn
	stop atomic.Bool // nobody wants the rest of the body
	done chan struct{}
	rest bool // the plugin was told the end of the body; valid after done
}

func startPump(cc *clientConn, r Reply) *pump {
	p := &pump{cc: cc, done: make(chan struct{})}
	if r.Body == nil {
		p.run(r)
	} else {
		go p.run(r)
	}
	return p
}

func (p *pump) run(r Reply) {
	defer close(p.done)
	j, err := json.Marshal(upHead{r.Status, r.Header})
	if err != nil {
		return // cannot be: numbers and strings only; without the end the connection is not used again
	}
	b := append(appendHeader(p.cc.out[:0], frameUpHead, len(j)), j...)
	if r.Body == nil {
		_, err = p.cc.c.Write(appendHeader(b, frameUpEOF, 0))
		p.rest = err == nil
		return
	}
	if cap(b)-len(b) < writeBuffer/2 { // unusually long headers
		b = append(make([]byte, 0, len(b)+writeBuffer), b...)
	}
	head := p.sendLate(b) // with the first bytes of the body, when they are there
	for first := true; ; first = false {
		at := len(b) + frameHeader
		n, end := r.Body.Read(b[at:cap(b)])
		if n > 0 {
			b = appendHeader(b, frameUpData, n)[:at+n]
		}
		if end == nil && p.stop.Load() {
			end = io.EOF // the plugin passes over the rest without looking
		}
		if end != nil {
			tail := appendCut(end)
			b = append(appendHeader(b, frameUpEOF, len(tail)), tail...)
		}
		out := b
		if first && head.sent() {
			out = b[head.n:]
		}
		if len(out) > 0 {
			if _, err := p.cc.c.Write(out); err != nil {
				return
			}
		}
		if end != nil {
			p.rest = true
			return
		}
		b = b[:0]
	}
}

// lateHead sends the head of a reply by itself when the first bytes of the body
// are a long time coming.
type lateHead struct {
	n     int
	mu    sync.Mutex
	done  bool // by itself, or with the first bytes
	timer *time.Timer
}

func (p *pump) sendLate(head []byte) *lateHead {
	l := &lateHead{n: len(head)}
	l.timer = time.AfterFunc(flushDelay, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.done {
			l.done = true
			p.cc.c.Write(head) // a failure shows again with the next write
		}
	})
	return l
}

// sent reports whether the head went by itself; if not it never will.
func (l *lateHead) sent() bool {
	l.timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.done
	l.done = true
	return was
}

// finish ends the pump and reports whether the connection is at rest. A body
// that does not end by itself, or whose exchange did not come to its end, is
// closed when it can be; one that cannot be ends the pump when its owner ends
// it, and the connection is not used again.
func (p *pump) finish(body io.Reader, ended bool) bool {
	p.stop.Store(true)
	select {
	case <-p.done:
		return p.rest
	default:
	}
	if ended {
		grace := time.NewTimer(finishGrace)
		defer grace.Stop()
		select {
		case <-p.done:
			return p.rest
		case <-grace.C:
		}
	}
	if c, ok := body.(io.Closer); ok {
		c.Close()
		<-p.done
		return p.rest
	}
	return false
}
