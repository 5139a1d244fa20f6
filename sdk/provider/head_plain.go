package provider

import "strings"

// Plain JSON has nothing between its tokens, no escapes in its strings, no null
// and no numbers but short whole ones. What is not plain is for the parser to
// read or to refuse. Texts given to these functions hold no backslash.

// maxPlainDepth is how deep plain JSON is nested at most, in a member.
const maxPlainDepth = 8

type plainMember struct{ name, value string }

// nextMember reads the member of an object behind s[at], which is the brace that
// opens it or the comma behind the member before. end is where the comma or the
// brace behind the member lies, or -1 where this is not plain.
func nextMember(s string, at, depth int) (m plainMember, end int) {
	key := plainString(s, at+1)
	if key < 0 || key >= len(s) || s[key] != ':' {
		return m, -1
	}
	if end = plainValue(s, key+1, depth); end < 0 || end >= len(s) || s[end] != ',' && s[end] != '}' {
		return m, -1
	}
	return plainMember{s[at+2 : key-1], s[key+1 : end]}, end
}

// nextElement is nextMember for an array.
func nextElement(s string, at, depth int) (e string, end int) {
	if end = plainValue(s, at+1, depth); end < 0 || end >= len(s) || s[end] != ',' && s[end] != ']' {
		return "", -1
	}
	return s[at+1 : end], end
}

// plainValue gives the end of the value at s[at], or -1.
func plainValue(s string, at, depth int) (end int) {
	if at >= len(s) || depth > maxPlainDepth {
		return -1
	}
	switch c := s[at]; {
	case c == '"':
		return plainString(s, at)
	case c == '{' || c == '[':
		closing := c + 2 // in ASCII
		if at+1 < len(s) && s[at+1] == closing {
			return at + 2
		}
		for end = at; s[end] != closing; {
			if c == '{' {
				_, end = nextMember(s, end, depth+1)
			} else {
				_, end = nextElement(s, end, depth+1)
			}
			if end < 0 {
				return -1
			}
		}
		return end + 1
	case strings.HasPrefix(s[at:], "true"):
		return at + len("true")
	case strings.HasPrefix(s[at:], "false"):
		return at + len("false")
	case c >= '1' && c <= '9':
		for end = at; end < len(s) && end < at+9 && s[end] >= '0' && s[end] <= '9'; {
			end++
		}
		return end // what is no comma or end there is not plain
	}
	return -1
}

// plainString gives the end of the string at s[at], or -1.
func plainString(s string, at int) (end int) {
	if at >= len(s) || s[at] != '"' {
		return -1
	}
	n := strings.IndexByte(s[at+1:], '"')
	if n < 0 {
		return -1
	}
	return at + n + 2
}
