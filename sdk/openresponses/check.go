package openresponses

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// maxDepth bounds the nesting of a client's JSON. The parser's own bound is
// 300; real requests (JSON Schemas of tools) stay below 60.
const maxDepth = 200

// maxPath is how many bytes of the place of a fault are told: keys and nesting
// are the client's, and as long as it likes.
const maxPath = 256

// check walks a client's JSON once before anything else reads it. It is
// stricter than encoding/json where two readers could see different things:
// bytes that are not UTF-8 and duplicate keys are refused wherever they are.
// (The parser behind it takes the first of two equal keys, most others the
// last: one component could authorize what another never sees.) It returns
// body, or a copy in which every half of a surrogate pair, which no UTF-8 text
// can hold and the parser would corrupt, is U+FFFD as encoding/json reads it.
func check(body []byte) ([]byte, error) {
	s := scanner{b: body}
	f := s.value(0)
	if f == nil {
		s.space()
		if s.i < len(s.b) {
			f = s.fault("more data after the end of the JSON value")
		}
	}
	if f != nil {
		path := clipTo(strings.TrimPrefix(f.path, "."), maxPath)
		return nil, apierror.At(apierror.Invalid, path, "The body is not acceptable JSON: %s at byte %d%s.", f.what, f.at, in(path))
	}
	if len(s.halves) == 0 {
		return body, nil
	}
	clean := bytes.Clone(body)
	for _, at := range s.halves {
		copy(clean[at:], `\ufffd`)
	}
	return clean, nil
}

func in(path string) string {
	if path == "" {
		return ""
	}
	return ", in " + path
}

type fault struct {
	what string
	at   int
	path string // grows from the inside out
}

type scanner struct {
	b      []byte
	i      int
	gaps   int      // bytes of space passed over
	halves []int    // where `\ud800` and its like stand alone
	plain  [][]byte // keys that had escapes, without them

	// The keys of the open objects, innermost last. Most documents have few at a
	// time, which then need no memory but the scanner's.
	keys int
	few  [24]span
	more []span
}

// span is where a key lies: in the scanner's b, or in its plain, counted from -1
// down.
type span struct{ at, n int }

func (s *scanner) name(k span) []byte {
	if k.at < 0 {
		return s.plain[-1-k.at]
	}
	return s.b[k.at : k.at+k.n]
}

func (s *scanner) keyAt(i int) span {
	if i < len(s.few) {
		return s.few[i]
	}
	return s.more[i-len(s.few)]
}

func (s *scanner) addKey(k span) {
	if s.keys < len(s.few) {
		s.few[s.keys] = k
	} else {
		s.more = append(s.more[:s.keys-len(s.few)], k)
	}
	s.keys++
}

func (s *scanner) fault(what string) *fault { return &fault{what: what, at: s.i} }

func (s *scanner) space() {
	if s.i < len(s.b) && s.b[s.i] <= ' ' {
		s.gap()
	}
}

func (s *scanner) gap() {
	start := s.i
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
	s.gaps += s.i - start
}

func (s *scanner) value(depth int) *fault {
	if depth > maxDepth {
		return s.fault("nesting deeper than " + strconv.Itoa(maxDepth) + " levels")
	}
	s.space()
	if s.i >= len(s.b) {
		return s.fault("unexpected end")
	}
	switch c := s.b[s.i]; {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, _, f := s.str()
		return f
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.fault("unexpected character")
}

func (s *scanner) literal(word string) *fault {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return s.fault("unexpected character")
	}
	s.i += len(word)
	return nil
}

func (s *scanner) array(depth int) *fault {
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == ']' {
		s.i++
		return nil
	}
	for n := 0; ; n++ {
		if f := s.value(depth + 1); f != nil {
			f.path = "[" + strconv.Itoa(n) + "]" + f.path
			return f
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fault("unexpected end of an array")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case ']':
			s.i++
			return nil
		default:
			return s.fault("expected a comma or ] in an array")
		}
	}
}

