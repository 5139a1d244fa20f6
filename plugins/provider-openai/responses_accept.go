package main

import (
	"github.com/valyala/fastjson"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// responsesKnown are the members of POST responses that are read here, or that
// are about the storing of replies, telemetry and the form of our own stream:
// nothing that a provider would have to be told.
var responsesKnown = set("model", "input", "instructions", "tools", "tool_choice", "stream", "store", "parallel_tool_calls", "max_output_tokens",
	"max_tool_calls", "temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "reasoning", "text", "include", "metadata",
	"truncation", "service_tier", "safety_identifier", "user", "prompt_cache_key", "stream_options", "client_metadata", "background", "stop")

// responsesTalk reads POST responses.
func (r *reader) responsesTalk(v *fastjson.Value) *responsesTalk {
	q := r.responsesRequest(v)
	t := &responsesTalk{head: r.head(q)}
	t.echo = responsesEcho(v, q)
	return t
}

// refusals are members of POST responses that cannot be served, and why.
var refusals = []struct{ name, why string }{
	{"previous_response_id", "previous_response_id points to a reply that the provider would have stored; the gateway stores none. Send the whole conversation in input."},
	{"conversation", "conversation points to one that the provider would have stored; the gateway stores none. Send the whole conversation in input."},
	{"prompt", "prompt points to a template that is stored at OpenAI, where the model that answers here cannot read it. Send its text in instructions and input."},
}

func (r *reader) responsesRequest(v *fastjson.Value) *or.Request {
	q := &or.Request{}
	r.clientRequest(v, q)
	for _, no := range refusals {
		if !null(v.Get(no.name)) {
			r.unsupported(member(no.name), "%s", no.why)
		}
	}
	if b := r.boolean(v.Get("background"), member("background")); b != nil && *b {
		r.unsupported(member("background"), "background is not offered on this path. Leave it out, or set stream to true.")
	}
	q.Instructions = r.instructions(v.Get("instructions"), member("instructions"))
	r.tools(v.Get("tools"), member("tools"))
	q.ToolChoice = r.choice(v.Get("tool_choice"), member("tool_choice"))
	q.MaxOutputTokens = r.integer(v.Get("max_output_tokens"), member("max_output_tokens"), 1)
	q.MaxToolCalls = r.integer(v.Get("max_tool_calls"), member("max_tool_calls"), 1)
	q.TopLogprobs = r.integer(v.Get("top_logprobs"), member("top_logprobs"), 0)
	if q.TopLogprobs != nil && *q.TopLogprobs > 20 {
		r.lose(member("top_logprobs"))
		q.TopLogprobs = nil
	}
	if o := v.Get("reasoning"); r.object(o, member("reasoning")) {
		at := member("reasoning")
		q.Reasoning = &or.Reasoning{Effort: r.effort(o.Get("effort"), at.in("effort"))}
		for _, name := range []string{"summary", "generate_summary"} {
			if s := o.Get(name); q.Reasoning.Summary == "" && !null(s) {
				q.Reasoning.Summary = r.word(s, at.in(name), "concise", "detailed", "auto")
			}
		}
	}
	if o := v.Get("text"); r.object(o, member("text")) {
		at := member("text")
		q.Text = &or.TextOptions{Format: r.format(o.Get("format"), at.in("format")), Verbosity: r.word(o.Get("verbosity"), at.in("verbosity"), "low", "medium", "high")}
	}
	for i, in := range r.array(v.Get("include"), member("include")) {
		if w := r.word(in, member("include").at(i), "reasoning.encrypted_content", "message.output_text.logprobs"); w != "" {
			q.Include = append(q.Include, w)
		}
	}
	q.Truncation = r.word(v.Get("truncation"), member("truncation"), "auto", "disabled")
	q.Stop = r.stop(v.Get("stop"), member("stop"))
	q.Input = r.input(v.Get("input"), member("input"))
	r.rest(v, responsesKnown)
	return q
}

// instructions are a text, or items where an SDK made them of a template.
func (r *reader) instructions(v *fastjson.Value, p *place) string {
	if !isArr(v) {
		return r.str(v, p)
	}
	var all string
	for i, m := range v.GetArray() {
		for _, it := range r.item(m, p.at(i)) {
			for _, part := range it.Content {
				if all != "" && part.Text != "" {
					all += "\n\n"
				}
				all += part.Text
			}
		}
	}
	return all
}

func (r *reader) stop(v *fastjson.Value, p *place) []string {
	if isStr(v) {
		return []string{text(v)}
	}
	var out []string
	for i, s := range r.array(v, p) {
		if w := r.str(s, p.at(i)); w != "" {
			out = append(out, w)
		}
	}
	return out
}

func (r *reader) input(v *fastjson.Value, p *place) []or.Item {
	if isStr(v) {
		return []or.Item{or.Text("user", text(v))}
	}
	var out []or.Item
	for i, it := range r.array(v, p) {
		out = append(out, r.item(it, p.at(i))...)
	}
	return out
}

// item reads one item of the input. Ids stay behind: they mean nothing to
// whoever answers.
func (r *reader) item(v *fastjson.Value, p *place) []or.Item {
	if !isObj(v) {
		r.invalid(p, "an object", v)
		return nil
	}
	typ := r.str(v.Get("type"), p.in("type"))
	if typ == "" && v.Get("role") != nil {
		typ = or.TypeMessage
	}
	switch typ {
	case or.TypeMessage:
		return r.message(v, p)
	case or.TypeFunctionCall:
		name := r.str(v.Get("name"), p.in("name"))
		if name == "" {
			r.missing(p.in("name"), "say which tool was called.")
		}
		return []or.Item{{
			Type: or.TypeFunctionCall, CallID: r.clientCallID(v.Get("call_id"), p.in("call_id")),
			Name: r.box.called(text(v, "namespace"), name), Arguments: arguments(v.Get("arguments")),
		}}
	case "custom_tool_call":
		name := r.str(v.Get("name"), p.in("name"))
		if name == "" {
			r.missing(p.in("name"), "say which tool was called.")
		}
		return []or.Item{{
			Type: or.TypeFunctionCall, CallID: r.clientCallID(v.Get("call_id"), p.in("call_id")),
			Name: r.box.called(text(v, "namespace"), name), Arguments: customArguments(r.str(v.Get("input"), p.in("input"))),
		}}
	case or.TypeFunctionCallOutput, "custom_tool_call_output":
		return []or.Item{{
			Type: or.TypeFunctionCallOutput, CallID: r.clientCallID(v.Get("call_id"), p.in("call_id")), Output: r.output(v.Get("output"), p.in("output")),
		}}
	case "local_shell_call", "local_shell_call_output":
		return r.localShell(v, p, typ)
	case or.TypeReasoning:
		return r.reasoning(v, p)
	case or.TypeCompaction, "compaction_summary":
		return []or.Item{{Type: or.TypeCompaction, EncryptedContent: r.str(v.Get("encrypted_content"), p.in("encrypted_content"))}}
	case or.TypeItemReference:
		r.unsupported(p, "%s points to an item that the provider would have stored; the gateway stores none. Send the item itself.", p.String())
	case "":
		r.missing(p.in("type"), "say what this is.")
	default:
		r.lose(p) // what a vendor's own tool did, and what only a client understands
	}
	return nil
}

// localShell reads the calls of Codex's oldest shell tool.
func (r *reader) localShell(v *fastjson.Value, p *place, typ string) []or.Item {
	id := v.Get("call_id")
	if null(id) {
		id = v.Get("id")
	}
	callID := r.clientCallID(id, p.in("call_id"))
	if typ == "local_shell_call_output" {
		return []or.Item{{Type: or.TypeFunctionCallOutput, CallID: callID, Output: r.output(v.Get("output"), p.in("output"))}}
	}
	args := "{}"
	if a := v.Get("action"); r.object(a, p.in("action")) {
		args = string(raw(a))
	}
	return []or.Item{{Type: or.TypeFunctionCall, CallID: callID, Name: "local_shell", Arguments: args}}
}

func (r *reader) message(v *fastjson.Value, p *place) []or.Item {
	it := or.Item{Type: or.TypeMessage, Role: r.str(v.Get("role"), p.in("role"))}
	switch it.Role {
	case "user", "assistant", "system", "developer":
	default:
		r.badRole(it.Role, p, "user, assistant, system, developer")
		return nil
	}
	if it.Role == "assistant" {
		it.Phase = r.word(v.Get("phase"), p.in("phase"), "commentary", "final_answer")
	}
	it.Content = r.parts(v.Get("content"), p.in("content"), it.Role)
	if len(it.Content) == 0 {
		return nil
	}
	return []or.Item{it}
}

// reasoning keeps what was thought and the state behind it, whoever's it is:
// the translator knows its own.
func (r *reader) reasoning(v *fastjson.Value, p *place) []or.Item {
	it := or.Item{Type: or.TypeReasoning, Summary: []or.Part{}, EncryptedContent: r.str(v.Get("encrypted_content"), p.in("encrypted_content"))}
	for i, s := range r.array(v.Get("summary"), p.in("summary")) {
		it.Summary = append(it.Summary, or.Part{Type: or.PartSummaryText, Text: r.str(get(s, "text"), p.in("summary").at(i).in("text"))})
	}
	for i, s := range r.array(v.Get("content"), p.in("content")) {
		it.Content = append(it.Content, or.Part{Type: or.PartReasoning, Text: r.str(get(s, "text"), p.in("content").at(i).in("text"))})
	}
	if len(it.Summary) == 0 && len(it.Content) == 0 && it.EncryptedContent == "" {
		return nil
	}
	return []or.Item{it}
}

// get is a member of what may be no object.
func get(v *fastjson.Value, name string) *fastjson.Value {
	if !isObj(v) {
		return nil
	}
	return v.Get(name)
}
