package main

import (
	"regexp"
	"slices"
	"strings"
)

type phrase struct{ words, fn string }

// phrases say an aggregate, the longer ones first.
var phrases = []phrase{
	{"average number of", "avg"}, {"mean number of", "avg"},
	{"maximum number of", "max"}, {"highest number of", "max"}, {"largest number of", "max"}, {"biggest number of", "max"}, {"greatest number of", "max"},
	{"minimum number of", "min"}, {"lowest number of", "min"}, {"smallest number of", "min"},
	{"total number of", "count"}, {"total count of", "count"}, {"total number", "count"}, {"total count", "count"}, {"number of", "count"}, {"count of", "count"}, {"how many", "count"},
	{"count", "count"}, {"total", "sum"}, {"sum", "sum"}, {"average", "avg"}, {"avg", "avg"}, {"mean", "avg"},
	{"least expensive", "min"}, {"most expensive", "max"}, {"most recent", "max"},
	{"minimum", "min"}, {"min", "min"}, {"lowest", "min"}, {"smallest", "min"}, {"least", "min"}, {"earliest", "min"}, {"cheapest", "min"}, {"oldest", "min"},
	{"maximum", "max"}, {"max", "max"}, {"highest", "max"}, {"largest", "max"}, {"biggest", "max"}, {"greatest", "max"}, {"latest", "max"}, {"newest", "max"}, {"priciest", "max"}, {"costliest", "max"},
}

// overall are phrases that ask for everything together: with "how many" of a
// column of numbers they ask for its sum.
var overall = []string{"in total", "in all", "altogether", "overall"}

// comparisons are phrases before a number, the longer ones first.
var comparisons = []phrase{
	{"not equal to", "<>"}, {"greater than or equal to", ">="}, {"less than or equal to", "<="},
	{"no more than", "<="}, {"not more than", "<="}, {"no less than", ">="}, {"not less than", ">="}, {"no fewer than", ">="},
	{"more than", ">"}, {"greater than", ">"}, {"higher than", ">"}, {"larger than", ">"}, {"less than", "<"}, {"fewer than", "<"}, {"lower than", "<"}, {"smaller than", "<"},
	{"at least", ">="}, {"at most", "<="}, {"up to", "<="}, {"equal to", "="},
	{"above", ">"}, {"over", ">"}, {"exceeding", ">"}, {"below", "<"}, {"under", "<"}, {"exactly", "="}, {"equals", "="},
	{">=", ">="}, {"<=", "<="}, {"≥", ">="}, {"≤", "<="}, {"!=", "<>"}, {"<>", "<>"}, {"≠", "<>"}, {"==", "="}, {">", ">"}, {"<", "<"}, {"=", "="},
}

// negations turn the condition right after them around.
var negations = []string{"other than", "except for", "but not", "not", "non", "excluding", "except", "without", "!=", "<>", "≠"}

// years are the words before a year.
var years = map[string]string{"in": "=", "during": "=", "before": "<", "after": ">", "since": ">="}

// ranks are the words that order the answers to "which".
var ranks = map[string]string{
	"most": "DESC", "highest": "DESC", "largest": "DESC", "biggest": "DESC", "greatest": "DESC", "maximum": "DESC", "max": "DESC",
	"fewest": "ASC", "least": "ASC", "lowest": "ASC", "smallest": "ASC", "minimum": "ASC", "min": "ASC",
}

// kinds are the extremes that mean one kind of column only.
var kinds = map[string]string{
	"cheapest": "price", "least expensive": "price", "most expensive": "price", "priciest": "price", "costliest": "price",
	"oldest": "time", "earliest": "time", "newest": "time", "latest": "time", "most recent": "time",
}

var (
	articles = set("the of all a an our its value values s")
	linking  = set("is are was were be of has have had having a an the s = equals")
	rowWords = set("row rows record records entry entries line lines")
	// spanEnd are words that end what "how many" is about.
	spanEnd = set("and are is by per for in have has had do does did were was there each every which with from that who please where")
	// fillers change no number.
	fillers = set(`the of all a an our its value values s what is are was were be been there which that who where in
		for from with has have had having do does did we i you it them me us give tell show find compute calculate get know like want
		would could can please and to table column columns row rows record records entry entries grouped thanks thank hello hi hey at on so also`)
)

func set(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// saysAggregate reports whether a word asks for a calculation: a review whose
// text is "Average." does not make "the average" a condition.
func saysAggregate(w string) bool {
	return slices.ContainsFunc(phrases, func(p phrase) bool { return slices.Contains(strings.Fields(p.words), w) })
}

// small are the numbers that people write as words.
var small = strings.Fields("zero one two three four five six seven eight nine ten")

var (
	plainNumber = regexp.MustCompile(`^-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?$`)
	thousands   = regexp.MustCompile(`^-?[1-9]\d{0,2}(?:\.\d{3})+$`) // may be 1.000 or 1000
	yearNumber  = regexp.MustCompile(`^[12]\d{3}$`)
)

// number reads a token as a number, written as SQL has it.
func number(w string) (string, bool) {
	if i := slices.Index(small, w); i >= 0 {
		return string("0123456789"[i%10 : i%10+1]), i < 10
	}
	const longest = 18 // digits that every type of number holds
	if !plainNumber.MatchString(w) || thousands.MatchString(w) || len(w) > longest {
		return "", false
	}
	return strings.ReplaceAll(w, ",", ""), true
}
