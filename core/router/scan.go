package router

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// maxNesting is how deep a request's JSON may be nested.
const maxNesting = 512

// Scan is what one walk over a request's JSON has found: where the members of
// its object are. Nothing is decoded, and the body is kept as it is.
type Scan struct {
	body    []byte
	members []span
	few     [24]span // room of members, for the usual request
	state   bool     // a string begins as the gateway's own opaque state does
	high    uint64   // all bytes of strings, or-ed: a set sign bit means not ASCII
}

// span is where a member's key and value are in the body. The key is without
// its quotes, the value with.
type span struct{ key, keyEnd, value, end int }

// ScanBody walks over a request's body once. It refuses, as apierror.Invalid,
// whatever encoding/json refuses, and besides what two readers could read
// differently: another top level than an object, bytes that are not UTF-8,
// nesting deeper than 512, and at the top level a key that is there twice, in
// whatever case, or that escapes what needs no escape. Else one model could be
// checked and another be served.
func ScanBody(body []byte) (*Scan, error) {
	s := &Scan{body: body}
	s.members = s.few[:0]
	if at, fault := s.walk(); fault != "" {
		return nil, apierror.New(apierror.Invalid, "The request body is not a JSON object that can be read: %s at byte %d.", fault, at)
	}
	if s.high&signs != 0 && !utf8.Valid(body) {
		return nil, apierror.New(apierror.Invalid, "The request body is not UTF-8, which JSON has to be.")
	}
	if err := s.checkKeys(); err != nil {
		return nil, err
	}
	return s, nil
}

// walk checks the structure and notes the members of the top level. fault is
// what is wrong, "" for nothing, and at is where.
func (s *Scan) walk() (at int, fault string) {
	const unended = "the body ends too early,"
	b := s.body
	var objects [maxNesting/64 + 1]uint64 // which levels are objects
	i, depth, object := space(b, 0), 0, false
	if i == len(b) || b[i] != '{' {
		return i, "no opening brace"
	}
	for { // a value begins at i
		if i == len(b) {
			return i, unended
		}
		empty := false
		if c := b[i]; c == '{' || c == '[' {
			if depth++; depth > maxNesting {
				return i, "nesting of more than 512 levels"
			}
			object = c == '{'
			if objects[depth>>6] &^= 1 << (depth & 63); object {
				objects[depth>>6] |= 1 << (depth & 63)
			}
			i = space(b, i+1)
			if empty = i < len(b) && b[i] == c+2; !empty { // each closes two behind its opening
				if object {
					if i, fault = s.key(i, depth == 1); fault != "" {
						return i, fault
					}
				}
				continue
			}
		} else if i, fault = s.scalar(i); fault != "" {
			return i, fault
		}
		for { // a value has ended at i, or an empty object or array ends there
			if !empty {
				if depth == 1 {
					s.members[len(s.members)-1].end = i
				}
				if i = space(b, i); i == len(b) {
					return i, unended
				}
				if b[i] == ',' {
					i = space(b, i+1)
					if object {
						if i, fault = s.key(i, depth == 1); fault != "" {
							return i, fault
						}
					}
					break
				}
				if object && b[i] != '}' || !object && b[i] != ']' {
					return i, "neither a comma nor the end of an object or array"
				}
			}
			empty = false
			i++
			if depth--; depth == 0 {
				if i = space(b, i); i < len(b) {
					return i, "something behind the object"
				}
				return i, ""
			}
			object = objects[depth>>6]&(1<<(depth&63)) != 0
		}
	}
}

// key walks over a key and its colon, up to the value.
func (s *Scan) key(i int, top bool) (next int, fault string) {
	b := s.body
	if i == len(b) || b[i] != '"' {
		return i, "no key in quotes"
	}
	from := i + 1
	if i, fault = s.text(i); fault != "" {
		return i, fault
	}
	to := i - 1
	if i = space(b, i); i == len(b) || b[i] != ':' {
		return i, "no colon behind a key"
	}
	i = space(b, i+1)
	if top {
		s.members = append(s.members, span{key: from, keyEnd: to, value: i})
	}
	return i, ""
}

// scalar walks over a string, a number, or one of the three words.
func (s *Scan) scalar(i int) (next int, fault string) {
	b := s.body
	word := ""
	switch b[i] {
	case '"':
		s.state = s.state || ours(b[i+1:])
		return s.text(i)
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		if end := number(b, i); end > i {
			return end, ""
		}
		return i, "no value"
	}
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, "no value"
	}
	return i + len(word), ""
}

// ours reports whether a string begins as the gateway's own opaque state does,
// as it is or in base64, which is how a dialect writes it whose slot holds
// bytes.
func ours(b []byte) bool {
	if len(b) < 5 || b[0] != 's' && b[0] != 'c' {
		return false
	}
	return string(b[:4]) == "sp1." || string(b[:5]) == "c3AxL"
}

// What words of eight bytes are compared with.
const (
	ones     = 0x0101010101010101
	signs    = 0x8080808080808080
	quotes   = '"' * ones
	slashes  = '\\' * ones
	controls = ' ' * ones
)

