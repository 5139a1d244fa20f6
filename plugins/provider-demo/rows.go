package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
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

// tell says one row in a sentence, and several as a table.
func (r rows) tell(t *table) string {
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
		return "In " + t.name + ", " + join(said) + "."
	}
	return "This is what " + t.name + " says.\n\n" + r.table()
}

// table writes the rows as a table.
func (r rows) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(r.Columns, " | "), strings.Repeat(" --- |", len(r.Columns)))
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
	return strings.TrimRight(b.String(), "\n")
}

func join(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// cell is a JSON value for people: a string without its quotes, and a number
// with a fraction rounded.
func cell(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil && string(v) != "null" {
		return strings.ReplaceAll(s, "\n", " ")
	}
	return rounded(string(v))
}

// rounded shows a number with a fraction to six decimals, a small one to six
// digits. Anything else, and what a float cannot hold, stays as it is.
func rounded(v string) string {
	const digits, exact = 6, 1 << 53
	if !strings.ContainsAny(v, ".eE") {
		return v
	}
	x, err := strconv.ParseFloat(v, 64)
	switch {
	case err != nil, math.Abs(x) >= exact:
		return v
	case math.Abs(x) < 1:
		return strconv.FormatFloat(x, 'g', digits, 64)
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(x, 'f', digits, 64), "0"), ".")
}
