package main

import (
	"context"
	"io"
	"iter"
	"strconv"

	"github.com/valyala/fastjson"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// responsesTalk is a request of the Responses API, and writes its reply.
type responsesTalk struct {
	head
	echo []byte // members of the response object that repeat the request
}

// responsesEcho is what the response object says of the request, each member
// behind a comma. Instructions and tools are left out: they are long, the
// client knows them, and it would be told them three times.
func responsesEcho(v *fastjson.Value, q *or.Request) []byte {
	b := append([]byte(nil), `,"instructions":null,"max_output_tokens":`...)
	b = appendIntOrNull(b, q.MaxOutputTokens)
	b = append(b, `,"max_tool_calls":`...)
	b = appendIntOrNull(b, q.MaxToolCalls)
	b = append(b, `,"model":`...)
	b = or.AppendString(b, q.Model)
	b = append(b, `,"parallel_tool_calls":`...)
	b = strconv.AppendBool(b, q.ParallelToolCalls == nil || *q.ParallelToolCalls)
	b = append(b, `,"previous_response_id":null,"prompt_cache_key":`...)
	b = appendNullable(b, q.PromptCacheKey)
	b = append(b, `,"reasoning":{"effort":`...)
	reasoning := or.Reasoning{}
	if q.Reasoning != nil {
		reasoning = *q.Reasoning
	}
	b = appendNullable(b, reasoning.Effort)
	b = append(b, `,"summary":`...)
	b = appendNullable(b, reasoning.Summary)
	b = append(b, `},"store":false,"temperature":`...)
	b = appendNumberOr(b, q.Temperature, 1)
	b = append(b, `,"text":{"format":`...)
	if q.Text != nil && len(q.Text.Format) > 0 {
		b = append(b, q.Text.Format...)
	} else {
		b = append(b, `{"type":"text"}`...)
	}
	b = append(b, `},"tool_choice":`...)
	if c := v.Get("tool_choice"); isStr(c) {
		b = or.AppendString(b, text(c))
	} else {
		b = append(b, `"auto"`...)
	}
	b = append(b, `,"tools":[],"top_p":`...)
	b = appendNumberOr(b, q.TopP, 1)
	b = append(b, `,"truncation":`...)
	if q.Truncation == "" {
		return append(b, `"disabled"`...)
	}
	return or.AppendString(b, q.Truncation)
}

func appendIntOrNull(b []byte, n *int64) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	return appendInt(b, *n)
}

func appendNumberOr(b []byte, f *float64, otherwise float64) []byte {
	if f == nil {
		f = &otherwise
	}
	return strconv.AppendFloat(b, *f, 'g', -1, 64)
}

// Write implements provider.Dialogue.
func (t *responsesTalk) Write(ctx context.Context, events iter.Seq2[or.Event, error], w io.Writer) error {
	wr := &responsesWriter{talk: t, sink: sink{w: w}, stream: t.asked.Stream}
	return relay(ctx, events, &wr.sink, wr, t.asked.Stream, &wr.usage)
}

// responsesWriter writes one reply of the Responses API. Items are numbered
// and named as they come; each that is done is kept for the last event.
type responsesWriter struct {
	talk   *responsesTalk
	sink   sink
	stream bool
	begun  bool
	seq    int64
	items  [][]byte
	size   int // bytes of items
	body   []byte
	usage  or.Usage

	// Of the open item:
	id    string
	call  clientTool
	notes int // annotations of the open part
}

// prefixes are how the ids of items begin.
var prefixes = map[string]string{or.TypeMessage: "msg_", or.TypeFunctionCall: "fc_", or.TypeReasoning: "rs_"}

func (w *responsesWriter) event(e *or.Event) {
	w.begin()
	switch e.Type {
	case or.EventItemAdded:
		w.open(e.Item)
		w.itemEvent(e.Type, w.item(e.Item))
	case or.EventItemDone:
		if w.id == "" {
			w.open(e.Item)
		}
		item := w.item(e.Item)
		w.itemEvent(e.Type, item)
		w.items = append(w.items, item)
		w.size += len(item)
		w.id = ""
	case or.EventArgumentsDelta:
		if !w.call.custom {
			w.at(e.Type, "", 0)
			w.text("delta", e.Delta)
		}
	case or.EventArgumentsDone:
		w.arguments(e)
	default:
		if w.stream {
			w.content(e)
		}
	}
}

