package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// rows is the output of a table's function.
type rows struct {
	Columns   []string            `json:"columns"`
	Rows      [][]json.RawMessage `json:"rows"`
	Truncated bool                `json:"is_truncated"`
}

func readRows(text string) (rows, bool) {
	var r rows
	err := json.Unmarshal([]byte(text), &r)
	return r, err == nil && len(r.Columns) > 0
}

// maxRows is how many rows of a result are repeated.
const maxRows = 100

// tell says one row in a sentence, and several as a table. The digits are the
// engine's own.
func (r rows) tell(t *table, q question) string {
	switch len(r.Rows) {
	case 0:
		return "The table " + t.name + " has no row for that."
	case 1:
		var said []string
		for i, c := range r.Columns {
			if i < len(r.Rows[0]) {
				said = append(said, fmt.Sprintf("the %s is %s", c, cell(r.Rows[0][i])))
			}
		}
		return "In " + t.name + ", " + join(said) + "." + unplaced(t, q)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "This is what %s says.%s\n\n| %s |\n|%s\n", t.name, unplaced(t, q), strings.Join(r.Columns, " | "), strings.Repeat(" --- |", len(r.Columns)))
	for i, row := range r.Rows {
		if i == maxRows {
			fmt.Fprintf(&b, "\nand %d more rows", len(r.Rows)-maxRows)
			break
		}
		b.WriteString("|")
		for _, v := range row {
			b.WriteString(" " + strings.ReplaceAll(cell(v), "|", "\\|") + " |")
		}
		b.WriteString("\n")
	}
	if r.Truncated {
		b.WriteString("\nThere are more rows than these.")
	}
	return b.String()
}

// conditional words begin conditions that the rules do not know.
var conditional = []string{"where", "above", "below", "over", "under", "than", "since", "before", "after", "between", "except", "without", "only", "not"}

// unplaced warns of what in the question had no part in the query: the rules
// know no condition but the sample values of a column.
func unplaced(t *table, q question) string {
	var unknown []string
	for _, c := range append(names(q.text), numbers.FindAllString(q.text, -1)...) {
		for _, w := range token.FindAllString(strings.ToLower(c), -1) {
			if !t.knows(w) && !slices.Contains(unknown, c) {
				unknown = append(unknown, c)
			}
		}
	}
	for _, w := range conditional {
		if i := slices.Index(q.tokens, w); i >= 0 && !(w == "not" && i+1 < len(q.tokens) && t.knows(q.tokens[i+1])) {
			unknown = append(unknown, w)
		}
	}
	if len(unknown) == 0 {
		return ""
	}
	return " I did not understand “" + strings.Join(unknown, "”, “") + "” in your question: as a condition I know only the sample values of a column, so this was not applied."
}

func join(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// cell is a JSON value for people: a string without its quotes.
func cell(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil && string(v) != "null" {
		return strings.ReplaceAll(s, "\n", " ")
	}
	return string(v)
}
