package sh

import (
	"bytes"
	"cmp"
	cryptorand "crypto/rand"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
)

// order is how sort compares two texts.
type order struct {
	numeric, general, human, month, version bool
	fold, dictionary, blanks, reverse       bool
}

func (o *order) set(b byte) bool {
	switch b {
	case 'n':
		o.numeric = true
	case 'g':
		o.general = true
	case 'h':
		o.human = true
	case 'M':
		o.month = true
	case 'V':
		o.version = true
	case 'f':
		o.fold = true
	case 'd':
		o.dictionary = true
	case 'b':
		o.blanks = true
	case 'r':
		o.reverse = true
	case 'i':
	default:
		return false
	}
	return true
}

// sortKey is one -k: from a field's character to another's.
type sortKey struct {
	from, fromChar, to, toChar int // 1-based; to 0 is the end of the line, toChar 0 the end of the field
	order                      order
	own                        bool // has letters of its own
}

func parseKey(s string) (k sortKey, ok bool) {
	part := func(s string, field, char *int) (rest string, ok bool) {
		n := len(s) - len(strings.TrimLeft(s, "0123456789"))
		*field, _ = strconv.Atoi(s[:n])
		rest = s[n:]
		if strings.HasPrefix(rest, ".") {
			m := len(rest[1:]) - len(strings.TrimLeft(rest[1:], "0123456789"))
			*char, _ = strconv.Atoi(rest[1 : 1+m])
			rest = rest[1+m:]
		}
		for i := range len(rest) {
			if !k.order.set(rest[i]) {
				return rest, false
			}
			k.own = true
		}
		return rest, n > 0
	}
	first, second, two := strings.Cut(s, ",")
	if _, ok = part(first, &k.from, &k.fromChar); !ok || k.from == 0 {
		return k, false
	}
	if two {
		_, ok = part(second, &k.to, &k.toChar)
	}
	return k, ok
}

// fieldAt returns where the n-th field of l starts and ends. Without a separator
// a field is a run of blanks and what follows it.
func fieldAt(l []byte, sep string, n int) (start, end int) {
	if sep != "" {
		for ; n > 1; n-- {
			i := bytes.Index(l[start:], []byte(sep))
			if i < 0 {
				return len(l), len(l)
			}
			start += i + len(sep)
		}
		if i := bytes.Index(l[start:], []byte(sep)); i >= 0 {
			return start, start + i
		}
		return start, len(l)
	}
	for {
		end = start
		for end < len(l) && (l[end] == ' ' || l[end] == '\t') {
			end++
		}
		for end < len(l) && l[end] != ' ' && l[end] != '\t' {
			end++
		}
		if n--; n == 0 || end == len(l) {
			if n > 0 {
				return len(l), len(l)
			}
			return start, end
		}
		start = end
	}
}

func (k sortKey) cut(l []byte, sep string) []byte {
	if k.from == 0 {
		return l
	}
	start, _ := fieldAt(l, sep, k.from)
	if k.order.blanks || k.order.numeric {
		start += len(l[start:]) - len(bytes.TrimLeft(l[start:], " \t"))
	}
	if k.fromChar > 1 {
		start = min(len(l), start+k.fromChar-1)
	}
	end := len(l)
	if k.to > 0 {
		var s int
		s, end = fieldAt(l, sep, k.to)
		if k.toChar > 0 {
			end = min(len(l), s+k.toChar)
		}
	}
	return l[min(start, end):end]
}

// leadingNumber reads the number at the start of b, as sort -n does: 0 when there is none.
func leadingNumber(b []byte) float64 {
	s := strings.TrimLeft(string(b), " \t")
	n := 0
	if n < len(s) && s[n] == '-' {
		n++
	}
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.') {
		n++
	}
	v, _ := strconv.ParseFloat(s[:n], 64)
	return v
}

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

func (o order) value(b []byte) float64 {
	switch {
	case o.numeric:
		return leadingNumber(b)
	case o.human:
		s := strings.TrimSpace(string(b))
		v := leadingNumber(b)
		if i := strings.IndexAny(s, "KkMGTPE"); i >= 0 {
			v *= math.Pow(1024, float64(strings.IndexByte("KMGTPE", s[i]&^0x20)+1))
		}
		return v
	case o.general:
		s := strings.Fields(string(b) + " x")[0]
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return math.Inf(-1)
		}
		return v
	case o.month:
		s := strings.ToLower(strings.TrimSpace(string(b)))
		return float64(1 + slices.IndexFunc(months, func(m string) bool { return strings.HasPrefix(s, m) }))
	}
	return 0
}

func (o order) compare(a, b []byte) (r int) {
	switch {
	case o.numeric || o.human || o.general || o.month:
		r = cmp.Compare(o.value(a), o.value(b))
	case o.version:
		r = compareVersions(string(a), string(b))
	default:
		if o.blanks {
			a, b = bytes.TrimLeft(a, " \t"), bytes.TrimLeft(b, " \t")
		}
		if o.fold {
			a, b = bytes.ToUpper(a), bytes.ToUpper(b)
		}
		if o.dictionary {
			keep := func(r rune) rune {
				if r == ' ' || r == '\t' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r > 127 {
					return r
				}
				return -1
			}
			a, b = bytes.Map(keep, a), bytes.Map(keep, b)
		}
		r = bytes.Compare(a, b)
	}
	if o.reverse {
		return -r
	}
	return r
}

// compareVersions compares runs of digits by their value and the rest as text.
func compareVersions(a, b string) int {
	digits := func(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
	for a != "" && b != "" {
		if n, m := digits(a), digits(b); n > 0 && m > 0 {
			x, y := strings.TrimLeft(a[:n], "0"), strings.TrimLeft(b[:m], "0")
			if r := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); r != 0 {
				return r
			}
			a, b = a[n:], b[m:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

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
