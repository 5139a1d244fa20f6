package main

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// question is what the rules see in a message.
type question struct {
	text       string
	tokens     []string // lower case
	raw        []string // the tokens as they were written
	comma      []bool   // a comma stands before the token
	sentence   []int    // of each token
	aggregates []aggregate
	overall    []mention // "in total"
	shouted    bool      // all in capitals
	long       bool      // there are more tokens than the rules look at
}

// aggregate is one thing to compute, and where the message says so.
type aggregate struct {
	fn    string // count, sum, avg, min, max
	words string // that say it
	start int    // index of the first of them
	at    int    // index of the token after them
}

// token is a number, a word or dotted name, or a sign.
var token = regexp.MustCompile(`\d{1,3}(?:,\d{3})+(?:\.\d+)?\b|[\p{L}\p{N}_]+(?:\.[\p{L}\p{N}_]+)*|\.\d+|<>|[<>=!]=|[-!*/%&^#|]|\p{Sm}|\p{Sc}`)

// maxTokens is how many words of a message the rules look at: a question that
// they understand is shorter.
const maxTokens = 400

// ask reads a message.
func ask(text string) question {
	q := question{text: text}
	q.split()
	for i := 0; i < len(q.tokens); {
		n := 1
		for _, p := range phrases {
			if ws := strings.Fields(p.words); q.has(i, ws) {
				n = len(ws)
				q.aggregates = append(q.aggregates, aggregate{p.fn, p.words, i, i + n})
				break
			}
		}
		for _, o := range overall {
			if ws := strings.Fields(o); q.has(i, ws) {
				n = len(ws)
				q.overall = append(q.overall, mention{i, n})
				break
			}
		}
		i += n
	}
	return q
}

// dashes are written for a minus, too.
var dashes = strings.NewReplacer("−", "-", "–", "-", "—", "-", "‑", "-")

// split finds the tokens. A dash counts only as the sign of a number, and an
// exclamation mark only before a word.
func (q *question) split() {
	text := dashes.Replace(q.text)
	q.shouted = strings.ToUpper(text) == text
	end, sentence, minus := 0, 0, false
	const most = 2 * maxTokens // with signs that are left out
	found := token.FindAllStringIndex(text, most)
	q.long = len(found) == most
	for _, at := range found {
		between, word := text[end:at[0]], text[at[0]:at[1]]
		before, _ := utf8.DecodeLastRuneInString(text[:at[0]])
		after, _ := utf8.DecodeRuneInString(text[at[1]:])
		prefix := !unicode.IsLetter(before) && !unicode.IsDigit(before)
		if word == "-" {
			minus = prefix && (unicode.IsDigit(after) || after == '.')
			continue
		}
		if word == "!" && (!prefix || !unicode.IsLetter(after) && !unicode.IsDigit(after)) {
			continue
		}
		if len(q.tokens) == maxTokens {
			q.long = true
			return
		}
		if minus {
			word, minus = "-"+word, false
		}
		if strings.ContainsAny(between, ".?!;\n") {
			sentence++
		}
		q.tokens = append(q.tokens, strings.ToLower(word))
		q.raw = append(q.raw, word)
		q.comma = append(q.comma, strings.ContainsAny(between, ",;"))
		q.sentence = append(q.sentence, sentence)
		end = at[1]
	}
}

// tokensOf are the tokens of a value.
func tokensOf(s string) []string {
	q := question{text: s}
	q.split()
	return q.tokens
}

// asks reports whether the message asks for anything that the rules compute.
func (q *question) asks() bool {
	return len(q.aggregates) > 0 || slices.ContainsFunc(q.tokens, func(w string) bool { return ranks[w] != "" || w == "top" || w == "bottom" })
}

// word is token i, or nothing outside of the message.
func (q *question) word(i int) string {
	if i < 0 || i >= len(q.tokens) {
		return ""
	}
	return q.tokens[i]
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
