package sh

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// constant makes a tool that prints one line.
func constant(line string) tool {
	return func(c *call) int {
		c.line([]byte(line))
		return 0
	}
}

func cat(c *call) int {
	f := c.flags()
	number := f.BoolP("number", "n", false, "number all lines")
	nonblank := f.BoolP("number-nonblank", "b", false, "number lines that are not empty")
	squeeze := f.BoolP("squeeze-blank", "s", false, "one empty line in place of several")
	ends := f.BoolP("show-ends", "E", false, "show $ at the end of a line")
	tabs := f.BoolP("show-tabs", "T", false, "show tabs as ^I")
	all := f.BoolP("show-all", "A", false, "the same as -ET")
	f.BoolP("unbuffered", "u", false, "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	*ends, *tabs = *ends || *all, *tabs || *all
	if !*number && !*nonblank && !*squeeze && !*ends && !*tabs {
		for _, r := range c.files(names) {
			if _, err := io.Copy(c.out, r); err != nil {
				c.readError(err)
			}
		}
		return 0
	}
	n, blank := 0, false
	for l := range c.input(names) {
		empty := len(l) == 0
		if *squeeze && empty && blank {
			continue
		}
		blank = empty
		if (*number && !*nonblank) || (*nonblank && !empty) {
			n++
			fmt.Fprintf(c.out, "%6d\t", n)
		}
		if *tabs {
			l = bytes.ReplaceAll(l, []byte("\t"), []byte("^I"))
		}
		c.out.Write(l)
		if *ends {
			c.out.WriteByte('$')
		}
		c.out.WriteByte('\n')
	}
	return 0
}

func tac(c *call) int {
	var lines [][]byte
	for l := range c.input(c.args) {
		lines = append(lines, bytes.Clone(l))
	}
	for _, l := range slices.Backward(lines) {
		c.line(l)
	}
	return 0
}

func rev(c *call) int {
	for l := range c.input(c.args) {
		for len(l) > 0 {
			_, n := utf8.DecodeLastRune(l)
			c.out.Write(l[len(l)-n:])
			l = l[:len(l)-n]
		}
		c.out.WriteByte('\n')
	}
	return 0
}

func wc(c *call) int {
	f := c.flags()
	l := f.BoolP("lines", "l", false, "lines")
	w := f.BoolP("words", "w", false, "words")
	ch := f.BoolP("bytes", "c", false, "bytes")
	m := f.BoolP("chars", "m", false, "characters")
	longest := f.BoolP("max-line-length", "L", false, "longest line")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if !*l && !*w && !*ch && !*m && !*longest {
		*l, *w, *ch = true, true, true
	}
	show := []bool{*l, *w, *m, *ch, *longest}
	var rows [][5]int64
	var labels []string
	var total [5]int64
	for name, r := range c.files(names) {
		var n [5]int64
		word, width := false, int64(0)
		br := bufio.NewReaderSize(r, 64<<10)
		for {
			b, err := br.ReadByte()
			if err != nil {
				c.readError(err)
				break
			}
			n[3]++
			if b&0xc0 != 0x80 {
				n[2]++
				width++
			}
			switch b {
			case '\n':
				n[0]++
				n[4] = max(n[4], width-1)
				width, word = 0, false
			case ' ', '\t', '\r', '\v', '\f':
				word = false
			default:
				if !word {
					n[1]++
				}
				word = true
			}
		}
		n[4] = max(n[4], width)
		for i := range n[:4] {
			total[i] += n[i]
		}
		total[4] = max(total[4], n[4])
		if name == "-" && len(names) == 0 {
			name = ""
		}
		rows, labels = append(rows, n), append(labels, name)
	}
	if len(names) > 1 {
		rows, labels = append(rows, total), append(labels, "total")
	}
	width, columns := 1, 0
	for _, s := range show {
		if s {
			columns++
		}
	}
	switch {
	case columns > 1 && len(names) == 0:
		width = 7
	case columns > 1 || len(names) > 1:
		width = len(strconv.FormatInt(total[3], 10))
	}
	for i, r := range rows {
		var out []string
		for j, s := range show {
			if s {
				out = append(out, fmt.Sprintf("%*d", width, r[j]))
			}
		}
		if labels[i] != "" {
			out = append(out, labels[i])
		}
		c.line([]byte(strings.Join(out, " ")))
	}
	return 0
}

func nl(c *call) int {
	f := c.flags()
	body := f.StringP("body-numbering", "b", "t", "a all lines, t those that are not empty")
	width := f.IntP("number-width", "w", 6, "columns")
	sep := f.StringP("number-separator", "s", "\t", "between number and line")
	start := f.IntP("starting-line-number", "v", 1, "first number")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	n := *start
	for l := range c.input(names) {
		if *body == "a" || (*body == "t" && len(l) > 0) {
			fmt.Fprintf(c.out, "%*d%s", *width, n, *sep)
			n++
		} else {
			c.out.WriteString(strings.Repeat(" ", *width+len(*sep)))
		}
		c.line(l)
	}
	return 0
}

func tee(c *call) int {
	f := c.flags()
	add := f.BoolP("append", "a", false, "append to the files")
	f.BoolP("ignore-interrupts", "i", false, "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	to := []io.Writer{c.out}
	for _, n := range names {
		mode := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if *add {
			mode = os.O_WRONLY | os.O_CREATE | os.O_APPEND
		}
		file, err := os.OpenFile(c.path(n), mode, 0o644)
		if err != nil {
			c.fail("%s: %s", n, reason(err))
			continue
		}
		defer file.Close()
		to = append(to, file)
	}
	if _, err := io.Copy(io.MultiWriter(to...), c.in); err != nil {
		c.fail("write error: %s", reason(err))
	}
	return 0
}

func yes(c *call) int {
	line := []byte("y")
	if len(c.args) > 0 {
		line = []byte(strings.Join(c.args, " "))
	}
	for c.ctx.Err() == nil {
		c.line(line)
	}
	return exitPipe
}

func seq(c *call) int {
	args, sep, format, wide := c.args, "\n", "", false
options:
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && !strings.ContainsRune("0123456789.", rune(args[0][1])) {
		switch o := args[0]; {
		case o == "-w":
			wide = true
		case (o == "-s" || o == "-f") && len(args) > 1:
			if o == "-s" {
				sep = args[1]
			} else {
				format = args[1]
			}
			args = args[1:]
		case strings.HasPrefix(o, "-s"):
			sep = strings.TrimPrefix(o, "-s")
		case o == "--":
			args = args[1:]
			break options
		default:
			return c.fail("invalid option %q", o)
		}
		args = args[1:]
	}
	if len(args) < 1 || len(args) > 3 {
		return c.fail("needs one to three numbers")
	}
	var num [3]float64
	digits := 0
	for i, a := range args {
		v, err := strconv.ParseFloat(a, 64)
		if err != nil {
			return c.fail("invalid number %q", a)
		}
		num[i] = v
		if _, frac, ok := strings.Cut(a, "."); ok && (i < len(args)-1 || len(args) == 1) {
			digits = max(digits, len(frac))
		}
	}
	first, step, last := 1.0, 1.0, num[0]
	switch len(args) {
	case 2:
		first, last = num[0], num[1]
	case 3:
		first, step, last = num[0], num[1], num[2]
	}
	if step == 0 {
		return c.fail("the step is zero")
	}
	text := func(v float64) string {
		if format != "" {
			return fmt.Sprintf(format, v)
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	width := 0
	if wide {
		width = max(len(text(first)), len(text(last)))
	}
	for i := 0; ; i++ {
		v := first + float64(i)*step
		if (step > 0 && v > last+step*1e-9) || (step < 0 && v < last+step*1e-9) {
			if i > 0 {
				c.out.WriteByte('\n')
			}
			return 0
		}
		if i > 0 {
			c.out.WriteString(sep)
		}
		s := text(v)
		if pad := width - len(s); pad > 0 {
			neg := strings.HasPrefix(s, "-")
			s = strings.Repeat("0", pad) + strings.TrimPrefix(s, "-")
			if neg {
				s = "-" + s
			}
		}
		c.out.WriteString(s)
	}
}
