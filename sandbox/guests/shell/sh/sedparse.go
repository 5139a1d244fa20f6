package sh

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// sedAddress chooses lines.
type sedAddress struct {
	line, step int
	re         *regexp.Regexp
	same       bool // //: the last pattern used
	last       bool // $
	plus       bool // addr,+n
	zero       bool // 0,/re/
}

// sedPart is one part of a replacement: text, a group, or a change of case.
type sedPart struct {
	text  string
	group int  // -1 for text
	mode  byte // U L u l E
}

type sedCommand struct {
	from, to      *sedAddress
	negate        bool
	name          byte
	text          string // of a i c, file of r w s///w, label of b t
	re            *regexp.Regexp
	replacement   []sedPart
	global, print bool
	number        int // s///2, exit status of q
	chars         map[rune]rune
	jump          int
}

type sedParser struct {
	s    string
	i    int
	ere  bool
	prog []sedCommand
}

// parseSed parses a script. ere says that patterns are extended ones.
func parseSed(script string, ere bool) ([]sedCommand, map[string]int, error) {
	p := &sedParser{s: script, ere: ere}
	labels := map[string]int{}
	var open []int
	for {
		p.skip(" \t\n;")
		if p.i >= len(p.s) {
			break
		}
		c, err := p.command()
		if err != nil {
			return nil, nil, fmt.Errorf("char %d: %w", p.i, err)
		}
		switch c.name {
		case '#':
			continue
		case '{':
			open = append(open, len(p.prog))
		case '}':
			if len(open) == 0 {
				return nil, nil, fmt.Errorf("char %d: unexpected }", p.i)
			}
			p.prog[open[len(open)-1]].jump = len(p.prog)
			open = open[:len(open)-1]
		case ':':
			labels[c.text] = len(p.prog)
		}
		p.prog = append(p.prog, c)
	}
	if len(open) > 0 {
		return nil, nil, fmt.Errorf("{ without }")
	}
	for i := range p.prog {
		c := &p.prog[i]
		if c.name != 'b' && c.name != 't' && c.name != 'T' {
			continue
		}
		c.jump = len(p.prog)
		if c.text != "" {
			at, ok := labels[c.text]
			if !ok {
				return nil, nil, fmt.Errorf("no label %q", c.text)
			}
			c.jump = at
		}
	}
	return p.prog, labels, nil
}

