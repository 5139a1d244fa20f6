package openresponses

import (
	"slices"

	"github.com/valyala/fastjson"
)

func (o *object) metadata(m map[string]string) {
	if m == nil {
		return
	}
	o.key("metadata")
	in := open(o.b)
	keys := make([]string, 0, maxMetadata)
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		in.other(k)
		in.b = appendString(in.b, m[k])
	}
	o.b = in.close()
}

// MarshalJSON writes what AppendJSON appends.
func (r Request) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// UnmarshalJSON reads under the rules of ParseRequest.
func (r *Request) UnmarshalJSON(b []byte) error {
	got, err := ParseRequest(b)
	if err != nil {
		return err
	}
	*r = *got
	return nil
}

// MarshalJSON writes what AppendJSON appends.
func (it Item) MarshalJSON() ([]byte, error) { return it.AppendJSON(nil), nil }

// UnmarshalJSON reads under the rules of ParseItem.
func (it *Item) UnmarshalJSON(b []byte) error {
	got, err := ParseItem(b)
	if err != nil {
		return err
	}
	*it = got
	return nil
}

// MarshalJSON writes what AppendJSON appends.
func (p Part) MarshalJSON() ([]byte, error) { return p.AppendJSON(nil), nil }

// UnmarshalJSON reads under the rules of ParseItem.
func (p *Part) UnmarshalJSON(b []byte) error {
	return checked(b, func(d *decoder, v *fastjson.Value) error {
		if v.Type() != fastjson.TypeObject {
			return wrongType(v, "part", "an object")
		}
		got := Part{Raw: d.raw(v)}
		if err := d.part(v, &got); err != nil {
			return err
		}
		*p = got
		return nil
	})
}

// MarshalJSON writes what AppendJSON appends.
func (t Tool) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// UnmarshalJSON reads under the rules of ParseRequest.
func (t *Tool) UnmarshalJSON(b []byte) error {
	return checked(b, func(d *decoder, v *fastjson.Value) (err error) {
		got, err := d.tool(v)
		if err == nil {
			*t = got
		}
		return err
	})
}

// MarshalJSON writes what AppendJSON appends.
func (a Annotation) MarshalJSON() ([]byte, error) { return a.AppendJSON(nil), nil }

// UnmarshalJSON reads under the rules of ParseItem.
func (a *Annotation) UnmarshalJSON(b []byte) error {
	return checked(b, func(d *decoder, v *fastjson.Value) error {
		got := Annotation{Raw: d.raw(v)}
		if err := d.annotation(v, &got); err != nil {
			return err
		}
		*a = got
		return nil
	})
}

// MarshalJSON writes what AppendJSON appends.
func (c ToolChoice) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// UnmarshalJSON reads under the rules of ParseRequest; null leaves c alone.
func (c *ToolChoice) UnmarshalJSON(b []byte) error {
	return checked(b, func(d *decoder, v *fastjson.Value) error {
		got, err := d.toolChoice(v, "tool_choice")
		if err == nil && got != nil {
			*c = *got
		}
		return err
	})
}

// MarshalJSON writes what AppendJSON appends.
func (e Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// UnmarshalJSON reads under the rules of ParseEvent.
func (e *Event) UnmarshalJSON(b []byte) error {
	got, err := ParseEvent(b)
	if err == nil {
		*e = got
	}
	return err
}

// MarshalJSON writes what AppendJSON appends.
func (u Usage) MarshalJSON() ([]byte, error) { return u.AppendJSON(nil), nil }

// UnmarshalJSON reads the wire's usage object; null leaves u alone.
func (u *Usage) UnmarshalJSON(b []byte) error {
	return checked(b, func(d *decoder, v *fastjson.Value) error {
		got, err := d.usage(v)
		if err == nil && got != nil {
			*u = *got
		}
		return err
	})
}

func checked(b []byte, read func(*decoder, *fastjson.Value) error) error {
	b, err := check(b)
	if err != nil {
		return err
	}
	return parse(b, func(v *fastjson.Value) error {
		return read(&decoder{client: true, slab: make([]byte, 0, len(b))}, v)
	})
}
