package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

var (
	_ provider.Front       = translator{}
	_ provider.Dialogue    = (*responsesTalk)(nil)
	_ provider.Dialogue    = (*chatTalk)(nil)
	_ provider.Dialogue    = (*embedTalk)(nil)
	_ provider.EmbedWriter = (*embedTalk)(nil)
)

// Accept reads what a client of OpenAI's APIs asks. Which API it is the path
// says; for Cursor the body does.
func (translator) Accept(_ context.Context, q provider.ClientRequest) (provider.Dialogue, error) {
	r := &reader{box: newToolbox()}
	var d provider.Dialogue
	err := r.parse(q.Body, func(v *fastjson.Value) {
		switch {
		case q.Route == routeEmbeddings:
			d = r.embedTalk(v)
		case q.Route == routeResponses:
			d = r.responsesTalk(v)
		case q.Route == routeChat && q.Surface == surfaceCursor && null(v.Get("messages")) && !null(v.Get("input")):
			d = r.cursorTalk(v)
		case q.Route == routeChat:
			d = r.chatTalk(v)
		default:
			r.fail(apierror.Unsupported, nil, "The openai front has no path %q.", q.Route)
		}
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// head is what every reply says of itself, the same in all its parts.
type head struct {
	asked   provider.Asked
	box     toolbox
	id      string // 32 hex digits, of the reply
	created int64
}

func (r *reader) head(q *or.Request) head {
	q.Tools = r.box.tools
	if c := q.ToolChoice; c != nil && c.Mode == "required" && len(q.Tools) == 0 {
		r.unsupported(member("tool_choice"), "tool_choice demands a call, and the request has no tool that the model that answers here can call: tools of a vendor's own, such as web search, run on its servers only. Declare a function, or leave tool_choice out.")
	}
	h := head{box: r.box, id: newID(), created: time.Now().Unix()}
	h.asked = provider.Asked{Op: provider.Generate, Model: q.Model, Stream: q.Stream, Lost: r.lost, Request: q}
	return h
}

// Asked is the request in the inner language.
func (h *head) Asked() provider.Asked { return h.asked }

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// clientRequest reads the members that are the same in both APIs.
func (r *reader) clientRequest(v *fastjson.Value, q *or.Request) {
	q.Model = r.str(v.Get("model"), (*place)(nil).in("model"))
	if b := r.boolean(v.Get("stream"), member("stream")); b != nil {
		q.Stream = *b
	}
	q.ParallelToolCalls = r.boolean(v.Get("parallel_tool_calls"), member("parallel_tool_calls"))
	q.Temperature = r.number(v.Get("temperature"), member("temperature"))
	q.TopP = r.number(v.Get("top_p"), member("top_p"))
	q.PresencePenalty = r.number(v.Get("presence_penalty"), member("presence_penalty"))
	q.FrequencyPenalty = r.number(v.Get("frequency_penalty"), member("frequency_penalty"))
	q.Metadata = r.metadata(v.Get("metadata"), member("metadata"))
	q.ServiceTier = r.word(v.Get("service_tier"), member("service_tier"), "auto", "default", "flex", "priority")
	q.SafetyIdentifier = key64(r.str(v.Get("safety_identifier"), member("safety_identifier")))
	if q.SafetyIdentifier == "" {
		q.SafetyIdentifier = key64(r.str(v.Get("user"), member("user")))
	}
	q.PromptCacheKey = key64(r.str(v.Get("prompt_cache_key"), member("prompt_cache_key")))
}

func member(name string) *place { return &place{name: name} }

// rest names the members that known does not list as lost.
func (r *reader) rest(v *fastjson.Value, known map[string]bool) {
	v.GetObject().Visit(func(k []byte, v *fastjson.Value) {
		if !known[string(k)] && !null(v) {
			name := string(k)
			r.lose(member(name[:min(len(name), maxKey)]))
		}
	})
}

// set makes a set of words.
func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
