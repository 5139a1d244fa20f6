package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// plan is a query that answers the question, or the reason why there is none.
type plan struct {
	f       function
	q       question
	values  []value
	groups  []column
	where   []string
	problem string
	careful bool // second try: casts that cannot fail
}

// value is one aggregate of a column; of all rows when the column is nil.
type value struct {
	fn       string
	column   *column
	distinct bool
}

// planFor finds the table that a question is about and what it asks. It
// reports false when the question asks nothing of the kind, or no table is on
// offer.
func planFor(q question, fs []function) (plan, bool) {
	if len(q.aggregates) == 0 {
		return plan{}, false
	}
	var best plan
	bestScore, tied := math.MinInt, []string{}
	for _, f := range fs {
		if f.table == nil {
			continue
		}
		p, score := planTable(q, f)
		switch {
		case score > bestScore:
			best, bestScore, tied = p, score, []string{f.table.name}
		case score == bestScore:
			tied = append(tied, f.table.name)
		}
	}
	switch {
	case len(tied) == 0:
		return plan{}, false
	case len(tied) > 1:
		return plan{problem: "I cannot tell which table you mean: " + strings.Join(tied, ", ") + ". Name one of them."}, true
	}
	return best, true
}

// planTable plans the question for one table and says how well it fits.
func planTable(q question, f function) (plan, int) {
	p, score := plan{f: f, q: q}, 0
	t := f.table
	if _, ok := q.find(t.name); ok {
		score += 1000
	}
	if _, ok := q.find(t.short()); ok {
		score += 50
	}
	if other := p.otherTable(); other != "" {
		p.problem = fmt.Sprintf("This request offers me no table %s; it offers %s.", other, t.name)
		return p, score - 1000
	}
	used := map[int]bool{} // tokens that are spoken for
	p.groups = p.findGroups(used)
	score += 10 * len(p.groups)
	if len(p.groups) > 0 {
		p.problem = "" // one of several words for it was understood
	} else if p.problem != "" {
		score -= 5
	}
	for _, a := range q.aggregates {
		if len(q.aggregates) > 1 && p.isColumn(a.at-1) {
			continue // "the average total", of a column named total
		}
		c := p.target(a, used)
		v := value{fn: a.fn, column: c}
		if c != nil {
			score += 10
			if strings.EqualFold(c.name, q.tokens[a.at-1]) {
				score -= 5 // only the word for the sum, "total", is its name
			}
		}
		switch {
		case a.fn == "count" && c == nil && !p.countsRows(a):
			p.problem = fmt.Sprintf("I do not know what to count: it is neither the rows of %s nor one of its %s. Name one of them.", t.name, t.columnList())
			score -= 5
		case a.fn == "count" && c != nil && c.numeric() && !strings.HasSuffix(c.name, "id") && q.has(a.at-3, []string{"total", "number", "of"}):
			v.fn = "sum" // the total number of votes, where a row has several
		case a.fn == "count":
			v.distinct = c != nil && (q.distinct || !c.numeric() && a.at < len(q.tokens) && q.tokens[a.at-1] == "many")
		case c == nil:
			p.problem = fmt.Sprintf("I did not find the column whose %s you want in %s; it has the %s. Name one of them.", label(a.fn), t.name, t.columnList())
			score -= 5
		case (a.fn == "sum" || a.fn == "avg") && !c.numeric():
			p.problem = fmt.Sprintf("The column %s of %s is of type %s: I can count it or give its minimum and maximum, but no %s.", c.name, t.name, c.typ, label(a.fn))
		}
		p.values = append(p.values, v)
	}
	for _, w := range beyond {
		if slices.Contains(q.tokens, w) {
			p.problem = "I can count, sum, average and give the minimum or maximum of one column, also by another one. I cannot do what “" + w + "” asks for."
		}
	}
	p.filters(used)
	return p, score + 10*len(p.where)
}

