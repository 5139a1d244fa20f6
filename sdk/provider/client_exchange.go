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
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

// finishGrace is how long the end of an exchange waits for what is already on
// its way (the plugin's DONE, the reply's end), so that the connection can
// serve the next one.
const finishGrace = 50 * time.Millisecond

// clientConn is one connection, used by one exchange or dialogue at a time.
type clientConn struct {
	turns
	c   net.Conn
	r   *frameReader
	out []byte       // where frames are put together; the pump's while there is one
	in  *frameWriter // what is to be written for the client; nil before the first dialogue
	put []byte       // an event being sent
	got []byte       // several frames for the client, put together

	texts texts  // of the exchange or dialogue
	cut   func() // interrupt; made once
	lease *lease // nil while it is lent, and before it was for the first time
}

func newClientConn(c net.Conn) *clientConn {
	if u, ok := c.(*net.UnixConn); ok {
		u.SetWriteBuffer(4 * writeBuffer) // some systems hold less than one; where this fails, the other end reads
	}
	c = socket.Direct(c)
	cc := &clientConn{c: c, r: newFrameReader(c), out: make([]byte, 0, writeBuffer)}
	cc.cut = cc.interrupt
	return cc
}

// close closes a connection that nobody uses any more.
func (cc *clientConn) close() {
	cc.c.Close()
	if cc.lease != nil {
		cc.lease.end.Stop() // which would keep it for ever
	}
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
	stop := context.AfterFunc(ctx, cc.cut)
	cc.plugin.Add(1)
	payload, err = cc.answer(b, rest, want)
	cc.plugin.Add(1)
	if err != nil && cc.stuck.Load() {
		stop()
		return nil, false, errStuck
	}
	if !stop() {
		return nil, false, cmp.Or(err, context.Canceled)
	}
	_, again = errors.AsType[*pluginError](err)
	return payload, again, err
}

func (cc *clientConn) answer(b, rest []byte, want frameType) ([]byte, error) {
	if len(rest) <= cap(b)-len(b) { // to copy a little costs less than to write twice
		b, rest = append(b, rest...), nil
	}
	if _, err := cc.c.Write(b); err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		if _, err := cc.c.Write(rest); err != nil {
			return nil, err
		}
	}
	t, n, err := cc.r.head()
	if err != nil {
		return nil, err
	}
	read := cc.r.payload
	if t == frameDialogue {
		read = cc.r.borrow // what is parsed from it shares nothing with it
	}
	payload, err := read(n)
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
	held
	op Op
	up *Upstream
}

type embedExchange struct{ *exchange }
type countExchange struct{ *exchange }

var (
	_ Exchange     = (*exchange)(nil)
	_ Puller       = (*exchange)(nil)
	_ io.Closer    = (*exchange)(nil)
	_ EmbedDecoder = (*embedExchange)(nil)
	_ CountDecoder = (*countExchange)(nil)
)

func (e *exchange) Upstream() *Upstream { return e.up }

func (e *exchange) Decode(ctx context.Context, r Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		next, stop := e.Pull(ctx, r)
		defer stop()
		for {
			ev, err, more := next()
			if !more || !yield(ev, err) {
				return
			}
		}
	}
}

// Pull implements Puller.
func (e *exchange) Pull(ctx context.Context, r Reply) (next func() (openresponses.Event, error, bool), stop func()) {
	p := new(pulling)
	p.e, p.ctx, p.r = e, ctx, r
	return p.next, p.stop
}

// pulling is the decoding of a reply, event by event.
type pulling struct {
	decoding
	last bool // the terminal event was given
	over bool
}

func (p *pulling) next() (ev openresponses.Event, err error, more bool) {
	if p.over {
		return ev, nil, false
	}
	ev, err = p.step()
	switch {
	case err == io.EOF:
		p.over = true
		p.end(nil)
		return ev, nil, false
	case err != nil:
		p.over = true
		p.end(err)
		return openresponses.Event{}, err, true
	}
	return ev, nil, true
}

