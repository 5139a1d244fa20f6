package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// sql writes the query for the table's own function.
func (p *plan) sql() string { return p.query(p.f.table.from()) }

// query writes the query with the table as it is called in FROM.
func (p *plan) query(from string) string {
	var list, order []string
	for i, g := range p.groups {
		list = append(list, quote(g.name))
		order = append(order, fmt.Sprint(i+1))
	}
	for _, v := range p.values {
		list = append(list, p.expression(v)+" AS "+quote(v.alias()))
	}
	if p.single != nil {
		list = append(list, quote(p.single.name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s FROM %s", strings.Join(list, ", "), from)
	if len(p.where) > 0 {
		fmt.Fprintf(&b, " WHERE %s", strings.Join(p.where, " AND "))
	}
	if len(p.groups) > 0 && p.single == nil {
		fmt.Fprintf(&b, " GROUP BY %s", strings.Join(order, ", "))
	}
	switch {
	case p.order != "":
		fmt.Fprintf(&b, " ORDER BY %d %s, 1 LIMIT %d", len(p.groups)+1, p.order, p.limit)
	case len(p.groups) > 0:
		fmt.Fprintf(&b, " ORDER BY %s", strings.Join(order, ", "))
	}
	return b.String()
}

func (p *plan) expression(v value) string {
	if v.column == nil {
		return "count(*)"
	}
	c := quote(v.column.name)
	switch {
	case v.distinct:
		c = "DISTINCT " + c
	case p.careful && (v.fn == "sum" || v.fn == "avg"):
		c = "TRY_CAST(" + c + " AS DOUBLE)"
	}
	return v.fn + "(" + c + ")"
}

// alias is what the value is called in the answer.
func (v value) alias() string {
	switch {
	case v.column == nil:
		return "number of rows"
	case v.distinct:
		return "number of different " + v.column.name
	}
	return label(v.fn) + " of " + v.column.name
}

func label(fn string) string {
	return map[string]string{"count": "count", "sum": "sum", "avg": "average", "min": "minimum", "max": "maximum"}[fn]
}

// call is the plan as a function call.
func (p *plan) call() reply {
	b, err := json.Marshal(map[string]string{"sql": p.sql()})
	if err != nil {
		return reply{text: intro + "I could not write the query."}
	}
	return reply{call: p.f.name, args: string(b)}
}