// special marks the bytes of w that end or break a string: quotes, backslashes
// and control characters. The lowest mark is right; one above it may be there
// in error, by a borrow.
func special(w uint64) uint64 {
	return (((w ^ quotes) - ones) | ((w ^ slashes) - ones) | (w - controls)) &^ w & signs
}

// text walks over a string, from its opening quote to behind its closing one,
// eight bytes at a time while there is nothing to look at.
func (s *Scan) text(i int) (next int, fault string) {
	b := s.body
	i++
	high := s.high
	for {
		for words := 0; len(b)-i >= 8; words++ {
			// Text without line breaks is long: four words at a time, once one
			// look at a word has found nothing.
			for words > 3 && len(b)-i >= 32 {
				p := b[i : i+32 : i+32]
				w0, w1 := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
				w2, w3 := binary.LittleEndian.Uint64(p[16:]), binary.LittleEndian.Uint64(p[24:])
				if special(w0)|special(w1)|special(w2)|special(w3) != 0 {
					break
				}
				high |= w0 | w1 | w2 | w3
				i += 32
			}
			if len(b)-i < 8 {
				break
			}
			w := binary.LittleEndian.Uint64(b[i:])
			high |= w
			if hit := special(w); hit != 0 {
				i += bits.TrailingZeros64(hit) >> 3
				break
			}
			i += 8
		}
		if i == len(b) {
			s.high = high
			return i, "a string without an end"
		}
		switch c := b[i]; {
		case c == '"':
			s.high = high
			return i + 1, ""
		case c == '\\':
			if i+1 < len(b) && shortEscapes[b[i+1]] {
				i += 2
				continue
			}
			n := escape(b[i:])
			if n == 0 {
				return i, "a wrong escape"
			}
			i += n
		case c < ' ':
			return i, "a control character in a string"
		default: // the last few bytes of the body
			high |= uint64(c)
			i++
		}
	}
}

// shortEscapes are what may follow a backslash, but for u.
var shortEscapes = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// escape is the length of the escape of any character that b begins with, 0 for
// a wrong one.
func escape(b []byte) int {
	if len(b) < 6 || b[1] != 'u' {
		return 0
	}
	for _, c := range b[2:6] {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0
		}
	}
	return 6
}

// number is where the number that begins at i ends; i when none does.
func number(b []byte, i int) int {
	digits := func(at int) int {
		for at < len(b) && b[at]-'0' <= 9 {
			at++
		}
		return at
	}
	at := i
	if at < len(b) && b[at] == '-' {
		at++
	}
	whole := digits(at)
	if whole == at || b[at] == '0' && whole > at+1 {
		return i
	}
	at = whole
	if at < len(b) && b[at] == '.' {
		end := digits(at + 1)
		if end == at+1 {
			return i
		}
		at = end
	}
	if at < len(b) && b[at]|0x20 == 'e' {
		at++
		if at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		end := digits(at)
		if end == at {
			return i
		}
		at = end
	}
	return at
}

// space is the place of the first byte from i on that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// manyKeys is from how many keys on a map finds those that are there twice.
const manyKeys = 48

// checkKeys refuses keys of the top level that two readers may take for
// different ones.
func (s *Scan) checkKeys() error {
	var seen map[string]bool
	if len(s.members) > manyKeys {
		seen = make(map[string]bool, len(s.members))
	}
	odd := false // a key is not ASCII, so that its case may change its length
	for i, m := range s.members {
		key := s.body[m.key:m.keyEnd]
		for _, c := range key {
			odd = odd || c >= utf8.RuneSelf
		}
		if bytes.IndexByte(key, '\\') >= 0 {
			plain, ok := unquote(s.body[m.key-1 : m.keyEnd+1])
			if !ok || needless(key) {
				return apierror.New(apierror.Invalid, `The key "%.64s" of the request escapes what needs no escape. Write %.64q.`, key, plain)
			}
			odd, key = true, []byte(plain)
		}
		if seen != nil {
			folded := string(bytes.ToLower(bytes.ToUpper(key)))
			if seen[folded] {
				return twice(key)
			}
			seen[folded] = true
			continue
		}
		for _, before := range s.members[:i] {
			other := s.body[before.key:before.keyEnd]
			if odd && bytes.IndexByte(other, '\\') >= 0 {
				plain, _ := unquote(s.body[before.key-1 : before.keyEnd+1])
				other = []byte(plain)
			}
			if (odd || len(other) == len(key)) && bytes.EqualFold(other, key) {
				return twice(key)
			}
		}
	}
	return nil
}

func twice(key []byte) error {
	return apierror.At(apierror.Invalid, string(key[:min(len(key), 64)]), "The request has the key %.64q more than once. Send it once.", key)
}

// needless reports whether a key, as it is written, has an escape for a
// character that identifiers are made of.
func needless(key []byte) bool {
	for i := 0; i < len(key); i++ {
		if key[i] != '\\' {
			continue
		}
		if key[i+1] != 'u' {
			i++ // an escape of two characters never stands for one of those
			continue
		}
		if c, ok := unquote([]byte(`"` + string(key[i:i+6]) + `"`)); ok && len(c) == 1 && c[0] > ' ' && c[0] != '"' && c[0] != '\\' && c[0] != 0x7f {
			return true
		}
		i += 5
	}
	return false
}
