package main

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

var (
	_ provider.Front       = translator{}
	_ provider.CountWriter = (*session)(nil)
)

// reader walks a client's request. It takes the members' names in camelCase
// and in snake_case, as the API does, and notes what has no place.
type reader struct {
	request *or.Request
	names   *dialogue.Names // the gateway's names of functions, which may not hold dots or colons
	lost    dialogue.Lost
	ids     map[string]bool // call ids given out
	open    []openCall      // calls of the model's turn before that have no response yet
}

// pooledParsing is the largest body, in bytes, whose parser is kept.
const pooledParsing = 1 << 20

// parsers keep their memory between requests.
var parsers fastjson.ParserPool

// Accept reads a client's request.
func (translator) Accept(_ context.Context, c provider.ClientRequest) (provider.Dialogue, error) {
	text := dialogue.Mended(c.Body)
	p := parsers.Get()
	if len(text) <= pooledParsing {
		defer parsers.Put(p)
	}
	err := fastjson.ValidateBytes(text) // which is stricter than to parse
	var body *fastjson.Value
	if err == nil {
		body, err = p.ParseBytes(text)
	}
	if err != nil {
		return nil, apierror.New(apierror.Invalid, "The body is not valid JSON: %v.", err)
	}
	op := provider.Generate
	if strings.HasSuffix(c.Route, ":countTokens") {
		op = provider.CountTokens
	}
	r := &reader{
		request: &or.Request{Model: c.Model},
		names:   &dialogue.Names{Max: 64, Fits: func(b byte, _ bool) bool { return dialogue.Word(b) }},
		ids:     map[string]bool{},
	}
	if err := r.body(root(body), op == provider.CountTokens); err != nil {
		return nil, err
	}
	q, _ := url.ParseQuery(c.Query)
	sse := c.Stream && q.Get("alt") == "sse"
	r.request.Stream = sse
	return &session{
		asked: provider.Asked{Op: op, Model: c.Model, Stream: sse, Lost: r.lost, Request: r.request},
		names: r.names,
		list:  c.Stream && !sse,
		id:    rand.Text(),
	}, nil
}

// body reads the members of generateContent, or of countTokens, which may hold
// a whole request of generateContent.
func (r *reader) body(body place, count bool) error {
	var contents, config, calling, tools *place
	err := each(body, func(p place) error {
		switch p.name {
		case "model": // the path says it
		case "contents":
			contents = &p
		case "systemInstruction":
			return r.system(p)
		case "tools":
			tools = &p
		case "toolConfig":
			calling = &p
		case "generationConfig":
			config = &p
		case "generateContentRequest":
			if !count {
				return p.unknown()
			}
			return r.body(p, false)
		case "cachedContent":
			return apierror.At(apierror.Unsupported, p.at, "%s names a part of the conversation that is kept at Google, where this model's provider cannot read it. Send the contents in full, without %s.", p.at, p.at)
		default: // safetySettings, labels and what is to come
			r.lost.Add("%s", p.at)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// In an order that does not depend on the client's: a choice names tools.
	if tools != nil {
		if err := r.tools(*tools); err != nil {
			return err
		}
	}
	if calling != nil {
		if err := r.calling(*calling); err != nil {
			return err
		}
	}
	if config != nil {
		if err := r.config(*config); err != nil {
			return err
		}
	}
	if contents != nil {
		return r.contents(*contents)
	}
	if len(r.request.Input) == 0 && !count {
		return apierror.At(apierror.Invalid, "contents", "contents is missing. Put at least one content with a text into it.")
	}
	return nil
}

// session is one client's request under way.
type session struct {
	asked provider.Asked
	names *dialogue.Names
	list  bool   // a stream that is not one of events: a JSON array
	id    string // of the response
}

func (c *session) Asked() provider.Asked { return c.asked }
