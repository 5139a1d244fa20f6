package main

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// place is a value of a client's request.
type place struct {
	name  string // of the member, in camelCase
	at    string // the way there, as the client wrote it: "contents[0].parts[1].inline_data"
	value *fastjson.Value
}

// root is the body.
func root(v *fastjson.Value) place { return place{value: v} }

// each calls f for every member of an object that is not null.
func each(p place, f func(p place) error) error {
	if p.value.Type() != fastjson.TypeObject {
		if p.at == "" {
			return apierror.New(apierror.Invalid, "The body must be a JSON object.")
		}
		return p.wrong("an object")
	}
	var err error
	p.value.GetObject().Visit(func(key []byte, v *fastjson.Value) {
		if err != nil || v.Type() == fastjson.TypeNull {
			return
		}
		m := place{name: camel(string(key)), at: string(key), value: v}
		if p.at != "" {
			m.at = p.at + "." + m.at
		}
		err = f(m)
	})
	return err
}

// all calls f for every element of an array.
func all(p place, f func(i int, p place) error) error {
	if p.value.Type() != fastjson.TypeArray {
		return p.wrong("an array")
	}
	for i, v := range p.value.GetArray() {
		if err := f(i, place{name: p.name, at: p.at + "[" + strconv.Itoa(i) + "]", value: v}); err != nil {
			return err
		}
	}
	return nil
}

// camel is a member's name as the API's own documents write it.
func camel(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

func (p place) wrong(want string) error {
	return apierror.At(apierror.Invalid, p.at, "%s must be %s.", p.at, want)
}

func (p place) unknown() error {
	return apierror.At(apierror.Invalid, p.at, "%s has no meaning here. Leave it out.", p.at)
}

func (p place) text() (string, error) {
	if p.value.Type() != fastjson.TypeString {
		return "", p.wrong("a string")
	}
	return string(p.value.GetStringBytes()), nil
}

func (p place) truth() (bool, error) {
	if t := p.value.Type(); t != fastjson.TypeTrue && t != fastjson.TypeFalse {
		return false, p.wrong("true or false")
	}
	return p.value.GetBool(), nil
}

// number reads a number, which the API takes as a string too.
func (p place) number() (*float64, error) {
	s := string(p.value.GetStringBytes())
	if p.value.Type() == fastjson.TypeNumber {
		s = p.value.String()
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, p.wrong("a number")
	}
	return &f, nil
}

// whole reads a whole number of at least least.
func (p place) whole(least int64) (*int64, error) {
	f, err := p.number()
	if err != nil || *f != math.Trunc(*f) || *f < float64(least) || *f > math.MaxInt32 {
		return nil, p.wrong("a whole number of at least " + strconv.FormatInt(least, 10))
	}
	n := int64(*f)
	return &n, nil
}

// texts reads an array of strings.
func (p place) texts() ([]string, error) {
	var out []string
	err := all(p, func(_ int, p place) error {
		s, err := p.text()
		out = append(out, s)
		return err
	})
	return out, err
}

// schema is a JSON Schema as the client wrote it. A name that stands twice in
// an object is refused: readers do not agree which one counts.
func (p place) schema() ([]byte, error) {
	raw := p.raw() // before the walk, which changes how names are written
	if p.value.Type() != fastjson.TypeObject {
		return nil, p.wrong("a JSON Schema object")
	}
	return raw, twice(p)
}

func twice(p place) error {
	if p.value.Type() == fastjson.TypeArray {
		return all(p, func(_ int, p place) error { return twice(p) })
	}
	if p.value.Type() != fastjson.TypeObject {
		return nil
	}
	seen := make([]string, 0, p.value.GetObject().Len())
	return member(p, func(m place) error {
		if slices.Contains(seen, m.name) {
			return apierror.At(apierror.Invalid, p.at, "%s has the member %q twice. Write it once.", p.at, m.name)
		}
		seen = append(seen, m.name)
		return twice(m)
	})
}

// member calls f for every member of an object whose names are the client's
// own and stay as they are.
func member(p place, f func(p place) error) error {
	if p.value.Type() != fastjson.TypeObject {
		return p.wrong("an object")
	}
	var err error
	p.value.GetObject().Visit(func(key []byte, v *fastjson.Value) {
		if err == nil {
			err = f(place{name: string(key), at: p.at + "." + string(key), value: v})
		}
	})
	return err
}

// raw is the value as the client wrote it.
func (p place) raw() []byte { return p.value.MarshalTo(nil) }
