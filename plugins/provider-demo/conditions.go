package main

import (
	"fmt"
	"slices"
	"strings"
)

// conditions reads what the question says about the rows. What it does not
// understand stays unused, and the question is then refused.
func (p *plan) conditions() {
	for i := range p.q.tokens {
		p.year(i)
	}
	for i := range p.q.tokens {
		p.comparison(i)
	}
	for i := range p.q.tokens {
		p.equality(i)
	}
	for i := range p.q.tokens {
		p.oneOf(i)
		p.flag(i)
	}
	// "Excluding cancelled orders in DE": are all those out, or only these?
	for i, to := range p.outside {
		later := slices.Index(p.cond[to:], true) + to
		if later < to {
			continue
		}
		between := p.q.tokens[to:later]
		if w := p.q.tokens[i]; w != "not" && w != "non" || slices.Contains(between, "and") || slices.Contains(between, "or") || p.q.comma[later] {
			p.fail(fmt.Sprintf("I do not know whether “%s” is also about “%s”: name the other conditions first.", w, p.q.raw[later]))
		}
	}
}

// only adds a condition, and refuses two for one column unless both are bounds.
func (p *plan) only(c *column, op, sql string, from, to int) {
	bound := op != "=" && op != "<>"
	if had, ok := p.limited[c.name]; ok && !(had && bound) {
		p.fail(fmt.Sprintf("There are two conditions for the column %s, at “%s”, and I do not know how they belong together.", c.name, strings.Join(p.q.raw[from:to], " ")))
	}
	p.limited[c.name] = bound
	p.where = append(p.where, sql)
	p.use(from, to)
	for i := from; i < to; i++ {
		p.cond[i] = true
	}
}

func (p *plan) free(from, to int) bool {
	return from >= 0 && to <= len(p.used) && !slices.Contains(p.used[from:to], true)
}

// before is the column that is named right before token i.
func (p *plan) before(i int, fits func(*column) bool) (*column, int) {
	for i > 0 && linking[p.q.tokens[i-1]] {
		i--
	}
	for j := max(0, i-4); j < i; j++ {
		if c, n := p.find(j); c != nil && j+n == i && fits(c) && p.free(j, i) {
			return c, j
		}
	}
	return nil, 0
}

// year reads "in 2024", "opened before 2010".
func (p *plan) year(i int) {
	op := years[p.q.word(i-1)]
	if !yearNumber.MatchString(p.q.tokens[i]) || op == "" || !p.free(i-1, i+1) {
		return
	}
	c, from := p.before(i-1, (*column).temporal)
	if c == nil {
		from = i - 1
		for j := range p.f.table.columns {
			if t := &p.f.table.columns[j]; t.temporal() {
				if c != nil {
					return // which one?
				}
				c = t
			}
		}
		// "stores in 2024" are not those opened then; nor are "orders shipped
		// in 2024" those ordered then.
		if c == nil || !slices.Contains([]string{"at", "on", "date", "day", "time", "timestamp"}, c.words[len(c.words)-1]) {
			return
		}
		if w := p.q.word(i - 2); strings.HasSuffix(w, "ed") {
			p.fail(fmt.Sprintf("I do not know which column of %s says when something was “%s”.", p.f.table.name, w))
			return
		}
	}
	p.only(c, op, fmt.Sprintf("extract(year FROM %s) %s %s", quote(c.name), op, p.q.tokens[i]), from, i+1)
}

func measure(c *column) bool { return c.numeric() && !c.id() }

// comparison reads "stars above 3", "more than 3 stars".
func (p *plan) comparison(i int) {
	for _, o := range comparisons {
		ws := strings.Fields(o.words)
		if !slices.Equal(p.q.tokens[i:min(i+len(ws), len(p.q.tokens))], ws) {
			continue
		}
		at := i + len(ws)
		n, ok := number(p.q.word(at))
		if !ok || !p.free(i, at+1) {
			return
		}
		if c, from := p.before(i, (*column).numeric); c != nil {
			p.compare(c, o.fn, n, from, at+1)
		} else if c, m := p.find(at + 1); c != nil && measure(c) && p.free(at+1, at+1+m) {
			p.compare(c, o.fn, n, i, at+1+m)
		}
		return
	}
}

func (p *plan) compare(c *column, op, n string, from, to int) {
	p.compared = true
	p.only(c, op, quote(c.name)+" "+op+" "+n, from, to)
}

// equality reads "with 5 stars", "5-star reviews", "quantity is 3".
func (p *plan) equality(i int) {
	n, ok := number(p.q.tokens[i])
	if !ok || !p.free(i, i+1) {
		return
	}
	if c, from := p.before(i, (*column).numeric); c != nil {
		p.compare(c, "=", n, from, i+1)
		return
	}
	c, m := p.find(i + 1)
	if c == nil || !measure(c) || !p.free(i+1, i+1+m) {
		return
	}
	to := i + 1 + m
	switch p.q.word(i - 1) {
	case "with", "have", "has", "had", "having":
		p.compare(c, "=", n, i, to)
	case "many", "the", "of", "all":
		if to < len(p.noun) && p.noun[to] {
			p.compare(c, "=", n, i, to)
		}
	}
}

