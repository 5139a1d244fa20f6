package conformance

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	providerv1 "github.com/sallyport-gateway/sallyport/sdk/proto/provider/v1"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// The frames of the data plane, made by hand where the sdk's client would hide
// a fault. See section 4 of sdk/proto/README.md.
const (
	frameHello  = 1
	frameReq    = 2
	frameUpHead = 3
	frameUpData = 4
	frameUpEOF  = 5
	frameAccept = 6
	frameIn     = 7
	frameInErr  = 8
	frameInEnd  = 9
	frameUpReq  = 16
	frameEvent  = 17
	frameErr    = 18
	frameDone   = 19

	frameDialogue = 22
	frameOut      = 23

	frameVersion = 1
	headerBytes  = 5

	flagUsage    = 1
	flagTerminal = 2
)

type frame struct {
	typ     byte
	payload []byte
}

// wire is one connection of the data plane.
type wire struct{ *net.UnixConn }

// openData asks for a connection.
func openData(ctx context.Context, p *process) (*providerv1.OpenDataResponse, error) {
	return providerv1.NewProviderClient(p.conn).OpenData(ctx, &providerv1.OpenDataRequest{Frames: frameVersion})
}

// dial connects and sends HELLO with token.
func dial(socket string, token []byte) (*wire, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	w := &wire{c}
	return w, w.send(frame{frameHello, append([]byte{frameVersion}, token...)})
}

// connect makes a connection that is ready for an exchange.
func connect(ctx context.Context, p *process) (*wire, error) {
	open, err := openData(ctx, p)
	if err != nil {
		return nil, err
	}
	return dial(open.GetSocket(), open.GetToken())
}

func (w *wire) send(fs ...frame) error {
	var b []byte
	for _, f := range fs {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f.payload)))
		b = append(append(b, f.typ), f.payload...)
	}
	_, err := w.Write(b)
	return err
}

// next reads one frame, within d.
func (w *wire) next(d time.Duration) (frame, error) {
	w.SetReadDeadline(time.Now().Add(d))
	var h [headerBytes]byte
	if _, err := io.ReadFull(w, h[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > provider.MaxFrame {
		return frame{}, fmt.Errorf("frame of type %d claims %d bytes", h[4], n)
	}
	f := frame{h[4], make([]byte, n)}
	_, err := io.ReadFull(w, f.payload)
	return f, err
}

// closed waits until the plugin closes its end, and throws away what comes
// before.
func (w *wire) closed(d time.Duration) bool {
	w.SetReadDeadline(time.Now().Add(d))
	_, err := io.Copy(io.Discard, w)
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout())
}

func withHead(head []byte, rest []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(head)))
	return append(append(b, head...), rest...)
}

// reqFrame is the REQ of a turn; later adds members of a later version.
func reqFrame(t provider.Turn, later bool) frame {
	head := map[string]any{"op": t.Op, "account": t.Account, "model": t.Model}
	if len(t.Carry) > 0 {
		head["carry"] = t.Carry
	}
	if later {
		head["member_of_a_later_version"] = map[string]any{"x": []int{1}}
	}
	h, _ := json.Marshal(head) // of what was JSON
	var body []byte
	switch {
	case t.Embed != nil:
		body, _ = json.Marshal(t.Embed)
	case t.Request != nil:
		body = t.Request.AppendJSON(nil)
	}
	return frame{frameReq, withHead(h, body)}
}

// replyFrames are the frames of a whole reply; none means that there is no HTTP.
func replyFrames(t *turn, later bool) []frame {
	if t.Header == nil {
		return []frame{{frameUpHead, []byte(`{"status":0}`)}, {frameUpEOF, nil}}
	}
	head := map[string]any{"status": t.Status, "header": t.Header}
	if later {
		head["member_of_a_later_version"] = true
	}
	h, _ := json.Marshal(head)
	fs := []frame{{frameUpHead, h}}
	if len(t.Body) > 0 {
		fs = append(fs, frame{frameUpData, t.Body})
	}
	end := frame{typ: frameUpEOF}
	if t.Cut {
		end.payload = []byte(`{"cut":"unexpected EOF"}`)
	}
	return append(fs, end)
}

// exchange runs a turn over w by hand and gives the frames that came after
// UP_REQ.
func (w *wire) exchange(t *turn, later bool, patience time.Duration) ([]frame, error) {
	if err := w.send(reqFrame(t.Turn.Turn, later)); err != nil {
		return nil, err
	}
	f, err := w.next(patience)
	switch {
	case err != nil:
		return nil, fmt.Errorf("in answer to REQ: %w", err)
	case f.typ == frameErr:
		return []frame{f}, nil
	case f.typ != frameUpReq:
		return nil, fmt.Errorf("a frame of type %d in answer to REQ", f.typ)
	}
	if err := w.send(replyFrames(t, later)...); err != nil {
		return nil, err
	}
	return w.results(patience)
}

