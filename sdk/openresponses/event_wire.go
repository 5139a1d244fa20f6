package openresponses

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// shape says which members an event type has on the wire.
type shape struct {
	name                                                      string
	content, summary, item, part, delta, annotation, terminal bool
	text                                                      string // name of the member with the whole text
	head                                                      string // how its JSON begins
}

// shapes has every event type that a translator emits, by the length of its name:
// no more than four are of one length.
var shapes = byLength([]shape{
	{name: EventItemAdded, item: true},
	{name: EventItemDone, item: true},
	{name: EventPartAdded, content: true, part: true},
	{name: EventPartDone, content: true, part: true},
	{name: EventTextDelta, content: true, delta: true},
	{name: EventTextDone, content: true, text: "text"},
	{name: EventAnnotationAdded, content: true, annotation: true},
	{name: EventRefusalDelta, content: true, delta: true},
	{name: EventRefusalDone, content: true, text: "refusal"},
	{name: EventArgumentsDelta, delta: true},
	{name: EventArgumentsDone, text: "arguments"},
	{name: EventReasoningDelta, content: true, delta: true},
	{name: EventReasoningDone, content: true, text: "text"},
	{name: EventSummaryPartAdded, summary: true, part: true},
	{name: EventSummaryPartDone, summary: true, part: true},
	{name: EventSummaryDelta, summary: true, delta: true},
	{name: EventSummaryDone, summary: true, text: "text"},
	{name: EventCompleted, terminal: true},
	{name: EventIncomplete, terminal: true},
	{name: EventFailed, terminal: true},
})

func byLength(all []shape) (by [64][]*shape) {
	for i := range all {
		s := &all[i]
		s.head = `{"type":"` + s.name + `"`
		by[len(s.name)] = append(by[len(s.name)], s)
	}
	return by
}

// shapeOf gives the shape of an event type, nil if there is none.
func shapeOf[T string | []byte](typ T) *shape {
	if len(typ) < len(shapes) {
		for _, s := range shapes[len(typ)] {
			if s.name == string(typ) {
				return s
			}
		}
	}
	return nil
}

// AppendJSON appends the event in the form used between translators and core:
// the specification's member names; a terminal event as {"type","response":
// {"status","incomplete_details","error","model","service_tier","usage"}}.
func (e *Event) AppendJSON(dst []byte) []byte {
	s := shapeOf(e.Type)
	var o object
	if s != nil {
		o = object{b: append(dst, s.head...), wrote: true}
	} else {
		s = &shape{}
		o = open(dst)
		o.str("type", e.Type)
	}
	if s.terminal {
		e.appendTerminal(&o)
		return o.close()
	}
	o.int("output_index", int64(e.OutputIndex))
	if s.content {
		o.int("content_index", int64(e.ContentIndex))
	}
	if s.summary {
		o.int("summary_index", int64(e.SummaryIndex))
	}
	if s.item && e.Item != nil {
		o.key("item")
		o.b = e.Item.AppendJSON(o.b)
	}
	if s.part && e.Part != nil {
		o.key("part")
		o.b = e.Part.AppendJSON(o.b)
	}
	if s.delta {
		o.str("delta", e.Delta)
	}
	if s.text != "" {
		o.str(s.text, e.Text)
	}
	if s.annotation && e.Annotation != nil {
		o.key("annotation")
		o.b = e.Annotation.AppendJSON(o.b)
	}
	if e.Usage != nil {
		o.key("usage")
		o.b = e.Usage.AppendJSON(o.b)
	}
	return o.close()
}

func (e *Event) appendTerminal(o *object) {
	t := e.Terminal
	if t == nil {
		t = &Terminal{}
	}
	o.key("response")
	in := open(o.b)
	in.str("status", t.Status)
	if t.Reason != "" {
		in.key("incomplete_details")
		r := open(in.b)
		r.str("reason", t.Reason)
		in.b = r.close()
	}
	if t.Error != nil {
		if b, err := json.Marshal(t.Error); err == nil {
			in.raw("error", b)
		}
	}
	in.opt("model", t.Model)
	in.opt("service_tier", t.Tier)
	if e.Usage != nil {
		in.key("usage")
		in.b = e.Usage.AppendJSON(in.b)
	}
	o.b = in.close()
}

// ParseEvent reads the form that AppendJSON writes, ignoring members it does
// not know. Items and parts keep a Raw only when they have such members, so an
// event is the same whether or not it crossed a process border. An event type
// outside the list of this package is an error.
func ParseEvent(b []byte) (e Event, err error) {
	r := own{scanner: scanner{b: b}}
	if r.event(&e) {
		return e, nil
	}
	return parseEvent(b)
}

// parseEvent reads an event however it is written.
func parseEvent(b []byte) (Event, error) {
	var e Event
	err := parse(b, func(v *fastjson.Value) error {
		if v.Type() != fastjson.TypeObject {
			return fmt.Errorf("event: not an object but %s", Kind(v))
		}
		d := decoder{}
		if err := d.event(v, &e); err != nil {
			return fmt.Errorf("event %q: %w", clip(e.Type), err)
		}
		return nil
	})
	return e, err
}

