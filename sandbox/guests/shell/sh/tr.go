package sh

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// trSet expands a set of tr.
func trSet(s string) ([]rune, error) {
	var set []rune
	for rest := s; rest != ""; {
		if strings.HasPrefix(rest, "[:") {
			if name, after, ok := strings.Cut(rest[2:], ":]"); ok {
				class := trClasses[name]
				if class == nil {
					return nil, fmt.Errorf("invalid class %q", name)
				}
				for r := rune(0); r < 128; r++ {
					if class(r) {
						set = append(set, r)
					}
				}
				rest = after
				continue
			}
		}
		r, after := trRune(rest)
		if len(after) > 1 && after[0] == '-' {
			to, tail := trRune(after[1:])
			if to < r {
				return nil, fmt.Errorf("the range %c-%c is the wrong way round", r, to)
			}
			for ; r <= to && len(set) < 70000; r++ {
				set = append(set, r)
			}
			rest = tail
			continue
		}
		set, rest = append(set, r), after
	}
	return set, nil
}

func trRune(s string) (rune, string) {
	if s[0] == '\\' && len(s) > 1 {
		n := 2
		for n < len(s) && n < 4 && s[1] >= '0' && s[1] <= '7' && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		return rune(escapes(s[:n])[0]), s[n:]
	}
	r, n := utf8.DecodeRuneInString(s)
	return r, s[n:]
}

func tr(c *call) int {
	f := c.flags()
	del := f.BoolP("delete", "d", false, "delete the characters of the first set")
	squeeze := f.BoolP("squeeze-repeats", "s", false, "one of repeated characters of the last set")
	complement := f.BoolP("complement", "c", false, "all but the first set")
	f.BoolVarP(complement, "Complement", "C", false, "the same as -c")
	truncate := f.BoolP("truncate-set1", "t", false, "no more of the first set than the second has")
	f.SetInterspersed(false)
	sets, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	want := 2
	if *del != *squeeze && !(*squeeze && len(sets) == 2) {
		want = 1
	}
	if len(sets) != want {
		return c.fail("needs %d sets, has %d", want, len(sets))
	}
	from, err := trSet(sets[0])
	if err != nil {
		return c.fail("%v", err)
	}
	var to []rune
	if len(sets) > 1 {
		if to, err = trSet(sets[1]); err != nil {
			return c.fail("%v", err)
		}
		if len(to) == 0 && !*del {
			return c.fail("the second set is empty")
		}
	}
	in := map[rune]int{}
	for i, r := range from {
		if _, ok := in[r]; !ok || !*del {
			in[r] = i
		}
	}
	match := func(r rune) (int, bool) {
		i, ok := in[r]
		if *complement {
			return len(to) - 1, !ok
		}
		if *truncate && i >= len(to) && !*del {
			return 0, false
		}
		return i, ok
	}
	squeezed := map[rune]bool{}
	if *squeeze {
		for _, r := range to {
			squeezed[r] = true
		}
	}
	last, any := rune(0), false
	buf := make([]byte, 0, 64<<10)
	read := make([]byte, 32<<10)
	for {
		n, err := c.in.Read(read)
		buf = append(buf, read[:n]...)
		for len(buf) > 0 && (err != nil || utf8.FullRune(buf)) {
			r, size := utf8.DecodeRune(buf)
			raw := buf[:size]
			buf = buf[size:]
			i, ok := match(r)
			switch {
			case ok && *del:
				continue
			case ok && len(to) > 0:
				r = to[min(i, len(to)-1)]
				raw = nil
			}
			if *squeeze && any && r == last && (squeezed[r] || (len(to) == 0 && ok)) {
				continue
			}
			last, any = r, true
			if raw != nil {
				c.out.Write(raw)
			} else {
				c.out.WriteRune(r)
			}
		}
		if err != nil {
			if err != io.EOF {
				c.readError(err)
			}
			return 0
		}
		buf = append(make([]byte, 0, 64<<10), buf...)
	}
}
