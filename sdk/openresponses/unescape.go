package openresponses

import (
	"bytes"
	"strings"
	"unicode/utf16"
)

// unescape gives what raw, the inside of a string that str has read, stands for.
// It has no half of a surrogate pair.
func unescape(raw []byte) string {
	var out strings.Builder
	out.Grow(len(raw))
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			out.Write(raw)
			return out.String()
		}
		out.Write(raw[:at])
		c := raw[at+1]
		raw = raw[at+2:]
		if c != 'u' {
			out.WriteByte(unescaped[c])
			continue
		}
		u, _ := hex(raw)
		raw = raw[4:]
		if utf16.IsSurrogate(u) {
			low, _ := hex(raw[2:])
			u = utf16.DecodeRune(u, low)
			raw = raw[6:]
		}
		out.WriteRune(u)
	}
}

// unescaped is what a letter stands for behind a backslash.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// hex reads the four digits at the beginning of b.
func hex(b []byte) (u rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	return u, true
}
