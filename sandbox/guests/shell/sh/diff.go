package sh

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxEdits bounds the work of diff: files that differ more are shown as replaced.
const maxEdits = 2000

func diff(c *call) int {
	c.trouble = 2
	f := c.flags()
	unified := f.BoolP("unified", "u", false, "with three lines around")
	around := f.IntP("context", "U", 3, "unified, with that many lines around")
	brief := f.BoolP("brief", "q", false, "only whether they differ")
	same := f.BoolP("report-identical-files", "s", false, "say when they are the same")
	blanks := f.BoolP("ignore-space-change", "b", false, "blanks are all the same")
	all := f.BoolP("ignore-all-space", "w", false, "ignore blanks")
	fold := f.BoolP("ignore-case", "i", false, "ignore case")
	f.BoolP("recursive", "r", false, "not available")
	f.BoolP("new-file", "N", false, "no effect")
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
	read := func(r io.Reader) (lines, keys []string) {
		for l := range c.lines(r) {
			s := string(l)
			lines = append(lines, s)
			switch {
			case *all:
				s = strings.Join(strings.Fields(s), "")
			case *blanks:
				s = strings.Join(strings.Fields(s), " ")
			}
			if *fold {
				s = strings.ToLower(s)
			}
			keys = append(keys, s)
		}
		return lines, keys
	}
	a, ka := read(ra)
	b, kb := read(rb)
	changes := edits(ka, kb)
	if len(changes) == 0 {
		if *same {
			fmt.Fprintf(c.out, "Files %s and %s are identical\n", names[0], names[1])
		}
		return 0
	}
	switch {
	case *brief:
		fmt.Fprintf(c.out, "Files %s and %s differ\n", names[0], names[1])
	case *unified || f.Changed("context"):
		fmt.Fprintf(c.out, "--- %s\n+++ %s\n", names[0], names[1])
		writeUnified(c.out, a, b, changes, *around)
	default:
		writeNormal(c.out, a, b, changes)
	}
	return 1
}

// change says that a[fromA:toA] became b[fromB:toB].
type change struct{ fromA, toA, fromB, toB int }

// edits compares two lists by the algorithm of Myers.
func edits(a, b []string) []change {
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1] == b[endB-1] {
		endA, endB = endA-1, endB-1
	}
	x, y := a[start:endA], b[start:endB]
	if len(x) == 0 && len(y) == 0 {
		return nil
	}
	n, m := len(x), len(y)
	limit := min(n+m, maxEdits)
	v := map[int]int{1: 0}
	var trace []map[int]int
	reached := false
	for d := 0; d <= limit && !reached; d++ {
		step := make(map[int]int, d+1)
		for k := -d; k <= d; k += 2 {
			var i int
			if k == -d || (k != d && v[k-1] < v[k+1]) {
				i = v[k+1]
			} else {
				i = v[k-1] + 1
			}
			j := i - k
			for i < n && j < m && x[i] == y[j] {
				i, j = i+1, j+1
			}
			v[k], step[k] = i, i
			if i >= n && j >= m {
				reached = true
				break
			}
		}
		trace = append(trace, step)
	}
	if !reached {
		return []change{{start, endA, start, endB}}
	}
	var list []change
	i, j := n, m
	for d := len(trace) - 1; d > 0; d-- {
		prev := trace[d-1]
		k := i - j
		fromK := k - 1
		if left, ok := prev[k-1]; !ok || (hasKey(prev, k+1) && left < prev[k+1]) {
			fromK = k + 1
		}
		pi := prev[fromK]
		pj := pi - fromK
		for i > pi && j > pj && i > 0 && j > 0 && x[i-1] == y[j-1] {
			i, j = i-1, j-1
		}
		c := change{start + pi, start + i, start + pj, start + j}
		if len(list) > 0 && list[0].fromA == c.toA && list[0].fromB == c.toB {
			list[0].fromA, list[0].fromB = c.fromA, c.fromB
		} else {
			list = slices.Insert(list, 0, c)
		}
		i, j = pi, pj
	}
	return list
}

func hasKey(m map[int]int, k int) bool {
	_, ok := m[k]
	return ok
}

func writeNormal(w io.Writer, a, b []string, changes []change) {
	span := func(from, to int) string {
		if to-from <= 1 {
			return strconv.Itoa(max(to, from))
		}
		return fmt.Sprintf("%d,%d", from+1, to)
	}
	for _, c := range changes {
		kind := "c"
		switch {
		case c.fromA == c.toA:
			kind = "a"
		case c.fromB == c.toB:
			kind = "d"
		}
		fmt.Fprintf(w, "%s%s%s\n", span(c.fromA, c.toA), kind, span(c.fromB, c.toB))
		for _, l := range a[c.fromA:c.toA] {
			fmt.Fprintf(w, "< %s\n", l)
		}
		if kind == "c" {
			fmt.Fprintln(w, "---")
		}
		for _, l := range b[c.fromB:c.toB] {
			fmt.Fprintf(w, "> %s\n", l)
		}
	}
}

func writeUnified(w io.Writer, a, b []string, changes []change, around int) {
	span := func(from, to int) string {
		switch to - from {
		case 0:
			return fmt.Sprintf("%d,0", from)
		case 1:
			return strconv.Itoa(from + 1)
		}
		return fmt.Sprintf("%d,%d", from+1, to-from)
	}
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].fromA-changes[n-1].toA <= 2*around {
			n++
		}
		hunk := changes[:n]
		changes = changes[n:]
		first, last := hunk[0], hunk[n-1]
		fromA, fromB := max(0, first.fromA-around), max(0, first.fromB-around)
		toA, toB := min(len(a), last.toA+around), min(len(b), last.toB+around)
		fmt.Fprintf(w, "@@ -%s +%s @@\n", span(fromA, toA), span(fromB, toB))
		at := fromA
		for _, c := range hunk {
			for _, l := range a[at:c.fromA] {
				fmt.Fprintf(w, " %s\n", l)
			}
			for _, l := range a[c.fromA:c.toA] {
				fmt.Fprintf(w, "-%s\n", l)
			}
			for _, l := range b[c.fromB:c.toB] {
				fmt.Fprintf(w, "+%s\n", l)
			}
			at = c.toA
		}
		for _, l := range a[at:toA] {
			fmt.Fprintf(w, " %s\n", l)
		}
	}
}
