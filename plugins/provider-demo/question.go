package main

import (
	"regexp"
	"slices"
	"strings"
)

// question is what the rules see in a message.
type question struct {
	text        string
	tokens      []string // lower case
	aggregates  []aggregate
	distinct    bool
	superlative string // DESC or ASC, of "which country has the most …"
}

// aggregate is one thing to compute, and where the message says so.
type aggregate struct {
	fn string // count, sum, avg, min, max
	at int    // index of the token after its words
}

var token = regexp.MustCompile(`[\p{L}\p{N}_]+(?:\.[\p{L}\p{N}_]+)*`)

type phrase struct{ words, fn string }

// phrases say an aggregate, the longer ones first.
var phrases = []phrase{
	{"average number of", "avg"}, {"mean number of", "avg"}, {"maximum number of", "max"}, {"highest number of", "max"}, {"minimum number of", "min"}, {"lowest number of", "min"},
	{"total number of", "count"}, {"total count of", "count"}, {"number of", "count"}, {"count of", "count"}, {"how many", "count"},
	{"count", "count"}, {"counts", "count"},
	{"total", "sum"}, {"sum", "sum"}, {"sums", "sum"}, {"totals", "sum"},
	{"average", "avg"}, {"avg", "avg"}, {"mean", "avg"}, {"averages", "avg"},
	{"minimum", "min"}, {"min", "min"}, {"lowest", "min"}, {"smallest", "min"}, {"least", "min"}, {"earliest", "min"}, {"cheapest", "min"}, {"oldest", "min"},
	{"maximum", "max"}, {"max", "max"}, {"highest", "max"}, {"largest", "max"}, {"biggest", "max"}, {"greatest", "max"}, {"latest", "max"}, {"newest", "max"},
}

// maxTokens is how many words of a message the rules look at: a question that
// they understand is shorter.
const maxTokens = 400

// ask reads a message.
func ask(text string) question {
	q := question{text: text}
	for _, t := range token.FindAllString(text, maxTokens) {
		q.tokens = append(q.tokens, strings.ToLower(t))
	}
	for i := 0; i < len(q.tokens); {
		n := 1
		for _, p := range phrases {
			if ws := strings.Fields(p.words); q.has(i, ws) {
				n = len(ws)
				if !slices.ContainsFunc(q.aggregates, func(a aggregate) bool { return a.fn == p.fn }) {
					q.aggregates = append(q.aggregates, aggregate{p.fn, i + n})
				}
				break
			}
		}
		switch q.tokens[i] {
		case "distinct", "different", "unique":
			q.distinct = true
		}
		i += n
	}
	q.rank()
	return q
}

// rank finds "which country has the most …": then the extreme word orders the
// groups and is itself no aggregate, if there is another one.
func (q *question) rank() {
	i := slices.Index(q.tokens, "which")
	if i < 0 {
		return
	}
	for j := i + 1; j < len(q.tokens); j++ {
		word := q.tokens[j]
		switch word {
		case "most", "highest", "largest", "biggest", "greatest", "maximum":
			q.superlative = "DESC"
		case "fewest", "least", "lowest", "smallest", "minimum":
			q.superlative = "ASC"
		default:
			continue
		}
		extreme := map[string]string{"DESC": "max", "ASC": "min"}[q.superlative]
		others := slices.DeleteFunc(slices.Clone(q.aggregates), func(a aggregate) bool { return a.fn == extreme })
		switch {
		case len(others) > 0:
			q.aggregates = others
		case word == "most" || word == "fewest" || word == "least":
			q.aggregates = []aggregate{{"count", j + 1}}
		}
		return
	}
}

// has reports whether the tokens from i on are ws.
func (q *question) has(i int, ws []string) bool {
	return i >= 0 && i+len(ws) <= len(q.tokens) && slices.EqualFunc(q.tokens[i:i+len(ws)], ws, func(a, b string) bool { return stem(a) == stem(b) })
}

// stem takes the plural off an English word, roughly.
func stem(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case len(w) > 4 && (strings.HasSuffix(w, "ses") || strings.HasSuffix(w, "xes") || strings.HasSuffix(w, "ches") || strings.HasSuffix(w, "shes")):
		return w[:len(w)-2]
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss"):
		return w[:len(w)-1]
	}
	return w
}

var wordStart = regexp.MustCompile(`[a-z0-9]+|[A-Z]+[a-z0-9]*`)

// nameWords are the words of an identifier: "unitPrice", "unit_price" are two.
func nameWords(name string) []string {
	var ws []string
	for _, w := range wordStart.FindAllString(name, -1) {
		ws = append(ws, strings.ToLower(w))
	}
	return ws
}

// mention is a place where the message names something.
type mention struct{ at, n int }

// find looks for the words of a name in the tokens.
func (q *question) find(name string) (mention, bool) {
	lower, ws := strings.ToLower(name), nameWords(name)
	for i := range q.tokens {
		if n := q.names(i, lower, ws); n > 0 {
			return mention{i, n}, true
		}
	}
	return mention{}, false
}

// names is how many tokens from index i on are the name, given in lower case
// and as words; 0 if none.
func (q *question) names(i int, lower string, ws []string) int {
	switch {
	case q.tokens[i] == lower:
		return 1
	case len(ws) > 0 && q.has(i, ws):
		return len(ws)
	}
	return 0
}
