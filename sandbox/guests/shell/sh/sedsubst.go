package sh

import (
	"bytes"
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
