package main

import (
	"fmt"
	"slices"
	"strings"
)

// targets finds what each aggregate is of. Two of them share a column only as
// in "the minimum and maximum stars".
func (p *plan) targets() {
	as := slices.Clone(p.aggregates)
	as = slices.DeleteFunc(as, func(a aggregate) bool {
		// In "the average total" of a column named total, that is no sum; what
		// stands in a condition is none either.
		return !p.free(a.start, a.at) || len(as) > 1 && p.isColumn(a.at-1)
	})
	var values []value
	var next value
	for i := len(as) - 1; i >= 0; i-- {
		a := as[i]
		at, listed := p.skip(a.at, nil), false
		for ; at < len(p.q.tokens) && (p.q.tokens[at] == "and" || articles[p.q.tokens[at]] && !p.isColumn(at)); at++ {
			listed = listed || p.q.tokens[at] == "and"
		}
		p.use(a.start, a.at)
		if i+1 < len(as) && at == as[i+1].start {
			listed = listed || p.q.comma[at]
			switch {
			case a.fn == "count" && as[i+1].fn == "count" && !listed:
				continue // "count the number of"
			case !listed:
				p.fail(fmt.Sprintf("I did not understand “%s %s”: I can compute one of them at a time.", a.words, as[i+1].words))
			case a.fn == "count":
				next = value{fn: "count"}
			default:
				next = value{fn: a.fn, column: next.column}
			}
			p.check(a, next, false)
			values = append(values, next)
			continue
		}
		var exact bool
		if a.fn == "count" {
			next = p.counted(a)
		} else {
			next.fn = a.fn
			next.column, exact = p.target(a)
			p.check(a, next, exact)
		}
		values = append(values, next)
	}
	slices.Reverse(values)
	p.values = append(p.values, values...)
}

// target is the column right after an aggregate, with nothing but conditions
// and the table's name between; else the one right before it; else itself,
// where a column is named "total". It reports whether the whole name was said.
func (p *plan) target(a aggregate) (*column, bool) {
	at := p.skip(a.at, p.cond)
	for at < len(p.noun) && p.noun[at] {
		at = p.skip(at+1, p.cond)
	}
	if c, n := p.find(at); c != nil && p.free(at, at+n) && !c.boolean() {
		p.use(at, at+n)
		return c, p.isColumn(at) || n == len(c.words)
	}
	if c, from := p.before(a.start, func(c *column) bool { return !c.boolean() }); c != nil {
		p.use(from, a.start)
		return c, true
	}
	if c, n := p.find(a.at - 1); n == 1 && p.isColumn(a.at-1) {
		return c, true
	}
	return nil, false
}

// check refuses aggregates that make no sense for their column.
func (p *plan) check(a aggregate, v value, exact bool) {
	t, c := p.f.table, v.column
	switch {
	case a.fn == "count":
	case c == nil:
		p.fail(fmt.Sprintf("I did not find the column whose %s you want in %s%s; it has the %s. Name one of them.", label(a.fn), t.name, p.unknown(), t.columnList()))
	case (a.fn == "sum" || a.fn == "avg") && !c.numeric():
		p.fail(fmt.Sprintf("The column %s of %s is of type %s: I can count it or give its minimum and maximum, but no %s.", c.name, t.name, c.typ, label(a.fn)))
	case c.id() && !exact:
		p.fail(fmt.Sprintf("I did not understand “%s” of something that %s has only as the number %s.", a.words, t.name, c.name))
	case kinds[a.words] != "" && !c.kind(kinds[a.words]),
		!c.numeric() && !c.temporal() && !slices.Contains([]string{"minimum", "maximum", "min", "max"}, a.words):
		p.fail(fmt.Sprintf("I did not understand “%s” of the column %s, which is of type %s.", a.words, c.name, c.typ))
	}
}

// unknown names the words that were not understood, for a message.
func (p *plan) unknown() string {
	left := slices.DeleteFunc(p.left(), func(w string) bool { return saysAggregate(strings.ToLower(w)) })
	if len(left) == 0 {
		return ""
	}
	return ", and I did not understand “" + strings.Join(left, "”, “") + "”"
}

// counted is what a count is of: the rows, or a column named right after it.
func (p *plan) counted(a aggregate) value {
	t := p.f.table
	rows := value{fn: "count"}
	at, distinct := p.skip(a.at, p.cond), -1
	if w := p.q.word(at); w == "different" || w == "distinct" || w == "unique" {
		distinct = at
		at = p.skip(at+1, p.cond)
	}
	w := p.q.word(at)
	c, n := p.find(at)
	switch {
	case at < len(p.noun) && p.noun[at] && (distinct < 0 || c == nil), rowWords[w]:
		return rows // with "distinct" before it, that word is left
	case c != nil && !p.used[at] && !c.boolean():
		p.use(at, at+n)
		if distinct >= 0 {
			p.use(distinct, distinct+1)
		}
	case at >= len(p.q.tokens), spanEnd[w], p.used[at], slices.ContainsFunc(p.q.overall, func(m mention) bool { return m.at == at }), at > a.at && p.sentenceEnds(a.at):
		return rows
	default:
		p.fail(fmt.Sprintf("I do not know what to count: “%s” is neither the rows of %s nor one of its %s. Name one of them.", p.q.raw[at], t.name, t.columnList()))
		return rows
	}
	v := value{fn: "count", column: c, distinct: distinct >= 0}
	named := a.words == "how many" || strings.Contains(a.words, "number") || stem(w) != w && !p.isColumn(at)
	switch {
	case v.distinct:
	case !measure(c):
		v.distinct = named
	case a.words == "total number of", a.words == "total number", len(p.q.overall) > 0 && a.words != "count" && a.words != "count of":
		v.fn = "sum" // the total number of votes, where a row has several
	case named && a.words != "count of" && a.words != "count":
		p.fail(fmt.Sprintf("I do not know whether “%s %s” means the rows or the sum of the column: ask for the total %s, or how many rows %s has.", a.words, w, c.name, t.short()))
	}
	return v
}

// sentenceEnds reports whether a sentence ends before token i.
func (p *plan) sentenceEnds(i int) bool {
	return i > 0 && i < len(p.q.sentence) && p.q.sentence[i] != p.q.sentence[i-1]
}
