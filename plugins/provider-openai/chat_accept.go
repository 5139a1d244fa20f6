package main

import (
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// chatKnown are the members of POST chat/completions that are read here, or
// are about storing and the form of our own stream.
var chatKnown = set("model", "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls",
	"max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "stop", "stop_sequences", "n",
	"reasoning_effort", "reasoning", "verbosity", "text", "response_format", "modalities", "metadata", "service_tier", "safety_identifier", "user",
	"prompt_cache_key", "store", "system", "include")

// chatTalk reads POST chat/completions.
func (r *reader) chatTalk(v *fastjson.Value) *chatTalk {
	q := &or.Request{}
	r.clientRequest(v, q)
	t := &chatTalk{}
	t.counts = r.countsUsage(v)
	if n := r.integer(v.Get("n"), member("n"), 0); n != nil && *n > 1 {
		r.unsupported(member("n"), "n is %d; only one choice can be made. Leave n out and ask again for another.", *n)
	}
	for i, m := range r.array(v.Get("modalities"), member("modalities")) {
		if s := r.str(m, member("modalities").at(i)); s != "text" {
			r.unsupported(member("modalities"), "modalities asks for %q; only text can be given. Leave modalities out.", clip(s))
		}
	}
	r.tools(v.Get("tools"), member("tools"))
	q.ToolChoice = r.choice(v.Get("tool_choice"), member("tool_choice"))
	t.legacy = r.legacyFunctions(v, q)
	for _, name := range []string{"max_completion_tokens", "max_tokens", "max_output_tokens"} {
		if n := v.Get(name); q.MaxOutputTokens == nil {
			q.MaxOutputTokens = r.integer(n, member(name), 1)
		}
	}
	q.Stop = append(r.stop(v.Get("stop"), member("stop")), r.stop(v.Get("stop_sequences"), member("stop_sequences"))...)
	r.chatReasoning(v, q)
	if o := v.Get("text"); r.object(o, member("text")) { // Cursor's
		q.Text = &or.TextOptions{Format: r.format(o.Get("format"), member("text").in("format")), Verbosity: r.word(o.Get("verbosity"), member("text").in("verbosity"), "low", "medium", "high")}
	}
	if f := r.format(v.Get("response_format"), member("response_format")); f != nil {
		if q.Text == nil {
			q.Text = &or.TextOptions{}
		}
		q.Text.Format = f
	}
	if w := r.word(v.Get("verbosity"), member("verbosity"), "low", "medium", "high"); w != "" {
		if q.Text == nil {
			q.Text = &or.TextOptions{}
		}
		q.Text.Verbosity = w
	}
	if s := v.Get("system"); !null(s) { // Anthropic's place for it
		if parts := r.parts(s, member("system"), "system"); len(parts) > 0 {
			q.Input = append(q.Input, or.Item{Type: or.TypeMessage, Role: "system", Content: parts})
		}
	}
	if null(v.Get("messages")) {
		r.missing(member("messages"), "send the conversation as a list of messages.")
	}
	r.messages(v.Get("messages"), member("messages"), q)
	r.rest(v, chatKnown)
	t.head = r.head(q)
	return t
}

// cursorTalk reads the body that Cursor's agent sends for models that it takes
// for newer ones of OpenAI: a Responses body on the path of chat/completions.
// The answer it waits for is chat/completions all the same.
func (r *reader) cursorTalk(v *fastjson.Value) *chatTalk {
	t := &chatTalk{}
	t.counts = r.countsUsage(v)
	t.head = r.head(r.responsesRequest(v))
	return t
}

// countsUsage reports whether the client wants the usage in its stream.
func (r *reader) countsUsage(v *fastjson.Value) bool {
	o := v.Get("stream_options")
	if !r.object(o, member("stream_options")) {
		return false
	}
	b := r.boolean(o.Get("include_usage"), member("stream_options").in("include_usage"))
	return b != nil && *b
}

func (r *reader) chatReasoning(v *fastjson.Value, q *or.Request) {
	effort := r.effort(v.Get("reasoning_effort"), member("reasoning_effort"))
	summary := ""
	if o := v.Get("reasoning"); r.object(o, member("reasoning")) {
		if effort == "" {
			effort = r.effort(o.Get("effort"), member("reasoning").in("effort"))
		}
		summary = r.word(o.Get("summary"), member("reasoning").in("summary"), "concise", "detailed", "auto")
	}
	if effort != "" || summary != "" {
		q.Reasoning = &or.Reasoning{Effort: effort, Summary: summary}
	}
}

// legacyFunctions reads how functions were declared before tools were.
func (r *reader) legacyFunctions(v *fastjson.Value, q *or.Request) bool {
	list := r.array(v.Get("functions"), member("functions"))
	for i, f := range list {
		p := member("functions").at(i)
		if !isObj(f) {
			r.invalid(p, "an object", f)
			return false
		}
		r.function(f, p, "", f)
	}
	if c := v.Get("function_call"); !null(c) && q.ToolChoice == nil {
		if isObj(c) {
			name := r.str(c.Get("name"), member("function_call").in("name"))
			as := r.box.called("", name)
			if _, ok := r.box.by[as]; !ok {
				r.fail(apierror.Invalid, member("function_call").in("name"), "function_call.name is %q, which is none of the functions of this request.", clip(name))
			}
			q.ToolChoice = &or.ToolChoice{Mode: "required", Name: as}
		} else {
			q.ToolChoice = r.choice(c, member("function_call"))
		}
	}
	if len(list) == 0 {
		return false
	}
	one := false // there is no place for a second call
	q.ParallelToolCalls = &one
	return true
}

// messages reads the conversation.
func (r *reader) messages(v *fastjson.Value, p *place, q *or.Request) {
	c := conversation{r: r, items: q.Input, open: map[string]string{}}
	for i, m := range r.array(v, p) {
		at := p.at(i)
		if !isObj(m) {
			r.invalid(at, "an object", m)
			return
		}
		c.message(m, at, i)
	}
	q.Input = c.items
}

// conversation gathers the items of chat messages.
type conversation struct {
	r     *reader
	items []or.Item
	open  map[string]string // legacy: name of a function → id of its last call
}

func (c *conversation) message(m *fastjson.Value, p *place, i int) {
	r := c.r
	role := r.str(m.Get("role"), p.in("role"))
	if !null(m.Get("name")) && role != "function" && role != "tool" {
		r.lose(p.in("name"))
	}
	switch role {
	case "system", "developer":
		c.say(role, r.parts(m.Get("content"), p.in("content"), role))
	case "user":
		c.user(m, p)
	case "assistant":
		c.assistant(m, p, i)
	case "tool":
		c.result(r.clientCallID(m.Get("tool_call_id"), p.in("tool_call_id")), m.Get("content"), p.in("content"), false)
	case "function":
		name := r.str(m.Get("name"), p.in("name"))
		id := c.open[name]
		if id == "" {
			r.fail(apierror.Invalid, p.in("name"), "%s is %q, and no message before it calls that function.", p.in("name").String(), clip(name))
			return
		}
		delete(c.open, name)
		c.result(id, m.Get("content"), p.in("content"), false)
	default:
		r.badRole(role, p, "system, developer, user, assistant, tool")
	}
}

func (c *conversation) say(role string, parts []or.Part) {
	if len(parts) > 0 {
		c.items = append(c.items, or.Item{Type: or.TypeMessage, Role: role, Content: parts})
	}
}

func (c *conversation) result(id string, v *fastjson.Value, p *place, failed bool) {
	it := or.Item{Type: or.TypeFunctionCallOutput, CallID: id, Output: c.r.output(v, p)}
	if failed {
		it.Status = or.StatusFailed
	}
	c.items = append(c.items, it)
}

// user reads what the user said, and Anthropic's tool results, which stand in
// the user's message.
func (c *conversation) user(m *fastjson.Value, p *place) {
	r, content := c.r, m.Get("content")
	if !isArr(content) {
		c.say("user", r.parts(content, p.in("content"), "user"))
		return
	}
	var said []or.Part
	for i, b := range content.GetArray() {
		at := p.in("content").at(i)
		if isObj(b) && text(b, "type") == "tool_result" {
			failed := r.boolean(b.Get("is_error"), at.in("is_error"))
			c.result(r.clientCallID(b.Get("tool_use_id"), at.in("tool_use_id")), b.Get("content"), at.in("content"), failed != nil && *failed)
			continue
		}
		if part, ok := r.part(b, at, "user"); ok {
			said = append(said, part)
		}
	}
	c.say("user", said)
}

// assistant reads what the model said and called. Its reasoning_content stays
// behind: who wants it back has it from the core, with its signature.
func (c *conversation) assistant(m *fastjson.Value, p *place, i int) {
	r, content := c.r, m.Get("content")
	var said []or.Part
	var calls []or.Item
	if isArr(content) {
		for k, b := range content.GetArray() {
			at := p.in("content").at(k)
			if isObj(b) && text(b, "type") == "tool_use" {
				calls = append(calls, r.toolUse(b, at))
			} else if part, ok := r.part(b, at, "assistant"); ok {
				said = append(said, part)
			}
		}
	} else {
		said = r.parts(content, p.in("content"), "assistant")
	}
	if s := r.str(m.Get("refusal"), p.in("refusal")); s != "" {
		said = append(said, or.Part{Type: or.PartRefusal, Refusal: s})
	}
	if !null(m.Get("audio")) {
		r.lose(p.in("audio"))
	}
	c.say("assistant", said)
	for k, call := range r.array(m.Get("tool_calls"), p.in("tool_calls")) {
		calls = append(calls, r.toolCall(call, p.in("tool_calls").at(k)))
	}
	if f := m.Get("function_call"); r.object(f, p.in("function_call")) {
		name := r.str(f.Get("name"), p.in("function_call").in("name"))
		id := "call_legacy_" + strconv.Itoa(i)
		c.open[name] = id
		calls = append(calls, or.Item{Type: or.TypeFunctionCall, CallID: id, Name: r.box.called("", name), Arguments: arguments(f.Get("arguments"))})
	}
	c.items = append(c.items, calls...)
}

// toolUse reads Anthropic's block of a call.
func (r *reader) toolUse(v *fastjson.Value, p *place) or.Item {
	args := "{}"
	if in := v.Get("input"); !null(in) {
		args = string(raw(in))
	}
	name := r.str(v.Get("name"), p.in("name"))
	if name == "" {
		r.missing(p.in("name"), "say which tool was called.")
	}
	return or.Item{Type: or.TypeFunctionCall, CallID: r.clientCallID(v.Get("id"), p.in("id")), Name: r.box.called("", name), Arguments: args}
}

// toolCall reads a call of a function or of a custom tool.
func (r *reader) toolCall(v *fastjson.Value, p *place) or.Item {
	it := or.Item{Type: or.TypeFunctionCall}
	if !isObj(v) {
		r.invalid(p, "an object", v)
		return it
	}
	it.CallID = r.clientCallID(v.Get("id"), p.in("id"))
	f, at := v.Get("function"), p.in("function")
	switch c := v.Get("custom"); {
	case isObj(c):
		f, at = c, p.in("custom")
		it.Arguments = customArguments(r.str(c.Get("input"), at.in("input")))
	case !r.object(f, at):
		r.missing(at, "say which function was called.")
		return it
	default:
		it.Arguments = arguments(f.Get("arguments"))
	}
	name := r.str(f.Get("name"), at.in("name"))
	if name == "" {
		r.missing(at.in("name"), "say which tool was called.")
	}
	it.Name = r.box.called("", name)
	return it
}
