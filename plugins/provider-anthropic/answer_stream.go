package main

import (
	"context"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// held is how much of a stream is written together while more of it is there
// already.
const held = 16 << 10

// stream writes the reply as server-sent events: message_start, the blocks one
// after another, message_delta, message_stop; or error.
func (s *streamer) stream(ctx context.Context, events iter.Seq2[or.Event, error], w io.Writer) error {
	for ev, err := range events {
		if err == nil && ev.IsTerminal() {
			err = failure(&ev)
		}
		if err != nil {
			return s.fail(w, err)
		}
		s.event(&ev)
		if len(s.buf) > 0 && (!ev.More || len(s.buf) >= held || ev.IsTerminal()) {
			if _, err := w.Write(s.buf); err != nil {
				return err
			}
			s.buf = s.buf[:0]
		}
		if ev.IsTerminal() {
			return nil
		}
	}
	return s.fail(w, unended(ctx))
}

// streamer is a reply under way. In a stream one block is open at a time, and
// none is opened before there is something in it.
type streamer struct {
	d       *answering
	buf     []byte
	started bool
	index   int    // of the block that is open, or comes next
	open    string // type of the open block; "" is none
	blank   string // space that a text begins with, until something follows
	apart   bool   // a part of reasoning has ended: the next one is a new paragraph
	ending  ending
	heard   bool // the provider said how many tokens
}

// begin and end stand around the data of an event.
func (s *streamer) begin(event string) {
	s.buf = append(s.buf, "event: "...)
	s.buf = append(s.buf, event...)
	s.buf = append(s.buf, "\ndata: {\"type\":\""...)
	s.buf = append(s.buf, event...)
	s.buf = append(s.buf, '"')
}

func (s *streamer) end() { s.buf = append(s.buf, "}\n\n"...) }

// fail ends the stream with an error; after it nothing is written.
func (s *streamer) fail(w io.Writer, cause error) error {
	e := apierror.From(cause)
	s.begin("error")
	s.buf = append(s.buf, `,"error":{"type":"`...)
	s.buf = append(s.buf, errorType(e.Code)...)
	s.buf = append(s.buf, `","message":`...)
	s.buf = append(or.AppendString(s.buf, e.Message), '}')
	s.end()
	_, err := w.Write(s.buf)
	return err
}

// event writes what one inner event says.
func (s *streamer) event(ev *or.Event) {
	if ev.Usage != nil {
		s.ending.usage, s.heard = *ev.Usage, true
	}
	if !s.started {
		s.start()
	}
	if s.ending.stop.hit != "" && !ev.IsTerminal() {
		return // nothing follows a stop sequence
	}
	switch ev.Type {
	case or.EventItemAdded:
		if it := ev.Item; it != nil && it.Type == or.TypeFunctionCall {
			s.stop()
			s.block("tool_use")
			s.buf = or.AppendString(append(s.buf, `,"id":`...), clientID(it.CallID))
			s.buf = or.AppendString(append(s.buf, `,"name":`...), it.Name)
			s.buf = append(s.buf, `,"input":{}}`...)
			s.end()
		}
	case or.EventTextDelta, or.EventRefusalDelta:
		s.text(s.ending.stop.pass(ev.Delta))
	case or.EventReasoningDelta, or.EventSummaryDelta:
		if s.apart && s.open == "thinking" && ev.Delta != "" {
			s.delta(thinkingDelta, paragraph)
		}
		if s.within("thinking", ev.Delta) {
			s.apart = false
			s.delta(thinkingDelta, ev.Delta)
		}
	case or.EventArgumentsDelta:
		if s.open == "tool_use" && ev.Delta != "" {
			s.delta(inputDelta, ev.Delta)
		}
	case or.EventSummaryPartDone, or.EventReasoningDone:
		s.apart = true
	case or.EventPartDone:
		s.text(s.ending.stop.rest())
		s.blank = ""
		if s.open == "text" {
			s.stop()
		}
	case or.EventItemDone:
		s.done(ev.Item)
	case or.EventCompleted, or.EventIncomplete:
		s.stop()
		s.finish(ev.Terminal)
	}
}

// start begins the message. The counts of a provider that tells them last are
// guessed until then: a client that is told 0 counts nothing.
func (s *streamer) start() {
	s.started = true
	u := s.ending.usage
	if !s.heard {
		u = or.Usage{Input: s.d.guessed, Output: 1}
	}
	s.begin("message_start")
	s.buf = append(s.buf, `,"message":`...)
	s.buf = s.d.head(s.buf)
	s.buf = append(s.buf, `,"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	s.buf = append(appendUsage(s.buf, u, ""), '}')
	s.end()
}

// block begins a block of that type; the caller writes its members and ends it.
func (s *streamer) block(kind string) {
	s.open = kind
	s.begin("content_block_start")
	s.buf = append(s.buf, `,"index":`...)
	s.buf = strconv.AppendInt(s.buf, int64(s.index), 10)
	s.buf = append(s.buf, `,"content_block":{"type":"`...)
	s.buf = append(append(s.buf, kind...), '"')
}

// within makes sure that a block of that type is open, if there is something
// to say in it.
func (s *streamer) within(kind, said string) bool {
	if said == "" {
		return false
	}
	if s.open == kind {
		return true
	}
	s.stop()
	s.block(kind)
	if kind == "text" {
		s.buf = append(s.buf, `,"text":""}`...)
	} else {
		s.buf = append(s.buf, `,"thinking":"","signature":""}`...)
	}
	s.end()
	return true
}

// text adds to the text block, if there is anything to add. Space alone opens
// none: Anthropic refuses such a block when it comes back.
func (s *streamer) text(said string) {
	if s.open != "text" {
		if said = s.blank + said; strings.TrimSpace(said) == "" {
			s.blank = said
			return
		}
		s.blank = ""
	}
	if s.within("text", said) {
		s.delta(textDelta, said)
	}
}

// What stands before the words of a delta.
const (
	thinkingDelta  = `,"delta":{"type":"thinking_delta","thinking":`
	textDelta      = `,"delta":{"type":"text_delta","text":`
	inputDelta     = `,"delta":{"type":"input_json_delta","partial_json":`
	signatureDelta = `,"delta":{"type":"signature_delta","signature":`
)

func (s *streamer) delta(begin, said string) {
	b := append(s.buf, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	b = strconv.AppendInt(b, int64(s.index), 10)
	b = append(b, begin...)
	s.buf = append(or.AppendString(b, said), "}}\n\n"...)
}

// stop ends the open block, if any. Thinking that ends before its item does
// ends with a signature all the same.
func (s *streamer) stop() {
	if s.open == "" {
		return
	}
	if s.open == "thinking" {
		s.delta(signatureDelta, stateless)
	}
	s.close()
}

func (s *streamer) close() {
	s.begin("content_block_stop")
	s.buf = append(s.buf, `,"index":`...)
	s.buf = strconv.AppendInt(s.buf, int64(s.index), 10)
	s.end()
	s.open, s.apart = "", false
	s.index++
}

// done ends an item.
func (s *streamer) done(it *or.Item) {
	if it == nil {
		return
	}
	s.ending.note(it)
	if it.Type != or.TypeReasoning {
		s.stop()
		return
	}
	switch {
	case s.open == "thinking":
		s.delta(signatureDelta, signature(it))
		s.close()
	case it.EncryptedContent != "":
		s.stop()
		s.block("redacted_thinking")
		s.buf = append(or.AppendString(append(s.buf, `,"data":`...), it.EncryptedContent), '}')
		s.end()
		s.close()
	}
}

// finish ends the message.
func (s *streamer) finish(t *or.Terminal) {
	s.begin("message_delta")
	s.buf = append(s.buf, `,"delta":{`...)
	s.buf = s.ending.appendStop(s.buf, t)
	s.buf = append(s.buf, `},"usage":`...)
	s.buf = appendUsage(s.buf, s.ending.usage, "")
	s.end()
	s.begin("message_stop")
	s.end()
}
