package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// plan is a query that answers the question, or the reason why there is none.
// It answers only if every token of the question was used or changes nothing.
type plan struct {
	f          function
	q          question
	aggregates []aggregate
	values     []value
	groups     []column
	single     *column // column of single rows that are ordered by it; no groups then
	where      []string
	order      string // DESC or ASC, of the value
	limit      int
	problem    string
	careful    bool // second try: casts that cannot fail

	used     []bool          // tokens that had a part in the query
	noun     []bool          // tokens that name the table
	cond     []bool          // tokens of conditions
	limited  map[string]bool // columns with a condition; whether it is a bound
	listed   []column        // columns with several values
	outside  map[int]int     // negations, and where what they are about ends
	compared bool            // a condition compares numbers
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
	if !q.asks() {
		return plan{}, false
	}
	var best plan
	bestScore, tied, named := math.MinInt, []string{}, []string{}
	for _, f := range fs {
		if f.table == nil {
			continue
		}
		p, score := planTable(q, f)
		const bad = 1 << 20
		if p.problem != "" {
			score -= bad
		}
		switch {
		case score > bestScore:
			best, bestScore, tied = p, score, []string{f.table.name}
		case score == bestScore:
			tied = append(tied, f.table.name)
		}
		if slices.Contains(p.noun, true) {
			named = append(named, f.table.short())
		}
	}
	switch {
	case len(tied) == 0:
		return plan{}, false
	case best.problem != "" && len(named) > 1:
		best.problem = fmt.Sprintf("I can answer about one table at a time, and your question names %s. ", join(named)) + best.problem
	case len(tied) > 1 && best.problem == "":
		best = plan{f: best.f, problem: "I cannot tell which table you mean: " + strings.Join(tied, ", ") + ". Name one of them."}
	}
	if best.problem != "" {
		best.problem += fmt.Sprintf(" A question that works is: \"%s\"", best.f.table.example())
	}
	return best, true
}

// fail says why there is no answer; the first reason counts.
func (p *plan) fail(why string) {
	if p.problem == "" {
		p.problem = why
	}
}

func (p *plan) use(from, to int) {
	for i := from; i < min(to, len(p.used)); i++ {
		p.used[i] = true
	}
}

// skip is the first token from i on that is neither an article nor in also.
func (p *plan) skip(i int, also []bool) int {
	for i < len(p.q.tokens) && (articles[p.q.tokens[i]] && !p.isColumn(i) || also != nil && also[i]) {
		i++
	}
	return i
}

// planTable plans the question for one table and says how well it fits.
func planTable(q question, f function) (plan, int) {
	n := len(q.tokens)
	p := plan{f: f, q: q, aggregates: q.aggregates, used: make([]bool, n), noun: make([]bool, n), cond: make([]bool, n), limited: map[string]bool{}, outside: map[int]int{}}
	score := p.nouns()
	if other := p.otherTable(); other != "" {
		p.fail(fmt.Sprintf("This request offers me no table %s; it offers %s.", other, f.table.name))
		return p, score - 1000
	}
	if q.long {
		p.fail(fmt.Sprintf("Your message has more than %d words; I understand only short questions.", maxTokens))
	}
	p.findGroups()
	p.conditions()
	p.rank()
	p.targets()
	for i, w := range q.tokens {
		// "Compare DE and FR": each value by itself.
		if w == "compare" && (len(p.groups) > 0 || len(p.listed) == 1) {
			p.use(i, i+1)
			if len(p.groups) == 0 {
				p.groups = p.listed
			}
		}
	}
	for _, m := range q.overall {
		p.use(m.at, m.at+m.n)
	}
	p.together()
	if left := p.left(); len(left) > 0 {
		p.fail("I did not understand “" + strings.Join(left, "”, “") + "” in your question, and an answer without it could be wrong. I can count, sum, average and give the minimum or maximum of a column of " + f.table.name + ", by another column, for rows with given values, numbers or years.")
	}
	if len(p.values) == 0 && p.single == nil {
		p.fail("I did not understand what to compute from " + f.table.name + ".")
	}
	for _, v := range p.values {
		if v.column != nil {
			score += 10
			if slices.ContainsFunc(q.aggregates, func(a aggregate) bool { return strings.EqualFold(v.column.name, a.words) }) {
				score -= 5 // only the word for the sum, "total", is its name
			}
		}
	}
	return p, score + 10*len(p.groups) + 10*len(p.where)
}

// together refuses what is more than one question, and conditions of which one
// cannot tell what they belong to.
func (p *plan) together() {
	const one = "I can answer one question at a time: ask for each number by itself."
	asked, sentences := 0, map[int]bool{}
	for _, w := range p.q.tokens {
		if w == "how" || w == "what" || w == "which" {
			asked++
		}
	}
	for _, a := range p.q.aggregates {
		sentences[p.q.sentence[a.start]] = true
	}
	seen := map[string]bool{}
	for _, v := range p.values {
		if seen[v.alias()] {
			p.fail(one)
		}
		seen[v.alias()] = true
	}
	own := map[string]bool{}
	for _, v := range p.values {
		if v.column != nil {
			own[v.column.name] = true
		}
	}
	limited := len(p.where) > 0 || len(p.groups) > 0
	if len(p.values) > 1 && limited && (asked > 1 || len(sentences) > 1) || len(own) > 1 && len(p.where) > 0 ||
		len(p.values) > 1 && len(p.where) > 0 && len(own) == 1 && slices.ContainsFunc(p.values, func(v value) bool { return v.column == nil }) {
		p.fail(one)
	}
	for i, c := range p.cond {
		if c && len(sentences) > 0 && !sentences[p.q.sentence[i]] {
			p.fail(fmt.Sprintf("I did not understand what “%s” belongs to: put all of the question into one sentence.", p.q.raw[i]))
		}
	}
	if p.compared && slices.ContainsFunc(p.values, func(v value) bool { return v.distinct }) {
		p.fail("I can compare the numbers of rows, not of what is counted here: I did not understand the comparison with a number.")
	}
}

