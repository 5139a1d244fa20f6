package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
	"github.com/sallyport-gateway/sallyport/sdk/sse"
)

// maxBody bounds a reply that is not streamed: what is longer does not fit the
// frames behind it anyway.
const maxBody = 32 << 20

// dialect decodes one of the two APIs.
type dialect interface {
	event(v *fastjson.Value) bool // one event of a stream; false: the turn has ended
	done() bool                   // the stream ended in good order, with [DONE] or by itself; false: too early
	whole(v *fastjson.Value)      // a reply that is not streamed
}

// Decode reads a reply: a stream of events, one object, or an error. Which of
// them it is, the reply itself says best.
func (x *exchange) Decode(ctx context.Context, r provider.Reply) iter.Seq2[or.Event, error] {
	return func(yield func(or.Event, error) bool) {
		t := &turn{gate: gate{guard{load: &process, ctx: ctx}, yield}}
		defer t.gate.release()
		d := &t.decoder
		d.x, d.out, d.guard, d.header = x, provider.NewOutput(t.gate.emit), &t.gate.guard, r.Header
		if r.Status < 200 || r.Status > 299 {
			d.out.Fail(refused(r))
			return
		}
		var api dialect
		if x.chat {
			api = &chat{decoder: d}
		} else {
			t.responses.decoder = d
			api = &t.responses
		}
		switch typ := r.Header.Get("Content-Type"); {
		case !strings.HasPrefix(typ, "text/event-stream") && (!x.up.Stream || strings.HasPrefix(typ, "application/json")):
			d.whole(ctx, r.Body, api)
		case x.chat:
			d.stream(ctx, r.Body, api)
		default:
			in := openElider(r.Body)
			defer in.close()
			d.stream(ctx, in, api)
		}
	}
}

// turn is all that decoding a reply takes, in one piece of memory.
type turn struct {
	gate      gate
	decoder   decoder
	responses responses
}

// decoder is what both APIs share while a reply is read.
type decoder struct {
	x      *exchange
	out    *provider.Output
	guard  *guard
	header http.Header
	body   counter // of a reply that is not streamed
	model  string
	tier   string

	counted bool // the provider has said the usage
}

func (d *decoder) stream(ctx context.Context, body io.Reader, api dialect) {
	in := sse.NewReader(body)
	doc := dialogue.Open() // its values die with the next event: all that is kept is copied
	defer doc.Close()
	for {
		ev, err := in.Next(ctx)
		switch {
		case ctx.Err() != nil:
			d.canceled(ctx)
			return
		case errors.Is(err, io.EOF):
			if !api.done() {
				d.cut(nil)
			}
			return
		case err != nil:
			d.cut(err)
			return
		case string(ev.Data) == "[DONE]":
			if !api.done() {
				d.cut(nil)
			}
			return
		}
		v, err := doc.Parse(ev.Data)
		if err != nil || v.Type() != fastjson.TypeObject {
			d.garbage(err)
			return
		}
		if e := v.Get("error"); e != nil && e.Type() == fastjson.TypeObject {
			d.fail(said(e, 0, d.header))
			return
		}
		if !api.event(v) {
			return
		}
		doc.Slim()
	}
}

func (d *decoder) whole(ctx context.Context, body io.Reader, api dialect) {
	doc := dialogue.Open()
	defer doc.Close() // all that is kept is copied
	d.body = counter{body, d.guard}
	v, err := parseWhole(doc, &d.body, d.header)
	switch {
	case ctx.Err() != nil:
		d.canceled(ctx)
		return
	case errors.Is(err, errLoad):
		d.out.Fail(errLoad)
		return
	case errors.Is(err, errGarbage):
		d.garbage(err)
		return
	case err != nil:
		d.cut(err)
		return
	}
	if e := v.Get("error"); e != nil && e.Type() == fastjson.TypeObject {
		d.out.Fail(said(e, 0, d.header))
		return
	}
	api.whole(v)
}

var errGarbage = errors.New("not the JSON of its API")

// parseWhole reads a body and parses it. The bytes are let go before anything
// is made of what they say.
func parseWhole(doc *dialogue.Document, body io.Reader, h http.Header) (*fastjson.Value, error) {
	b, err := doc.Read(body, h, maxBody)
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxBody:
		return nil, fmt.Errorf("%w: longer than %d bytes", errGarbage, maxBody)
	}
	v, err := doc.Parse(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errGarbage, err)
	case v.Type() != fastjson.TypeObject:
		return nil, errGarbage
	}
	return v, nil
}

// counter counts what is read of a body.
type counter struct {
	io.Reader
	guard *guard
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if n > 0 && !c.guard.hold(n) {
		return n, errLoad
	}
	return n, err
}

