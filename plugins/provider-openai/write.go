package main

import (
	"context"
	"io"
	"iter"
	"math"
	"strconv"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// sink gathers what belongs together for a client: whole server-sent events as
// long as more of them are there already.
type sink struct {
	w   io.Writer
	b   []byte
	err error // of w
}

const (
	sinkFull = 16 << 10  // bytes that go out however much more is there
	sinkKeep = 256 << 10 // bytes of buffer that are kept for more
)

// flush writes what was gathered.
func (s *sink) flush() bool {
	if s.err != nil || len(s.b) == 0 {
		return s.err == nil
	}
	_, s.err = s.w.Write(s.b)
	if s.b = s.b[:0]; cap(s.b) > sinkKeep {
		s.b = nil
	}
	return s.err == nil
}

// writer writes the events of one reply; the two APIs implement it. What it
// writes goes to the sink in whole events.
type writer interface {
	event(e *or.Event)        // one that is not the last
	end(t *or.Terminal)       // the reply is complete, or as complete as it gets
	fail(err *apierror.Error) // it is not; only called for a stream
	kept() int                // bytes that are kept for the end
	whole() []byte            // the body of a reply that is not streamed, after end
}

// errEnded is for events that end without a terminal one.
var errEnded = apierror.New(apierror.UpstreamFailed, "The reply ended before it was complete. Try again.")

// relay hands the events to wr, and what it wrote to s.
func relay(ctx context.Context, events iter.Seq2[or.Event, error], s *sink, wr writer, stream bool, usage *or.Usage) error {
	ended := false
	var fault error
	kept := guard{load: &process, ctx: ctx}
	defer kept.release()
	for e, err := range events {
		if err != nil {
			fault = err
			break
		}
		if e.Usage != nil {
			*usage = *e.Usage
		}
		if !e.IsTerminal() {
			wr.event(&e)
			if !kept.keep(wr.kept()) {
				fault = errLoad
				break
			}
			if stream && (!e.More || len(s.b) >= sinkFull) && !s.flush() {
				return s.err
			}
			continue
		}
		if t := e.Terminal; t != nil && e.Type != or.EventFailed {
			wr.end(t)
			ended = true
		} else if t != nil && t.Error != nil {
			fault = t.Error
		}
		break
	}
	switch {
	case ended:
		if !stream {
			s.b = wr.whole()
		}
		s.flush()
		return s.err
	case fault == nil:
		fault = errEnded
		if ctx.Err() != nil {
			fault = apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was canceled.")
		}
	}
	if !stream {
		return fault
	}
	wr.fail(apierror.From(fault))
	s.flush()
	return s.err
}

// failure is an error as OpenAI's clients know it.
type failure struct{ typ, code string }

// failures give the type and code of an error inside a stream. Codex asks again
// after any code but a few: invalid_prompt makes it stop and show the message,
// which is what a refusal of ours is for.
var failures = map[apierror.Code]failure{
	apierror.Invalid:         {"invalid_request_error", "invalid_prompt"},
	apierror.Unsupported:     {"invalid_request_error", "invalid_prompt"},
	apierror.Unauthenticated: {"authentication_error", "invalid_prompt"},
	apierror.Denied:          {"permission_error", "invalid_prompt"},
	apierror.NotFound:        {"invalid_request_error", "invalid_prompt"},
	apierror.TooLarge:        {"invalid_request_error", "invalid_prompt"},
	apierror.BudgetExceeded:  {"insufficient_quota", "invalid_prompt"},
	apierror.OAuth:           {"authentication_error", "invalid_prompt"},
	apierror.UpstreamInvalid: {"invalid_request_error", "invalid_prompt"},
	apierror.UpstreamAuth:    {"invalid_request_error", "invalid_prompt"},
	apierror.RateLimited:     {"rate_limit_error", "rate_limit_exceeded"},
	apierror.UpstreamLimited: {"rate_limit_error", "rate_limit_exceeded"},
}

// failureOf gives type, code and message of an error for a client.
func failureOf(e *apierror.Error) (failure, string) {
	f, ok := failures[e.Code]
	if !ok {
		f = failure{"server_error", "server_error"}
	}
	if e.Upstream != nil && e.Upstream.Code == "context_length_exceeded" {
		f.code = e.Upstream.Code // on which clients shorten the conversation
	}
	message := e.Message
	if s := math.Ceil(e.RetryAfter.Seconds()); s > 0 && f.code == "rate_limit_exceeded" {
		message += " Please try again in " + strconv.FormatFloat(s, 'f', 0, 64) + "s." // Codex waits that long
	}
	return f, message
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendNullable appends a string, null for none.
func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return or.AppendString(b, s)
}
