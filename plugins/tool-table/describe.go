package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	maxDescription = 16 << 10 // bytes of a function's description
	maxComment     = 1000     // characters of the table's comment and of the caller's description
	maxColumn      = 300      // characters of a column's comment, of its type and of its name
	maxOthers      = 2 << 10  // bytes of the list of other tables
)

// describe tells the model what it needs to write SQL. Everything that comes
// from data, from the catalog or from the caller stays on its line: a value
// cannot pose as a column, nor as a sentence of ours.
func describe(d declared, others []string) string {
	name := shown(d.object.Name)
	var head, tail strings.Builder
	fmt.Fprintf(&head, "Table %s", name)
	if about := strings.TrimSpace(sentence(line(d.object.Comment, maxComment)) + " " + sentence(line(d.Description, maxComment))); about != "" {
		fmt.Fprintf(&head, ": %s", about)
	}
	head.WriteString("\nColumns:\n")
	fmt.Fprintf(&tail, "Write one SELECT statement in %s; in FROM write %s.\n", dialect(d.object), name)
	if len(others) > 0 {
		fmt.Fprintf(&tail, "It can be joined with these tables in the same statement: %s.\n", bounded(others, maxOthers))
	}
	fmt.Fprintf(&tail, "At most %d rows or %d KiB come back: aggregate in SQL rather than fetch rows.", maxRows, maxBytes>>10)

	const moreBytes = 120 // for the line that says how many columns are left out
	room := maxDescription - head.Len() - tail.Len() - moreBytes
	for i, c := range d.object.Columns {
		l := column(c, d.samples.values[c.Name])
		if len(l) > room {
			fmt.Fprintf(&head, "… and %d more columns; SELECT * with LIMIT 1 shows their names\n", len(d.object.Columns)-i)
			break
		}
		head.WriteString(l)
		room -= len(l)
	}
	if len(d.object.Columns) == 0 {
		head.WriteString("not known before a query; SELECT * with LIMIT 1 shows them\n")
	}
	return head.String() + tail.String()
}

// sentence ends s as one, so that what follows is read apart from it.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

// column is the line of one column.
func column(c engine.Column, values []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- %s %s", line(identifier(c.Name), maxColumn), line(c.Type, maxColumn))
	if comment := line(c.Comment, maxColumn); comment != "" {
		b.WriteString(": " + comment)
	}
	if len(values) > 0 {
		b.WriteString(" (such as " + strings.Join(values, ", ") + ")")
	}
	b.WriteByte('\n')
	return b.String()
}

// bounded joins names until max bytes are reached.
func bounded(names []string, max int) string {
	var b strings.Builder
	for i, n := range names {
		n = shown(n)
		if b.Len()+len(n) > max {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(n)
	}
	return b.String()
}

// dialect names the SQL that reads a table.
func dialect(o tool.Object) string {
	if o.Dialect == "" {
		return "SQL"
	}
	return line(o.Dialect, 40) + " SQL"
}

// from writes a dotted name as it stands in FROM.
func from(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = identifier(p)
	}
	return strings.Join(parts, ".")
}

// shown is from for a sentence: it stays on its line, whatever the name holds.
func shown(name string) string { return line(from(name), maxColumn) }

// identifier quotes a name where SQL needs it.
func identifier(name string) string {
	plain := name != "" && !reserved[strings.ToLower(name)]
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		plain = plain && (letter || i > 0 && '0' <= r && r <= '9')
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// reserved are the words that DuckDB does not take for a name without quotes.
// Source: duckdb_keywords(), category "reserved", DuckDB 1.4.
var reserved = words(`all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
	default deferrable desc describe distinct do else end except false fetch for foreign from group having in initially
	intersect into lambda lateral leading limit not null offset on only or order pivot pivot_longer pivot_wider placing primary
	qualify references returning select show some summarize symmetric table then to trailing true union unique unpivot using
	variadic when where window with`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// line makes one line of at most max characters of a text for people.
func line(s string, max int) string {
	return clip(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " "), max)
}

// clip cuts a text to max characters and shows that it did.
func clip(s string, max int) string {
	if utf8.RuneCountInString(s) <= max {
		return s
	}
	return string([]rune(s)[:max-1]) + "…"
}

// quote writes a value as an SQL literal on one line. What does not print is
// written as an escape: such a literal is for reading, not for copying.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		switch {
		case r == '\'':
			b.WriteString("''")
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	b.WriteByte('\'')
	return b.String()
}