// results reads up to DONE or ERR.
func (w *wire) results(patience time.Duration) ([]frame, error) {
	var fs []frame
	for {
		f, err := w.next(patience)
		if err != nil {
			return fs, fmt.Errorf("after %d frames: %w", len(fs), err)
		}
		fs = append(fs, f)
		if f.typ == frameDone || f.typ == frameErr {
			return fs, nil
		}
	}
}

// checkFrames does by hand what the sdk's client does, and what it never would.
func (c *checker) checkFrames(ctx context.Context) {
	p := c.process(ctx)
	if p == nil {
		return
	}
	open, err := openData(ctx, p)
	if err != nil {
		c.find("data-plane", "OpenData", err.Error())
		return
	}
	w, err := dial(open.GetSocket(), open.GetToken())
	if err != nil {
		c.find("data-plane", "HELLO", err.Error())
		return
	}
	defer w.Close()
	c.exchanges(w)
	for _, t := range []struct {
		what  string
		token []byte
	}{{"the token of another connection", open.GetToken()}, {"a token that was never given out", []byte("no such token, I am afraid, here")}} {
		again, err := dial(open.GetSocket(), t.token)
		if err != nil {
			continue // refused at once
		}
		if !again.closed(stopWithin) {
			c.find("token-reuse", "HELLO with "+t.what, "the connection stays open")
		}
		again.Close()
	}
	for _, bad := range []struct {
		rule, what string
		bytes      []byte
	}{
		{"frame-too-long", "the head of a REQ that claims 37748737 bytes", append(binary.BigEndian.AppendUint32(nil, provider.MaxFrame+1), frameReq)},
		{"unknown-frame", "a frame of type 99", append(binary.BigEndian.AppendUint32(nil, 0), 99)},
	} {
		w, err := connect(ctx, p)
		if err != nil {
			c.find("data-plane", "OpenData and HELLO", err.Error())
			return
		}
		if _, err := w.Write(bad.bytes); err == nil && !w.closed(stopWithin) {
			c.find(bad.rule, bad.what, fmt.Sprintf("the connection is still open after %v", stopWithin))
		}
		w.Close()
	}
}

// exchanges runs several turns on one connection, by hand.
func (c *checker) exchanges(w *wire) {
	n := 0
	for _, t := range c.turns {
		if !t.decodes() || n == 8 {
			continue
		}
		n++
		for _, later := range []bool{false, true} {
			sent := t.name()
			if n > 1 {
				sent += ", on a connection that was used before"
			}
			if later {
				sent += ", with members of a later version in the heads"
			}
			fs, err := w.exchange(t, later, c.cfg.Patience)
			if err != nil {
				rule := "data-plane"
				switch {
				case later:
					rule = "unknown-field-refused"
				case n > 1:
					rule = "connection-reuse"
				}
				c.find(rule, sent, err.Error())
				return
			}
			if later && fs[len(fs)-1].typ == frameErr && t.full.Err == nil {
				c.find("unknown-field-refused", sent, string(fs[len(fs)-1].payload))
			}
			c.flags(sent, fs)
		}
	}
	if n == 0 {
		c.exchangeGivenUp(w)
	}
}

// exchangeGivenUp ends an exchange whose answers nobody knows: with the end of
// an empty reply.
func (c *checker) exchangeGivenUp(w *wire) {
	t := c.madeUpTurn()
	for i := range 2 {
		sent := t.name()
		rule := "data-plane"
		if i > 0 {
			sent, rule = sent+", on a connection that was used before", "connection-reuse"
		}
		fs, err := w.exchange(&turn{Turn: t.Turn}, false, c.cfg.Patience)
		if err != nil {
			c.find(rule, sent, err.Error())
			return
		}
		c.flags(sent, fs)
	}
}

// flags compares what EVENT frames say of their events with the events.
func (c *checker) flags(sent string, fs []frame) {
	for _, f := range fs {
		if f.typ != frameEvent {
			continue
		}
		if len(f.payload) == 0 {
			c.find("event-flags", sent, "an EVENT frame without payload")
			return
		}
		ev, err := openresponses.ParseEvent(f.payload[1:])
		if err != nil {
			c.find("event-grammar", sent, err.Error())
			return
		}
		var want byte
		if ev.Usage != nil {
			want |= flagUsage
		}
		if ev.IsTerminal() {
			want |= flagTerminal
		}
		if got := f.payload[0] & (flagUsage | flagTerminal); got != want {
			c.find("event-flags", sent, fmt.Sprintf("flags %d with the event %s, want %d", got, cut(string(f.payload[1:]), 300), want))
			return
		}
	}
}
