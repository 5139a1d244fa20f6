package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// Write writes the reply: a chunk for each piece of it, one response, or for a
// stream that is no stream of events an array of one.
//
// The dialect has no event that ends a stream which failed. Gemini CLI takes an
// error in one, and also a stream that ends without a finishReason, for a
// reason to ask again, and prints what came each time; only when the connection
// breaks off it stops and says so. So once something was written Write returns
// the error, and the gateway breaks off the connection. Before that the stream
// holds the error alone.
func (c *session) Write(_ context.Context, events iter.Seq2[or.Event, error], w io.Writer) error {
	r := &reply{c: c, w: w, thoughts: c.asked.Request.Reasoning != nil && c.asked.Request.Reasoning.Summary != ""}
	for ev, err := range events {
		if err == nil && ev.Terminal != nil && ev.Terminal.Status == or.StatusFailed {
			err = ev.Terminal.Error
		}
		if err == nil && halfCall(ev) {
			err = apierror.New(apierror.UpstreamFailed, "The model ended a function call whose arguments are not a JSON object. Try again.")
		}
		switch {
		case err != nil && !c.asked.Stream:
			return err
		case err != nil && (r.written || len(r.buf) > 0):
			return cmp.Or(r.send(), err)
		case err != nil:
			r.buf = append(append(append(r.buf, "data: "...), failure(apierror.From(err))...), "\n\n"...)
			return r.send()
		}
		r.event(ev)
		if c.asked.Stream && !ev.More || len(r.buf) > most {
			if err := r.send(); err != nil {
				return err // the client is gone
			}
		}
	}
	return r.send()
}

// halfCall reports whether an event completes a call whose arguments are no
// object. The dialect has no way to say so, and a client would execute it.
func halfCall(ev or.Event) bool {
	if ev.Type != or.EventItemDone || ev.Item.Type != or.TypeFunctionCall || ev.Item.Status == or.StatusIncomplete {
		return false
	}
	args := strings.TrimSpace(ev.Item.Arguments)
	return args != "" && (args[0] != '{' || !json.Valid([]byte(args)))
}

// most is how much of a stream waits for more that is there already.
const most = 32 << 10

// WriteCount writes the answer to countTokens.
func (c *session) WriteCount(_ context.Context, tokens int64, w io.Writer) error {
	_, err := io.WriteString(w, `{"totalTokens":`+strconv.FormatInt(tokens, 10)+"}\n")
	return err
}

// failure is the error of a stream that has nothing else.
func failure(e *apierror.Error) string {
	code, status := 500, "INTERNAL"
	switch e.Code {
	case apierror.Invalid, apierror.Unsupported, apierror.UpstreamInvalid, apierror.UpstreamAuth, apierror.BudgetExceeded, apierror.TooLarge:
		code, status = 400, "INVALID_ARGUMENT"
	case apierror.Denied:
		code, status = 403, "PERMISSION_DENIED"
	case apierror.NotFound:
		code, status = 404, "NOT_FOUND"
	case apierror.RateLimited, apierror.UpstreamLimited:
		code, status = 429, "RESOURCE_EXHAUSTED"
	case apierror.UpstreamFailed, apierror.Unavailable:
		code, status = 503, "UNAVAILABLE"
	case apierror.UpstreamTimeout, apierror.Timeout:
		code, status = 504, "DEADLINE_EXCEEDED"
	}
	b := append([]byte(`{"error":{"code":`), strconv.Itoa(code)...)
	b = append(b, `,"message":`...)
	b = or.AppendString(b, e.Message)
	return string(b) + `,"status":"` + status + `"}}`
}

// reply writes one reply.
type reply struct {
	c        *session
	w        io.Writer
	thoughts bool // the client wants to see them
	written  bool

	buf     []byte      // not written yet
	parts   []replyPart // of a reply that is no stream
	thought strings.Builder
	states  []string // wait for the part they stand before
	usage   *or.Usage
}

// replyPart is a text, a thought or a call.
type replyPart struct {
	text      string
	thought   bool
	call      []byte // JSON of a functionCall; nil for a text
	signature string
}

func (r *reply) event(ev or.Event) {
	if ev.Usage != nil {
		r.usage = ev.Usage
	}
	switch ev.Type {
	case or.EventTextDelta, or.EventRefusalDelta:
		if ev.Delta != "" {
			r.part(replyPart{text: ev.Delta})
		}
	case or.EventReasoningDelta, or.EventSummaryDelta:
		r.think(ev.Delta)
	case or.EventReasoningDone, or.EventSummaryDone:
		r.endThought()
	case or.EventItemDone:
		r.done(ev.Item)
	case or.EventCompleted, or.EventIncomplete:
		r.finish(ev.Terminal)
	}
}

// think collects a thought. The real service sends thoughts by the paragraph,
// and clients show each part as one.
func (r *reply) think(delta string) {
	if !r.thoughts {
		return
	}
	r.thought.WriteString(delta)
	if s := r.thought.String(); strings.HasSuffix(s, "\n\n") {
		r.endThought()
	}
}

