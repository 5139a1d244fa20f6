package sh

import (
	"bytes"
	"cmp"
	"math"
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
