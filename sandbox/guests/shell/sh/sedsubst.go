package sh

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

func (e *editor) substitute(cmd *sedCommand) bool {
	re := e.regexp(cmd.re)
	var out []byte
	pos, count, done := 0, 0, false
	for _, m := range re.FindAllSubmatchIndex(e.space, -1) {
		if count++; count < cmd.number {
			continue
		}
		out = append(out, e.space[pos:m[0]]...)
		out = expandSed(out, cmd.replacement, e.space, m)
		pos, done = m[1], true
		if !cmd.global {
			break
		}
	}
	if !done {
		return false
	}
	e.space = append(out, e.space[pos:]...)
	if cmd.print {
		e.write(e.space)
	}
	if cmd.text != "" {
		if err := e.writeFile(cmd.text, e.space); err != nil {
			e.c.fail("%v", err)
		}
	}
	return true
}

// expandSed appends the replacement for the match m.
func expandSed(out []byte, parts []sedPart, src []byte, m []int) []byte {
	mode, once := byte('E'), byte(0)
	add := func(s []byte) {
		if len(s) == 0 {
			return
		}
		switch mode {
		case 'U':
			s = bytes.ToUpper(s)
		case 'L':
			s = bytes.ToLower(s)
		}
		if once != 0 {
			r, n := utf8.DecodeRune(s)
			if once == 'u' {
				r = unicode.ToUpper(r)
			} else {
				r = unicode.ToLower(r)
			}
			s = append([]byte(string(r)), s[n:]...)
			once = 0
		}
		out = append(out, s...)
	}
	for _, p := range parts {
		switch {
		case p.mode == 'u' || p.mode == 'l':
			once = p.mode
		case p.mode != 0:
			mode, once = p.mode, 0
		case p.group >= 0:
			if 2*p.group+1 < len(m) && m[2*p.group] >= 0 {
				add(src[m[2*p.group]:m[2*p.group+1]])
			}
		default:
			add([]byte(p.text))
		}
	}
	return out
}

func (p *sedParser) substitution(c *sedCommand) error {
	pattern, err := p.delimited(true)
	if err != nil {
		return fmt.Errorf("s: %w", err)
	}
	p.i-- // the delimiter in the middle starts the second part
	replacement, err := p.delimited(false)
	if err != nil {
		return fmt.Errorf("s: %w", err)
	}
	flags := ""
flags:
	for ; p.i < len(p.s); p.i++ {
		switch ch := p.s[p.i]; {
		case ch == 'g':
			c.global = true
		case ch == 'p':
			c.print = true
		case ch == 'i' || ch == 'I':
			flags += "i"
		case ch == 'm' || ch == 'M':
			flags += "m"
		case ch >= '1' && ch <= '9':
			c.number = p.int()
			p.i--
		case ch == 'w':
			p.i++
			p.skip(" \t")
			c.text = p.rest()
			break flags
		case ch == 'e':
			return fmt.Errorf("the flag e of s is not available")
		case strings.IndexByte(" \t\n;}#", ch) >= 0:
			break flags
		default:
			return fmt.Errorf("unknown option to s: %q", ch)
		}
	}
	if pattern != "" {
		if c.re, err = p.compile(pattern, flags); err != nil {
			return err
		}
	}
	c.replacement, err = parseReplacement(replacement)
	if err == nil && c.re != nil {
		for _, part := range c.replacement {
			if part.group > c.re.NumSubexp() {
				return fmt.Errorf("no group %d in %q", part.group, pattern)
			}
		}
	}
	return err
}

func parseReplacement(s string) ([]sedPart, error) {
	var parts []sedPart
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			parts = append(parts, sedPart{text: b.String(), group: -1})
			b.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '&':
			end()
			parts = append(parts, sedPart{group: 0})
		case s[i] == '\\' && i+1 < len(s):
			i++
			switch e := s[i]; {
			case e >= '0' && e <= '9':
				end()
				parts = append(parts, sedPart{group: int(e - '0')})
			case strings.IndexByte("ULulE", e) >= 0:
				end()
				parts = append(parts, sedPart{mode: e, group: -1})
			case e == 'n':
				b.WriteByte('\n')
			case e == 't':
				b.WriteByte('\t')
			case e == 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte(e)
			}
		default:
			b.WriteByte(s[i])
		}
	}
	end()
	return parts, nil
}

func (p *sedParser) transliteration(c *sedCommand) error {
	from, err := p.delimited(false)
	if err != nil {
		return fmt.Errorf("y: %w", err)
	}
	p.i--
	to, err := p.delimited(false)
	if err != nil {
		return fmt.Errorf("y: %w", err)
	}
	a, b := []rune(escapes(from)), []rune(escapes(to))
	if len(a) != len(b) {
		return fmt.Errorf("y: the two sets are of different lengths")
	}
	c.chars = map[rune]rune{}
	for i := range a {
		c.chars[a[i]] = b[i]
	}
	return nil
}
