package main

import (
	"regexp"
	"slices"
	"strings"
)

// table is what the description of a table's function says.
type table struct {
	name    string // main.sales.reviews
	columns []column
}

type column struct {
	name, typ string
	words     []string // of the name
	samples   []string
	tokens    [][]string // of each sample
}

var (
	tableLine  = regexp.MustCompile(`^Table ((?:[^\s.":]+|"(?:[^"]|"")+")(?:\.(?:[^\s.":]+|"(?:[^"]|"")+"))*)`)
	columnLine = regexp.MustCompile(`^- ("(?:[^"]|"")+"|\S+) ([^:(]+(?:\([^)]*\))?)`)
	sampleList = regexp.MustCompile(`\(such as (.*)\)$`)
	sampleText = regexp.MustCompile(`'((?:[^']|'')*)'`)
	namePart   = regexp.MustCompile(`"(?:[^"]|"")+"|[^.]+`)
)

// readTable reads a description such as
//
//	Table main.sales.reviews: One row per customer review
//	Columns:
//	- rating INTEGER: stars, 1 to 5 (such as 4, 5)
//
// It returns nil when the first line names no table.
func readTable(description string) *table {
	lines := strings.Split(description, "\n")
	m := tableLine.FindStringSubmatch(lines[0])
	if m == nil {
		return nil
	}
	t := &table{name: strings.Join(parts(m[1]), ".")}
	for _, l := range lines[1:] {
		m := columnLine.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		typ, _, _ := strings.Cut(m[2], " (") // DECIMAL(10,2) has no space there, a list of samples has
		c := column{name: unquote(m[1]), typ: strings.ToUpper(strings.TrimSpace(typ))}
		c.words = nameWords(c.name)
		if s := sampleList.FindStringSubmatch(l); s != nil {
			for _, v := range sampleText.FindAllStringSubmatch(s[1], -1) {
				sample := strings.ReplaceAll(v[1], "''", "'")
				c.samples = append(c.samples, sample)
				c.tokens = append(c.tokens, tokensOf(sample))
			}
		}
		t.columns = append(t.columns, c)
	}
	return t
}

// parts are the unquoted parts of a dotted name.
func parts(name string) []string {
	ps := namePart.FindAllString(name, -1)
	for i := range ps {
		ps[i] = unquote(ps[i])
	}
	return ps
}

func unquote(s string) string {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

// quote writes an identifier as SQL has it.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// literal writes a text as SQL has it.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// from is the table's name in FROM.
func (t *table) from() string {
	ps := strings.Split(t.name, ".")
	for i := range ps {
		ps[i] = quote(ps[i])
	}
	return strings.Join(ps, ".")
}

// short is the last part of the table's name.
func (t *table) short() string { return t.name[strings.LastIndexByte(t.name, '.')+1:] }

func (t *table) columnList() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	const most = 40
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return "columns " + strings.Join(names, ", ")
}

// example is a question that the demo understands.
func (t *table) example() string {
	number := slices.IndexFunc(t.columns, func(c column) bool { return measure(&c) })
	group := slices.IndexFunc(t.columns, func(c column) bool { return c.text() })
	switch {
	case number >= 0 && group >= 0:
		return "What is the average " + t.columns[number].name + " by " + t.columns[group].name + " in " + t.short() + "?"
	case number >= 0:
		return "What is the average " + t.columns[number].name + " in " + t.short() + "?"
	}
	return "How many rows has " + t.short() + "?"
}

func (c *column) boolean() bool { return strings.HasPrefix(c.typ, "BOOL") }

func (c *column) numeric() bool {
	for _, p := range []string{"TINYINT", "SMALLINT", "INT", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINT", "UBIGINT", "FLOAT", "DOUBLE", "REAL", "DECIMAL", "NUMERIC", "LONG", "SHORT", "BYTE"} {
		if strings.HasPrefix(c.typ, p) && !strings.HasPrefix(c.typ, "INTERVAL") && !strings.HasSuffix(c.typ, "]") {
			return true
		}
	}
	return false
}

// id reports whether the numbers of the column only name things.
func (c *column) id() bool {
	return len(c.words) > 0 && c.words[len(c.words)-1] == "id"
}

func (c *column) text() bool {
	for _, p := range []string{"VARCHAR", "STRING", "TEXT", "CHAR", "ENUM"} {
		if strings.HasPrefix(c.typ, p) && !strings.HasSuffix(c.typ, "]") {
			return true
		}
	}
	return false
}

// temporal reports whether the column has days.
func (c *column) temporal() bool {
	return (strings.HasPrefix(c.typ, "DATE") || strings.HasPrefix(c.typ, "TIMESTAMP")) && !strings.HasSuffix(c.typ, "]")
}

// kind reports whether the column is what a word such as "cheapest" or
// "oldest" is about.
func (c *column) kind(k string) bool {
	if k == "time" {
		return c.temporal()
	}
	return measure(c) && slices.ContainsFunc([]string{"price", "cost", "amount", "fee"}, func(w string) bool { return slices.Contains(c.words, w) })
}
