package sh

import (
	"bytes"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
)

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

func sortLines(c *call) int {
	c.trouble = 2
	f := c.flags()
	letters := map[byte]*bool{}
	for _, l := range "nghMVfdbri" {
		letters[byte(l)] = f.BoolP(map[rune]string{'n': "numeric-sort", 'g': "general-numeric-sort", 'h': "human-numeric-sort", 'M': "month-sort",
			'V': "version-sort", 'f': "ignore-case", 'd': "dictionary-order", 'b': "ignore-leading-blanks", 'r': "reverse", 'i': "ignore-nonprinting"}[l], string(l), false, "")
	}
	unique := f.BoolP("unique", "u", false, "one of equal lines")
	stable := f.BoolP("stable", "s", false, "keep the order of equal lines")
	check := f.BoolP("check", "c", false, "only tell whether the lines are sorted")
	random := f.BoolP("random-sort", "R", false, "any order")
	zero := f.BoolP("zero-terminated", "z", false, "lines end with NUL")
	f.BoolP("merge", "m", false, "the files are sorted already")
	sep := f.StringP("field-separator", "t", "", "separator of fields")
	keys := f.StringArrayP("key", "k", nil, "from field,to field and letters, as 2,2nr")
	output := f.StringP("output", "o", "", "file to write, perhaps one of those read")
	f.StringP("buffer-size", "S", "", "no effect")
	f.String("parallel", "", "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if *sep == `\0` {
		*sep = "\x00"
	}
	if *sep == `\t` {
		*sep = "\t"
	}
	var global order
	for l, on := range letters {
		if *on {
			global.set(l)
		}
	}
	var ks []sortKey
	for _, s := range *keys {
		k, ok := parseKey(s)
		if !ok {
			return c.fail("invalid key %q: use as 2, 2,3 or 2,2nr", s)
		}
		if !k.own {
			k.order = global
		}
		ks = append(ks, k)
	}
	if len(ks) == 0 {
		ks = []sortKey{{order: global}}
	}
	end := byte('\n')
	if *zero {
		end = 0
	}
	var lines [][]byte
	for _, r := range c.files(names) {
		for l := range c.records(r, end) {
			lines = append(lines, bytes.Clone(l))
		}
	}
	byKeys := func(a, b []byte) int {
		for _, k := range ks {
			if r := k.order.compare(k.cut(a, *sep), k.cut(b, *sep)); r != 0 {
				return r
			}
		}
		return 0
	}
	whole := func(a, b []byte) int {
		if r := byKeys(a, b); r != 0 || *stable || *unique {
			return r
		}
		if global.reverse {
			return bytes.Compare(b, a)
		}
		return bytes.Compare(a, b)
	}
	if *check {
		for i := 1; i < len(lines); i++ {
			if r := whole(lines[i-1], lines[i]); r > 0 || (r == 0 && *unique) {
				fmt.Fprintf(c.err, "sort: disorder: %s\n", lines[i])
				return 1
			}
		}
		return 0
	}
	if *random {
		fresh().Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	} else {
		slices.SortStableFunc(lines, whole)
	}
	if *unique {
		lines = slices.CompactFunc(lines, func(a, b []byte) bool { return byKeys(a, b) == 0 })
	}
	out := c.out
	if *output != "" {
		file, err := os.Create(c.path(*output))
		if err != nil {
			return c.fail("%s: %s", *output, reason(err))
		}
		defer file.Close()
		out.Reset(pipeWriter{file})
	}
	for _, l := range lines {
		out.Write(l)
		out.WriteByte(end)
	}
	out.Flush()
	return 0
}

func uniq(c *call) int {
	f := c.flags()
	count := f.BoolP("count", "c", false, "how often")
	dup := f.BoolP("repeated", "d", false, "only repeated lines")
	allDup := f.BoolP("all-repeated", "D", false, "all of the repeated lines")
	single := f.BoolP("unique", "u", false, "only lines that are not repeated")
	fold := f.BoolP("ignore-case", "i", false, "ignore case")
	skip := f.IntP("skip-fields", "f", 0, "ignore that many fields")
	skipChars := f.IntP("skip-chars", "s", 0, "ignore that many characters")
	width := f.IntP("check-chars", "w", 0, "compare no more characters")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if len(names) > 2 {
		return c.fail("too many files")
	}
	var in []string
	if len(names) > 0 {
		in = names[:1]
	}
	if len(names) == 2 {
		file, err := os.Create(c.path(names[1]))
		if err != nil {
			return c.fail("%s: %s", names[1], reason(err))
		}
		defer file.Close()
		c.out.Reset(pipeWriter{file})
	}
	key := func(l []byte) string {
		if *skip > 0 {
			start, _ := fieldAt(l, "", *skip+1)
			l = l[start:]
		}
		l = l[min(len(l), max(0, *skipChars)):]
		if *width > 0 {
			l = l[:min(len(l), *width)]
		}
		if *fold {
			return strings.ToLower(string(l))
		}
		return string(l)
	}
	var group [][]byte
	n, last := 0, ""
	flush := func() {
		if n == 0 || (*dup && n < 2) || (*allDup && n < 2) || (*single && n > 1) {
			return
		}
		if !*allDup {
			group = group[:1]
		}
		for _, l := range group {
			if *count {
				c.out.WriteString(strings.Repeat(" ", max(0, 7-len(strconv.Itoa(n)))) + strconv.Itoa(n) + " ")
			}
			c.line(l)
		}
	}
	for l := range c.input(in) {
		k := key(l)
		if n > 0 && k == last {
			n++
			if *allDup {
				group = append(group, bytes.Clone(l))
			}
			continue
		}
		flush()
		group, n, last = [][]byte{bytes.Clone(l)}, 1, k
	}
	flush()
	return 0
}

// fresh returns random numbers of this call. The generator of the runtime is in
// the image, so that all sessions would have the same from it.
func fresh() *rand.Rand {
	var seed [32]byte
	cryptorand.Read(seed[:])
	return rand.New(rand.NewChaCha8(seed))
}

func shuf(c *call) int {
	f := c.flags()
	n := f.IntP("head-count", "n", -1, "that many lines")
	echo := f.BoolP("echo", "e", false, "the arguments are the lines")
	span := f.StringP("input-range", "i", "", "the numbers from-to are the lines")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	var lines [][]byte
	switch {
	case *echo:
		for _, a := range names {
			lines = append(lines, []byte(a))
		}
	case *span != "":
		a, b, _ := strings.Cut(*span, "-")
		lo, err1 := strconv.Atoi(a)
		hi, err2 := strconv.Atoi(b)
		if err1 != nil || err2 != nil || hi-lo > 10_000_000 {
			return c.fail("invalid range %q", *span)
		}
		for i := lo; i <= hi; i++ {
			lines = append(lines, []byte(strconv.Itoa(i)))
		}
	default:
		for l := range c.input(names) {
			lines = append(lines, bytes.Clone(l))
		}
	}
	fresh().Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	if *n >= 0 {
		lines = lines[:min(*n, len(lines))]
	}
	for _, l := range lines {
		c.line(l)
	}
	return 0
}