func (s *scanner) object(depth int) *fault {
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		return nil
	}
	base := s.keys               // a fault leaves the keys behind: nothing is read after it
	var many map[string]struct{} // from manyKeys on, so that a huge object stays linear
	for {
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != '"' {
			return s.fault("expected a key in double quotes")
		}
		start := s.i
		key, f := s.key()
		if f != nil {
			return f
		}
		if s.seen(base, key, &many) {
			name := string(s.name(key))
			return &fault{what: "duplicate key " + strconv.Quote(clip(name)), at: start, path: "." + name}
		}
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != ':' {
			return s.fault("expected a colon after a key")
		}
		s.i++
		if f := s.value(depth + 1); f != nil {
			f.path = "." + string(s.name(key)) + f.path
			return f
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fault("unexpected end of an object")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case '}':
			s.i++
			s.keys = base
			return nil
		default:
			return s.fault("expected a comma or } in an object")
		}
	}
}

const manyKeys = 24

// seen records key and reports whether its object, whose keys begin at base, had
// it before.
func (s *scanner) seen(base int, key span, many *map[string]struct{}) bool {
	name := s.name(key)
	if *many != nil {
		if _, ok := (*many)[string(name)]; ok {
			return true
		}
		(*many)[string(name)] = struct{}{}
		return false
	}
	for i := base; i < s.keys; i++ {
		if k := s.keyAt(i); k.n == key.n && bytes.Equal(s.name(k), name) {
			return true
		}
	}
	s.addKey(key)
	if s.keys-base == manyKeys {
		*many = make(map[string]struct{}, 2*manyKeys)
		for i := base; i < s.keys; i++ {
			(*many)[string(s.name(s.keyAt(i)))] = struct{}{}
		}
	}
	return false
}

// key reads a key and unescapes it, so that "mod\u0065l" is "model".
func (s *scanner) key() (span, *fault) {
	start, halves := s.i, len(s.halves)
	raw, escaped, f := s.str()
	if f != nil {
		return span{}, f
	}
	if len(s.halves) > halves {
		return span{}, &fault{what: "a key with half a surrogate pair", at: start}
	}
	if !escaped {
		return span{start + 1, len(raw)}, nil
	}
	k := []byte(unescape(raw))
	s.plain = append(s.plain, k)
	return span{-len(s.plain), len(k)}, nil
}

// str reads a string and returns what is between its quotes, still escaped.
func (s *scanner) str() (raw []byte, escaped bool, f *fault) {
	s.i++
	start := s.i
	for {
		s.i += plainBytes(s.b[s.i:])
		if s.i >= len(s.b) {
			return nil, false, s.fault("unexpected end of a string")
		}
		switch c := s.b[s.i]; {
		case c == '"':
			raw = s.b[start:s.i]
			s.i++
			return raw, escaped, nil
		case c == '\\':
			escaped = true
			if f := s.escape(); f != nil {
				return nil, false, f
			}
		case c < 0x20:
			return nil, false, s.fault("a control character inside a string")
		}
		for s.i < len(s.b) && s.b[s.i] >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s.b[s.i:])
			if r == utf8.RuneError && n == 1 {
				return nil, false, s.fault("a string that is not UTF-8")
			}
			s.i += n
		}
	}
}

func (s *scanner) escape() *fault {
	if s.i+1 >= len(s.b) {
		return s.fault("unexpected end of a string")
	}
	switch s.b[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return nil
	case 'u':
		u, ok := hex(s.b[s.i+2:])
		if !ok {
			return s.fault("a malformed \\u escape")
		}
		s.i += 6
		if u < 0xd800 || u > 0xdfff {
			return nil
		}
		if u < 0xdc00 && s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
			if low, ok := hex(s.b[s.i+2:]); ok && low >= 0xdc00 && low <= 0xdfff {
				s.i += 6
				return nil
			}
		}
		s.halves = append(s.halves, s.i-6)
		return nil
	}
	return s.fault("an unknown escape in a string")
}

func (s *scanner) number() *fault {
	if s.b[s.i] == '-' {
		s.i++
	}
	switch {
	case s.i < len(s.b) && s.b[s.i] == '0':
		s.i++
	case !s.digits():
		return s.fault("a malformed number")
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return s.fault("a malformed number")
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return s.fault("a malformed number")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}
