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
	c   net.Conn
	r   *frameReader
	out []byte       // where frames are put together; the pump's while there is one
	in  *frameWriter // what is to be written for the client; nil before the first dialogue
	put []byte       // an event being sent
	got []byte       // several frames for the client, put together
}

func newClientConn(c net.Conn) *clientConn {
	if u, ok := c.(*net.UnixConn); ok {
		u.SetWriteBuffer(4 * writeBuffer) // some systems hold less than one; where this fails, the other end reads
	}
	c = socket.Direct(c)
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
	payload, err = cc.answer(b, rest, want)
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
	_ io.Closer    = (*exchange)(nil)
	_ EmbedDecoder = (*embedExchange)(nil)
	_ CountDecoder = (*countExchange)(nil)
)

func (e *exchange) Upstream() *Upstream { return e.up }

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

	p := e.startPump(ctx, cc, r)
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
