package sh

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// printf is the builtin of that name.
func printf(c *call) int {
	args := c.args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return c.fail("needs a format")
	}
	if !formatted(c.out, args[0], args[1:], c.err) {
		return 1
	}
	return 0
}

// formatted writes args by a format of printf, which is used again while there
// are arguments left, and reports whether all of them suited it.
func formatted(w io.Writer, format string, args []string, errs io.Writer) bool {
	ok := true
	for {
		left := len(args)
		var more, good bool
		args, more, good = formatOnce(w, format, args, errs)
		ok = ok && good
		if !more || len(args) == 0 || len(args) == left {
			return ok
		}
	}
}

func formatOnce(w io.Writer, format string, args []string, errs io.Writer) (rest []string, more, ok bool) {
	ok = true
	next := func() string {
		if len(args) == 0 {
			return ""
		}
		a := args[0]
		args = args[1:]
		return a
	}
	var b bytes.Buffer
	defer func() { w.Write(b.Bytes()) }()
	for i := 0; i < len(format); {
		switch {
		case format[i] == '\\':
			n := escapeLength(format[i:])
			if strings.HasPrefix(format[i:], `\c`) {
				return nil, false, ok
			}
			b.WriteString(unescape(format[i : i+n]))
			i += n
			continue
		case format[i] != '%':
			b.WriteByte(format[i])
			i++
			continue
		case strings.HasPrefix(format[i:], "%%"):
			b.WriteByte('%')
			i += 2
			continue
		}
		j := i + 1
		for j < len(format) && strings.IndexByte("-+ #0'", format[j]) >= 0 {
			j++
		}
		spec := strings.ReplaceAll(format[i:j], "'", "")
		for j < len(format) && strings.IndexByte("0123456789.*", format[j]) >= 0 {
			if format[j] == '*' {
				spec += next()
			} else {
				spec += format[j : j+1]
			}
			j++
		}
		for j < len(format) && strings.IndexByte("hlLqjzt", format[j]) >= 0 && format[j] != 'q' {
			j++
		}
		if j == len(format) {
			fmt.Fprintf(errs, "printf: '%s': missing format character\n", format[i:])
			return nil, false, false
		}
		verb := format[j]
		i = j + 1
		switch verb {
		case 's':
			fmt.Fprintf(&b, spec+"s", next())
		case 'b':
			fmt.Fprintf(&b, spec+"s", unescape(next()))
		case 'q':
			fmt.Fprintf(&b, spec+"s", quoteWord(next()))
		case 'c':
			a := next()
			_, n := utf8.DecodeRuneInString(a)
			fmt.Fprintf(&b, spec+"s", a[:n])
		case 'd', 'i', 'u', 'x', 'X', 'o':
			n, good := integer(next())
			if !good {
				ok = false
				fmt.Fprintln(errs, "printf: invalid number")
			}
			if verb == 'i' || verb == 'u' {
				verb = 'd'
			}
			if verb != 'd' && n < 0 {
				fmt.Fprintf(&b, spec+string(verb), uint64(n))
				break
			}
			fmt.Fprintf(&b, spec+string(verb), n)
		case 'e', 'E', 'f', 'F', 'g', 'G':
			a := next()
			v, err := strconv.ParseFloat(strings.TrimSpace(a), 64)
			if err != nil && a != "" {
				if n, good := integer(a); good {
					v = float64(n)
				} else {
					ok = false
					fmt.Fprintf(errs, "printf: '%s': invalid number\n", a)
				}
			}
			b.WriteString(float(spec, verb, v))
		default:
			fmt.Fprintf(errs, "printf: '%%%c': invalid format character\n", verb)
			return nil, false, false
		}
		more = true
	}
	return args, more, ok
}

// float formats as C does, whose %g has six digits where Go's has as many as are needed.
func float(spec string, verb byte, v float64) string {
	if (verb == 'g' || verb == 'G') && !strings.Contains(spec, ".") {
		spec += ".6"
	}
	return fmt.Sprintf(spec+string(verb), v)
}

// integer reads a number as printf does: decimal, 0x, 0, or 'c for a character.
func integer(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, true
	}
	if r := []rune(s); len(r) > 1 && (r[0] == '\'' || r[0] == '"') {
		return int64(r[1]), true
	}
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return n, true
	}
	if n, err := strconv.ParseUint(s, 0, 64); err == nil {
		return int64(n), true
	}
	digits := len(s) - len(strings.TrimLeft(s, "+-0123456789"))
	n, _ := strconv.ParseInt(s[:digits], 10, 64)
	return n, false
}

// escapeLength is the length of the escape at the start of s.
func escapeLength(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	digits := func(from, most int, set string) int {
		n := from
		for n < len(s) && n < from+most && strings.IndexByte(set, s[n]) >= 0 {
			n++
		}
		return n
	}
	const hex = "0123456789abcdefABCDEF"
	switch s[1] {
	case 'x':
		return digits(2, 2, hex)
	case 'u':
		return digits(2, 4, hex)
	case 'U':
		return digits(2, 8, hex)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		return digits(1, 3, "01234567")
	}
	return 2
}

// unescape reads the escapes of printf in s.
func unescape(s string) string {
	var b strings.Builder
	for s != "" {
		if s[0] != '\\' {
			n := strings.IndexByte(s, '\\')
			if n < 0 {
				n = len(s)
			}
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		n := escapeLength(s)
		e := s[:n]
		s = s[n:]
		switch {
		case n > 2 && (e[1] == 'x' || e[1] == 'u' || e[1] == 'U'):
			v, _ := strconv.ParseUint(e[2:], 16, 32)
			if e[1] == 'x' {
				b.WriteByte(byte(v))
			} else {
				b.WriteRune(rune(v))
			}
		case n > 1 && e[1] >= '0' && e[1] <= '7':
			v, _ := strconv.ParseUint(e[1:], 8, 32)
			b.WriteByte(byte(v))
		case n == 2 && e[1] == 'e':
			b.WriteByte(0x1b)
		case n == 2 && strings.IndexByte(`ntrfvab\"'`, e[1]) >= 0:
			b.WriteString(escapes(e))
		default:
			b.WriteString(e)
		}
	}
	return b.String()
}

// quoteWord quotes a word for a shell where it needs that.
func quoteWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,") == "" {
		return s
	}
	return quoteAll([]string{s})
}
