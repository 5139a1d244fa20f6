package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// rank reads what asks for the first rows or groups in some order.
func (p *plan) rank() {
	for i, w := range p.q.tokens {
		if p.used[i] || p.order != "" {
			continue
		}
		switch w {
		case "top", "bottom":
			p.top(i)
		case "which", "what":
			p.which(i)
		}
	}
	for _, a := range p.aggregates {
		if kinds[a.words] != "" && p.order == "" && p.free(a.start, a.at) {
			p.extreme(a)
		}
	}
}

// drop takes out an aggregate that was the word for an order.
func (p *plan) drop(start int) {
	p.aggregates = slices.DeleteFunc(slices.Clone(p.aggregates), func(a aggregate) bool { return a.start == start })
}

// top reads "top 3 countries by total amount".
func (p *plan) top(i int) {
	limit, err := strconv.Atoi(p.q.word(i + 1))
	if n, ok := number(p.q.word(i + 1)); ok && err != nil {
		limit, err = strconv.Atoi(n)
	}
	if err != nil || limit < 1 || limit > maxRows {
		return
	}
	c, n := p.find(i + 2)
	isRow := i+2 < len(p.noun) && p.noun[i+2]
	by := slices.Index(p.q.tokens[i:], "by") + i
	if c == nil && !isRow || by < i+2 {
		return
	}
	at := p.skip(by+1, nil)
	order := map[string]string{"top": "DESC", "bottom": "ASC"}[p.q.tokens[i]]
	switch {
	case slices.ContainsFunc(p.aggregates, func(a aggregate) bool { return a.start == at }):
		if c == nil || len(p.groups) > 0 {
			return
		}
		p.groups = []column{*c}
	case isRow:
		m, k := p.find(at)
		if m == nil || !measure(m) {
			return
		}
		p.groups, p.single = p.labels(), m
		p.use(at, at+k)
	default:
		return
	}
	p.order, p.limit = order, limit
	p.use(i, i+2+max(n, 1))
	p.use(by, by+1)
}

// which reads "which country has the most reviews", "which store has the most
// staff".
func (p *plan) which(i int) {
	c, n := p.find(i + 1)
	isRow := i+1 < len(p.noun) && p.noun[i+1]
	k := i + 1
	for k < len(p.q.tokens) && (ranks[p.q.tokens[k]] == "" || p.used[k]) {
		k++
	}
	if c == nil && !isRow || k == len(p.q.tokens) || kindAt(p.aggregates, k) {
		return
	}
	after, word := k+1, p.q.tokens[k]
	p.drop(k)
	if p.q.has(after, []string{"number", "of"}) {
		after += 2
		p.drop(k + 1)
	}
	refuse := func(why string) {
		p.fail(fmt.Sprintf("I did not understand “%s”: %s.", strings.TrimSpace(word+" "+p.q.word(after)), why))
	}
	v := value{}
	at := p.skip(after, p.cond)
	if len(p.groups) > 0 || len(p.aggregates) > 1 {
		refuse("I can order by one value only")
		return
	}
	if len(p.aggregates) == 0 {
		t, m := p.find(at)
		switch {
		case at < len(p.noun) && (p.noun[at] || rowWords[p.q.tokens[at]]):
			v = value{fn: "count"}
			m = 1
		case t != nil && measure(t) && isRow:
			p.single = t
		case t != nil && measure(t):
			refuse(fmt.Sprintf("several rows have one %s; ask for the highest or lowest total %s or average %s", p.q.word(i+1), t.name, t.name))
			return
		case t != nil && (t.id() || t.text()) && (word == "most" || word == "fewest"):
			v = value{fn: "count", column: t, distinct: true}
		default:
			refuse("after it I know only the rows of the table, a total or average, or a column of numbers")
			return
		}
		p.use(at, at+m)
	}
	switch {
	case p.single != nil:
		p.groups = p.labels()
	case c == nil:
		refuse(fmt.Sprintf("name a column to compare: %s has the %s", p.f.table.name, p.f.table.columnList()))
		return
	default:
		p.groups = []column{*c}
	}
	if v.fn != "" {
		p.values = append(p.values, v)
	}
	p.order, p.limit = ranks[word], 1
	p.use(i, i+1+max(n, 1))
	p.use(k, after)
}

func kindAt(as []aggregate, at int) bool {
	return slices.ContainsFunc(as, func(a aggregate) bool { return a.start == at && kinds[a.words] != "" })
}

// extreme reads "the cheapest product", "which store is the oldest".
func (p *plan) extreme(a aggregate) {
	kind := kinds[a.words]
	at := p.skip(a.at, p.cond)
	c, n := p.find(at)
	if c != nil && c.kind(kind) {
		return // "the latest created_at" is a plain maximum
	}
	if c == nil && !(at < len(p.noun) && p.noun[at]) {
		at = slices.IndexFunc(p.q.tokens, func(w string) bool { return w == "which" || w == "what" }) + 1
		if at > 0 {
			c, n = p.find(at)
		}
	}
	isRow := at > 0 && at < len(p.noun) && p.noun[at]
	var by []*column
	for j := range p.f.table.columns {
		if t := &p.f.table.columns[j]; t.kind(kind) {
			by = append(by, t)
		}
	}
	switch {
	case c == nil && !isRow, c != nil && !isRow && !c.text() && !c.id():
		p.fail(fmt.Sprintf("I did not understand what “%s” is about in %s.", a.words, p.f.table.name))
		return
	case len(by) != 1:
		p.fail(fmt.Sprintf("I did not understand “%s”: %d columns of %s could say it, and I need exactly one.", a.words, len(by), p.f.table.name))
		return
	case len(p.groups) > 0 || len(p.aggregates) > 1:
		p.fail(fmt.Sprintf("I understand “%s” only as a question of its own.", a.words))
		return
	}
	p.groups = []column{}
	if isRow {
		p.groups = p.labels()
	} else {
		p.groups = append(p.groups, *c)
	}
	p.single, p.limit, p.order = by[0], 1, map[string]string{"min": "ASC", "max": "DESC"}[a.fn]
	p.drop(a.start)
	p.use(a.start, a.at)
	p.use(at, at+max(n, 1))
}

// labels are the columns that tell which row it is: its name, else its number
// and its first text.
func (p *plan) labels() []column {
	short := stem(strings.ToLower(p.f.table.short()))
	var id, text []column
	for _, c := range p.f.table.columns {
		name := strings.ToLower(c.name)
		switch {
		case c.text() && (name == short || name == "name" || name == short+"_name"):
			return []column{c}
		case name == "id" || name == short+"_id":
			id = append(id, c)
		case c.text():
			text = append(text, c)
		}
	}
	return append(id[:min(1, len(id))], text[:min(1, len(text))]...)
}