func (p *sedParser) skip(chars string) {
	for p.i < len(p.s) && strings.IndexByte(chars, p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *sedParser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *sedParser) int() int {
	start := p.i
	p.skip("0123456789")
	n, _ := strconv.Atoi(p.s[start:p.i])
	return n
}

func (p *sedParser) address() (*sedAddress, error) {
	a := &sedAddress{}
	switch ch := p.peek(); {
	case ch == '$':
		p.i++
		a.last = true
	case ch >= '0' && ch <= '9':
		a.line = p.int()
		a.zero = a.line == 0
		if p.peek() == '~' {
			p.i++
			a.step, a.zero = p.int(), false
		}
	case ch == '/' || ch == '\\':
		if ch == '\\' {
			p.i++
		}
		text, err := p.delimited(true)
		if err != nil {
			return nil, err
		}
		flags := ""
		for p.peek() == 'I' || p.peek() == 'M' {
			flags += strings.ToLower(string(p.peek()))
			p.i++
		}
		if a.same = text == ""; a.same {
			return a, nil
		}
		a.re, err = p.compile(text, flags)
		return a, err
	default:
		return nil, nil
	}
	return a, nil
}

func (p *sedParser) compile(text, flags string) (*regexp.Regexp, error) {
	kind := basic
	if p.ere {
		kind = extended
	}
	return compile(text, kind, flags+"s")
}

// delimited reads up to the delimiter that stands here, past both.
func (p *sedParser) delimited(pattern bool) (string, error) {
	if p.i >= len(p.s) {
		return "", fmt.Errorf("unterminated command")
	}
	d := p.s[p.i]
	p.i++
	var b strings.Builder
	set := false
	for ; p.i < len(p.s); p.i++ {
		ch := p.s[p.i]
		switch {
		case ch == '\\' && p.i+1 < len(p.s) && !set:
			p.i++
			if p.s[p.i] == d {
				b.WriteByte(d)
				continue
			}
			b.WriteByte('\\')
			b.WriteByte(p.s[p.i])
			continue
		case pattern && ch == '[' && !set:
			set = true
			b.WriteByte(ch)
			if strings.HasPrefix(p.s[p.i+1:], "^") {
				p.i++
				b.WriteByte('^')
			}
			if strings.HasPrefix(p.s[p.i+1:], "]") {
				p.i++
				b.WriteByte(']')
			}
			continue
		case set && strings.HasPrefix(p.s[p.i:], "[:"):
			if name, _, ok := strings.Cut(p.s[p.i+2:], ":]"); ok {
				b.WriteString(p.s[p.i : p.i+len(name)+4])
				p.i += len(name) + 3
				continue
			}
		case set && ch == ']':
			set = false
		case ch == d && !set:
			p.i++
			return b.String(), nil
		}
		b.WriteByte(ch)
	}
	return "", fmt.Errorf("no second %q", d)
}

func (p *sedParser) command() (c sedCommand, err error) {
	if c.from, err = p.address(); err != nil {
		return c, err
	}
	p.skip(" \t")
	if c.from != nil && p.peek() == ',' {
		p.i++
		p.skip(" \t")
		if p.peek() == '+' {
			p.i++
			c.to = &sedAddress{plus: true, line: p.int()}
		} else if c.to, err = p.address(); err != nil {
			return c, err
		}
		if c.to == nil {
			return c, fmt.Errorf("no address after the comma")
		}
	}
	if c.from != nil && c.from.zero && (c.to == nil || (c.to.re == nil && !c.to.same)) {
		return c, fmt.Errorf("line 0 is possible only in 0,/pattern/")
	}
	p.skip(" \t")
	for p.peek() == '!' {
		c.negate = true
		p.i++
		p.skip(" \t")
	}
	if p.i >= len(p.s) {
		return c, fmt.Errorf("no command")
	}
	c.name = p.s[p.i]
	p.i++
	switch c.name {
	case '{':
		return c, nil
	case '#':
		p.rest()
		return c, nil
	case 's':
		return c, p.substitution(&c)
	case 'y':
		return c, p.transliteration(&c)
	case 'a', 'i', 'c':
		c.text = p.insertion()
		return c, nil
	case ':':
		p.skip(" \t")
		start := p.i
		for p.i < len(p.s) && p.s[p.i] != '\n' && p.s[p.i] != ';' {
			p.i++
		}
		c.text = strings.TrimSpace(p.s[start:p.i])
		return c, nil
	case 'b', 't', 'T':
		p.skip(" \t")
		start := p.i
		for p.i < len(p.s) && strings.IndexByte("\n;}", p.s[p.i]) < 0 {
			p.i++
		}
		c.text = strings.TrimSpace(p.s[start:p.i])
		return c, nil
	case 'r', 'w':
		p.skip(" \t")
		c.text = p.rest()
		return c, nil
	case 'q', 'Q':
		p.skip(" \t")
		c.number = p.int()
	case 'e':
		return c, fmt.Errorf("the command e is not available")
	case '}', '=', 'd', 'D', 'g', 'G', 'h', 'H', 'l', 'n', 'N', 'p', 'P', 'x', 'z':
	default:
		return c, fmt.Errorf("unknown command %q", c.name)
	}
	p.skip(" \t")
	if p.i < len(p.s) && strings.IndexByte("\n;}#", p.s[p.i]) < 0 {
		return c, fmt.Errorf("extra characters after %q", c.name)
	}
	return c, nil
}

// rest reads to the end of the line.
func (p *sedParser) rest() string {
	start := p.i
	for p.i < len(p.s) && p.s[p.i] != '\n' {
		p.i++
	}
	return p.s[start:p.i]
}

// insertion reads the text of a, i and c: on this line, or after a backslash on the next.
func (p *sedParser) insertion() string {
	p.skip(" \t")
	if p.peek() == '\\' {
		p.i++
		start := p.i
		if p.skip(" \t"); p.peek() == '\n' {
			p.i++
		} else {
			p.i = start // a\ keeps the blanks before its text
		}
	}
	var b strings.Builder
	for ; p.i < len(p.s) && p.s[p.i] != '\n'; p.i++ {
		if p.s[p.i] == '\\' && p.i+1 < len(p.s) {
			p.i++
			switch p.s[p.i] {
			case 't':
				b.WriteByte('\t')
				continue
			case 'n':
				b.WriteByte('\n')
				continue
			}
		}
		b.WriteByte(p.s[p.i])
	}
	return b.String()
}