// step reads the next event; the error is io.EOF behind the last.
func (p *pulling) step() (ev openresponses.Event, err error) {
	if p.cc == nil {
		if err := p.begin(); err != nil {
			return ev, err
		}
	}
	t, payload, err := p.frame()
	if err != nil {
		return ev, err
	}
	if t != frameEvent || len(payload) == 0 {
		return ev, p.e.client.explain(p.ctx, unexpected(t, "among events"))
	}
	if ev, err = p.cc.texts.parseEvent(payload); err != nil {
		return ev, p.e.client.explain(p.ctx, err)
	}
	ev.More = p.cc.r.follows(frameEvent)
	p.last = payload[0]&eventTerminal != 0
	return ev, nil
}

// stop ends the decoding before its end. A plugin that has given its terminal
// event is about to end too.
func (p *pulling) stop() {
	begun := p.cc != nil && !p.over
	p.over = true
	if !begun {
		return
	}
	if p.last {
		p.ended = p.cc.awaitDone(p.ctx)
	}
	p.end(nil)
}

func (e *embedExchange) DecodeEmbed(ctx context.Context, r Reply) (vs [][]float32, u *openresponses.Usage, err error) {
	err = e.one(ctx, r, func(t frameType, payload []byte) error {
		if t != frameEmbed {
			return unexpected(t, "instead of vectors")
		}
		vs, u, err = parseVectors(payload)
		return err
	})
	return vs, u, err
}

func (e *countExchange) DecodeCount(ctx context.Context, r Reply) (tokens int64, err error) {
	err = e.one(ctx, r, func(t frameType, payload []byte) error {
		if t != frameCount {
			return unexpected(t, "instead of a count")
		}
		var c countBody
		if err := json.Unmarshal(payload, &c); err != nil {
			return &frameError{"count: " + err.Error()}
		}
		tokens = c.Tokens
		return nil
	})
	return tokens, err
}

// decoding is the reading of what a plugin makes of a reply.
type decoding struct {
	e     *exchange
	ctx   context.Context
	r     Reply
	cc    *clientConn // nil before begin
	pump  pump
	unask func() bool // gives the end of ctx back
	ended bool        // by DONE or ERR

	readsWhole atomic.Bool // the body is being read before anything is sent
}

// begin sends the reply, or begins to.
func (d *decoding) begin() error {
	if d.cc = d.e.take(); d.cc == nil {
		return apierror.Wrap(apierror.Internal, errors.New("exchange used twice, or closed"), "The gateway met an internal error.")
	}
	d.readsWhole.Store(d.isWhole())
	d.unask = context.AfterFunc(d.ctx, d.giveUp)
	d.startPump()
	return nil
}

// giveUp is called when ctx ends.
func (d *decoding) giveUp() {
	d.cc.interrupt()
	if d.readsWhole.Load() {
		d.r.Body.(io.Closer).Close()
	}
}

// frame reads the next frame with a result. The error is io.EOF at DONE, and
// else what callers get.
func (d *decoding) frame() (frameType, []byte, error) {
	t, payload, err := d.cc.result()
	switch {
	case err != nil:
	case t == frameDone:
		d.ended = true
		return 0, nil, io.EOF
	case t == frameErr:
		err = parseErr(payload)
		_, d.ended = errors.AsType[*pluginError](err)
	default:
		return t, payload, nil
	}
	return 0, nil, d.e.client.explain(d.ctx, err)
}

// end lets the connection go, once, however the reading ended.
func (d *decoding) end(err error) {
	if d.cc != nil {
		if !d.ended {
			d.cc.interrupt() // what the pump still sends goes nowhere
		}
		rest := d.pump.finish(d.r.Body, d.ended)
		again := d.ended && rest && d.unask() // the connection has come to rest
		d.unask()
		d.e.client.release(d.cc, again)
	}
	if ended := d.e.client.cfg.Ended; ended != nil {
		ended(d.e.begun, err)
	}
}

// one reads the one result of an exchange and the end behind it.
func (e *exchange) one(ctx context.Context, r Reply, take func(frameType, []byte) error) (err error) {
	d := new(decoding)
	d.e, d.ctx, d.r = e, ctx, r
	defer func() { d.end(err) }()
	if err := d.begin(); err != nil {
		return err
	}
	for {
		t, payload, err := d.frame()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(t, payload); err != nil {
			return e.client.explain(ctx, err)
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
	return err == nil && t == frameDone && cc.c.SetReadDeadline(time.Time{}) == nil
}