func (d *decoder) canceled(ctx context.Context) {
	d.out.Fail(apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was canceled."))
}

func (d *decoder) cut(err error) {
	d.upstreamFailed(err, "The provider ended the reply before it was complete. Try again.")
}

func (d *decoder) garbage(err error) {
	d.upstreamFailed(err, "The provider sent something that is not the JSON of its API. Try again, or ask the operator to check the account's base URL.")
}

func (d *decoder) upstreamFailed(cause error, message string) {
	e := apierror.Wrap(apierror.UpstreamFailed, cause, "%s", message)
	e.Upstream = &apierror.Upstream{RequestID: requestID(d.header)}
	d.fail(e)
}

// note keeps arguments until their call is known to be whole.
func (d *decoder) note(to *[]byte, s []byte) bool {
	if !d.guard.hold(len(s)) {
		return d.out.Fail(errLoad)
	}
	*to = append(*to, s...)
	return true
}

// complete makes sure that a call which the provider calls complete is whole:
// whoever reads it may execute it. No arguments mean an empty object. last says
// that nothing was told after the call: then its item can end incomplete in a
// turn that says what it cost.
func (d *decoder) complete(key string, args []byte, named, last bool) bool {
	args = bytes.TrimSpace(args)
	switch {
	case len(args) == 0:
		return !named || d.out.Arguments(key, "{}")
	case json.Valid(args):
		return true
	case last:
		d.upstreamFailed(nil, brokenCall)
		return false
	}
	e := apierror.New(apierror.UpstreamFailed, brokenCall)
	e.Upstream = &apierror.Upstream{RequestID: requestID(d.header)}
	return d.out.Fail(e)
}

const brokenCall = "The provider ended a function call whose arguments are not JSON. Try again."

// usage tells the counts, which ride on the next event.
func (d *decoder) usage(u or.Usage) {
	d.counted = true
	d.out.Usage(u)
}

// fail ends the turn with an error. What it cost, where the provider has said
// it, needs an event to ride on.
func (d *decoder) fail(err *apierror.Error) {
	if d.counted {
		d.out.Finish(or.Terminal{Status: or.StatusFailed, Error: err, Model: d.model, Tier: d.tier})
		return
	}
	d.out.Fail(err)
}

// meta keeps the model and tier that answered.
func (d *decoder) meta(v *fastjson.Value) {
	if s := v.GetStringBytes("model"); len(s) > 0 && string(s) != d.model {
		d.model = string(s)
	}
	if s := v.GetStringBytes("service_tier"); len(s) > 0 && string(s) != d.tier {
		d.tier = string(s)
	}
}

// finish ends the turn with status completed, or incomplete for a reason.
func (d *decoder) finish(reason string) {
	t := or.Terminal{Status: or.StatusCompleted, Model: d.model, Tier: d.tier}
	if reason != "" {
		t.Status, t.Reason = or.StatusIncomplete, reason
	}
	d.out.Finish(t)
}

// annotation passes a url_citation on; other kinds point into a provider's
// own files and mean nothing to the client.
func (d *decoder) annotation(v *fastjson.Value) bool {
	if string(v.GetStringBytes("type")) != "url_citation" {
		return true
	}
	if inner := v.Get("url_citation"); inner != nil { // the chat shape
		v = inner
	}
	return d.out.Annotate(or.Annotation{
		Type: "url_citation", URL: text(v, "url"), Title: text(v, "title"),
		StartIndex: max(0, v.GetInt("start_index")), EndIndex: max(0, v.GetInt("end_index")),
	})
}

// callID makes the id of a call that the server gave none.
func (d *decoder) callID(id string, n int) string {
	if id != "" {
		return id
	}
	return "call_" + d.x.seed.Digest(24, strconv.Itoa(n))
}

// piece is how much of a long text is told at a time.
const piece = 64 << 10

// tell gives a text that came in one to say, in pieces where it is long: so
// that it is not there yet another time.
func tell(b []byte, say func(string) bool) bool {
	for len(b) > piece {
		n := piece
		for n > piece-utf8.UTFMax && !utf8.RuneStart(b[n]) {
			n--
		}
		if !say(string(b[:n])) {
			return false
		}
		b = b[n:]
	}
	return say(string(b))
}

func text(v *fastjson.Value, keys ...string) string { return string(v.GetStringBytes(keys...)) }

// count makes disjoint counts of a provider's totals.
func count(input, cached, output, reasoning int64) or.Usage {
	cached, reasoning = max(0, cached), max(0, reasoning)
	return or.Usage{Input: max(0, input-cached), CacheRead: cached, Output: max(0, output-reasoning), Reasoning: reasoning}
}
