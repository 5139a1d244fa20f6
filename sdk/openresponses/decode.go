package openresponses

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// parsers is shared: a parser keeps its memory between requests.
var parsers fastjson.ParserPool

// decoder reads fields from a parsed document. The traps of the parser are
// kept in here: values die when the parser is used again, so everything is
// copied; reading a string changes how its parent is written, so raw comes
// before any field.
type decoder struct {
	client bool   // limits and required fields of the specification apply
	slab   []byte // holds the raw values, one allocation for most documents

	root    *fastjson.Value // what is read, where its JSON is at hand
	rootRaw json.RawMessage
}

// raw copies the value's JSON. Call it before reading anything inside v.
func (d *decoder) raw(v *fastjson.Value) json.RawMessage {
	if v == d.root {
		return d.rootRaw
	}
	start := len(d.slab)
	d.slab = v.MarshalTo(d.slab)
	return json.RawMessage(d.slab[start:len(d.slab):len(d.slab)])
}

// digits gives a number as it is written, until the next is read.
func (d *decoder) digits(v *fastjson.Value) []byte { return v.MarshalTo(d.slab)[len(d.slab):] }

func null(v *fastjson.Value) bool { return v == nil || v.Type() == fastjson.TypeNull }

// text reads a string value that is known to be one.
func (d *decoder) text(v *fastjson.Value) string {
	b, _ := v.StringBytes()
	return textOf(b)
}

// lax reads a string, and anything else as "".
func (d *decoder) lax(v *fastjson.Value) string {
	if v == nil || v.Type() != fastjson.TypeString {
		return ""
	}
	return d.text(v)
}

// str reads a string; null is "".
func (d *decoder) str(v *fastjson.Value, name string) (string, error) {
	if null(v) {
		return "", nil
	}
	if v.Type() != fastjson.TypeString {
		return "", wrongType(v, name, "a string")
	}
	return d.text(v), nil
}

// short reads a string of at most n characters.
func (d *decoder) short(v *fastjson.Value, name string, n int) (string, error) {
	s, err := d.str(v, name)
	if err == nil && d.client && longer(s, n) {
		return "", invalid(name, "%s is longer than %d characters.", name, n)
	}
	return s, err
}

func longer(s string, n int) bool { return len(s) > n && utf8.RuneCountInString(s) > n }

// word reads a string that must be one of words.
func (d *decoder) word(v *fastjson.Value, name string, words ...string) (string, error) {
	s, err := d.str(v, name)
	if err != nil || null(v) {
		return "", err
	}
	if d.client && !slices.Contains(words, s) {
		return "", invalid(name, "%s is %q; it must be one of %s.", name, clip(s), strings.Join(words, ", "))
	}
	return s, nil
}

func (d *decoder) boolean(v *fastjson.Value, name string) (*bool, error) {
	if null(v) {
		return nil, nil
	}
	b, err := v.Bool()
	if err != nil {
		return nil, wrongType(v, name, "true or false")
	}
	return &b, nil
}

func (d *decoder) integer(v *fastjson.Value, name string, low, high int64) (*int64, error) {
	if null(v) {
		return nil, nil
	}
	if v.Type() != fastjson.TypeNumber {
		return nil, wrongType(v, name, "a whole number")
	}
	n, err := strconv.ParseInt(string(d.digits(v)), 10, 64)
	if err != nil {
		return nil, invalid(name, "%s must be a whole number.", name)
	}
	switch {
	case n < low:
		return nil, invalid(name, "%s must be at least %d.", name, low)
	case n > high:
		return nil, invalid(name, "%s must be at most %d.", name, high)
	}
	return &n, nil
}

// least is the smallest value of an integer of which the specification wants n.
func (d *decoder) least(n int64) int64 {
	if d.client {
		return n
	}
	return 0
}

func (d *decoder) number(v *fastjson.Value, name string) (*float64, error) {
	if null(v) {
		return nil, nil
	}
	if v.Type() != fastjson.TypeNumber {
		return nil, wrongType(v, name, "a number")
	}
	f, err := strconv.ParseFloat(string(d.digits(v)), 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, invalid(name, "%s is out of range.", name)
	}
	return &f, nil
}

func (d *decoder) array(v *fastjson.Value, name string) ([]*fastjson.Value, error) {
	if null(v) {
		return nil, nil
	}
	a, err := v.Array()
	if err != nil {
		return nil, wrongType(v, name, "an array")
	}
	if a == nil {
		a = []*fastjson.Value{}
	}
	return a, nil
}

func (d *decoder) object(v *fastjson.Value, name string) (*fastjson.Object, error) {
	o, err := v.Object()
	if err != nil {
		return nil, wrongType(v, name, "an object")
	}
	return o, nil
}

func invalid(param, format string, args ...any) error {
	return apierror.At(apierror.Invalid, param, format, args...)
}

func wrongType(v *fastjson.Value, name, want string) error {
	return invalid(name, "%s must be %s, not %s.", name, want, Kind(v))
}

// Kind names what a value is, for messages about one that should be something
// else.
func Kind(v *fastjson.Value) string {
	switch v.Type() {
	case fastjson.TypeObject:
		return "an object"
	case fastjson.TypeArray:
		return "an array"
	case fastjson.TypeString:
		return "a string"
	case fastjson.TypeNumber:
		return "a number"
	case fastjson.TypeNull:
		return "null"
	}
	return "true or false"
}

// within moves an error about a field of a part to the part's own place:
// "text" within "content[0]" is "content[0].text".
func within(err error, place string) error {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		return err
	}
	moved := *e
	switch {
	case e.Param == "":
		moved.Param = place
	case e.Param[0] == '[':
		moved.Param = place + e.Param
	default:
		moved.Param = place + "." + e.Param
	}
	// The sentences begin with the name of their field, which is nothing when it
	// is the part itself; give them the whole path.
	if rest, ok := strings.CutPrefix(e.Message, e.Param+" "); ok {
		moved.Message = moved.Param + " " + rest
	}
	return &moved
}

func at(name string, i int) string { return name + "[" + strconv.Itoa(i) + "]" }

// clip keeps a client's text short enough for an error message.
func clip(s string) string { return clipTo(s, 64) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
