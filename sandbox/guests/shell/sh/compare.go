package sh

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// two opens the two files of comm, join, diff and cmp.
func (c *call) two(names []string) (a, b io.ReadCloser, ok bool) {
	if len(names) != 2 {
		c.fail("needs two files")
		return nil, nil, false
	}
	if a, ok = c.open(names[0]); !ok {
		return nil, nil, false
	}
	if b, ok = c.open(names[1]); !ok {
		a.Close()
	}
	return a, b, ok
}

func comm(c *call) int {
	f := c.flags()
	no := [3]*bool{f.BoolP("no-1", "1", false, "no lines of the first file only"), f.BoolP("no-2", "2", false, "no lines of the second file only"), f.BoolP("no-3", "3", false, "no lines of both")}
	f.Bool("nocheck-order", false, "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	ra, rb, ok := c.two(names)
	if !ok {
		return 1
	}
	defer ra.Close()
	defer rb.Close()
	nextA, stopA := iter.Pull(c.lines(ra))
	nextB, stopB := iter.Pull(c.lines(rb))
	defer stopA()
	defer stopB()
	show := func(col int, l []byte) {
		if *no[col] {
			return
		}
		for i := range col {
			if !*no[i] {
				c.out.WriteByte('\t')
			}
		}
		c.line(l)
	}
	a, moreA := nextA()
	b, moreB := nextB()
	for moreA || moreB {
		r := 0
		switch {
		case !moreA:
			r = 1
		case !moreB:
			r = -1
		default:
			r = bytes.Compare(a, b)
		}
		switch {
		case r < 0:
			show(0, a)
		case r > 0:
			show(1, b)
		default:
			show(2, a)
		}
		if r <= 0 {
			a, moreA = nextA()
		}
		if r >= 0 {
			b, moreB = nextB()
		}
	}
	return 0
}

func join(c *call) int {
	f := c.flags()
	sep := f.StringP("separator", "t", "", "separator of fields")
	f1 := f.IntP("field-1", "1", 1, "field of the first file")
	f2 := f.IntP("field-2", "2", 1, "field of the second file")
	both := f.IntP("field", "j", 0, "field of both files")
	also := f.StringArrayP("also", "a", nil, "lines of file 1 or 2 without a partner, too")
	only := f.StringArrayP("only", "v", nil, "only lines of file 1 or 2 without a partner")
	fold := f.BoolP("ignore-case", "i", false, "ignore case")
	empty := f.StringP("empty", "e", "", "in place of missing fields")
	format := f.StringP("output", "o", "", "fields, as 0,1.2,2.3, or auto")
	header := f.Bool("header", false, "the first lines are headers")
	f.Bool("nocheck-order", false, "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if *both > 0 {
		*f1, *f2 = *both, *both
	}
	ra, rb, ok := c.two(names)
	if !ok {
		return 1
	}
	defer ra.Close()
	defer rb.Close()
	split := func(l []byte) []string {
		if *sep != "" {
			return strings.Split(string(l), escapes(*sep))
		}
		return strings.Fields(string(l))
	}
	out := *sep
	if out = escapes(out); out == "" {
		out = " "
	}
	key := func(row []string, n int) string {
		if n > len(row) {
			return ""
		}
		if *fold {
			return strings.ToLower(row[n-1])
		}
		return row[n-1]
	}
	// The second file is held: it may be in any order, too.
	var rows [][]string
	byKey := map[string][]int{}
	for l := range c.lines(rb) {
		r := split(l)
		byKey[key(r, *f2)] = append(byKey[key(r, *f2)], len(rows))
		rows = append(rows, r)
	}
	field := func(row []string, n int) string {
		if n > len(row) || (n <= len(row) && row[n-1] == "") {
			return *empty
		}
		return row[n-1]
	}
	show := func(a, b []string) {
		var line []string
		k := ""
		if a != nil {
			k = field(a, *f1)
		} else {
			k = field(b, *f2)
		}
		if *format != "" && *format != "auto" {
			for _, p := range strings.FieldsFunc(*format, func(r rune) bool { return r == ',' || r == ' ' }) {
				file, n, _ := strings.Cut(p, ".")
				i, _ := strconv.Atoi(n)
				switch {
				case p == "0":
					line = append(line, k)
				case file == "1":
					line = append(line, field(a, max(1, i)))
				default:
					line = append(line, field(b, max(1, i)))
				}
			}
		} else {
			line = append(line, k)
			for _, r := range []struct {
				row []string
				n   int
			}{{a, *f1}, {b, *f2}} {
				for i, v := range r.row {
					if i+1 != r.n {
						line = append(line, v)
					}
				}
			}
		}
		c.line([]byte(strings.Join(line, out)))
	}
	used := make([]bool, len(rows))
	pairs := len(*only) == 0
	lonely := func(file string) bool { return slices.Contains(*also, file) || slices.Contains(*only, file) }
	first := true
	for l := range c.lines(ra) {
		a := split(l)
		if first && *header && len(rows) > 0 {
			show(a, rows[0])
			used[0] = true
			delete(byKey, key(rows[0], *f2))
			first = false
			continue
		}
		first = false
		partners := byKey[key(a, *f1)]
		for _, i := range partners {
			used[i] = true
			if pairs {
				show(a, rows[i])
			}
		}
		if len(partners) == 0 && lonely("1") {
			show(a, nil)
		}
	}
	if lonely("2") {
		for i, r := range rows {
			if !used[i] {
				show(nil, r)
			}
		}
	}
	return 0
}

func cmpFiles(c *call) int {
	c.trouble = 2
	f := c.flags()
	silent := f.BoolP("silent", "s", false, "only the exit status")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	ra, rb, ok := c.two(names)
	if !ok {
		return 2
	}
	defer ra.Close()
	defer rb.Close()
	a, b := bufio.NewReader(ra), bufio.NewReader(rb)
	for at, line := 1, 1; ; at++ {
		x, err1 := a.ReadByte()
		y, err2 := b.ReadByte()
		switch {
		case err1 != nil && err2 != nil:
			return 0
		case err1 != nil || err2 != nil:
			if !*silent {
				short := names[0]
				if err2 != nil {
					short = names[1]
				}
				fmt.Fprintf(c.err, "cmp: EOF on %s after byte %d\n", short, at-1)
			}
			return 1
		case x != y:
			if !*silent {
				fmt.Fprintf(c.out, "%s %s differ: byte %d, line %d\n", names[0], names[1], at, line)
			}
			return 1
		case x == '\n':
			line++
		}
	}
}
