//go:build cgo

package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// mark ends the name of every database we attach. Catalogs may be called main,
// system or temp, which DuckDB keeps for itself; with an invisible letter at
// the end they are names like any other. The texts of statements are changed
// to match, and the errors of DuckDB back.
const mark = "\u200b"

// quote writes s as an identifier.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// literal writes s as a string.
func literal(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

// name is the name of a table: catalog, schema and table, the first ones empty
// when not given. Letters compare without case, as in SQL.
type name struct{ catalog, schema, table string }

func (n name) fold() name {
	return name{strings.ToLower(n.catalog), strings.ToLower(n.schema), strings.ToLower(n.table)}
}

// String is n as one writes it in SQL, quoted where needed.
func (n name) String() string {
	var b strings.Builder
	for _, p := range []string{n.catalog, n.schema, n.table} {
		if p == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		if plain(p) {
			b.WriteString(p)
		} else {
			b.WriteString(quote(p))
		}
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if !identByte(s[i], i == 0) {
			return false
		}
	}
	return s != ""
}

func identByte(c byte, first bool) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= utf8.RuneSelf || !first && (c >= '0' && c <= '9' || c == '$')
}

// view is where the relation called n is: the parts of n that are missing
// have a place of our own.
func (n name) view() name {
	v := name{n.catalog + mark, n.schema, n.table}
	if n.catalog == "" {
		v.catalog = home
	}
	if n.schema == "" {
		v.schema = "main"
	}
	return v
}

func (n name) quoted() string { return quote(n.catalog) + "." + quote(n.schema) + "." + quote(n.table) }

// parseName reads the name of a relation: one to three parts with dots
// between them. A part that holds a dot is quoted, as in SQL, or with
// backticks.
func parseName(s string) (name, error) {
	var parts []string
	rest := s
	for {
		part, after, ok := cutPart(rest)
		if !ok {
			return name{}, fmt.Errorf("table name %q: want one to three parts with dots between them", s)
		}
		if part == "" || strings.Contains(part, mark) || strings.ContainsRune(part, 0) || !utf8.ValidString(part) {
			return name{}, fmt.Errorf("table name %q: part %q is empty or has letters that a name cannot have", s, part)
		}
		parts = append(parts, part)
		if after == "" {
			break
		}
		rest = after[1:]
	}
	if len(parts) > 3 {
		return name{}, fmt.Errorf("table name %q has %d parts, want at most three", s, len(parts))
	}
	parts = append(make([]string, 3-len(parts)), parts...)
	return name{parts[0], parts[1], parts[2]}, nil
}

// cutPart takes the first part off s; what is left is empty or begins with a
// dot.
func cutPart(s string) (part, after string, ok bool) {
	if s == "" || s[0] != '"' && s[0] != '`' {
		if i := strings.IndexByte(s, '.'); i >= 0 {
			return s[:i], s[i:], true
		}
		return s, "", true
	}
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != q:
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == q:
			b.WriteByte(q)
			i++
		default:
			after = s[i+1:]
			return b.String(), after, after == "" || after[0] == '.'
		}
	}
	return "", "", false
}

// appendText writes s as a JSON string. What is no UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if _, n := utf8.DecodeRuneInString(s[i:]); n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
