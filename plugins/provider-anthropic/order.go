package main

import (
	"slices"

	"github.com/valyala/fastjson"
)

// # Order of blocks
//
// Every event of a block names it by its index. Blocks come one after another
// from Anthropic itself; a server that speaks its dialect may mix them. They
// are told in the order in which they began: the first as it comes, the others
// when those before them have ended.

// maxHeld bounds what waits for a block to end.
const maxHeld = 32 << 20

// waiting is a block that began before the one before it ended.
type waiting struct {
	index   int
	kind    string
	events  [][]byte // JSON: the block as it began, then its deltas
	stopped bool
}

// deltaKinds are the kinds of block that each delta belongs to. Deltas that we
// do not know say nothing to us, like the blocks that we do not know.
var deltaKinds = map[string]string{
	"text_delta": "text", "citations_delta": "text", "input_json_delta": "tool_use",
	"thinking_delta": "thinking", "signature_delta": "thinking",
}

var blockKinds = map[string]bool{"text": true, "thinking": true, "redacted_thinking": true, "tool_use": true}

// routeStart begins the block with that index.
func (d *decoder) routeStart(index int, b *fastjson.Value) bool {
	if d.block.open && d.block.index == index || d.find(index) != nil {
		return d.out.Fail(d.failed(nil, "The provider began content block %d a second time before it ended. Try again.", index))
	}
	if d.block.open {
		w := &waiting{index: index, kind: string(b.GetStringBytes("type"))}
		d.waiting = append(d.waiting, w)
		return d.hold(w, b)
	}
	d.block = blockState{open: true, index: index}
	return d.start(b)
}

// routeDelta adds to the block with that index.
func (d *decoder) routeDelta(index int, v *fastjson.Value) bool {
	wants := deltaKinds[string(v.GetStringBytes("type"))]
	if wants == "" {
		return true
	}
	kind, w := d.block.kind, (*waiting)(nil)
	if !d.block.open || d.block.index != index {
		if w = d.find(index); w == nil {
			return d.out.Fail(d.failed(nil, "The provider added to content block %d, which is not open. Try again.", index))
		}
		kind = w.kind
	}
	switch {
	case !blockKinds[kind]:
		return true
	case kind != wants:
		return d.out.Fail(d.failed(nil, "The provider sent a delta for content block %d that does not fit its type %s. Try again.", index, kind))
	case w != nil:
		return d.hold(w, v)
	}
	return d.delta(v)
}

// routeStop ends the block with that index, and tells those that waited for it.
func (d *decoder) routeStop(index int) bool {
	if !d.block.open || d.block.index != index {
		if w := d.find(index); w != nil {
			w.stopped = true
		}
		return true
	}
	for {
		if !d.stop() {
			return false
		}
		if len(d.waiting) == 0 {
			return true
		}
		stopped, ok := d.next()
		if !ok || !stopped {
			return ok
		}
	}
}

// drain ends all blocks: the message has ended.
func (d *decoder) drain() bool {
	for {
		if !d.stop() {
			return false
		}
		if len(d.waiting) == 0 {
			return true
		}
		if _, ok := d.next(); !ok {
			return false
		}
	}
}

// next tells the block that waited longest, and reports whether it has ended.
func (d *decoder) next() (stopped, ok bool) {
	w := d.waiting[0]
	d.waiting = slices.Delete(d.waiting, 0, 1)
	d.block = blockState{open: true, index: w.index}
	for i, raw := range w.events {
		d.held -= len(raw)
		v, err := fastjson.ParseBytes(raw)
		if err != nil { // it was read before
			return false, d.out.Fail(d.failed(err, "The provider sent an event that is not JSON. Try again."))
		}
		if i == 0 {
			ok = d.start(v)
		} else {
			ok = d.delta(v)
		}
		if !ok {
			return false, false
		}
	}
	return w.stopped, true
}

// find gives the block that waits, and has not ended, with that index.
func (d *decoder) find(index int) *waiting {
	for _, w := range d.waiting {
		if w.index == index && !w.stopped {
			return w
		}
	}
	return nil
}

// hold keeps an event of a block that waits.
func (d *decoder) hold(w *waiting, v *fastjson.Value) bool {
	raw := []byte("{}") // a start without its block
	if v != nil {
		raw = v.MarshalTo(nil)
	}
	if d.held += len(raw); d.held > maxHeld {
		return d.out.Fail(d.failed(nil, "The provider's reply is too large: more than %d MiB wait for a content block to end.", maxHeld>>20))
	}
	w.events = append(w.events, raw)
	return true
}
