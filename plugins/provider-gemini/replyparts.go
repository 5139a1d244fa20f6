package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// part handles one part of an answer: a thought, text, or a call. Other kinds,
// which we never ask for, say nothing to us.
func (d *decoder) part(p *fastjson.Value) bool {
	if !d.sign() {
		return false
	}
	signature := string(p.GetStringBytes("thoughtSignature"))
	if call := p.Get("functionCall"); call != nil && call.Type() == fastjson.TypeObject {
		return d.call(call, signature)
	}
	text := p.GetStringBytes("text")
	if p.GetBool("thought") {
		d.text = d.text[:0]
		if !d.out.Summary(string(text)) {
			return false
		}
		return signature == "" || len(text) == 0 || d.state(mark{Signature: signature, Thought: string(text)})
	}
	if len(text) > 0 {
		d.said = true
		d.text = append(d.text, text...)
		if !d.out.Text(string(text)) {
			return false
		}
	}
	d.signature = signature
	return true
}

// sign tells the signature of the text before, after all that belongs to that
// text: it is known to be whole only when something else comes.
func (d *decoder) sign() bool {
	s := d.signature
	d.signature = ""
	return s == "" || len(d.text) == 0 || d.state(mark{Signature: s})
}

// state tells a mark, in a reasoning item of its own or the one that is open.
func (d *decoder) state(m mark) bool {
	data, _ := json.Marshal(m) // strings cannot fail
	d.text = d.text[:0]
	return d.out.ReasoningState(or.OpaqueState{Provider: d.x.account, Family: dialect, Data: data}) && d.out.CloseItem()
}

// call tells a call, which comes in one piece, and before it its signature.
func (d *decoder) call(c *fastjson.Value, signature string) bool {
	d.calls++
	d.said = true
	d.text = d.text[:0]
	key := strconv.Itoa(d.calls)
	id := callID(string(c.GetStringBytes("id")))
	if id == "" || d.used[id] {
		id = "call_" + d.x.seed.Digest(24, key)
	}
	d.used[id] = true
	if signature != "" && !d.state(mark{Signature: signature, Call: id}) {
		return false
	}
	arguments := "{}"
	if args := c.Get("args"); args != nil && args.Type() != fastjson.TypeNull {
		arguments = string(args.MarshalTo(nil)) // not read before, so it is as the model wrote it
		// A call comes whole whatever the finishReason: there is no half of one to
		// tell. The parser takes numbers that are none, so it is asked again.
		if args.Type() != fastjson.TypeObject || !json.Valid([]byte(arguments)) {
			return d.out.Fail(d.failed(nil, "The provider sent a function call whose arguments are not a JSON object. Try again."))
		}
	}
	return d.out.Call(key, id, d.x.names.Back(string(c.GetStringBytes("name")))) && d.out.Arguments(key, arguments) && d.out.CloseCall(key)
}

// cite notes the citations of a candidate. Gemini counts bytes, we count
// letters; where its offsets do not fit the text, the text it quotes decides.
func (d *decoder) cite(c *fastjson.Value) {
	g := c.Get("groundingMetadata")
	chunks := g.GetArray("groundingChunks")
	for _, s := range g.GetArray("groundingSupports") {
		from, to, ok := d.span(s.Get("segment"))
		for _, n := range s.GetArray("groundingChunkIndices") {
			i, err := n.Int()
			if !ok || err != nil || i < 0 || i >= len(chunks) {
				continue
			}
			d.note(string(chunks[i].GetStringBytes("web", "uri")), string(chunks[i].GetStringBytes("web", "title")), from, to)
		}
	}
	for _, s := range c.GetArray("citationMetadata", "citationSources") {
		if from, to, ok := d.span(s); ok {
			d.note(string(s.GetStringBytes("uri")), string(s.GetStringBytes("title")), from, to)
		}
	}
}

func (d *decoder) note(url, title string, from, to int) {
	if url != "" {
		d.cites = append(d.cites, or.Annotation{Type: "url_citation", URL: url, Title: title, StartIndex: from, EndIndex: to})
	}
}

// span is the place of a segment in letters.
func (d *decoder) span(s *fastjson.Value) (from, to int, ok bool) {
	a, b, quote := s.GetInt("startIndex"), s.GetInt("endIndex"), s.GetStringBytes("text")
	fits := 0 <= a && a < b && b <= len(d.text)
	if len(quote) > 0 && (!fits || !bytes.Equal(d.text[a:b], quote)) {
		a = bytes.Index(d.text, quote)
		b = a + len(quote)
		fits = a >= 0
	}
	if !fits {
		return 0, 0, false
	}
	from = utf8.RuneCount(d.text[:a])
	return from, from + utf8.RuneCount(d.text[a:b]), true
}
