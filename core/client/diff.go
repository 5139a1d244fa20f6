package client

import (
	"fmt"
	"io"
	"strings"
)

// around is how many unchanged lines a diff shows around a change.
const around = 3

// writeDiff prints a unified diff of a file; there says whether it is there
// already.
func writeDiff(w io.Writer, path string, there bool, before, after string) {
	if there && before == after {
		return
	}
	old := path
	if !there {
		old = "/dev/null"
	}
	fmt.Fprintf(w, "--- %s\n+++ %s\n", old, path)
	a, b := lines(before), lines(after)
	ops := script(a, b)
	for i := 0; i < len(ops); {
		if ops[i].sign == ' ' {
			i++
			continue
		}
		from := max(i-around, 0)
		to, quiet := i, 0
		for to < len(ops) && quiet <= 2*around {
			if ops[to].sign == ' ' {
				quiet++
			} else {
				quiet = 0
			}
			to++
		}
		to -= max(quiet-around, 0)
		hunk := ops[from:to]
		na, nb := 0, 0
		for _, o := range hunk {
			if o.sign != '+' {
				na++
			}
			if o.sign != '-' {
				nb++
			}
		}
		fmt.Fprintf(w, "@@ -%s +%s @@\n", span(hunk[0].a, na), span(hunk[0].b, nb))
		for _, o := range hunk {
			text, ended := strings.CutSuffix(o.line, "\n")
			fmt.Fprintf(w, "%c%s\n", o.sign, text)
			if !ended {
				fmt.Fprintln(w, `\ No newline at end of file`)
			}
		}
		i = to
	}
}

// span is a range of lines; an empty one names the line before it.
func span(first, n int) string {
	if n == 0 {
		return fmt.Sprintf("%d,0", first)
	}
	return fmt.Sprintf("%d,%d", first+1, n)
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	out := strings.SplitAfter(s, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// op is a line that stays, goes or comes, with the places where it stands.
type op struct {
	sign byte
	line string
	a, b int
}

// script turns a into b by way of their longest common subsequence.
func script(a, b []string) []op {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	n, m := len(a)-head-tail, len(b)-head-tail
	longest := make([][]int, n+1) // of the rests behind i and j
	for i := range longest {
		longest[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if a[head+i] == b[head+j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var out []op
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		inner := i >= head && i < head+n || j >= head && j < head+m
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j] && (!inner || i < head+n && j < head+m):
			out = append(out, op{' ', a[i], i, j})
			i, j = i+1, j+1
		case i < head+n && (j >= head+m || longest[i+1-head][j-head] >= longest[i-head][j+1-head]):
			out = append(out, op{'-', a[i], i, j})
			i++
		default:
			out = append(out, op{'+', b[j], i, j})
			j++
		}
	}
	return out
}
