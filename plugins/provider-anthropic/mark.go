package main

import (
	"bytes"
	"encoding/json"

	"github.com/valyala/fastjson"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// A cache mark asks Anthropic to keep what stands before and at it. It travels
// through the inner language as a member `cache_control` that the Raw of parts,
// items and tools carries and nobody else reads.
const markName = "cache_control"

// mark is a cache mark.
type mark struct {
	Type string `json:"type"`          // ephemeral
	TTL  string `json:"ttl,omitempty"` // 1h; "" is 5 minutes
}

// markOf reads the mark of a block; nil when it has none.
func markOf(v *fastjson.Value) *mark {
	c := v.Get(markName)
	if c == nil || string(c.GetStringBytes("type")) != "ephemeral" {
		return nil
	}
	m := &mark{Type: "ephemeral"}
	if string(c.GetStringBytes("ttl")) == "1h" {
		m.TTL = "1h"
	}
	return m
}

// markIn reads the mark in the JSON that a part, item or tool keeps.
func markIn(raw json.RawMessage) *mark {
	if !bytes.Contains(raw, []byte(`"`+markName+`"`)) {
		return nil
	}
	v, err := fastjson.ParseBytes(raw)
	if err != nil || v.Type() != fastjson.TypeObject {
		return nil
	}
	return markOf(v)
}

// markPart, markItem and markTool make m travel with what it stands on.
func markPart(p *or.Part, m *mark) {
	if m != nil {
		p.Raw = marked(p.AppendJSON(nil), m)
	}
}

func markItem(it *or.Item, m *mark) {
	if m != nil {
		it.Raw = marked(it.AppendJSON(nil), m)
	}
}

func markTool(t *or.Tool, m *mark) {
	if m != nil {
		t.Raw = marked(t.AppendJSON(nil), m)
	}
}

// marked adds the mark to an object that is not empty.
func marked(object []byte, m *mark) json.RawMessage {
	b, _ := json.Marshal(m) // strings cannot fail
	object = append(object[:len(object)-1], `,"`+markName+`":`...)
	return append(append(object, b...), '}')
}