// maybeValue reports whether a word such as "us" stands where it could be the
// value that is written "US".
func (p *plan) maybeValue(i int) bool {
	before := p.q.word(i - 1)
	if !slices.Contains([]string{"in", "from", "for", "of", "the", "not"}, before) {
		return false
	}
	return slices.ContainsFunc(p.f.table.columns, func(c column) bool {
		return slices.ContainsFunc(c.samples, func(s string) bool { return strings.EqualFold(s, p.q.tokens[i]) })
	})
}

// left are the tokens that had no part in the query and may change the answer.
func (p *plan) left() []string {
	var left []string
	for i, w := range p.q.tokens {
		if !p.used[i] && !p.noun[i] && (!fillers[w] || p.isColumn(i) || p.maybeValue(i)) && !slices.Contains(left, p.q.raw[i]) {
			left = append(left, p.q.raw[i])
		}
	}
	const most = 8
	if len(left) > most {
		left = append(left[:most], "…")
	}
	return left
}

// nouns marks where the table is named and says how clearly.
func (p *plan) nouns() int {
	t, score := p.f.table, 0
	short := t.short()
	ws := nameWords(short)
	last := ""
	for _, w := range ws {
		if strings.ContainsAny(w, "abcdefghijklmnopqrstuvwxyz") {
			last = w
		}
	}
	mark := func(i, n int) {
		for j := range n {
			p.noun[i+j] = true
		}
	}
	for i, w := range p.q.tokens {
		switch n := p.q.names(i, strings.ToLower(short), ws); {
		case w == strings.ToLower(t.name), strings.Contains(w, ".") && strings.HasSuffix(strings.ToLower(t.name), "."+w):
			mark(i, 1)
			score = max(score, 1000)
		case n > 0:
			mark(i, n)
			score = max(score, 50)
		case last != "" && stem(last) == stem(w) && !p.isColumn(i):
			mark(i, 1)
			score = max(score, 10)
		}
	}
	return score
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

// isColumn reports whether the token alone is the name of a column.
func (p *plan) isColumn(i int) bool {
	return i >= 0 && i < len(p.q.tokens) && slices.ContainsFunc(p.f.table.columns, func(c column) bool { return strings.EqualFold(c.name, p.q.tokens[i]) })
}

// isName reports whether the token names the table or a column.
func (p *plan) isName(i int) bool {
	c, _ := p.find(i)
	return c != nil || p.noun[i]
}

// find is the column that the tokens from index i name, the longest name first.
func (p *plan) find(i int) (*column, int) {
	if i < 0 || i >= len(p.q.tokens) {
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
	w := p.q.tokens[i]
	if best != nil || p.noun[i] || fillers[w] || saysAggregate(w) || years[w] != "" || w == "id" || w == "by" {
		return best, n
	}
	// One word of a longer name, if only one column has it.
	for j := range p.f.table.columns {
		c := &p.f.table.columns[j]
		if len(c.words) > 1 && slices.ContainsFunc(c.words, func(own string) bool { return stem(own) == stem(w) }) {
			if best != nil {
				return nil, 0
			}
			best, n = c, 1
		}
	}
	return best, n
}

// findGroups reads "by country", "per year and status", "for each product".
func (p *plan) findGroups() {
	every := func(w string) bool { return w == "each" || w == "every" }
	for i := 0; i < len(p.q.tokens) && len(p.groups) == 0; i++ {
		w := p.q.tokens[i]
		if w != "by" && w != "per" && !every(w) || w == "by" && slices.ContainsFunc(p.q.tokens[:i], func(w string) bool { return w == "top" || w == "bottom" }) {
			continue
		}
		from := i
		for i+1 < len(p.q.tokens) && (p.q.tokens[i+1] == "the" || every(p.q.tokens[i+1])) {
			i++
		}
		at := i + 1
		for len(p.groups) < 3 {
			c, n := p.find(at)
			if c == nil || slices.ContainsFunc(p.groups, func(g column) bool { return g.name == c.name }) {
				break
			}
			p.groups = append(p.groups, *c)
			at += n
			if p.q.word(at) == "name" && !p.isColumn(at) {
				at++ // "by product name"
			}
			p.use(from, at)
			if p.q.word(at) == "and" {
				at++
			} else if at >= len(p.q.tokens) || !p.q.comma[at] {
				break
			}
		}
		if len(p.groups) == 0 && i+1 < len(p.q.tokens) {
			p.fail(fmt.Sprintf("I did not find the column that “%s %s” means in %s; it has the %s. Name one of them.", w, p.q.tokens[i+1], p.f.table.name, p.f.table.columnList()))
		}
	}
}
