package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// place is where a value stands in the client's body. It is only spelt out
// for a fault or a loss, and never kept: so places cost no memory.
type place struct {
	up   *place
	name string // "" for an element
	i    int
}

func (p *place) in(name string) *place { return &place{up: p, name: name} }
func (p *place) at(i int) *place       { return &place{up: p, i: i} }

// String gives "messages[2].content[0].text".
func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.name == "":
		return p.up.String() + "[" + strconv.Itoa(p.i) + "]"
	case p.up == nil:
		return strings.Clone(p.name) // so that what is returned keeps no place
	}
	return p.up.String() + "." + p.name
}

// reader reads a client's body. The first fault stays: what is read after it
// is zero. Null stands for absence everywhere.
type reader struct {
	err  error
	lost dialogue.Lost
	box  toolbox
}

var parsers fastjson.ParserPool

// pooled is up to how many bytes of body a parser is kept for the next one.
const pooled = 1 << 20

// parse reads body as a JSON object and hands it to read; its values die with
// that call.
func (r *reader) parse(body []byte, read func(v *fastjson.Value)) error {
	p := parsers.Get()
	if len(body) <= pooled {
		defer parsers.Put(p)
	}
	v, err := p.ParseBytes(dialogue.Mended(body))
	switch {
	case err != nil:
		return apierror.Wrap(apierror.Invalid, err, "The body is not JSON that can be read. Send one JSON object.")
	case v.Type() != fastjson.TypeObject:
		return apierror.New(apierror.Invalid, "The body must be a JSON object, not %s.", or.Kind(v))
	}
	read(v)
	return r.err
}

func (r *reader) fail(code apierror.Code, p *place, format string, args ...any) {
	if r.err == nil {
		r.err = apierror.At(code, p.String(), format, args...)
	}
}

func (r *reader) invalid(p *place, want string, v *fastjson.Value) {
	r.fail(apierror.Invalid, p, "%s must be %s, not %s.", p.String(), want, or.Kind(v))
}

// missing says which member is not there, and what it is for.
func (r *reader) missing(p *place, what string) {
	r.fail(apierror.Invalid, p, "%s is missing: %s", p.String(), what)
}

func (r *reader) lose(p *place) { r.lost.Add("%s", p.String()) }

func null(v *fastjson.Value) bool  { return v == nil || v.Type() == fastjson.TypeNull }
func isStr(v *fastjson.Value) bool { return v != nil && v.Type() == fastjson.TypeString }
func isObj(v *fastjson.Value) bool { return v != nil && v.Type() == fastjson.TypeObject }
func isArr(v *fastjson.Value) bool { return v != nil && v.Type() == fastjson.TypeArray }
func (r *reader) str(v *fastjson.Value, p *place) string {
	if null(v) {
		return ""
	}
	if v.Type() != fastjson.TypeString {
		r.invalid(p, "a string", v)
		return ""
	}
	return text(v)
}

// array gives the elements; an object in place of an array is a fault.
func (r *reader) array(v *fastjson.Value, p *place) []*fastjson.Value {
	if null(v) {
		return nil
	}
	if v.Type() != fastjson.TypeArray {
		r.invalid(p, "an array", v)
		return nil
	}
	return v.GetArray()
}

// object reports whether v is an object, and null for none.
func (r *reader) object(v *fastjson.Value, p *place) bool {
	if null(v) {
		return false
	}
	if v.Type() != fastjson.TypeObject {
		r.invalid(p, "an object", v)
		return false
	}
	return true
}

func (r *reader) boolean(v *fastjson.Value, p *place) *bool {
	if null(v) {
		return nil
	}
	b, err := v.Bool()
	if err != nil {
		r.invalid(p, "true or false", v)
		return nil
	}
	return &b
}

func (r *reader) number(v *fastjson.Value, p *place) *float64 {
	if null(v) {
		return nil
	}
	f, err := v.Float64()
	if err != nil {
		r.invalid(p, "a number", v)
		return nil
	}
	return &f
}

// integer reads a whole number of at least low.
func (r *reader) integer(v *fastjson.Value, p *place, low int64) *int64 {
	if null(v) {
		return nil
	}
	n, err := v.Int64()
	switch {
	case err != nil:
		r.invalid(p, "a whole number", v)
		return nil
	case n < low:
		r.fail(apierror.Invalid, p, "%s must be at least %d.", p.String(), low)
		return nil
	}
	return &n
}

// raw copies a value's JSON. Call it before reading anything inside v: the
// parser writes strings that were read with escapes that are not JSON's.
func raw(v *fastjson.Value) json.RawMessage {
	if null(v) {
		return nil
	}
	return v.MarshalTo(nil)
}