func (r *reply) endThought() {
	s := r.thought.String()
	r.thought.Reset()
	if s != "" {
		r.part(replyPart{text: s, thought: true})
	}
}

// done takes what is known only at the end of an item: a call, which the
// dialect has in one piece, and the opaque state of reasoning.
func (r *reply) done(it *or.Item) {
	switch it.Type {
	case or.TypeReasoning:
		if it.EncryptedContent != "" {
			r.states = append(r.states, it.EncryptedContent)
		}
	case or.TypeFunctionCall:
		if it.Status == or.StatusIncomplete {
			return // half a call is none; the finishReason says why
		}
		b := append([]byte(`{"id":`), or.AppendString(nil, it.CallID)...)
		b = append(b, `,"name":`...)
		b = or.AppendString(b, r.c.names.Back(it.Name))
		b = append(b, `,"args":`...)
		b = append(b, dialogue.Object(it.Arguments)...)
		r.part(replyPart{call: append(b, '}')})
	}
}

// part writes a part, or keeps it for the end. The states that came before it
// ride on it, unless it is a thought, which clients drop.
func (r *reply) part(p replyPart) {
	if len(r.states) > 0 && !p.thought {
		p.signature, r.states = signature(r.states), nil
	}
	if r.c.asked.Stream {
		r.chunk(p, "")
		return
	}
	if n := len(r.parts); n > 0 && p.call == nil && !p.thought && p.signature == "" {
		if before := &r.parts[n-1]; before.call == nil && !before.thought {
			before.text += p.text
			return
		}
	}
	r.parts = append(r.parts, p)
}

// finish ends the reply.
func (r *reply) finish(t *or.Terminal) {
	r.endThought()
	reason := "STOP"
	switch {
	case t.Status == or.StatusCompleted:
	case t.Reason == "max_output_tokens":
		reason = "MAX_TOKENS"
	case t.Reason == "content_filter":
		reason = "SAFETY"
	default:
		reason = "OTHER"
	}
	last := replyPart{}
	if len(r.states) > 0 {
		last.signature, r.states = signature(r.states), nil
	}
	if r.c.asked.Stream {
		r.chunk(last, reason)
		return
	}
	if last.signature != "" || len(r.parts) == 0 {
		r.parts = append(r.parts, last)
	}
	r.buf = append(r.buf, `{"candidates":[{"content":{"parts":[`...)
	for i, p := range r.parts {
		if i > 0 {
			r.buf = append(r.buf, ',')
		}
		r.appendPart(p)
	}
	r.tail(reason)
	if r.c.list {
		r.buf = append(append([]byte{'['}, r.buf...), ']')
	}
}

// chunk makes one event of a stream.
func (r *reply) chunk(p replyPart, reason string) {
	r.buf = append(r.buf, `data: {"candidates":[{"content":{"parts":[`...)
	r.appendPart(p)
	r.tail(reason)
	r.buf = append(r.buf, "\n\n"...)
}

func (r *reply) appendPart(p replyPart) {
	if p.call != nil {
		r.buf = append(append(r.buf, `{"functionCall":`...), p.call...)
	} else {
		r.buf = or.AppendString(append(r.buf, `{"text":`...), p.text)
	}
	if p.thought {
		r.buf = append(r.buf, `,"thought":true`...)
	}
	if p.signature != "" {
		r.buf = append(append(append(r.buf, `,"thoughtSignature":"`...), p.signature...), '"')
	}
	r.buf = append(r.buf, '}')
}

// tail is what follows the parts of a candidate.
func (r *reply) tail(reason string) {
	r.buf = append(r.buf, `],"role":"model"}`...)
	if reason != "" {
		r.buf = append(append(append(r.buf, `,"finishReason":"`...), reason...), '"')
	}
	r.buf = append(r.buf, `,"index":0}]`...)
	if u := r.usage; u != nil {
		r.buf = append(r.buf, `,"usageMetadata":`...)
		b, _ := json.Marshal(usageMetadata{u.InputTotal(), u.CacheRead, u.Output, u.Reasoning, u.Total()}) // numbers cannot fail
		r.buf = append(r.buf, b...)
	}
	r.buf = or.AppendString(append(r.buf, `,"modelVersion":`...), r.c.asked.Model)
	r.buf = append(append(append(r.buf, `,"responseId":"`...), r.c.id...), `"}`...)
}

// send writes what is there, whole events or the whole reply.
func (r *reply) send() error {
	if len(r.buf) == 0 {
		return nil
	}
	r.written = true
	_, err := r.w.Write(r.buf)
	r.buf = r.buf[:0]
	return err
}

// usageMetadata is the API's way to count: what came from a cache is part of
// the prompt, thoughts are no part of the candidates.
type usageMetadata struct {
	Prompt     int64 `json:"promptTokenCount"`
	Cached     int64 `json:"cachedContentTokenCount,omitempty"`
	Candidates int64 `json:"candidatesTokenCount"`
	Thoughts   int64 `json:"thoughtsTokenCount,omitempty"`
	Total      int64 `json:"totalTokenCount"`
}
