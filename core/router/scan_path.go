package router

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxInner bounds the text that is read as JSON because a path goes on inside
// it.
const maxInner = 64 << 10

// String gives the member at path when it is a string. Below the top level the
// names of a path are parted by dots, and a path may go on inside a string
// that holds JSON: "metadata.user_id.session_id".
func (s *Scan) String(path string) (string, bool) {
	v := s.at(path)
	if len(v) == 0 || v[0] != '"' {
		return "", false
	}
	return unquote(v)
}

// Bool gives the member at path when it is true or false.
func (s *Scan) Bool(path string) (value, ok bool) {
	v := s.at(path)
	return string(v) == "true", string(v) == "true" || string(v) == "false"
}

// Int gives the member at path when it is a whole number, however it is
// written: 1024, 1024.0 or 1.024e3.
func (s *Scan) Int(path string) (int64, bool) {
	v := s.at(path)
	if len(v) == 0 || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// Has reports whether there is a member at path, even if it is null.
func (s *Scan) Has(path string) bool { return s.at(path) != nil }

// member finds a member of the top level.
func (s *Scan) member(name string) (span, bool) {
	for _, m := range s.members {
		if m.keyEnd-m.key == len(name) && string(s.body[m.key:m.keyEnd]) == name {
			return m, true
		}
	}
	return span{}, false
}

// at is the JSON of the member at path, nil when there is none.
func (s *Scan) at(path string) []byte {
	if s == nil {
		return nil
	}
	name, rest, more := strings.Cut(path, ".")
	m, ok := s.member(name)
	if !ok {
		return nil
	}
	v := s.body[m.value:m.end]
	for more && v != nil {
		if v[0] == '"' {
			text, ok := unquote(v)
			if !ok || len(text) > maxInner || !json.Valid([]byte(text)) {
				return nil
			}
			v = []byte(text)
			v = v[space(v, 0):]
		}
		name, rest, more = strings.Cut(rest, ".")
		v = child(v, name)
	}
	return v
}

// child is the member of that name in an object, of several the last one; nil
// when there is none, or v is no object. v is valid JSON.
func child(v []byte, name string) (found []byte) {
	if len(v) == 0 || v[0] != '{' {
		return nil
	}
	i := space(v, 1)
	for i < len(v) && v[i] == '"' {
		from := i
		i = skip(v, i)
		key := v[from:i]
		i = space(v, space(v, i)+1) // over the colon
		value := i
		i = skip(v, i)
		if isKey(key, name) {
			found = v[value:i]
		}
		if i = space(v, i); i < len(v) && v[i] == ',' {
			i = space(v, i+1)
		}
	}
	return found
}

// isKey reports whether a key in quotes is name.
func isKey(key []byte, name string) bool {
	if len(key) == len(name)+2 && string(key[1:len(key)-1]) == name {
		return true
	}
	if bytes.IndexByte(key, '\\') < 0 {
		return false
	}
	plain, ok := unquote(key)
	return ok && plain == name
}

// skip is where the value that begins at i ends. v is valid JSON; of anything
// else the answer means nothing, but it is never outside of v.
func skip(v []byte, i int) int {
	if i >= len(v) {
		return len(v)
	}
	switch v[i] {
	case '"':
		return skipText(v, i)
	case '{', '[':
		for depth := 0; i < len(v); {
			switch v[i] {
			case '"':
				i = skipText(v, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if i++; depth == 0 {
				return i
			}
		}
		return len(v)
	}
	for i < len(v) && v[i] > ' ' && v[i] != ',' && v[i] != '}' && v[i] != ']' {
		i++
	}
	return i
}

// skipText is skip for a string.
func skipText(v []byte, i int) int {
	for i++; i < len(v); {
		n := bytes.IndexByte(v[i:], '"')
		if n < 0 {
			return len(v)
		}
		// A quote behind an odd number of backslashes is a part of the text.
		end := i + n
		back := end
		for back > i && v[back-1] == '\\' {
			back--
		}
		i = end + 1
		if (end-back)%2 == 0 {
			return i
		}
	}
	return len(v)
}

// unquote decodes a string of JSON, quotes included.
func unquote(v []byte) (string, bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), true
	}
	var s string
	err := json.Unmarshal(v, &s)
	return s, err == nil
}
