//go:build cgo

package main

import (
	"strings"
	"unicode/utf8"
)

// skipSpace returns the place of the first byte from i on that is neither
// white space nor in a comment.
func skipSpace(sql string, i int) int {
	for i < len(sql) {
		switch {
		case strings.IndexByte(" \t\r\n\f\v", sql[i]) >= 0:
			i++
		case strings.HasPrefix(sql[i:], "--"):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				return len(sql)
			}
			i += n + 1
		case strings.HasPrefix(sql[i:], "/*"):
			i = skipComment(sql, i)
		default:
			if r, n := utf8.DecodeRuneInString(sql[i:]); !wideSpace(r) {
				return i
			} else {
				i += n
			}
		}
	}
	return i
}

// wideSpace is what DuckDB takes for a space beyond ASCII.
func wideSpace(r rune) bool {
	return r == '\u00a0' || r >= '\u2000' && r <= '\u200d' || r == '\u202f' || r == '\u205f' || r == '\u2060' || r == '\u3000' || r == '\ufeff'
}

// skipComment returns the place behind the comment at i; comments nest.
func skipComment(sql string, i int) int {
	depth := 0
	for i < len(sql) {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth, i = depth+1, i+2
		case strings.HasPrefix(sql[i:], "*/"):
			depth, i = depth-1, i+2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// identifier reads the name at i: plain, quoted, or a string where a table may
// be written as one. It returns the place behind it.
func identifier(sql string, i int) (string, int, bool) {
	if i < 0 || i >= len(sql) {
		return "", i, false
	}
	if q := sql[i]; q == '"' || q == '\'' {
		var b strings.Builder
		for j := i + 1; j < len(sql); j++ {
			if sql[j] != q {
				b.WriteByte(sql[j])
				continue
			}
			if j+1 < len(sql) && sql[j+1] == q {
				b.WriteByte(q)
				j++
				continue
			}
			return b.String(), j + 1, true
		}
		return "", i, false
	}
	j := i
	for j < len(sql) && identByte(sql[j], j == i) {
		j++
	}
	return sql[i:j], j, j > i
}

// firstWord is the first word of sql in lower case, behind comments and
// opening brackets.
func firstWord(sql string) string {
	i := skipSpace(sql, 0)
	for i < len(sql) && (sql[i] == '(' || sql[i] == ';') {
		i = skipSpace(sql, i+1)
	}
	j := i
	for j < len(sql) && (sql[j]|0x20 >= 'a' && sql[j]|0x20 <= 'z') {
		j++
	}
	return strings.ToLower(sql[i:j])
}

// excerpt is a quoted piece of sql from byte i on.
func excerpt(sql string, i int) string {
	if i < 0 || i >= len(sql) {
		return "the end"
	}
	piece := strings.ToValidUTF8(sql[i:min(i+30, len(sql))], "")
	if i+30 < len(sql) {
		piece += "…"
	}
	return "“" + piece + "”"
}

// clean makes a message of DuckDB fit for a client: without the mark of our
// names, without a stack, not too long.
func clean(msg string) string {
	msg, _, _ = strings.Cut(msg, "\n\nStack Trace")
	msg = strings.ReplaceAll(msg, mark, "")
	const most = 2000
	if len(msg) > most {
		msg = strings.ToValidUTF8(msg[:most], "") + "…"
	}
	return strings.TrimSpace(msg)
}
