package access

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/sallyport-gateway/sallyport/core/spelling"
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
	best := spelling.Nearest(word, candidates)
	if best == "" {
		return ""
	}
	return " Did you mean " + best + "?"
}
