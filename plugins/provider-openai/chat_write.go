package main

import (
	"context"
	"io"
	"iter"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// chatTalk is a request of chat/completions, and writes its reply.
type chatTalk struct {
	head
	counts bool // the stream tells the usage
	legacy bool // functions, not tools
}

// Write implements provider.Dialogue.
func (t *chatTalk) Write(ctx context.Context, events iter.Seq2[or.Event, error], w io.Writer) error {
	wr := &chatWriter{talk: t, sink: sink{w: w}, stream: t.asked.Stream}
	return relay(ctx, events, &wr.sink, wr, t.asked.Stream, &wr.usage)
}

// chatWriter writes one reply of chat/completions: one choice, whose text,
// reasoning and calls come as deltas. What the model thought is told as
// reasoning_content, as the open servers do.
type chatWriter struct {
	talk   *chatTalk
	sink   sink
	stream bool
	begun  bool
	usage  or.Usage
	tier   string
	body   []byte

	// Of a reply that is not streamed:
	said, refusal, thought strings.Builder
	calls                  [][]byte
	notes                  [][]byte
	size                   int // bytes of calls

	call   clientTool
	called int // calls so far
	paused bool
}

func (w *chatWriter) event(e *or.Event) {
	switch e.Type {
	case or.EventItemAdded:
		if it := e.Item; it != nil && it.Type == or.TypeFunctionCall {
			w.call = w.talk.box.find(it.Name)
			w.open(it)
		}
	case or.EventTextDelta:
		w.tell("content", e.Delta, &w.said)
	case or.EventRefusalDelta:
		w.tell("refusal", e.Delta, &w.refusal)
	case or.EventReasoningDelta, or.EventSummaryDelta:
		if w.paused {
			w.paused = false
			w.tell("reasoning_content", "\n\n", &w.thought)
		}
		w.tell("reasoning_content", e.Delta, &w.thought)
	case or.EventSummaryPartDone:
		w.paused = true
	case or.EventArgumentsDelta:
		if !w.call.custom {
			w.arguments(e.Delta)
		}
	case or.EventArgumentsDone:
		if w.call.custom {
			w.arguments(customInput(e.Text))
		}
	case or.EventItemDone:
		if it := e.Item; it != nil && it.Type == or.TypeFunctionCall {
			if !w.stream {
				w.calls = append(w.calls, w.callOf(it))
				w.size += len(it.Arguments)
			}
			w.called++
		}
	case or.EventAnnotationAdded:
		w.annotation(e.Annotation)
	}
}

// tell writes a piece of one of the message's texts.
func (w *chatWriter) tell(name, s string, all *strings.Builder) {
	switch {
	case s == "":
	case !w.stream:
		all.WriteString(s)
	default:
		w.begin(`""`)
		b := w.chunk()
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":`...)
		w.closeChunk(or.AppendString(b, s), "")
	}
}

// begin writes the first chunk, which says who speaks.
func (w *chatWriter) begin(content string) {
	if w.begun {
		return
	}
	w.begun = true
	b := append(w.chunk(), `"role":"assistant","content":`...)
	b = append(b, content...)
	w.closeChunk(append(b, `,"refusal":null`...), "")
}

// open tells of a call that begins.
func (w *chatWriter) open(it *or.Item) {
	if !w.stream || w.talk.legacy && w.called > 0 {
		return
	}
	w.begin("null")
	b := w.chunk()
	if w.talk.legacy {
		b = append(b, `"function_call":{"name":`...)
		b = or.AppendString(b, w.call.name)
		w.closeChunk(append(b, `,"arguments":""}`...), "")
		return
	}
	b = w.openCall(b)
	b = append(b, `"id":`...)
	b = or.AppendString(b, it.CallID)
	if w.call.custom {
		b = append(b, `,"type":"custom","custom":{"name":`...)
		b = or.AppendString(b, w.call.name)
		b = append(b, `,"input":""}}]`...)
	} else {
		b = append(b, `,"type":"function","function":{"name":`...)
		b = or.AppendString(b, w.call.name)
		b = append(b, `,"arguments":""}}]`...)
	}
	w.closeChunk(b, "")
}

func (w *chatWriter) openCall(b []byte) []byte {
	b = append(b, `"tool_calls":[{"index":`...)
	return append(appendInt(b, int64(w.called)), ',')
}

// arguments tells a piece of the open call's arguments, or a custom tool's input.
func (w *chatWriter) arguments(s string) {
	if !w.stream || s == "" || w.talk.legacy && w.called > 0 {
		return
	}
	b := w.chunk()
	switch {
	case w.talk.legacy:
		b = append(b, `"function_call":{"arguments":`...)
		w.closeChunk(append(or.AppendString(b, s), '}'), "")
		return
	case w.call.custom:
		b = append(w.openCall(b), `"custom":{"input":`...)
	default:
		b = append(w.openCall(b), `"function":{"arguments":`...)
	}
	w.closeChunk(append(or.AppendString(b, s), `}}]`...), "")
}

// callOf is a whole call.
func (w *chatWriter) callOf(it *or.Item) []byte {
	b := append([]byte(nil), `{"id":`...)
	b = or.AppendString(b, it.CallID)
	if w.call.custom {
		b = append(b, `,"type":"custom","custom":{"name":`...)
		b = or.AppendString(b, w.call.name)
		b = append(b, `,"input":`...)
		b = or.AppendString(b, customInput(it.Arguments))
	} else {
		b = append(b, `,"type":"function","function":{"name":`...)
		b = or.AppendString(b, w.call.name)
		b = append(b, `,"arguments":`...)
		b = or.AppendString(b, it.Arguments)
	}
	return append(b, `}}`...)
}

func (w *chatWriter) annotation(a *or.Annotation) {
	if a == nil || a.Type != "url_citation" {
		return
	}
	b := append([]byte(nil), `{"type":"url_citation","url_citation":{"start_index":`...)
	b = appendInt(b, int64(a.StartIndex))
	b = append(b, `,"end_index":`...)
	b = appendInt(b, int64(a.EndIndex))
	b = append(b, `,"title":`...)
	b = or.AppendString(b, a.Title)
	b = append(b, `,"url":`...)
	b = append(or.AppendString(b, a.URL), `}}`...)
	if !w.stream {
		w.notes = append(w.notes, b)
		return
	}
	w.begin(`""`)
	c := append(w.chunk(), `"annotations":[`...)
	w.closeChunk(append(append(c, b...), ']'), "")
}

// finish is the finish_reason of a reply.
func (w *chatWriter) finish(t *or.Terminal) string {
	switch {
	case t.Status == or.StatusIncomplete && t.Reason == "content_filter":
		return "content_filter"
	case t.Status == or.StatusIncomplete:
		return "length"
	case w.called > 0 && w.talk.legacy:
		return "function_call"
	case w.called > 0:
		return "tool_calls"
	}
	return "stop"
}

func (w *chatWriter) end(t *or.Terminal) {
	w.tier = t.Tier
	if !w.stream {
		w.body = w.completion(t)
		return
	}
	w.begin(`""`)
	w.closeChunk(w.chunk(), w.finish(t))
	if w.talk.counts {
		b := append(w.chunkHead(), `,"choices":[],"usage":`...)
		w.sink.b = append(appendChatUsage(b, &w.usage), "}\n\n"...)
	}
	w.sink.b = append(w.sink.b, "data: [DONE]\n\n"...)
}

func (w *chatWriter) fail(err *apierror.Error) {
	f, message := failureOf(err)
	b := append(w.sink.b, `data: {"error":{"message":`...)
	b = or.AppendString(b, message)
	b = append(b, `,"type":"`...)
	b = append(b, f.typ...)
	b = append(b, `","param":`...)
	b = appendNullable(b, err.Param)
	b = append(b, `,"code":"`...)
	b = append(b, f.code...)
	w.sink.b = append(b, "\"}}\n\ndata: [DONE]\n\n"...)
}

func (w *chatWriter) kept() int { return w.said.Len() + w.refusal.Len() + w.thought.Len() + w.size }

func (w *chatWriter) whole() []byte { return w.body }

// completion is the reply that is not streamed.
func (w *chatWriter) completion(t *or.Terminal) []byte {
	b := w.meta([]byte{}, "chat.completion")
	b = append(b, `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	if w.said.Len() == 0 && (w.called > 0 || w.refusal.Len() > 0) {
		b = append(b, "null"...)
	} else {
		b = or.AppendString(b, w.said.String())
	}
	if w.thought.Len() > 0 {
		b = append(b, `,"reasoning_content":`...)
		b = or.AppendString(b, w.thought.String())
	}
	b = append(b, `,"refusal":`...)
	b = appendNullable(b, w.refusal.String())
	b = append(b, `,"annotations":[`...)
	b = appendList(b, w.notes)
	b = append(b, ']')
	switch {
	case w.talk.legacy && len(w.calls) > 0:
		call := w.calls[0] // {"id":…,"type":"function","function":{…}}
		b = append(b, `,"function_call":`...)
		b = append(b, call[strings.Index(string(call), `"function":`)+len(`"function":`):len(call)-1]...)
	case len(w.calls) > 0:
		b = append(b, `,"tool_calls":[`...)
		b = append(appendList(b, w.calls), ']')
	}
	b = append(b, `},"logprobs":null,"finish_reason":"`...)
	b = append(b, w.finish(t)...)
	b = append(b, `"}],"usage":`...)
	return append(appendChatUsage(b, &w.usage), '}')
}

func appendList(b []byte, list [][]byte) []byte {
	for i, l := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, l...)
	}
	return b
}

// appendChatUsage appends the counts by the names of chat/completions.
func appendChatUsage(b []byte, u *or.Usage) []byte {
	b = append(b, `{"prompt_tokens":`...)
	b = appendInt(b, u.InputTotal())
	b = append(b, `,"completion_tokens":`...)
	b = appendInt(b, u.OutputTotal())
	b = append(b, `,"total_tokens":`...)
	b = appendInt(b, u.Total())
	b = append(b, `,"prompt_tokens_details":{"cached_tokens":`...)
	b = appendInt(b, u.CacheRead)
	b = append(b, `,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":`...)
	b = appendInt(b, u.Reasoning)
	return append(b, `,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

// meta appends the members that every chunk and the whole reply begin with.
func (w *chatWriter) meta(b []byte, object string) []byte {
	b = append(b, `{"id":"chatcmpl-`...)
	b = append(b, w.talk.id...)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = appendInt(b, w.talk.created)
	b = append(b, `,"model":`...)
	b = or.AppendString(b, w.talk.asked.Model)
	if w.tier != "" {
		b = append(b, `,"service_tier":`...)
		b = or.AppendString(b, w.tier)
	}
	return append(b, `,"system_fingerprint":null`...)
}

func (w *chatWriter) chunkHead() []byte {
	return w.meta(append(w.sink.b, "data: "...), "chat.completion.chunk")
}

// chunk begins a chunk, up to the opening brace of its delta.
func (w *chatWriter) chunk() []byte {
	return append(w.chunkHead(), `,"choices":[{"index":0,"delta":{`...)
}

// closeChunk ends a chunk and gives it to the sink.
func (w *chatWriter) closeChunk(b []byte, finish string) {
	b = append(b, `},"logprobs":null,"finish_reason":`...)
	b = appendNullable(b, finish)
	b = append(b, `}]`...)
	if w.talk.counts {
		b = append(b, `,"usage":null`...)
	}
	w.sink.b = append(b, "}\n\n"...)
}
