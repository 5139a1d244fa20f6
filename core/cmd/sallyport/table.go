package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/core/sqlapi"
)

// table is the result of a statement.
type table struct {
	columns   []sqlapi.Column
	rows      [][]*string // nil is null
	truncated bool        // by a limit
}

// count says how many rows there are.
func (t *table) count() string {
	n := counted(len(t.rows), "row")
	if t.truncated {
		return "the first " + n + "; there are more: filter, aggregate or raise --limit"
	}
	return n
}

// native is what a value of the column looks like in JSON.
func native(c sqlapi.Column, value *string) json.RawMessage {
	if value == nil {
		return json.RawMessage("null")
	}
	switch c.TypeName {
	case "BOOLEAN", "BYTE", "SHORT", "INT", "LONG", "FLOAT", "DOUBLE", "DECIMAL", "ARRAY", "STRUCT", "MAP":
		var b bytes.Buffer
		if json.Compact(&b, []byte(*value)) == nil { // NaN and the infinities are no JSON
			return b.Bytes()
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(*value) // a string always encodes
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}

// writeJSON writes each row as a JSON array on a line, numbers with all digits.
func (t *table) writeJSON(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, row := range t.rows {
		out.WriteByte('[')
		for i, v := range row {
			if i > 0 {
				out.WriteByte(',')
			}
			out.Write(native(t.columns[i], v))
		}
		out.WriteString("]\n")
	}
	return out.Flush()
}

// writeCSV writes a header and the rows as RFC 4180 has them, with line feeds.
func (t *table) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(t.names()); err != nil {
		return err
	}
	if err := t.writeRecords(out); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

func (t *table) names() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.Name
	}
	return names
}

func (t *table) writeRecords(out *csv.Writer) error {
	record := make([]string, len(t.columns))
	for _, row := range t.rows {
		for i, v := range row {
			record[i] = ""
			if v != nil {
				record[i] = *v
			}
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	return nil
}

// maxCell is how many letters of a value people see.
const maxCell = 100

// write writes the rows aligned for people: numbers to the right, control
// characters visible, long values cut.
func (t *table) write(w io.Writer) error {
	g := grid{head: t.names(), right: make([]bool, len(t.columns))}
	for i, c := range t.columns {
		g.head[i] = cell(c.Name)
		g.right[i] = slices.Contains([]string{"BYTE", "SHORT", "INT", "LONG", "FLOAT", "DOUBLE", "DECIMAL"}, c.TypeName)
	}
	for _, row := range t.rows {
		line := make([]string, len(row))
		for i, v := range row {
			line[i] = "NULL"
			if v != nil {
				line[i] = cell(*v)
			}
		}
		g.rows = append(g.rows, line)
	}
	return g.write(w)
}

// cell is a value on one line, with nothing in it that a terminal obeys.
func cell(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxCell {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// grid is text in columns.
type grid struct {
	head  []string
	right []bool // columns whose text ends at the same place
	rows  [][]string
	foot  []string // after a line; may be nil
}

func (g *grid) write(w io.Writer) error {
	all := append([][]string{g.head}, g.rows...)
	if g.foot != nil {
		all = append(all, g.foot)
	}
	widths := make([]int, len(g.head))
	for _, row := range all {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	out := bufio.NewWriter(w)
	line := func(row []string) {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				b.WriteString("  ")
			}
			if g.right[i] {
				b.WriteString(pad + c)
			} else {
				b.WriteString(c + pad)
			}
		}
		out.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	}
	rule := func() {
		dashes := make([]string, len(widths))
		for i, n := range widths {
			dashes[i] = strings.Repeat("-", n)
		}
		line(dashes)
	}
	line(g.head)
	rule()
	for _, row := range g.rows {
		line(row)
	}
	if g.foot != nil {
		if len(g.rows) > 0 {
			rule()
		}
		line(g.foot)
	}
	return out.Flush()
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