// cacheMark keeps a client's mark for a provider's cache with what it stands
// on: the part's or tool's JSON so far, with that one member more.
func cacheMark(v *fastjson.Value, made []byte) json.RawMessage {
	mark := v.Get("cache_control")
	if !isObj(mark) {
		return nil
	}
	b := append(bytes.TrimSuffix(made, []byte("}")), `,"cache_control":`...)
	return append(mark.MarshalTo(b), '}')
}

// maxKey is how long the inner language lets ids and keys be.
const maxKey = 64

// key64 makes a client's id or key fit. The same one always becomes the same.
func key64(s string) string {
	if len(s) <= maxKey {
		return s
	}
	return s[:maxKey-25] + "_" + dialogue.Digest(24, s)
}

// clientCallID makes a client's id of a call fit.
func (r *reader) clientCallID(v *fastjson.Value, p *place) string {
	id := r.str(v, p)
	if id == "" {
		r.missing(p, "it ties a tool's result to its call.")
	}
	if len(id) > maxKey {
		return "call_" + dialogue.Digest(24, id)
	}
	return id
}

// word takes one of words and loses any other.
func (r *reader) word(v *fastjson.Value, p *place, words ...string) string {
	s := r.str(v, p)
	for _, w := range words {
		if s == w {
			return s
		}
	}
	if s != "" {
		r.lose(p)
	}
	return ""
}

// metadata takes up to 16 strings, as the inner language does; more or other
// values are lost.
func (r *reader) metadata(v *fastjson.Value, p *place) map[string]string {
	if !r.object(v, p) {
		return nil
	}
	m, fits := map[string]string{}, true
	v.GetObject().Visit(func(k []byte, v *fastjson.Value) {
		if isStr(v) && len(k) <= 64 && len(v.GetStringBytes()) <= 512 && len(m) < 16 {
			m[string(k)] = text(v)
		} else {
			fits = false
		}
	})
	if !fits {
		r.lose(p)
	}
	return m
}

// effort takes the words of any vendor for how hard to think.
func (r *reader) effort(v *fastjson.Value, p *place) string {
	switch s := r.str(v, p); s {
	case "", "none", "minimal", "low", "medium", "high", "xhigh":
		return s
	case "max", "maximum", "ultra":
		return "xhigh"
	case "off", "disabled":
		return "none"
	default:
		r.fail(apierror.Invalid, p, "%s is %q; it must be one of none, minimal, low, medium, high, xhigh.", p.String(), clip(s))
		return ""
	}
}

// format reads a text format. In Responses its members stand side by side, in
// chat/completions below json_schema; either is taken in either place.
func (r *reader) format(v *fastjson.Value, p *place) json.RawMessage {
	if !r.object(v, p) {
		return nil
	}
	switch typ := r.str(v.Get("type"), p.in("type")); typ {
	case "text", "":
		return nil
	case "json_object":
		return json.RawMessage(`{"type":"json_object"}`)
	case "json_schema":
		if inner := v.Get("json_schema"); isObj(inner) {
			v, p = inner, p.in("json_schema")
		}
		return r.schemaFormat(v, p)
	case "grammar", "python":
		r.lose(p)
		return nil
	default:
		r.fail(apierror.Invalid, p.in("type"), "%s is %q; it must be one of text, json_object, json_schema.", p.in("type").String(), clip(typ))
		return nil
	}
}

func (r *reader) schemaFormat(v *fastjson.Value, p *place) json.RawMessage {
	f := format{Type: "json_schema"}
	if s := v.Get("schema"); r.object(s, p.in("schema")) {
		f.Schema = raw(s)
	}
	f.Name = r.box.names.Out(r.str(v.Get("name"), p.in("name")))
	if text(v, "name") == "" {
		f.Name = "output"
	}
	f.Description = r.str(v.Get("description"), p.in("description"))
	f.Strict = r.boolean(v.Get("strict"), p.in("strict"))
	b, err := marshal(f)
	if err != nil {
		r.fail(apierror.Invalid, p.in("schema"), "%s cannot be read.", p.in("schema").String())
	}
	return b
}

// arguments are those of a call in the history. Some clients write nothing for
// none, which is no JSON.
func arguments(v *fastjson.Value) string {
	if s := outputText(v); s != "" {
		return s
	}
	return "{}"
}

// outputText is what a tool gave, in whatever form a client writes it.
func outputText(v *fastjson.Value) string {
	switch {
	case null(v):
		return ""
	case v.Type() == fastjson.TypeString:
		return text(v)
	}
	return string(v.MarshalTo(nil))
}

// unsupported refuses with a reason.
func (r *reader) unsupported(p *place, format string, args ...any) {
	r.fail(apierror.Unsupported, p, format, args...)
}
