package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/valyala/fastjson"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// responses decodes the Responses API. What came in deltas is not told again
// when its item is done; a server that sends no deltas is told from the item.
type responses struct {
	*decoder
	told  map[string]bool // call key or item index → its text came in deltas
	named map[string]bool // call keys that were opened
	open  int             // calls that are open: an item done among their deltas closes nothing
	ended bool
	calls []*responsesOpen
	last  *responsesOpen // the call that nothing was told after; nil when there is none
}

// responsesOpen is a call that was not told to be whole.
type responsesOpen struct {
	key   string
	named bool
	args  []byte
}

var _ dialect = (*responses)(nil)

func (r *responses) event(v *fastjson.Value) bool {
	says, typ := v.GetStringBytes("delta"), v.GetStringBytes("type")
	if len(says) > 0 && string(typ) != "response.function_call_arguments.delta" {
		r.last = nil
	}
	switch string(typ) {
	case "response.output_text.delta":
		return r.tell(v) && r.out.Text(string(says))
	case "response.refusal.delta":
		return r.tell(v) && r.out.Refusal(string(says))
	case "response.reasoning_text.delta", "response.reasoning.delta":
		return r.tell(v) && r.out.Reasoning(string(says))
	case "response.reasoning_summary_part.added":
		return v.GetInt("summary_index") == 0 || r.out.ClosePart()
	case "response.reasoning_summary_text.delta":
		return r.tell(v) && r.out.Summary(string(says))
	case "response.function_call_arguments.delta":
		open := r.opened(key(v))
		return r.note(&open.args, says) && r.tell(v) && r.out.Arguments(open.key, string(says))
	case "response.output_text.annotation.added":
		r.last = nil
		return r.annotation(v.Get("annotation"))
	case "response.output_item.added":
		return r.added(v.Get("item"), key(v))
	case "response.output_item.done":
		return r.item(v.Get("item"), key(v))
	case "response.completed", "response.incomplete", "response.failed":
		r.ended = true
		r.end(v.Get("response"), string(typ)[len("response."):])
		return false
	case "error": // the flat shape
		r.ended = true
		r.fail(said(v, 0, r.header))
		return false
	}
	return true // what we do not know, we do not need
}

func (r *responses) done() bool { return r.ended }

// key names an item within the reply.
func key(v *fastjson.Value) string { return strconv.Itoa(v.GetInt("output_index")) }

// tell notes that the text of an item comes in deltas.
func (r *responses) tell(v *fastjson.Value) bool {
	k := key(v)
	if !r.told[k] {
		if r.told == nil {
			r.told = make(map[string]bool)
		}
		r.told[k] = true
	}
	return true
}

func (r *responses) added(it *fastjson.Value, key string) bool {
	switch text(it, "type") {
	case or.TypeFunctionCall:
		return r.call(it, key)
	case or.TypeMessage:
		if text(it, "phase") != "" {
			r.last = nil
		}
		return r.out.Phase(text(it, "phase"))
	}
	return true
}

func (r *responses) call(it *fastjson.Value, key string) bool {
	if r.named[key] {
		return true
	}
	if r.named == nil {
		r.named = make(map[string]bool)
	}
	r.named[key] = true
	r.opened(key).named = true
	r.open++
	return r.out.Call(key, r.callID(text(it, "call_id"), len(r.named)), r.x.names.Back(text(it, "name")))
}

// opened is the call with that key, which begins now if there is none.
func (r *responses) opened(key string) *responsesOpen {
	for _, c := range r.calls {
		if c.key == key {
			return c
		}
	}
	c := &responsesOpen{key: key}
	r.calls, r.last = append(r.calls, c), c
	return c
}

// closeCall ends a call that its item says is whole. Where its arguments are
// not JSON, and it may still turn out to be cut, that waits for the end.
func (r *responses) closeCall(key string) bool {
	c := r.opened(key)
	if c == r.last && len(bytes.TrimSpace(c.args)) > 0 && !json.Valid(c.args) {
		return true
	}
	if !r.complete(key, c.args, c.named, c == r.last) {
		return false
	}
	r.calls = slices.DeleteFunc(r.calls, func(o *responsesOpen) bool { return o == c })
	r.open--
	return r.out.CloseCall(key)
}

