package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// maxNesting bounds how deep a client's body goes: what is made of it must be
// readable on every border it crosses.
const maxNesting = 190

// pooledParsing is the largest body, in bytes, whose parser is kept.
const pooledParsing = 1 << 20

// parsers keep their memory between requests.
var parsers fastjson.ParserPool

// Accept reads the body of POST /v1/messages or /v1/messages/count_tokens.
// What the client says and no other provider could be told is noted as lost;
// what would change the answer silently is refused.
func (translator) Accept(_ context.Context, r provider.ClientRequest) (provider.Dialogue, error) {
	if r.Route != messagesRoute && r.Route != countRoute {
		return nil, apierror.New(apierror.Unsupported, "The Messages API has no path %q here. Use /v1/messages or /v1/messages/count_tokens.", r.Route)
	}
	if nesting(r.Body) > maxNesting {
		return nil, apierror.New(apierror.Invalid, "The body is nested deeper than %d levels.", maxNesting)
	}
	p := parsers.Get()
	if len(r.Body) <= pooledParsing {
		defer parsers.Put(p)
	}
	v, err := p.ParseBytes(dialogue.Mended(r.Body)) // the body is the caller's, and may yet go elsewhere as it is
	if err != nil {
		return nil, apierror.Wrap(apierror.Invalid, err, "The body is not JSON that can be read.")
	}
	if v.Type() != fastjson.TypeObject {
		return nil, apierror.New(apierror.Invalid, "The body must be a JSON object.")
	}
	a := accepter{count: r.Route == countRoute, out: new(or.Request)}
	if err := a.request(v); err != nil {
		return nil, err
	}
	if s := r.Header.Get("X-Claude-Code-Session-Id"); a.out.PromptCacheKey == "" && len(s) <= maxKey {
		a.out.PromptCacheKey = s
	}
	a.hint.put(a.out)
	sum := sha256.Sum256(r.Body) // the same request gives the same id, as for all ids here
	d := &answering{
		asked:   provider.Asked{Op: provider.Generate, Model: a.out.Model, Stream: a.out.Stream, Lost: a.lost, Request: a.out},
		id:      string(hex.AppendEncode(append(make([]byte, 0, 32), "msg_"...), sum[:12])),
		guessed: int64(len(r.Body)) / 4,
		stops:   a.out.Stop,
	}
	if a.count {
		d.asked.Op = provider.CountTokens
	}
	return d, nil
}

// accepter reads one request.
type accepter struct {
	count bool // only to be counted: nothing is generated
	out   *or.Request
	hint  hint
	lost  dialogue.Lost
	names []string // of the tools that are carried

	scratch []byte // JSON on its way into a string
}

func (a *accepter) request(v *fastjson.Value) (err error) {
	if a.out.Model, err = textOf(v, "", "model"); err != nil {
		return err
	}
	if a.out.Model == "" {
		return apierror.At(apierror.Invalid, "model", "model: Field required. Say which model is asked.")
	}
	stream, err := boolOf(v, "", "stream")
	if err != nil {
		return err
	}
	a.out.Stream = stream != nil && *stream && !a.count
	for _, read := range []func(*accepter, *fastjson.Value) error{(*accepter).system, (*accepter).messages, (*accepter).tools, (*accepter).toolChoice,
		(*accepter).reasoning, (*accepter).format, (*accepter).limits, (*accepter).identity} {
		if err := read(a, v); err != nil {
			return err
		}
	}
	a.unknown("", v, requestMembers...)
	return nil
}

// requestMembers are the members of a request that are read.
var requestMembers = []string{"model", "max_tokens", "messages", "system", "stream", "metadata", "tools", "tool_choice", "thinking",
	"output_config", "output_format", "temperature", "top_p", "top_k", "stop_sequences", "service_tier", "mcp_servers",
	"cache_control"} // caches by itself, as the translator does

// unknown notes the members of v that known does not list; null says nothing.
func (a *accepter) unknown(at string, v *fastjson.Value, known ...string) {
	o, err := v.Object()
	if err != nil {
		return
	}
	o.Visit(func(key []byte, v *fastjson.Value) {
		if v.Type() != fastjson.TypeNull && !slices.Contains(known, string(key)) {
			a.lost.Add("%s", within(at, strings.ToValidUTF8(string(key), "\uFFFD")))
		}
	})
}

// within is the name of a member of the place at.
func within(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

func element(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

// memberOf returns a member, nil when it is absent or null.
func memberOf(v *fastjson.Value, name string) *fastjson.Value {
	if m := v.Get(name); m != nil && m.Type() != fastjson.TypeNull {
		return m
	}
	return nil
}

func wrong(at, want string) error {
	return apierror.At(apierror.Invalid, at, "%s must be %s.", at, want)
}

func textOf(v *fastjson.Value, at, name string) (string, error) {
	m := memberOf(v, name)
	if m == nil {
		return "", nil
	}
	b, err := m.StringBytes()
	if err != nil {
		return "", wrong(within(at, name), "a string")
	}
	return string(b), nil
}

// wordOf is textOf for a member that mostly has one of a few values.
func wordOf(v *fastjson.Value, at, name string) (string, error) {
	b := v.GetStringBytes(name)
	for _, w := range words {
		if string(b) == w {
			return w, nil
		}
	}
	return textOf(v, at, name)
}

// words are the roles of messages and the types of blocks that come often.
var words = []string{"user", "assistant", "text", "tool_use", "tool_result", "thinking", "image"}

func boolOf(v *fastjson.Value, at, name string) (*bool, error) {
	m := memberOf(v, name)
	if m == nil {
		return nil, nil
	}
	b, err := m.Bool()
	if err != nil {
		return nil, wrong(within(at, name), "true or false")
	}
	return &b, nil
}

func numberOf(v *fastjson.Value, at, name string) (*float64, error) {
	m := memberOf(v, name)
	if m == nil {
		return nil, nil
	}
	f, err := m.Float64()
	if err != nil {
		return nil, wrong(within(at, name), "a number")
	}
	return &f, nil
}

// integerOf reads a whole number of at least low.
func integerOf(v *fastjson.Value, at, name string, low int64) (*int64, error) {
	m := memberOf(v, name)
	if m == nil {
		return nil, nil
	}
	n, err := m.Int64()
	if err != nil || n < low {
		return nil, wrong(within(at, name), fmt.Sprintf("a whole number of at least %d", low))
	}
	return &n, nil
}

func listOf(v *fastjson.Value, at, name string) ([]*fastjson.Value, error) {
	m := memberOf(v, name)
	if m == nil {
		return nil, nil
	}
	all, err := m.Array()
	if err != nil {
		return nil, wrong(within(at, name), "a list")
	}
	return all, nil
}

// objectOf returns a member that must be an object, nil when it is absent.
func objectOf(v *fastjson.Value, at, name string) (*fastjson.Value, error) {
	m := memberOf(v, name)
	if m != nil && m.Type() != fastjson.TypeObject {
		return nil, wrong(within(at, name), "an object")
	}
	return m, nil
}

// nesting is how deep objects and lists stand within each other, as far as
// b is JSON.
func nesting(b []byte) int {
	depth, most := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += textLen(b[i+1:]) + 1
		case '{', '[':
			depth++
			most = max(most, depth)
		case '}', ']':
			depth--
		}
	}
	return most
}

// textLen is how many bytes there are before the quote that ends a text.
func textLen(b []byte) int {
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n
		escapes := 0
		for escapes < n && b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}
