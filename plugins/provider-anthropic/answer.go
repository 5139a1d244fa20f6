package main

import (
	"context"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// answering is one request of a client under way.
type answering struct {
	asked   provider.Asked
	id      string // of the message
	guessed int64  // tokens of input, told until the provider says how many
	stops   []string
}

var _ provider.CountWriter = (*answering)(nil)

// Asked implements provider.Dialogue.
func (d *answering) Asked() provider.Asked { return d.asked }

// WriteCount writes the answer to count_tokens.
func (d *answering) WriteCount(_ context.Context, tokens int64, w io.Writer) error {
	_, err := w.Write(append(strconv.AppendInt([]byte(`{"input_tokens":`), tokens, 10), '}'))
	return err
}

// Write writes the reply, as a stream or as one message.
func (d *answering) Write(ctx context.Context, events iter.Seq2[or.Event, error], w io.Writer) error {
	s := streamer{d: d, ending: ending{stop: stopper{sequences: d.stops}}}
	memory, _ := buffers.Get().(*[]byte)
	if memory == nil {
		memory = new([]byte)
	}
	s.buf = (*memory)[:0]
	defer func() {
		if cap(s.buf) <= keptBuffer {
			*memory = s.buf
			buffers.Put(memory)
		}
	}()
	if d.asked.Stream {
		return s.stream(ctx, events, w)
	}
	return s.whole(ctx, events, w)
}

// buffers are those in which replies were put together, of at most keptBuffer
// bytes each.
var buffers sync.Pool

const keptBuffer = 64 << 10

// whole writes one message, when all of it is there.
func (s *streamer) whole(ctx context.Context, events iter.Seq2[or.Event, error], w io.Writer) error {
	e := &s.ending
	s.buf = append(s.d.head(s.buf), `,"content":[`...)
	for ev, err := range events {
		if err != nil {
			return err
		}
		if ev.Usage != nil {
			e.usage = *ev.Usage
		}
		if ev.Type == or.EventItemDone && ev.Item != nil && e.stop.hit == "" {
			e.note(ev.Item)
			s.buf = e.appendItem(s.buf, ev.Item)
		}
		if !ev.IsTerminal() {
			continue
		}
		if err := failure(&ev); err != nil {
			return err
		}
		b := append(s.buf, `],`...)
		b = e.appendStop(b, ev.Terminal)
		b = append(b, `,"usage":`...)
		s.buf = append(appendUsage(b, e.usage, ev.Terminal.Tier), '}')
		_, err := w.Write(s.buf)
		return err
	}
	return unended(ctx)
}

// head begins the object of a message.
func (d *answering) head(b []byte) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, d.id...)
	b = append(b, `","type":"message","role":"assistant","model":`...)
	return or.AppendString(b, d.asked.Model)
}

// ending is what decides how a message ends.
type ending struct {
	usage   or.Usage
	calls   bool
	refused bool
	stop    stopper
}

// note looks at a finished item.
func (e *ending) note(it *or.Item) {
	e.calls = e.calls || it.Type == or.TypeFunctionCall
	for i := range it.Content {
		e.refused = e.refused || it.Content[i].Type == or.PartRefusal
	}
}

// appendStop appends the members stop_reason and stop_sequence.
func (e *ending) appendStop(b []byte, t *or.Terminal) []byte {
	reason := "end_turn"
	switch {
	case e.stop.hit != "":
		return or.AppendString(append(b, `"stop_reason":"stop_sequence","stop_sequence":`...), e.stop.hit)
	case t.Status == or.StatusIncomplete && t.Reason == "content_filter", e.refused:
		reason = "refusal"
	case t.Status == or.StatusIncomplete:
		reason = "max_tokens"
	case e.calls:
		reason = "tool_use"
	}
	return append(append(append(b, `"stop_reason":"`...), reason...), `","stop_sequence":null`...)
}

// failure is the error of a terminal event that is one.
func failure(ev *or.Event) error {
	switch {
	case ev.Terminal == nil:
		return apierror.New(apierror.UpstreamFailed, "The reply ended without saying how. Try again.")
	case ev.Type != or.EventFailed:
		return nil
	case ev.Terminal.Error == nil:
		return apierror.New(apierror.UpstreamFailed, "The provider failed without saying why. Try again.")
	}
	return ev.Terminal.Error
}

