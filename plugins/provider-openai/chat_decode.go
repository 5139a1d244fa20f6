package main

import (
	"strconv"

	"github.com/valyala/fastjson"
)

// chat decodes chat/completions, as OpenAI and as the many servers speak it
// that mean to: chunks may lack usage, role, choices, indexes and ids.
type chat struct {
	*decoder
	calls  []chatOpen
	last   string // key of the call that nothing was told after; empty when there is none
	reason string // finish_reason; empty while the turn goes on
}

// chatOpen is a call that deltas may still add to.
type chatOpen struct {
	key   string
	index int // as the server counts
	id    string
	named bool
	args  []byte
	begun bool // told of
}

var _ dialect = (*chat)(nil)

func (c *chat) event(v *fastjson.Value) bool {
	c.meta(v)
	c.readUsage(v)
	for _, choice := range v.GetArray("choices") {
		if choice.GetInt("index") != 0 {
			continue
		}
		delta := choice.Get("delta")
		if delta == nil {
			delta = choice.Get("message")
		}
		if !c.delta(delta) {
			return false
		}
		if f := text(choice, "finish_reason"); f != "" {
			c.reason = f
		}
	}
	return true
}

func (c *chat) done() bool {
	if c.reason == "" {
		return false
	}
	c.end()
	return true
}

func (c *chat) whole(v *fastjson.Value) {
	if len(v.GetArray("choices")) == 0 {
		c.garbage(nil)
		return
	}
	if c.event(v) {
		c.end()
	}
}

func (c *chat) end() {
	reason := ""
	switch c.reason {
	case "length", "max_tokens":
		reason = "max_output_tokens"
	case "content_filter":
		reason = "content_filter"
	}
	for i := range c.calls {
		open := &c.calls[i]
		if !open.begun || reason != "" && open.key == c.last {
			continue // the last item of a turn that was cut is incomplete
		}
		if !c.complete(open.key, open.args, open.named, open.key == c.last) {
			return
		}
	}
	c.finish(reason)
}

func (c *chat) delta(v *fastjson.Value) bool {
	if v == nil {
		return true
	}
	if says(v) {
		c.last = ""
	}
	for _, name := range []string{"reasoning_content", "reasoning"} {
		if s := v.GetStringBytes(name); len(s) > 0 {
			if !tell(s, c.out.Reasoning) {
				return false
			}
			break
		}
	}
	if !c.content(v.Get("content")) || !c.out.Refusal(text(v, "refusal")) {
		return false
	}
	for _, a := range v.GetArray("annotations") {
		if !c.annotation(a) {
			return false
		}
	}
	for _, call := range v.GetArray("tool_calls") {
		if !c.call(call) {
			return false
		}
	}
	return true
}

// says reports whether a delta says anything beside calls.
func says(v *fastjson.Value) bool {
	return len(v.GetStringBytes("reasoning_content")) > 0 || len(v.GetStringBytes("reasoning")) > 0 ||
		len(v.GetStringBytes("content")) > 0 || len(v.GetArray("content")) > 0 ||
		len(v.GetStringBytes("refusal")) > 0 || len(v.GetArray("annotations")) > 0
}

// content is a string, or parts with some servers.
func (c *chat) content(v *fastjson.Value) bool {
	if v == nil {
		return true
	}
	if v.Type() == fastjson.TypeString {
		return tell(v.GetStringBytes(), c.out.Text)
	}
	for _, p := range v.GetArray() {
		if !tell(p.GetStringBytes("text"), c.out.Text) {
			return false
		}
	}
	return true
}

// call takes a piece of a tool call. The server's index says which one it is;
// where that is missing or used again, a new id does.
func (c *chat) call(v *fastjson.Value) bool {
	id, name := text(v, "id"), text(v, "function", "name")
	at := c.find(v, id, name)
	open := &c.calls[at]
	if id != "" {
		open.id = id
	}
	if !open.named && name != "" {
		open.named = true
		c.begin(open)
		if !c.out.Call(open.key, c.callID(open.id, at), c.x.names.Back(name)) {
			return false
		}
	}
	args := v.Get("function", "arguments")
	if args == nil || args.Type() == fastjson.TypeNull {
		return true
	}
	c.begin(open)
	if args.Type() != fastjson.TypeString { // an object where a string should be
		s := args.MarshalTo(nil)
		return c.note(&open.args, s) && c.out.Arguments(open.key, string(s))
	}
	return c.note(&open.args, args.GetStringBytes()) && tell(args.GetStringBytes(), func(s string) bool { return c.out.Arguments(open.key, s) })
}

// begin notes that a call is told of, after all that was told before.
func (c *chat) begin(open *chatOpen) {
	if !open.begun {
		open.begun, c.last = true, open.key
	}
}

func (c *chat) find(v *fastjson.Value, id, name string) int {
	index := len(c.calls)
	if i := v.Get("index"); i != nil && i.Type() == fastjson.TypeNumber {
		index = i.GetInt()
	} else if n := len(c.calls); n > 0 && (id == "" || id == c.calls[n-1].id) && (name == "" || id != "") {
		index = c.calls[n-1].index // goes on with the last
	}
	for at := len(c.calls) - 1; at >= 0; at-- {
		open := &c.calls[at]
		if open.index != index {
			continue
		}
		if id != "" && open.id != "" && id != open.id && name != "" {
			break // the same index, another call
		}
		return at
	}
	c.calls = append(c.calls, chatOpen{key: strconv.Itoa(len(c.calls)), index: index})
	return len(c.calls) - 1
}

// readUsage reads the counts, which may come with any chunk, or in a last one
// without choices.
func (c *chat) readUsage(v *fastjson.Value) {
	u := v.Get("usage")
	if u == nil || u.Type() != fastjson.TypeObject {
		u = v.Get("x_groq", "usage")
	}
	if u == nil || u.Type() != fastjson.TypeObject {
		return
	}
	prompt, completion := u.GetInt64("prompt_tokens"), u.GetInt64("completion_tokens")
	cached := max(u.GetInt64("prompt_tokens_details", "cached_tokens"), u.GetInt64("prompt_cache_hit_tokens"))
	reasoning := u.GetInt64("completion_tokens_details", "reasoning_tokens")
	if reasoning > 0 && u.GetInt64("total_tokens") == prompt+completion+reasoning {
		completion += reasoning // a server that counts them apart
	}
	c.usage(count(prompt, cached, completion, reasoning))
}
