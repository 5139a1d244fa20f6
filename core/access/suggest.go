package access

import (
	"strconv"
	"strings"
	"unicode"
)

// show quotes what somebody wrote for a message: short, and on one line.
func show(s string) string {
	const most = 100
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}

// plain makes a name fit for a message: control characters and great length
// are somebody's attack on a log or a terminal.
func plain(s string) string {
	if len(s) > 300 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return show(s)
	}
	return s
}

// didYouMean is " Did you mean X?" for the candidate nearest to word, "" when
// none is near.
func didYouMean(word string, candidates []string) string {
	near := len(word) / 3 // two letters of a word of four or more, one of a shorter one
	if near < 2 {
		near = min(2, len(word)/2)
	}
	best, bestDistance := "", near+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return " Did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or replace between a and
// b, or limit if it is at least that.
func distance(a, b string, limit int) int {
	if len(a) > 200 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, above, row[j])
			}
			diagonal, row[j+1] = above, cost
		}
	}
	return min(row[len(b)], limit)
}
