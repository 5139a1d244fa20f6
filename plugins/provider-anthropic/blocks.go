package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// blockState is the content block that is told now; the zero value is none.
// Blocks are told one after another: see order.go.
type blockState struct {
	open      bool
	index     int    // the provider's
	kind      string // text, thinking, tool_use; other kinds say nothing to us
	key       string // of a call
	from      int    // of a text: where it begins in the part
	cited     []or.Annotation
	thinking  []byte
	signature []byte
}

// start begins a block. A block of a whole message is all in its start.
func (d *decoder) start(b *fastjson.Value) bool {
	if !d.closeCall() {
		return false
	}
	d.block.kind = string(b.GetStringBytes("type"))
	switch d.block.kind {
	case "text":
		d.block.from = d.runes
		for _, c := range b.GetArray("citations") {
			d.cite(c)
		}
		return d.text(b.GetStringBytes("text"))
	case "thinking":
		d.runes = 0
		d.block.signature = append(d.block.signature, b.GetStringBytes("signature")...)
		return d.out.CloseItem() && d.think(b.GetStringBytes("thinking"))
	case "redacted_thinking":
		d.runes = 0
		return d.out.CloseItem() && d.state(block{Type: "redacted_thinking", Data: string(b.GetStringBytes("data"))})
	case "tool_use":
		d.runes = 0
		return d.call(b)
	}
	return true
}

// delta adds to the block that is told now, whose kind it fits.
func (d *decoder) delta(v *fastjson.Value) bool {
	switch string(v.GetStringBytes("type")) {
	case "text_delta":
		return d.text(v.GetStringBytes("text"))
	case "input_json_delta":
		return d.argue(v.GetStringBytes("partial_json"))
	case "thinking_delta":
		return d.think(v.GetStringBytes("thinking"))
	case "signature_delta":
		d.block.signature = append(d.block.signature, v.GetStringBytes("signature")...)
	case "citations_delta":
		d.cite(v.Get("citation"))
	}
	return true
}

// stop ends the block under way, if any.
func (d *decoder) stop() bool {
	b := d.block
	d.block = blockState{}
	switch b.kind {
	case "text":
		for _, a := range b.cited {
			a.StartIndex, a.EndIndex = b.from, d.runes
			if d.runes > b.from && !d.out.Annotate(a) {
				return false
			}
		}
	case "thinking":
		if len(b.signature) == 0 {
			return true // cut off: shown, but nothing to send back
		}
		text := string(b.thinking)
		return d.state(block{Type: "thinking", Thinking: &text, Signature: string(b.signature)})
	}
	return true
}

// closeCall ends the last call, if it is open. That waits for what comes next,
// because the block of a call that the token limit cut ends like any other.
// What is closed may be executed, so arguments that are not JSON end the turn.
func (d *decoder) closeCall() bool {
	key := d.lastCall
	if d.lastCall = ""; key == "" {
		return true
	}
	if broken(d.arguments) {
		return d.out.Fail(d.failed(nil, "The provider ended a function call whose arguments are not JSON. Try again."))
	}
	if len(bytes.TrimSpace(d.arguments)) == 0 && !d.out.Arguments(key, "{}") {
		return false
	}
	return d.out.CloseCall(key)
}

// broken reports whether arguments are not JSON. None at all mean an empty object.
func broken(arguments []byte) bool {
	arguments = bytes.TrimSpace(arguments)
	return len(arguments) > 0 && !json.Valid(arguments)
}

func (d *decoder) text(s []byte) bool {
	d.runes += utf8.RuneCount(s)
	return d.out.Text(string(s))
}

// think shows thinking. Since version 4 it is a summary that another model
// wrote; before, it was the model's own words.
func (d *decoder) think(s []byte) bool {
	d.block.thinking = append(d.block.thinking, s...)
	if d.x.model.verbatim {
		return d.out.Reasoning(string(s))
	}
	return d.out.Summary(string(s))
}

// state gives the reasoning item its block to send back, and ends it.
func (d *decoder) state(b block) bool {
	data, _ := json.Marshal(b) // strings cannot fail
	return d.out.ReasoningState(or.OpaqueState{Provider: d.x.account, Family: dialect, Data: data}) && d.out.CloseItem()
}

// call begins a call. Anthropic's id is the call_id where it fits one; in any
// other case we make one that differs from turn to turn.
func (d *decoder) call(b *fastjson.Value) bool {
	d.calls++
	id := string(b.GetStringBytes("id"))
	if !dialogue.IsID(id) || d.used[id] {
		id = "toolu_" + d.x.seed.Digest(24, strconv.Itoa(d.calls))
	}
	d.used[id] = true
	d.block.key = strconv.Itoa(d.calls)
	d.lastCall, d.arguments = d.block.key, d.arguments[:0]
	if !d.out.Call(d.block.key, id, d.x.names.Back(string(b.GetStringBytes("name")))) {
		return false
	}
	// A stream begins with an empty object and tells the rest in deltas.
	if in := b.Get("input"); in != nil && in.Type() == fastjson.TypeObject && in.GetObject().Len() > 0 {
		return d.argue(in.MarshalTo(nil))
	}
	return true
}

func (d *decoder) argue(s []byte) bool {
	if len(s) == 0 {
		return true
	}
	d.arguments = append(d.arguments, s...)
	return d.out.Arguments(d.block.key, string(s))
}

// cite notes a citation of a page; those of documents in the request have no
// URL to give.
func (d *decoder) cite(c *fastjson.Value) {
	if string(c.GetStringBytes("type")) != "web_search_result_location" {
		return
	}
	if url := string(c.GetStringBytes("url")); url != "" {
		d.block.cited = append(d.block.cited, or.Annotation{Type: "url_citation", URL: url, Title: string(c.GetStringBytes("title"))})
	}
}