// valueAt is the sample value that the tokens from i on are, the longest one,
// and the column that it is of. A value that a word of the language could be
// ("us", "no") must have its capitals too.
func (p *plan) valueAt(i int, want *column) (c *column, values []string, n int) {
	const short = 3
	several := false
	for j := range p.f.table.columns {
		t := &p.f.table.columns[j]
		if want != nil && want != t || !t.text() {
			continue
		}
		for k, s := range t.samples {
			ws := t.tokens[k]
			if len(ws) < max(n, 1) || i+len(ws) > len(p.q.tokens) || !slices.Equal(p.q.tokens[i:i+len(ws)], ws) || !p.free(i, i+len(ws)) || strings.ContainsAny(s, "\\…") {
				continue
			}
			if _, isNumber := number(ws[0]); isNumber && len(ws) == 1 || len(s) <= short && (p.q.raw[i] != s || p.q.shouted) || len(ws) == 1 && fillers[ws[0]] && (len(s) > short || len(s) == 1) || p.isName(i) || slices.ContainsFunc(ws, saysAggregate) {
				continue
			}
			if len(ws) > n {
				c, values, several = t, nil, false
			}
			several = several || c != t
			c, values, n = t, append(values, s), len(ws)
		}
	}
	if several {
		return nil, nil, 0
	}
	return c, values, n
}

// oneOf reads values of one column: "in DE", "delivered or shipped", "status
// shipped", "not in DE".
func (p *plan) oneOf(i int) {
	from := i
	c, values, n := p.valueAt(i, nil)
	if named, at := p.before(i, func(*column) bool { return true }); named != nil {
		if nc, vs, m := p.valueAt(i, named); m > 0 {
			c, values, n, from = nc, vs, m, at
		}
	}
	if c == nil {
		return
	}
	to := i + n
	for {
		next, said := to, to < len(p.q.comma) && p.q.comma[to]
		if w := p.q.word(next); w == "and" || w == "or" {
			next, said = next+1, true
		}
		for slices.Contains([]string{"in", "from", "the", "for"}, p.q.word(next)) {
			next++
		}
		if !said || next >= len(p.q.tokens) {
			break
		}
		_, more, m := p.valueAt(next, c)
		if m == 0 {
			break
		}
		values, to = append(values, more...), next+m
	}
	if nc, m := p.find(to); nc == c && p.free(to, to+m) {
		to += m // "shipped status"
	}
	from, not := p.negated(from)
	at := from // of the negation
	if _, at := p.before(from, func(b *column) bool { return b == c }); not && from > 0 && at < from && p.named(at, c) {
		from = at // "the status is not shipped"
	}
	for j, v := range values {
		values[j] = literal(v)
	}
	list, col, op := strings.Join(values, ", "), quote(c.name), "="
	sql := col + " = " + list
	switch {
	case not && len(values) == 1:
		sql, op = fmt.Sprintf("(%s <> %s OR %s IS NULL)", col, list, col), "<>"
	case not:
		sql, op = fmt.Sprintf("(%s NOT IN (%s) OR %s IS NULL)", col, list, col), "<>"
	case len(values) > 1:
		sql = col + " IN (" + list + ")"
		p.listed = append(p.listed, *c)
	}
	if not {
		p.outside[at] = to
	}
	p.only(c, op, sql, from, to)
}

// named reports whether c is named at token i.
func (p *plan) named(i int, c *column) bool {
	found, _ := p.find(i)
	return found == c
}

// negated looks for a negation right before token i. What it finds there is
// part of the condition.
func (p *plan) negated(i int) (int, bool) {
	j := i
	for j > 0 && slices.Contains([]string{"in", "from", "the", "for", "any", "those", "a"}, p.q.tokens[j-1]) {
		j--
	}
	for at := range []int{0, 1} { // "except for": the preposition is the negation's
		for _, w := range negations {
			ws := strings.Fields(w)
			if from := j + at - len(ws); j+at <= i && from >= 0 && slices.Equal(p.q.tokens[from:j+at], ws) && p.free(from, i) {
				return from, true
			}
		}
	}
	return i, false
}

// flag reads a column that is true or false: it is a condition by itself.
func (p *plan) flag(i int) {
	c, n := p.find(i)
	if c == nil || !c.boolean() || !p.free(i, i+n) {
		return
	}
	from, not := p.negated(i)
	sql := quote(c.name)
	if not {
		sql = "NOT " + sql
		p.outside[from] = i + n
	}
	p.only(c, "=", sql, from, i+n)
}
