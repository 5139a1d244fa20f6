package sh

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// size reads 10, 10k, 1M.
func size(s string) (int64, error) {
	unit := int64(1)
	for suffix, u := range map[string]int64{"k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "kB": 1000, "MB": 1000000, "b": 512} {
		if t, ok := strings.CutSuffix(s, suffix); ok && strings.Trim(t, "+-0123456789") == "" {
			s, unit = t, u
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "+"), 10, 64)
	return n * unit, err
}

func head(c *call) int {
	c.args = numeric(c.args, "-n", "-n", "-c", "--lines", "--bytes")
	f := c.flags()
	lines := f.StringP("lines", "n", "10", "lines; with - all but the last")
	count := f.StringP("bytes", "c", "", "bytes; with - all but the last")
	quiet := f.BoolP("quiet", "q", false, "no names of files")
	verbose := f.BoolP("verbose", "v", false, "names of files")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	text := *lines
	if *count != "" {
		text = *count
	}
	n, err := size(text)
	if err != nil {
		return c.fail("invalid number %q", text)
	}
	first := true
	for name, r := range c.files(names) {
		c.heading(name, &first, *verbose || (len(names) > 1 && !*quiet))
		switch {
		case *count != "" && n >= 0:
			if _, err := io.CopyN(c.out, r, n); err != nil {
				c.readError(err)
			}
		case *count != "":
			b, err := io.ReadAll(r)
			if err != nil {
				c.readError(err)
			}
			c.out.Write(b[:max(0, int64(len(b))+n)])
		case n > 0:
			left := n
			for l := range c.lines(r) {
				c.line(l)
				if left--; left == 0 {
					break
				}
			}
		case n < 0:
			held := make([][]byte, 0, -n)
			for l := range c.lines(r) {
				if int64(len(held)) == -n {
					c.line(held[0])
					held = append(held[1:], bytes.Clone(l))
					continue
				}
				held = append(held, bytes.Clone(l))
			}
		}
	}
	return 0
}

func (c *call) heading(name string, first *bool, show bool) {
	if show {
		if !*first {
			c.out.WriteByte('\n')
		}
		if name == "-" {
			name = "standard input"
		}
		fmt.Fprintf(c.out, "==> %s <==\n", name)
	}
	*first = false
}

func tail(c *call) int {
	c.args = numeric(c.args, "-n", "-n", "-c", "--lines", "--bytes")
	if len(c.args) > 0 && len(c.args[0]) > 1 && c.args[0][0] == '+' && strings.Trim(c.args[0][1:], "0123456789") == "" {
		c.args = append([]string{"-n", c.args[0]}, c.args[1:]...)
	}
	f := c.flags()
	lines := f.StringP("lines", "n", "10", "lines; with + from that line on")
	count := f.StringP("bytes", "c", "", "bytes; with + from that byte on")
	quiet := f.BoolP("quiet", "q", false, "no names of files")
	verbose := f.BoolP("verbose", "v", false, "names of files")
	follow := f.BoolP("follow", "f", false, "not available")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if *follow {
		return c.fail("-f is not available: nothing else writes the files")
	}
	text := *lines
	if *count != "" {
		text = *count
	}
	n, err := size(text)
	if err != nil {
		return c.fail("invalid number %q", text)
	}
	from := strings.HasPrefix(text, "+")
	n = max(n, -n)
	first := true
	for name, r := range c.files(names) {
		c.heading(name, &first, *verbose || (len(names) > 1 && !*quiet))
		switch {
		case *count != "":
			b, err := io.ReadAll(r)
			if err != nil {
				c.readError(err)
			}
			start := int64(len(b)) - n
			if from {
				start = n - 1
			}
			c.out.Write(b[min(max(0, start), int64(len(b))):])
		case from:
			i := int64(0)
			for l := range c.lines(r) {
				if i++; i >= n {
					c.line(l)
				}
			}
		default:
			var held [][]byte
			for l := range c.lines(r) {
				if n > 0 && int64(len(held)) == n {
					held = held[1:]
				}
				if n > 0 {
					held = append(held, bytes.Clone(l))
				}
			}
			for _, l := range held {
				c.line(l)
			}
		}
	}
	return 0
}
