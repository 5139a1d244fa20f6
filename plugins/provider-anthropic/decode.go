package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
	"github.com/sallyport-gateway/sallyport/sdk/sse"
)

// maxBody bounds a reply that is not streamed.
const maxBody = 64 << 20

// Decode reads a reply: a stream of events, one message, or an error. Which of
// them it is, the reply itself says best.
func (x *exchange) Decode(ctx context.Context, r provider.Reply) iter.Seq2[or.Event, error] {
	return func(yield func(or.Event, error) bool) {
		d := &decoder{x: x, out: provider.NewOutput(yield), requestID: r.Header.Get("request-id"), used: map[string]bool{}}
		switch typ := r.Header.Get("Content-Type"); {
		case r.Status < 200 || r.Status > 299:
			d.out.Fail(refused(r))
		case strings.HasPrefix(typ, "text/event-stream"), x.up.Stream && !strings.HasPrefix(typ, "application/json"):
			d.stream(ctx, r.Body)
		default:
			d.whole(ctx, r)
		}
	}
}

// decoder turns one reply into events.
type decoder struct {
	x         *exchange
	out       *provider.Output
	requestID string

	block     blockState      // that is told now
	waiting   []*waiting      // blocks that began before it ended, in their order
	held      int             // bytes that wait with them
	runes     int             // letters of text since something else was said
	used      map[string]bool // ids of calls
	calls     int
	lastCall  string // key of the call that is open
	arguments []byte // of that call
	usage     or.Usage
	end       or.Terminal
	refusal   string // why the model refused; "" when it did not say
	refused   bool
	hasReason bool // a stop reason came
}

// stream reads server-sent events up to message_stop.
func (d *decoder) stream(ctx context.Context, body io.Reader) {
	in := sse.NewReader(body)
	doc := dialogue.Open() // its values die with the next event: all that is kept is copied
	defer doc.Close()
	for {
		ev, err := in.Next(ctx)
		switch {
		case ctx.Err() != nil:
			d.out.Fail(canceled(ctx))
			return
		case errors.Is(err, io.EOF):
			d.out.Fail(d.failed(nil, "The provider ended the reply before it was complete. Try again."))
			return
		case err != nil:
			d.out.Fail(d.failed(err, "The connection to the provider broke before the reply was complete. Try again."))
			return
		}
		v, err := doc.Parse(ev.Data)
		if err != nil || v.Type() != fastjson.TypeObject {
			d.out.Fail(d.failed(err, "The provider sent an event that is not a JSON object. Try again."))
			return
		}
		if !d.event(v) {
			return
		}
	}
}

// event handles one event of a stream. It returns false at the end of the
// turn. Events we do not know, ping among them, say nothing to us.
func (d *decoder) event(v *fastjson.Value) bool {
	switch string(v.GetStringBytes("type")) {
	case "content_block_delta":
		return d.routeDelta(v.GetInt("index"), v.Get("delta"))
	case "content_block_start":
		return d.routeStart(v.GetInt("index"), v.Get("content_block"))
	case "content_block_stop":
		return d.routeStop(v.GetInt("index"))
	case "message_start":
		d.head(v.Get("message"))
		return d.out.Usage(d.usage)
	case "message_delta":
		d.tail(v.Get("delta"))
		d.count(v.Get("usage"))
		return d.out.Usage(d.usage)
	case "message_stop":
		return d.drain() && d.finish()
	case "error":
		return d.out.Fail(said(v.Get("error"), 0, d.requestID))
	}
	return true
}