// otherTable is a dotted name in the question that is not of this table.
func (p *plan) otherTable() string {
	name := strings.ToLower(p.f.table.name)
	for _, w := range p.q.tokens {
		if strings.Contains(w, ".") && strings.ContainsAny(w, "abcdefghijklmnopqrstuvwxyz") &&
			w != name && !strings.HasSuffix(name, "."+w) && !strings.HasPrefix(w, name+".") {
			return w
		}
	}
	return ""
}

// spanEnd are words that end what "how many" is about.
var spanEnd = strings.Fields("are is by per for in have has had do does did were was there each every which and with from where that who to")

// countsRows reports whether a count without column is about the table's rows:
// what follows is its name, a word for rows, or nothing.
func (p *plan) countsRows(a aggregate) bool {
	said := false
	for i := a.at; i < len(p.q.tokens) && !slices.Contains(spanEnd, p.q.tokens[i]); i++ {
		w := stem(p.q.tokens[i])
		switch w {
		case "row", "record", "entry", "line", "element":
			return true
		case "the", "all", "of", "total", "number", "a", "please", "it", "them":
			continue
		}
		if p.q.tokens[i] == strings.ToLower(p.f.table.name) || slices.ContainsFunc(append(nameWords(p.f.table.short()), strings.ToLower(p.f.table.short())), func(n string) bool { return stem(n) == w }) {
			return true
		}
		said = true
	}
	return !said
}

// beyond are words of calculations that the rules do not know.
var beyond = []string{"times", "multiplied", "divided", "minus", "plus", "ratio", "percent", "percentage", "share", "median", "percentile", "deviation", "variance", "correlation", "trend", "growth"}

// isColumn reports whether the token alone is the name of a column.
func (p *plan) isColumn(i int) bool {
	return slices.ContainsFunc(p.f.table.columns, func(c column) bool { return strings.EqualFold(c.name, p.q.tokens[i]) })
}

// find is the column that the tokens from index i name, the longest name first.
func (p *plan) find(i int) (*column, int) {
	if i >= len(p.q.tokens) {
		return nil, 0
	}
	var best *column
	n := 0
	for j := range p.f.table.columns {
		c := &p.f.table.columns[j]
		if m := p.q.names(i, strings.ToLower(c.name), c.words); m > n {
			best, n = c, m
		}
	}
	if best != nil {
		return best, n
	}
	if stem(p.q.tokens[i]) == stem(strings.ToLower(p.f.table.short())) {
		return nil, 0
	}
	// One word of a longer name, if only one column has it.
	for j := range p.f.table.columns {
		c := &p.f.table.columns[j]
		if len(c.words) > 1 && slices.ContainsFunc(c.words, func(w string) bool { return w != "id" && stem(w) == stem(p.q.tokens[i]) }) {
			if best != nil {
				return nil, 0
			}
			best, n = c, 1
		}
	}
	return best, n
}

// findGroups reads "by country", "per year and status", "for each product".
func (p *plan) findGroups(used map[int]bool) []column {
	var groups []column
	add := func(i int) bool {
		for i < len(p.q.tokens) && (p.q.tokens[i] == "the" || p.q.tokens[i] == "each" || p.q.tokens[i] == "every") {
			i++
		}
		c, n := p.find(i)
		if c == nil {
			return false
		}
		for k := range n {
			used[i+k] = true
		}
		groups = append(groups, *c)
		if i+n < len(p.q.tokens) && p.q.tokens[i+n] == "and" {
			if next, m := p.find(i + n + 1); next != nil && len(groups) < 3 {
				for k := range m {
					used[i+n+1+k] = true
				}
				groups = append(groups, *next)
			}
		}
		return true
	}
	for i, w := range p.q.tokens {
		switch w {
		case "by", "per", "each", "every":
			if len(groups) == 0 && !add(i+1) && i+1 < len(p.q.tokens) && p.q.tokens[i+1] != "each" && p.q.tokens[i+1] != "every" {
				p.problem = fmt.Sprintf("I did not find the column that “%s %s” means in %s; it has the %s. Name one of them.", w, p.q.tokens[i+1], p.f.table.name, p.f.table.columnList())
			}
		case "which":
			if len(groups) == 0 && p.q.superlative != "" {
				add(i + 1)
			}
		}
	}
	return groups
}

