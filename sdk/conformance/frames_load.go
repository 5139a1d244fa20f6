package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// checkSlowReader sends whole replies on many connections and reads nothing for
// a while.
func (c *checker) checkSlowReader(ctx context.Context) {
	var t *turn
	for _, x := range c.turns {
		if x.decodes() && (t == nil || len(x.full.Lines) > len(t.full.Lines)) {
			t = x
		}
	}
	p := c.process(ctx)
	if t == nil || p == nil {
		c.skip = "no dialogue has a reply"
		return
	}
	var ws []*wire
	defer func() {
		for _, w := range ws {
			w.Close()
		}
	}()
	for range 2 * sideBySide {
		w, err := connect(ctx, p)
		if err != nil {
			c.find("data-plane", "OpenData and HELLO", err.Error())
			return
		}
		ws = append(ws, w)
		if err := w.send(append([]frame{reqFrame(t.Turn.Turn, false)}, replyFrames(t, false)...)...); err != nil {
			c.find("slow-reader", t.name()+", sent whole without reading", err.Error())
			return
		}
	}
	pause(ctx, 300*time.Millisecond)
	sent := fmt.Sprintf("%s on %d connections, of which none is read", t.name(), len(ws))
	if err := p.ping(ctx); err != nil {
		c.find("slow-reader", sent, "the health check fails: "+err.Error())
		return
	}
	for _, w := range ws {
		if f, err := w.next(c.cfg.Patience); err != nil || f.typ != frameUpReq {
			c.find("slow-reader", sent, fmt.Sprintf("a frame of type %d (%v) instead of UP_REQ", f.typ, err))
			return
		}
		fs, err := w.results(c.cfg.Patience)
		events := 0
		for _, f := range fs {
			if f.typ == frameEvent {
				events++
			}
		}
		if err != nil || events != len(t.full.Lines) {
			c.find("slow-reader", sent, fmt.Sprintf("%d of %d events (%v)", events, len(t.full.Lines), err))
			return
		}
	}
}

// checkTurnsCanceled closes this side of a connection in the middle of an
// exchange. The plugin should give up the exchange, and with it its side.
func (c *checker) checkTurnsCanceled(ctx context.Context) {
	ts := c.replied(3)
	if len(ts) == 0 {
		if c.provider.Offline {
			return
		}
		c.skip = ""
		ts = []*turn{c.madeUpTurn()}
	}
	for _, t := range ts {
		for _, begun := range []bool{false, true} {
			if !c.cancelTurn(ctx, t, begun) {
				return
			}
		}
	}
}

func (c *checker) cancelTurn(ctx context.Context, t *turn, begun bool) bool {
	p := c.process(ctx)
	if p == nil {
		return false
	}
	w, err := connect(ctx, p)
	if err != nil {
		c.find("data-plane", "OpenData and HELLO", err.Error())
		return false
	}
	defer w.Close()
	if err := w.send(reqFrame(t.Turn.Turn, false)); err != nil {
		return c.alive(t.name())
	}
	if f, err := w.next(c.cfg.Patience); err != nil || f.typ != frameUpReq {
		return c.alive(t.name()) // refused: nothing to cancel
	}
	sent := t.name() + ", its connection closed before the reply"
	if begun {
		sent = t.name() + ", its connection closed in the middle of the reply"
		h, _ := json.Marshal(map[string]any{"status": 200, "header": t.Header})
		if err := w.send(frame{frameUpHead, h}, frame{frameUpData, t.Body[:len(t.Body)/2]}); err != nil {
			return c.alive(sent)
		}
	}
	if err := w.CloseWrite(); err != nil {
		return c.alive(sent)
	}
	if !w.closed(stopWithin) {
		c.find("ignores-cancel", sent, fmt.Sprintf("the plugin still holds the connection %v later", stopWithin))
	}
	return c.alive(sent)
}