// whole reads a message that came in one piece, as if it had been streamed.
func (d *decoder) whole(ctx context.Context, r provider.Reply) {
	doc := dialogue.Open()
	defer doc.Close()
	b, err := doc.Read(r.Body, r.Header, maxBody)
	switch {
	case ctx.Err() != nil:
		d.out.Fail(canceled(ctx))
		return
	case err != nil:
		d.out.Fail(d.failed(err, "The connection to the provider broke before the reply was complete. Try again."))
		return
	case len(b) > maxBody:
		d.out.Fail(d.failed(nil, "The provider's reply is longer than %d MiB.", maxBody>>20))
		return
	}
	v, err := doc.Parse(b)
	if err != nil || string(v.GetStringBytes("type")) != "message" {
		if err == nil && v.Get("error") != nil {
			d.out.Fail(said(v.Get("error"), 0, d.requestID))
			return
		}
		d.out.Fail(d.failed(err, "The provider's reply is not a message. Try again."))
		return
	}
	d.head(v)
	d.tail(v)
	if !d.out.Usage(d.usage) {
		return
	}
	for _, b := range v.GetArray("content") {
		if !d.start(b) || !d.stop() {
			return
		}
	}
	d.finish()
}

// head notes what a message says of itself at its start.
func (d *decoder) head(m *fastjson.Value) {
	d.end.Model = string(m.GetStringBytes("model"))
	d.count(m.Get("usage"))
}

// count notes the usage so far. What is absent keeps its value; numbers are
// cumulative. Anthropic's input_tokens leaves the cache out; its
// cache_creation_input_tokens is both kinds of writing together.
func (d *decoder) count(u *fastjson.Value) {
	if u == nil {
		return
	}
	set := func(to *int64, keys ...string) {
		if v := u.Get(keys...); v != nil && v.Type() == fastjson.TypeNumber {
			*to = max(v.GetInt64(), 0)
		}
	}
	set(&d.usage.Input, "input_tokens")
	set(&d.usage.CacheRead, "cache_read_input_tokens")
	written := d.usage.CacheWrite + d.usage.CacheWrite1h
	set(&written, "cache_creation_input_tokens")
	set(&d.usage.CacheWrite1h, "cache_creation", "ephemeral_1h_input_tokens")
	d.usage.CacheWrite1h = min(d.usage.CacheWrite1h, written)
	d.usage.CacheWrite = written - d.usage.CacheWrite1h
	out := d.usage.Output + d.usage.Reasoning
	set(&out, "output_tokens")
	set(&d.usage.Reasoning, "output_tokens_details", "thinking_tokens")
	d.usage.Reasoning = min(d.usage.Reasoning, out)
	d.usage.Output = out - d.usage.Reasoning
	if tier := u.GetStringBytes("service_tier"); len(tier) > 0 {
		d.end.Tier = string(tier)
	}
}

// tail notes why the message ended.
func (d *decoder) tail(v *fastjson.Value) {
	reason := string(v.GetStringBytes("stop_reason"))
	if reason == "" {
		return
	}
	d.hasReason = true
	d.end.Status = or.StatusCompleted
	switch reason {
	case "max_tokens", "model_context_window_exceeded", "pause_turn":
		d.end.Status, d.end.Reason = or.StatusIncomplete, "max_output_tokens"
	case "refusal":
		d.refused = true
		d.refusal = string(v.GetStringBytes("stop_details", "explanation"))
	}
}

// finish ends the turn. A refusal is an answer: the turn is complete, unless
// it cut a call, which nobody may take for whole.
func (d *decoder) finish() bool {
	if !d.hasReason {
		return d.out.Fail(d.failed(nil, "The provider ended the reply without a stop reason. Try again."))
	}
	if d.refused && d.lastCall != "" && !json.Valid(d.arguments) {
		d.refused, d.end.Status, d.end.Reason = false, or.StatusIncomplete, "content_filter"
	}
	if d.end.Status == or.StatusCompleted && !d.closeCall() {
		return false
	}
	if d.refused {
		if d.refusal == "" {
			d.refusal = "The model declined to answer this request."
		}
		if !d.out.Refusal(d.refusal) {
			return false
		}
	}
	return d.out.Finish(d.end)
}

func canceled(ctx context.Context) *apierror.Error {
	return apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was canceled.")
}

// failed is a failure of the provider's side.
func (d *decoder) failed(cause error, format string, args ...any) *apierror.Error {
	e := apierror.Wrap(apierror.UpstreamFailed, cause, format, args...)
	e.Upstream = &apierror.Upstream{RequestID: d.requestID}
	return e
}
