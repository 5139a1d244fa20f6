// Package spelling finds the known name that a mistyped one was meant to be,
// so that an error can ask "did you mean …?".
package spelling

import "strings"

// maxWord is the longest word, in bytes, that is compared: beyond it nobody
// mistyped a name.
const maxWord = 200

// Nearest is the one of known that word may be a misspelling of, "" if none is
// near. Letter case does not count. A third of the letters may be wrong, and
// two in any word of four letters or more; the first of equally near names
// wins. A swap of neighbours is one mistake.
func Nearest(word string, known []string) string {
	near := len(word) / 3
	if near < 2 {
		near = min(2, len(word)/2)
	}
	word = strings.ToLower(word)
	best, at := "", near+1
	for _, k := range known {
		if d := distance(word, strings.ToLower(k), at); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with a
// neighbour to turn a into b; limit if it is at least that.
func distance(a, b string, limit int) int {
	if len(a) > maxWord || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := append(make([]int, 0, len(b)+1), i)
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row = append(row, d)
		}
		before, last = last, row
	}
	return min(last[len(b)], limit)
}
