package sh

import (
	"fmt"
	"regexp"
	"strings"
)

// syntaxOf is how a pattern is written.
type syntaxOf int

const (
	basic    syntaxOf = iota // grep, sed
	extended                 // grep -E, sed -E
	perl                     // grep -P: as Go's regexp, which is close
	fixed                    // grep -F
)

// compile compiles a pattern of the POSIX kinds with the extensions of GNU.
// flags are those of Go's regexp: i ignores case, m lets ^ and $ match at lines.
// A match is the longest of those that start first, as POSIX wants.
func compile(pattern string, kind syntaxOf, flags string) (*regexp.Regexp, error) {
	text := pattern
	switch kind {
	case fixed:
		text = regexp.QuoteMeta(pattern)
	case basic, extended:
		var err error
		if text, err = translate(pattern, kind == extended); err != nil {
			return nil, err
		}
	}
	if flags != "" {
		text = "(?" + flags + ")" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		if kind == perl && strings.Contains(pattern, "(?") {
			return nil, fmt.Errorf("pattern %q: look-around is not available", pattern)
		}
		return nil, fmt.Errorf("pattern %q: %s", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if kind != perl {
		re.Longest()
	}
	return re, nil
}

// translate writes a POSIX pattern as Go's regexp has it.
func translate(p string, ere bool) (string, error) {
	var b strings.Builder
	start := true // at the start of the pattern, a group or an alternative
	for i := 0; i < len(p); {
		ch := p[i]
		wasStart := start
		start = false
		switch {
		case ch == '[':
			set, n, err := bracket(p[i:])
			if err != nil {
				return "", err
			}
			b.WriteString(set)
			i += n
			continue
		case ch == '\\':
			if i+1 == len(p) {
				return "", fmt.Errorf("pattern %q ends with a backslash", p)
			}
			e := p[i+1]
			i += 2
			switch {
			case e >= '1' && e <= '9':
				return "", fmt.Errorf("pattern %q: back-references in a pattern are not available", p)
			case e == '<' || e == '>':
				b.WriteString(`\b`)
			case e == '`':
				b.WriteString(`\A`)
			case e == '\'':
				b.WriteString(`\z`)
			case strings.IndexByte("wWsSbBdDntrfv", e) >= 0:
				b.WriteByte('\\')
				b.WriteByte(e)
			case !ere && strings.IndexByte("(){}|+?", e) >= 0:
				if e == '{' {
					n := interval(&b, p[i-1:], `\}`)
					if n == 0 {
						return "", fmt.Errorf("pattern %q: \\{ without \\}", p)
					}
					i += n - 1
					continue
				}
				b.WriteByte(e)
				start = e == '(' || e == '|'
			default:
				if e < 0x80 {
					b.WriteString(regexp.QuoteMeta(string(e)))
				} else {
					i-- // the backslash says nothing before a character of several bytes
				}
			}
			continue
		case ch == '*' && wasStart:
			b.WriteString(`\*`)
			start = false
		case ch == '^':
			if ere || wasStart {
				b.WriteByte('^')
				start = true
			} else {
				b.WriteString(`\^`)
			}
		case ch == '$':
			if ere || i+1 == len(p) || strings.HasPrefix(p[i+1:], `\)`) || strings.HasPrefix(p[i+1:], `\|`) {
				b.WriteByte('$')
			} else {
				b.WriteString(`\$`)
			}
		case ere && ch == '{':
			if n := interval(&b, p[i:], "}"); n > 0 {
				i += n
				continue
			}
			b.WriteString(`\{`)
		case ere && (ch == '(' || ch == '|'):
			b.WriteByte(ch)
			start = true
		case ere && strings.IndexByte(")+?", ch) >= 0, ch == '*', ch == '.':
			b.WriteByte(ch)
		case strings.IndexByte("(){}|+?", ch) >= 0:
			b.WriteByte('\\')
			b.WriteByte(ch)
		default:
			b.WriteByte(ch)
		}
		i++
	}
	return b.String(), nil
}

// interval writes {2,3} at the start of p, which ends with end, and returns its length, 0 when it is none.
func interval(b *strings.Builder, p, end string) int {
	body, _, ok := strings.Cut(p[1:], end)
	if !ok || body == "" || strings.Trim(body, "0123456789,") != "" || strings.Count(body, ",") > 1 || body == "," {
		return 0
	}
	if body[0] == ',' {
		b.WriteString("{0" + body + "}")
	} else {
		b.WriteString("{" + body + "}")
	}
	return 1 + len(body) + len(end)
}

// bracket writes the bracket expression at the start of p and returns its length.
// A backslash stands for itself in it, except before n, t, r and ].
func bracket(p string) (string, int, error) {
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	if i < len(p) && p[i] == '^' {
		b.WriteByte('^')
		i++
	}
	for first := true; i < len(p); first = false {
		switch {
		case p[i] == ']' && !first:
			b.WriteByte(']')
			return b.String(), i + 1, nil
		case strings.HasPrefix(p[i:], "[:"):
			name, _, ok := strings.Cut(p[i+2:], ":]")
			if !ok {
				return "", 0, fmt.Errorf("pattern: [: without :]")
			}
			b.WriteString("[:" + name + ":]")
			i += len(name) + 4
		case p[i] == '\\':
			if i+1 < len(p) && strings.IndexByte("ntrwsd", p[i+1]) >= 0 {
				b.WriteString(p[i : i+2])
				i += 2
				continue
			}
			b.WriteString(`\\`)
			i++
		case p[i] == '[' || (p[i] == ']' && first) || p[i] == '&' || p[i] == '~':
			b.WriteByte('\\')
			b.WriteByte(p[i])
			i++
		default:
			b.WriteByte(p[i])
			i++
		}
	}
	return "", 0, fmt.Errorf("pattern: [ without ]")
}