// item takes an item that is whole.
func (r *responses) item(it *fastjson.Value, key string) bool {
	whole := !r.told[key]
	if whole && lacks(it) {
		r.garbage(errLacks)
		return false
	}
	switch text(it, "type") {
	case or.TypeFunctionCall:
		if !r.call(it, key) {
			return false
		}
		if args := it.GetStringBytes("arguments"); whole {
			if !r.note(&r.opened(key).args, args) || !tell(args, func(s string) bool { return r.out.Arguments(key, s) }) {
				return false
			}
		}
		if text(it, "status") == or.StatusIncomplete {
			return true
		}
		return r.closeCall(key)
	case or.TypeMessage:
		if whole {
			r.last = nil
		}
		if r.open == 0 && !r.out.Phase(text(it, "phase")) || whole && !r.message(it) {
			return false
		}
		return r.open > 0 || text(it, "status") == or.StatusIncomplete || r.out.CloseItem()
	case or.TypeReasoning:
		if whole || text(it, "encrypted_content") != "" {
			r.last = nil
		}
		if whole && !r.reasoning(it) {
			return false
		}
		if enc := text(it, "encrypted_content"); enc != "" {
			data, err := json.Marshal(state{ID: text(it, "id"), EncryptedContent: enc})
			if err != nil || !r.out.ReasoningState(or.OpaqueState{Provider: r.x.account, Family: family, Data: data}) {
				return false
			}
		} else if whole && len(it.GetArray("summary")) == 0 && len(it.GetArray("content")) == 0 {
			return true // an empty item, which opened nothing
		}
		return r.open > 0 || r.out.CloseItem()
	}
	return true
}

var errLacks = errors.New("deltas of one item, and then the whole of another")

// lacks reports whether a text of the item was left out by the elider.
func lacks(it *fastjson.Value) bool {
	mark := []byte(elided)
	if bytes.HasSuffix(it.GetStringBytes("arguments"), mark) {
		return true
	}
	cut := func(p *fastjson.Value) bool {
		return bytes.HasSuffix(p.GetStringBytes("text"), mark) || bytes.HasSuffix(p.GetStringBytes("refusal"), mark)
	}
	return slices.ContainsFunc(it.GetArray("content"), cut) || slices.ContainsFunc(it.GetArray("summary"), cut)
}

func (r *responses) message(it *fastjson.Value) bool {
	for _, p := range it.GetArray("content") {
		if !tell(p.GetStringBytes("text"), r.out.Text) || !r.out.Refusal(text(p, "refusal")) {
			return false
		}
		for _, a := range p.GetArray("annotations") {
			if !r.annotation(a) {
				return false
			}
		}
		if !r.out.ClosePart() {
			return false
		}
	}
	return true
}

func (r *responses) reasoning(it *fastjson.Value) bool {
	for _, p := range it.GetArray("summary") {
		if !r.out.Summary(text(p, "text")) || !r.out.ClosePart() {
			return false
		}
	}
	for _, p := range it.GetArray("content") {
		if !tell(p.GetStringBytes("text"), r.out.Reasoning) || !r.out.ClosePart() {
			return false
		}
	}
	return true
}

func (r *responses) whole(v *fastjson.Value) {
	status := text(v, "status")
	if status == "" || v.Get("output") == nil {
		r.garbage(nil)
		return
	}
	for i, it := range v.GetArray("output") {
		if !r.item(it, strconv.Itoa(i)) {
			return
		}
	}
	r.end(v, status)
}

// end takes the final response object.
func (r *responses) end(v *fastjson.Value, status string) {
	r.meta(v)
	if u := v.Get("usage"); u != nil && u.Type() == fastjson.TypeObject {
		r.usage(count(u.GetInt64("input_tokens"), u.GetInt64("input_tokens_details", "cached_tokens"),
			u.GetInt64("output_tokens"), u.GetInt64("output_tokens_details", "reasoning_tokens")))
	}
	for _, c := range r.calls {
		if status == or.StatusCompleted || status == or.StatusIncomplete && c != r.last {
			if !r.complete(c.key, c.args, c.named, c == r.last) {
				return
			}
		}
	}
	switch status {
	case or.StatusCompleted:
		r.finish("")
	case or.StatusIncomplete:
		reason := text(v, "incomplete_details", "reason")
		if reason != "content_filter" {
			reason = "max_output_tokens"
		}
		r.finish(reason)
	case or.StatusFailed:
		r.fail(said(v.Get("error"), 0, r.header))
	default:
		r.upstreamFailed(nil, "The provider ended the turn with status "+strconv.Quote(clip(status))+". Try again.")
	}
}

// clip keeps what a provider sent short.
func clip(s string) string { return s[:min(len(s), 40)] }