// target is the column that an aggregate is of: the first one named after it,
// else one named before it.
func (p *plan) target(a aggregate, used map[int]bool) *column {
	t := p.f.table
	for i := a.at; i < len(p.q.tokens); i++ {
		c, _ := p.find(i)
		if c == nil || used[i] || c.boolean() {
			continue
		}
		if a.fn == "count" && (i > a.at+2 || stem(p.q.tokens[i]) == stem(strings.ToLower(t.short()))) {
			return nil // "how many reviews have a rating" counts reviews
		}
		if a.fn != "count" && !c.numeric() && (a.fn == "sum" || a.fn == "avg") && p.laterNumber(i+1, used) != nil {
			return p.laterNumber(i+1, used)
		}
		return c
	}
	if a.fn == "count" {
		return nil
	}
	for i := range min(a.at, len(p.q.tokens)) {
		if c, _ := p.find(i); c != nil && !used[i] && !c.boolean() {
			return c
		}
	}
	return nil
}

func (p *plan) laterNumber(i int, used map[int]bool) *column {
	for ; i < len(p.q.tokens); i++ {
		if c, _ := p.find(i); c != nil && !used[i] && c.numeric() {
			return c
		}
	}
	return nil
}

// filters takes sample values of columns that the message names. A value that
// a word of the language could be ("us", "no") must have its capitals too. A
// column that is true or false is a condition by itself.
func (p *plan) filters(used map[int]bool) {
	const short = 3
	for i := range p.q.tokens {
		if c, _ := p.find(i); c != nil && c.boolean() && !used[i] {
			not := ""
			if i > 0 && p.q.tokens[i-1] == "not" {
				not = "NOT "
			}
			p.where = append(p.where, not+quote(c.name))
		}
	}
	for _, c := range p.f.table.columns {
		for _, s := range c.samples {
			ws := token.FindAllString(strings.ToLower(s), -1)
			if len(ws) == 0 || len(s) <= short && !slices.Contains(token.FindAllString(p.q.text, maxTokens), s) {
				continue
			}
			for i := range p.q.tokens {
				if i+len(ws) <= len(p.q.tokens) && slices.Equal(p.q.tokens[i:i+len(ws)], ws) && !p.isName(i) && !slices.ContainsFunc(ws, saysAggregate) {
					p.where = append(p.where, quote(c.name)+" = "+literal(s))
					break
				}
			}
		}
	}
}

// saysAggregate reports whether a word asks for a calculation: a review whose
// text is "Average." does not make "the average" a condition.
func saysAggregate(w string) bool {
	return slices.ContainsFunc(phrases, func(p phrase) bool { return slices.Contains(strings.Fields(p.words), w) })
}

// isName reports whether the token names the table or a column.
func (p *plan) isName(i int) bool {
	c, _ := p.find(i)
	return c != nil || stem(p.q.tokens[i]) == stem(strings.ToLower(p.f.table.short()))
}

// sql writes the query.
func (p *plan) sql() string {
	var list, order []string
	for i, g := range p.groups {
		list = append(list, quote(g.name))
		order = append(order, fmt.Sprint(i+1))
	}
	for _, v := range p.values {
		list = append(list, p.expression(v)+" AS "+quote(v.alias()))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s FROM %s", strings.Join(list, ", "), p.f.table.from())
	if len(p.where) > 0 {
		fmt.Fprintf(&b, " WHERE %s", strings.Join(p.where, " AND "))
	}
	if len(p.groups) > 0 {
		fmt.Fprintf(&b, " GROUP BY %s", strings.Join(order, ", "))
		if p.q.superlative != "" {
			fmt.Fprintf(&b, " ORDER BY %d %s, 1 LIMIT 1", len(p.groups)+1, p.q.superlative)
		} else {
			fmt.Fprintf(&b, " ORDER BY %s", strings.Join(order, ", "))
		}
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