func (d *decoder) event(v *fastjson.Value, e *Event) (err error) {
	typ := v.GetStringBytes("type")
	s := shapeOf(typ)
	if s == nil {
		e.Type = string(typ)
		return fmt.Errorf("unknown type")
	}
	e.Type = s.name
	if s.terminal {
		return d.terminal(v.Get("response"), e)
	}
	if e.OutputIndex, err = d.index(v.Get("output_index"), "output_index"); err != nil {
		return err
	}
	if s.content {
		if e.ContentIndex, err = d.index(v.Get("content_index"), "content_index"); err != nil {
			return err
		}
	}
	if s.summary {
		if e.SummaryIndex, err = d.index(v.Get("summary_index"), "summary_index"); err != nil {
			return err
		}
	}
	if s.delta {
		if e.Delta, err = d.str(v.Get("delta"), "delta"); err != nil {
			return err
		}
	}
	if s.text != "" {
		if e.Text, err = d.str(v.Get(s.text), s.text); err != nil {
			return err
		}
	}
	if it := v.Get("item"); s.item && !null(it) {
		if e.Item, err = d.eventItem(it); err != nil {
			return err
		}
	}
	if p := v.Get("part"); s.part && !null(p) {
		if p.Type() != fastjson.TypeObject {
			return wrongType(p, "part", "an object")
		}
		e.Part = new(Part)
		if e.Part.Raw, err = d.rawIfUnknown(p, partMembers); err != nil {
			return err
		}
		if err := d.part(p, e.Part); err != nil {
			return within(err, "part")
		}
	}
	if a := v.Get("annotation"); s.annotation && !null(a) {
		e.Annotation = new(Annotation)
		if err := d.annotation(a, e.Annotation); err != nil {
			return within(err, "annotation")
		}
	}
	e.Usage, err = d.usage(v.Get("usage"))
	return err
}

const (
	partMembers = "type text refusal image_url detail file_data file_url file_id filename annotations logprobs"
	itemMembers = "type id status role phase content call_id name arguments output summary encrypted_content"
)

// eventItem reads the item of an event, with Raw only where it must be.
func (d *decoder) eventItem(v *fastjson.Value) (*Item, error) {
	if v.Type() != fastjson.TypeObject {
		return nil, wrongType(v, "item", "an object")
	}
	it := new(Item)
	var err error
	if it.Raw, err = d.rawIfUnknown(v, itemMembers); err != nil {
		return nil, err
	}
	if err := d.itemFields(v, it); err != nil {
		return nil, within(err, "item")
	}
	return it, nil
}

// rawIfUnknown gives v's JSON when it has members without a field. The parser
// takes some things for JSON that are not, so what is kept raw is checked.
func (d *decoder) rawIfUnknown(v *fastjson.Value, known string) (json.RawMessage, error) {
	if !unknownMembers(v, known) {
		return nil, nil
	}
	return check(d.raw(v))
}

func (d *decoder) terminal(v *fastjson.Value, e *Event) (err error) {
	if null(v) {
		return fmt.Errorf("response is missing")
	}
	t := new(Terminal)
	e.Terminal = t
	if er := v.Get("error"); !null(er) {
		t.Error = new(apierror.Error)
		if err := t.Error.UnmarshalJSON(er.MarshalTo(nil)); err != nil {
			return fmt.Errorf("error: %w", err)
		}
	}
	if t.Status, err = d.str(v.Get("status"), "status"); err != nil {
		return err
	}
	if t.Reason, err = d.str(v.Get("incomplete_details", "reason"), "incomplete_details.reason"); err != nil {
		return err
	}
	if t.Model, err = d.str(v.Get("model"), "model"); err != nil {
		return err
	}
	if t.Tier, err = d.str(v.Get("service_tier"), "service_tier"); err != nil {
		return err
	}
	e.Usage, err = d.usage(v.Get("usage"))
	return err
}

// usage reads the wire's usage object into disjoint counts.
func (d *decoder) usage(v *fastjson.Value) (*Usage, error) {
	if null(v) {
		return nil, nil
	}
	if v.Type() != fastjson.TypeObject {
		return nil, wrongType(v, "usage", "an object")
	}
	u := Usage{
		CacheRead:    v.GetInt64("input_tokens_details", "cached_tokens"),
		CacheWrite:   v.GetInt64("input_tokens_details", "cache_write_tokens"),
		CacheWrite1h: v.GetInt64("input_tokens_details", "cache_write_1h_tokens"),
		Reasoning:    v.GetInt64("output_tokens_details", "reasoning_tokens"),
		Estimated:    v.GetBool("estimated"),
	}
	u.Input = max(0, v.GetInt64("input_tokens")-u.CacheRead-u.CacheWrite-u.CacheWrite1h)
	u.Output = max(0, v.GetInt64("output_tokens")-u.Reasoning)
	return &u, nil
}
