package sh

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// span is one range of a list such as 1,3-5,7-.
type span struct{ from, to int } // to 0 is open

func parseList(s string) ([]span, bool) {
	var list []span
	for _, p := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		a, b, two := strings.Cut(p, "-")
		var sp span
		var err error
		if a == "" {
			sp.from = 1
		} else if sp.from, err = strconv.Atoi(a); err != nil || sp.from < 1 {
			return nil, false
		}
		switch {
		case !two:
			sp.to = sp.from
		case b != "":
			if sp.to, err = strconv.Atoi(b); err != nil || sp.to < sp.from {
				return nil, false
			}
		case a == "":
			return nil, false
		}
		list = append(list, sp)
	}
	return list, len(list) > 0
}

func selected(list []span, n int, complement bool) bool {
	in := slices.ContainsFunc(list, func(s span) bool { return n >= s.from && (s.to == 0 || n <= s.to) })
	return in != complement
}

func cut(c *call) int {
	f := c.flags()
	fields := f.StringP("fields", "f", "", "fields, as 1,3-5,7-")
	chars := f.StringP("characters", "c", "", "characters")
	octets := f.StringP("bytes", "b", "", "bytes")
	delim := f.StringP("delimiter", "d", "\t", "separator of fields")
	only := f.BoolP("only-delimited", "s", false, "no lines without a separator")
	complement := f.Bool("complement", false, "all but those")
	outDelim := f.String("output-delimiter", "", "separator in the output")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	what := *fields + *chars + *octets
	list, ok := parseList(what)
	if !ok {
		return c.fail("give one list with -f, -c or -b, as 1,3-5,7-")
	}
	join := *outDelim
	if !f.Changed("output-delimiter") && *fields != "" {
		join = *delim
	}
	for l := range c.input(names) {
		var parts [][]byte
		switch {
		case *fields != "":
			if !bytes.Contains(l, []byte(*delim)) || *delim == "" {
				if !*only {
					c.line(l)
				}
				continue
			}
			parts = bytes.Split(l, []byte(*delim))
		case *chars != "":
			for rest := l; len(rest) > 0; {
				_, n := utf8.DecodeRune(rest)
				parts, rest = append(parts, rest[:n]), rest[n:]
			}
		default:
			parts = bytes.Split(l, nil)
			if *octets != "" {
				parts = parts[:0]
				for i := range l {
					parts = append(parts, l[i:i+1])
				}
			}
		}
		first := true
		for i, p := range parts {
			if selected(list, i+1, *complement) {
				if !first {
					c.out.WriteString(join)
				}
				c.out.Write(p)
				first = false
			}
		}
		c.out.WriteByte('\n')
	}
	return 0
}

// escapes reads \t, \n, \\, \0 and the like.
func escapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if n := strings.IndexByte(`ntrfvab\`, s[i]); n >= 0 {
			b.WriteByte("\n\t\r\f\v\a\b\\"[n])
			continue
		}
		if s[i] >= '0' && s[i] <= '7' {
			v, n := 0, 0
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				v, n = v*8+int(s[i+n]-'0'), n+1
			}
			b.WriteByte(byte(v))
			i += n - 1
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func paste(c *call) int {
	f := c.flags()
	delims := f.StringP("delimiters", "d", "\t", "separators, used in turn")
	serial := f.BoolP("serial", "s", false, "one line a file")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	ds := []rune(escapes(*delims))
	sep := func(i int) string {
		if len(ds) == 0 {
			return ""
		}
		return string(ds[i%len(ds)])
	}
	if *serial {
		for _, r := range c.files(names) {
			i := 0
			for l := range c.lines(r) {
				if i > 0 {
					c.out.WriteString(sep(i - 1))
				}
				c.out.Write(l)
				i++
			}
			c.out.WriteByte('\n')
		}
		return 0
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	var next []func() ([]byte, bool)
	var stdin func() ([]byte, bool)
	for _, n := range names {
		if n == "-" && stdin != nil {
			next = append(next, stdin)
			continue
		}
		r, ok := c.open(n)
		if !ok {
			return 1
		}
		defer r.Close()
		pull, stop := iter.Pull(c.lines(r))
		defer stop()
		if n == "-" {
			stdin = pull
		}
		next = append(next, pull)
	}
	for {
		var line []byte
		any := false
		for i, pull := range next {
			if i > 0 {
				line = append(line, sep(i-1)...)
			}
			if l, ok := pull(); ok {
				any = true
				line = append(line, l...)
			}
		}
		if !any {
			return 0
		}
		c.line(line)
	}
}

func fold(c *call) int {
	f := c.flags()
	width := f.IntP("width", "w", 80, "columns")
	spaces := f.BoolP("spaces", "s", false, "break at blanks")
	f.BoolP("bytes", "b", false, "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if *width < 1 {
		return c.fail("invalid width %d", *width)
	}
	for l := range c.input(names) {
		for line := []rune(string(l)); ; {
			n := min(*width, len(line))
			if *spaces && n < len(line) {
				if i := slices.IndexFunc(reversed(line[:n]), unicode.IsSpace); i >= 0 {
					n -= i
				}
			}
			c.line([]byte(string(line[:n])))
			if line = line[n:]; len(line) == 0 {
				break
			}
		}
	}
	return 0
}

func reversed(r []rune) []rune {
	r = slices.Clone(r)
	slices.Reverse(r)
	return r
}

func expandTabs(c *call) int {
	f := c.flags()
	stop := f.IntP("tabs", "t", 8, "columns of a tab")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	for l := range c.input(names) {
		col := 0
		for _, r := range string(l) {
			if r == '\t' {
				n := max(1, *stop) - col%max(1, *stop)
				c.out.WriteString(strings.Repeat(" ", n))
				col += n
				continue
			}
			c.out.WriteRune(r)
			col++
		}
		c.out.WriteByte('\n')
	}
	return 0
}

func column(c *call) int {
	f := c.flags()
	f.BoolP("table", "t", false, "make a table")
	sep := f.StringP("separator", "s", "", "separators of fields")
	out := f.StringP("output-separator", "o", "  ", "separator in the output")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	var rows [][]string
	var width []int
	for l := range c.input(names) {
		cells := strings.Fields(string(l))
		if *sep != "" {
			cells = strings.FieldsFunc(string(l), func(r rune) bool { return strings.ContainsRune(*sep, r) })
			if len(*sep) == 1 {
				cells = strings.Split(string(l), *sep)
			}
		}
		for i, cell := range cells {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
		rows = append(rows, cells)
	}
	for _, r := range rows {
		for i, cell := range r {
			if i == len(r)-1 {
				c.out.WriteString(cell)
				break
			}
			fmt.Fprintf(c.out, "%-*s%s", width[i], cell, *out)
		}
		c.out.WriteByte('\n')
	}
	return 0
}

// trClasses are the classes of tr, in the order of their characters.
var trClasses = map[string]func(rune) bool{
	"alpha": unicode.IsLetter, "digit": func(r rune) bool { return r >= '0' && r <= '9' }, "alnum": func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) },
	"upper": unicode.IsUpper, "lower": unicode.IsLower, "space": unicode.IsSpace, "blank": func(r rune) bool { return r == ' ' || r == '\t' },
	"punct": func(r rune) bool { return r < 128 && (unicode.IsPunct(r) || unicode.IsSymbol(r)) }, "cntrl": unicode.IsControl,
	"print": unicode.IsPrint, "graph": unicode.IsGraphic, "xdigit": func(r rune) bool { return strings.ContainsRune("0123456789abcdefABCDEF", r) },
}
