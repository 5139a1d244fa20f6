package main

import (
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func (w *responsesWriter) end(t *or.Terminal) {
	w.begin()
	status, typ := or.StatusCompleted, or.EventCompleted
	if t.Status == or.StatusIncomplete {
		status, typ = or.StatusIncomplete, or.EventIncomplete
	}
	if !w.stream {
		w.body = w.object(nil, status, t, nil)
		return
	}
	w.start(typ)
	w.response(status, t, nil)
	w.close()
}

func (w *responsesWriter) fail(err *apierror.Error) {
	w.begin()
	w.start(or.EventFailed)
	w.response(or.StatusFailed, nil, err)
	w.close()
}

func (w *responsesWriter) kept() int { return w.size }

func (w *responsesWriter) whole() []byte { return w.body }

// response appends the member response.
func (w *responsesWriter) response(status string, t *or.Terminal, err *apierror.Error) {
	if w.stream {
		w.sink.b = append(w.sink.b, `,"response":`...)
		w.sink.b = w.object(w.sink.b, status, t, err)
	}
}

// object appends the response object.
func (w *responsesWriter) object(b []byte, status string, t *or.Terminal, err *apierror.Error) []byte {
	b = append(b, `{"id":"resp_`...)
	b = append(b, w.talk.id...)
	b = append(b, `","object":"response","created_at":`...)
	b = appendInt(b, w.talk.created)
	b = append(b, `,"status":"`...)
	b = append(b, status...)
	b = append(b, `","background":false,"error":`...)
	if err == nil {
		b = append(b, "null"...)
	} else {
		f, message := failureOf(err)
		b = append(b, `{"code":"`...)
		b = append(b, f.code...)
		b = append(b, `","message":`...)
		b = or.AppendString(b, message)
		b = append(b, '}')
	}
	b = append(b, `,"incomplete_details":`...)
	if status == or.StatusIncomplete {
		b = append(b, `{"reason":`...)
		reason := t.Reason
		if reason == "" {
			reason = "max_output_tokens"
		}
		b = or.AppendString(b, reason)
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	b = append(b, w.talk.echo...)
	b = append(b, `,"service_tier":`...)
	switch {
	case t != nil && t.Tier != "":
		b = or.AppendString(b, t.Tier)
	case w.talk.asked.Request.ServiceTier != "":
		b = or.AppendString(b, w.talk.asked.Request.ServiceTier)
	default:
		b = append(b, `"auto"`...)
	}
	b = append(b, `,"output":[`...)
	if t != nil || err != nil {
		for i, it := range w.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, it...)
		}
	}
	b = append(b, `],"usage":`...)
	if t == nil && (err == nil || w.usage == or.Usage{}) {
		b = append(b, "null"...)
	} else {
		b = w.usage.AppendJSON(b)
	}
	b = append(b, `,"user":null,"metadata":`...)
	if m := w.talk.asked.Request.Metadata; len(m) > 0 {
		if j, err := marshal(m); err == nil {
			return append(append(b, j...), '}')
		}
	}
	return append(b, `{}}`...)
}

// The events: start or at, what they say, close.

func (w *responsesWriter) start(typ string) {
	if !w.stream {
		return
	}
	b := append(w.sink.b, "event: "...)
	b = append(b, typ...)
	b = append(b, "\ndata: {\"type\":\""...)
	b = append(b, typ...)
	b = append(b, `","sequence_number":`...)
	w.sink.b = appendInt(b, w.seq)
	w.seq++
}

// at begins an event of the open item.
func (w *responsesWriter) at(typ, index string, i int) {
	if !w.stream {
		return
	}
	w.start(typ)
	b := append(w.sink.b, `,"item_id":"`...)
	b = append(b, w.id...)
	b = append(b, `","output_index":`...)
	b = appendInt(b, int64(len(w.items)))
	if index != "" {
		b = append(b, `,"`...)
		b = append(b, index...)
		b = append(b, `":`...)
		b = appendInt(b, int64(i))
	}
	w.sink.b = b
}

// text ends an event with a member that is a string.
func (w *responsesWriter) text(name, s string) {
	if !w.stream {
		return
	}
	b := append(w.sink.b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	w.sink.b = or.AppendString(b, s)
	w.close()
}

func (w *responsesWriter) part(p *or.Part) {
	if p == nil {
		p = &or.Part{Type: or.PartOutputText}
	}
	is := *p
	is.Raw = nil
	if is.Type == or.PartOutputText && is.Logprobs == nil {
		is.Logprobs = []byte("[]")
	}
	w.sink.b = append(w.sink.b, `,"part":`...)
	w.sink.b = is.AppendJSON(w.sink.b)
	w.close()
}

func (w *responsesWriter) itemEvent(typ string, item []byte) {
	if !w.stream {
		return
	}
	w.start(typ)
	b := append(w.sink.b, `,"output_index":`...)
	b = appendInt(b, int64(len(w.items)))
	b = append(b, `,"item":`...)
	w.sink.b = append(b, item...)
	w.close()
}

func (w *responsesWriter) close() {
	if w.stream {
		w.sink.b = append(w.sink.b, "}\n\n"...)
	}
}
