package main

import (
	"context"
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

// Decode reads a reply: a stream of events, a response, a list of responses,
// or an error. Which of them it is, the reply itself says best.
func (x *exchange) Decode(ctx context.Context, r provider.Reply) iter.Seq2[or.Event, error] {
	return func(yield func(or.Event, error) bool) {
		d := &decoder{x: x, out: provider.NewOutput(yield), used: map[string]bool{}}
		d.end.Tier = r.Header.Get("x-gemini-service-tier")
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
	x   *exchange
	out *provider.Output

	text      []byte          // the text said since anything else was said
	signature string          // of that text
	said      bool            // anything was said
	used      map[string]bool // ids of calls
	calls     int
	usage     or.Usage
	end       or.Terminal
	id        string // Gemini's id of the reply
	reason    string // finishReason; "" until it came
	detail    string // finishMessage
	blocked   string // blockReason of the prompt
	cites     []or.Annotation
}

// stream reads server-sent events to the end. The API has no closing event, so
// a stream is complete when a finishReason came, however it ends then.
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
		case err != nil && (d.reason != "" || d.blocked != ""):
			d.finish()
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
		if !d.response(v) {
			return
		}
	}
}

// whole reads a reply that came in one piece.
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
	if err != nil {
		d.out.Fail(d.failed(err, "The provider's reply is not JSON. Try again."))
		return
	}
	all := []*fastjson.Value{v}
	if v.Type() == fastjson.TypeArray { // a stream that was not asked for as events
		all = v.GetArray()
	}
	for _, v := range all {
		if !d.response(v) {
			return
		}
	}
	if d.reason == "" && d.blocked == "" {
		d.out.Fail(d.failed(nil, "The provider's reply holds no answer. Try again."))
		return
	}
	d.finish()
}

// response handles one response: the whole answer, or a piece of it. It
// returns false at the end of the turn.
func (d *decoder) response(v *fastjson.Value) bool {
	if e := v.Get("error"); e != nil {
		return d.out.Fail(said(e, 0, d.id))
	}
	if d.id == "" {
		d.id = string(v.GetStringBytes("responseId"))
	}
	if d.end.Model == "" {
		d.end.Model = string(v.GetStringBytes("modelVersion"))
	}
	if u := v.Get("usageMetadata"); u != nil {
		d.count(u)
		d.out.Usage(d.usage)
	}
	if b := v.GetStringBytes("promptFeedback", "blockReason"); len(b) > 0 {
		d.blocked = string(b)
	}
	c := v.Get("candidates", "0")
	for _, p := range c.GetArray("content", "parts") {
		if !d.part(p) {
			return false
		}
	}
	if r := c.GetStringBytes("finishReason"); len(r) > 0 && string(r) != "FINISH_REASON_UNSPECIFIED" {
		d.reason = string(r)
		d.detail = string(c.GetStringBytes("finishMessage"))
	}
	d.cite(c)
	return true
}

// count notes the usage so far. What is absent keeps its value; numbers are
// cumulative. Gemini's prompt count includes what came from the cache; its
// thoughts are beside its candidates.
func (d *decoder) count(u *fastjson.Value) {
	set := func(to *int64, key string) {
		if v := u.Get(key); v != nil && v.Type() == fastjson.TypeNumber {
			*to = max(v.GetInt64(), 0)
		}
	}
	prompt, tools := d.usage.Input+d.usage.CacheRead, int64(0)
	set(&prompt, "promptTokenCount")
	set(&tools, "toolUsePromptTokenCount")
	set(&d.usage.CacheRead, "cachedContentTokenCount")
	d.usage.CacheRead = min(d.usage.CacheRead, prompt)
	d.usage.Input = prompt - d.usage.CacheRead + tools
	set(&d.usage.Output, "candidatesTokenCount")
	set(&d.usage.Reasoning, "thoughtsTokenCount")
}

// blockedReasons are the finish reasons by which Gemini's filters cut an answer.
var blockedReasons = map[string]bool{
	"SAFETY": true, "RECITATION": true, "BLOCKLIST": true, "PROHIBITED_CONTENT": true, "SPII": true, "LANGUAGE": true,
	"IMAGE_SAFETY": true, "IMAGE_PROHIBITED_CONTENT": true, "IMAGE_RECITATION": true,
}

// finish ends the turn by its finish reason.
func (d *decoder) finish() bool {
	if d.blocked != "" && d.reason == "" {
		return d.filtered("The provider's filter blocked the prompt (%s).", d.blocked)
	}
	for _, a := range d.cites {
		if a.EndIndex > a.StartIndex && len(d.text) > 0 && !d.out.Annotate(a) {
			return false
		}
	}
	if !d.sign() {
		return false
	}
	switch {
	case d.reason == "STOP":
		d.end.Status = or.StatusCompleted
	case d.reason == "MAX_TOKENS":
		d.end.Status, d.end.Reason = or.StatusIncomplete, "max_output_tokens"
	case blockedReasons[d.reason]:
		return d.filtered("The provider's filter blocked the answer (%s).", d.reason)
	default: // MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, OTHER and what is to come
		e := d.failed(nil, "The model could not finish its answer (%s): %s Try again.", d.reason, dialogue.Sentence(d.detail))
		e.Upstream.Code = d.reason
		return d.out.Fail(e)
	}
	return d.out.Finish(d.end)
}

// filtered ends a turn that a filter cut. When nothing was said, a refusal
// tells the reader why.
func (d *decoder) filtered(format, reason string) bool {
	d.end.Status, d.end.Reason = or.StatusIncomplete, "content_filter"
	if !d.said && !d.out.Refusal(strings.Replace(format, "%s", reason, 1)) {
		return false
	}
	return d.out.Finish(d.end)
}

func canceled(ctx context.Context) *apierror.Error {
	return apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was canceled.")
}

// failed is a failure of the provider's side.
func (d *decoder) failed(cause error, format string, args ...any) *apierror.Error {
	e := apierror.Wrap(apierror.UpstreamFailed, cause, format, args...)
	e.Upstream = &apierror.Upstream{RequestID: d.id}
	return e
}