// content writes the events inside a message or reasoning.
func (w *responsesWriter) content(e *or.Event) {
	switch e.Type {
	case or.EventPartAdded, or.EventPartDone:
		w.notes = 0
		w.at(e.Type, "content_index", e.ContentIndex)
		w.part(e.Part)
	case or.EventTextDelta:
		w.at(e.Type, "content_index", e.ContentIndex)
		w.sink.b = append(w.sink.b, `,"logprobs":[]`...)
		w.text("delta", e.Delta)
	case or.EventTextDone:
		w.at(e.Type, "content_index", e.ContentIndex)
		w.sink.b = append(w.sink.b, `,"logprobs":[]`...)
		w.text("text", e.Text)
	case or.EventAnnotationAdded:
		w.at(e.Type, "content_index", e.ContentIndex)
		if e.Annotation != nil {
			w.sink.b = appendInt(append(w.sink.b, `,"annotation_index":`...), int64(w.notes))
			w.sink.b = append(w.sink.b, `,"annotation":`...)
			w.notes++
			w.sink.b = e.Annotation.AppendJSON(w.sink.b)
		}
		w.close()
	case or.EventRefusalDelta:
		w.at(e.Type, "content_index", e.ContentIndex)
		w.text("delta", e.Delta)
	case or.EventRefusalDone:
		w.at(e.Type, "content_index", e.ContentIndex)
		w.text("refusal", e.Text)
	case or.EventReasoningDelta:
		w.at("response.reasoning_text.delta", "content_index", e.ContentIndex)
		w.text("delta", e.Delta)
	case or.EventReasoningDone:
		w.at("response.reasoning_text.done", "content_index", e.ContentIndex)
		w.text("text", e.Text)
	case or.EventSummaryPartAdded, or.EventSummaryPartDone:
		w.at(e.Type, "summary_index", e.SummaryIndex)
		w.part(e.Part)
	case or.EventSummaryDelta:
		w.at(e.Type, "summary_index", e.SummaryIndex)
		w.text("delta", e.Delta)
	case or.EventSummaryDone:
		w.at(e.Type, "summary_index", e.SummaryIndex)
		w.text("text", e.Text)
	}
}

// open begins an item: its id, and what the client calls the tool.
func (w *responsesWriter) open(it *or.Item) {
	w.call, w.notes = clientTool{}, 0
	if it == nil {
		it = &or.Item{}
	}
	prefix := prefixes[it.Type]
	if it.Type == or.TypeFunctionCall {
		if w.call = w.talk.box.find(it.Name); w.call.custom {
			prefix = "ctc_"
		}
	}
	if prefix == "" {
		prefix = "item_"
	}
	// Unique within all replies: the reply's own digits, then the item's number.
	w.id = prefix + w.talk.id + strconv.FormatInt(int64(len(w.items)), 16)
}

// item is an item as the client sees it: our id, its own name of the tool.
func (w *responsesWriter) item(it *or.Item) []byte {
	if it == nil {
		return []byte(`{}`)
	}
	is := *it
	is.Raw, is.ID = nil, w.id
	if is.Status == "" {
		is.Status = or.StatusCompleted
	}
	switch is.Type {
	case or.TypeMessage:
		is.Content = make([]or.Part, len(it.Content))
		for i, p := range it.Content {
			p.Raw = nil
			if p.Type == or.PartOutputText && p.Logprobs == nil {
				p.Logprobs = []byte("[]")
			}
			is.Content[i] = p
		}
	case or.TypeReasoning:
		if is.Summary == nil {
			is.Summary = []or.Part{}
		}
	case or.TypeFunctionCall:
		return w.callItem(&is)
	}
	return is.AppendJSON(nil)
}

func (w *responsesWriter) callItem(it *or.Item) []byte {
	b := append([]byte(nil), `{"id":"`...)
	b = append(b, w.id...)
	if w.call.custom {
		b = append(b, `","type":"custom_tool_call","status":`...)
	} else {
		b = append(b, `","type":"function_call","status":`...)
	}
	b = or.AppendString(b, it.Status)
	if w.call.custom {
		input := ""
		if it.Arguments != "" {
			input = customInput(it.Arguments)
		}
		b = append(b, `,"input":`...)
		b = or.AppendString(b, input)
	} else {
		b = append(b, `,"arguments":`...)
		b = or.AppendString(b, it.Arguments)
	}
	b = append(b, `,"call_id":`...)
	b = or.AppendString(b, it.CallID)
	b = append(b, `,"name":`...)
	b = or.AppendString(b, w.call.name)
	if w.call.namespace != "" {
		b = append(b, `,"namespace":`...)
		b = or.AppendString(b, w.call.namespace)
	}
	return append(b, '}')
}

// arguments ends the arguments of a call. Those of a custom tool are JSON for
// the model and plain text for the client, told at once.
func (w *responsesWriter) arguments(e *or.Event) {
	if !w.call.custom {
		w.at(e.Type, "", 0)
		w.text("arguments", e.Text)
		return
	}
	input := customInput(e.Text)
	if input != "" {
		w.at("response.custom_tool_call_input.delta", "", 0)
		w.text("delta", input)
	}
	w.at("response.custom_tool_call_input.done", "", 0)
	w.text("input", input)
}

func (w *responsesWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	for _, typ := range []string{"response.created", "response.in_progress"} {
		w.start(typ)
		w.response(or.StatusInProgress, nil, nil)
		w.close()
	}
}