// unended is the error for events that stop without an end.
func unended(ctx context.Context) error {
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	return apierror.New(apierror.UpstreamFailed, "The reply ended before it was complete. Try again.")
}

// appendBlock begins a block in the list of them that b ends in.
func appendBlock(b []byte, begin string) []byte {
	if b[len(b)-1] != '[' {
		b = append(b, ',')
	}
	return append(b, begin...)
}

// appendItem appends the blocks of an item to the list that b ends in.
func (e *ending) appendItem(b []byte, it *or.Item) []byte {
	switch it.Type {
	case or.TypeMessage:
		for i := range it.Content {
			s := e.stop.pass(it.Content[i].Text+it.Content[i].Refusal) + e.stop.rest()
			if strings.TrimSpace(s) != "" { // a block of space alone is refused when it comes back
				b = append(or.AppendString(appendBlock(b, `{"type":"text","text":`), s), '}')
			}
		}
	case or.TypeReasoning:
		text := thoughts(it)
		if text == "" && it.EncryptedContent == "" {
			return b
		}
		if text == "" {
			return append(or.AppendString(appendBlock(b, `{"type":"redacted_thinking","data":`), it.EncryptedContent), '}')
		}
		b = or.AppendString(appendBlock(b, `{"type":"thinking","thinking":`), text)
		b = or.AppendString(append(b, `,"signature":`...), signature(it))
		b = append(b, '}')
	case or.TypeFunctionCall:
		b = or.AppendString(appendBlock(b, `{"type":"tool_use","id":`), clientID(it.CallID))
		b = or.AppendString(append(b, `,"name":`...), it.Name)
		b = append(append(b, `,"input":`...), dialogue.Object(it.Arguments)...)
		b = append(b, '}')
	}
	return b
}

// paragraph stands between the parts of a summary.
const paragraph = "\n\n"

// thoughts is the text of a reasoning item.
func thoughts(it *or.Item) string {
	var text string
	for _, parts := range [][]or.Part{it.Content, it.Summary} {
		for i := range parts {
			if parts[i].Text == "" {
				continue
			}
			if text != "" {
				text += paragraph
			}
			text += parts[i].Text
		}
	}
	return text
}

// stateless is the signature of thinking whose provider gave none. Every block
// from here carries a signature of ours, so that a history that holds one is
// never taken for a provider's own.
var stateless = or.OpaqueState{Provider: "sallyport", Family: "none"}.String()

func signature(it *or.Item) string {
	if it.EncryptedContent == "" {
		return stateless
	}
	return it.EncryptedContent
}

// appendUsage appends the usage object. What is written to a cache for an hour
// is part of both numbers.
func appendUsage(b []byte, u or.Usage, tier string) []byte {
	b = appendCount(b, `{"input_tokens":`, u.Input)
	b = appendCount(b, `,"cache_creation_input_tokens":`, u.CacheWrite+u.CacheWrite1h)
	b = appendCount(b, `,"cache_read_input_tokens":`, u.CacheRead)
	b = appendCount(b, `,"cache_creation":{"ephemeral_5m_input_tokens":`, u.CacheWrite)
	b = appendCount(b, `,"ephemeral_1h_input_tokens":`, u.CacheWrite1h)
	b = appendCount(b, `},"output_tokens":`, u.OutputTotal())
	if tier != "" {
		b = or.AppendString(append(b, `,"service_tier":`...), tier)
	}
	return append(b, '}')
}

func appendCount(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), n, 10)
}

// errorType is the type of an error in this dialect.
func errorType(c apierror.Code) string {
	switch c {
	case apierror.Invalid, apierror.Unsupported, apierror.UpstreamInvalid, apierror.Conflict:
		return "invalid_request_error"
	case apierror.Unauthenticated:
		return "authentication_error"
	case apierror.Denied, apierror.OAuth, apierror.BudgetExceeded:
		return "permission_error"
	case apierror.NotFound:
		return "not_found_error"
	case apierror.TooLarge:
		return "request_too_large"
	case apierror.RateLimited:
		return "rate_limit_error"
	case apierror.UpstreamLimited, apierror.Unavailable:
		return "overloaded_error"
	case apierror.Timeout, apierror.UpstreamTimeout:
		return "timeout_error"
	}
	return "api_error"
}
