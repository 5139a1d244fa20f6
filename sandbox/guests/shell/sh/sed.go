package sh

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// An editor runs a sed program over inputs.
type editor struct {
	c              *call
	prog           []sedCommand
	labels         map[string]int
	quiet, nullEnd bool
	out            io.Writer
	next           func() ([]byte, bool)
	ahead          []byte
	more           bool
	n              int // lines read
	space, hold    []byte
	appended       []string
	active         []bool // range i is open
	until          []int  // with a number of lines as its end
	files          map[string]*os.File
	last           *regexp.Regexp
	quit           bool
	owing          bool // the newline of the last line
}

func sed(c *call) int {
	c.args = splitInPlace(c.args)
	f := c.flags()
	quiet := f.BoolP("quiet", "n", false, "print only what p prints")
	f.BoolVar(quiet, "silent", false, "the same as -n")
	ere := f.BoolP("regexp-extended", "E", false, "extended patterns")
	f.BoolVarP(ere, "regexp-extended-r", "r", false, "the same as -E")
	separate := f.BoolP("separate", "s", false, "each file has its own line numbers")
	inPlace := f.StringP("in-place", "i", "", "write the files; a suffix keeps the old ones")
	f.Lookup("in-place").NoOptDefVal = "\x00"
	null := f.BoolP("null-data", "z", false, "lines end with NUL")
	f.BoolP("unbuffered", "u", false, "no effect")
	scripts := f.StringArrayP("expression", "e", nil, "a script; may be repeated")
	from := f.StringArrayP("file", "f", nil, "a file with a script")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	for _, n := range *from {
		r, ok := c.open(n)
		if !ok {
			return 1
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return c.fail("%s: %s", n, reason(err))
		}
		*scripts = append(*scripts, strings.TrimSuffix(string(b), "\n"))
	}
	if len(*scripts) == 0 {
		if len(names) == 0 {
			return c.fail("no script; use as: sed [-nEi] script [file…]")
		}
		*scripts, names = names[:1], names[1:]
	}
	prog, labels, err := parseSed(strings.Join(*scripts, "\n"), *ere)
	if err != nil {
		return c.fail("-e: %v", err)
	}
	c.trouble = 2
	e := &editor{c: c, prog: prog, labels: labels, quiet: *quiet, nullEnd: *null, out: c.out, files: map[string]*os.File{}}
	e.active, e.until = make([]bool, len(prog)), make([]int, len(prog))
	defer func() {
		for _, f := range e.files {
			f.Close()
		}
	}()
	if !f.Changed("in-place") {
		if !*separate {
			return e.run(e.lines(names))
		}
		st := 0
		for _, n := range names {
			e.n = 0
			st = e.run(e.lines([]string{n}))
		}
		return st
	}
	for _, n := range names {
		if st := e.edit(n, *inPlace); st != 0 || e.quit {
			return st
		}
	}
	return 0
}

// splitInPlace writes -nEi.bak as -nE and --in-place=.bak.
func splitInPlace(args []string) []string {
	var out []string
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		value := i > 0 && (args[i-1] == "-e" || args[i-1] == "-f" || args[i-1] == "-ne" || args[i-1] == "-nf")
		at := strings.IndexByte(a, 'i')
		if value || at < 1 || a[0] != '-' || strings.Trim(a[1:at], "nErsuz") != "" {
			out = append(out, a)
			continue
		}
		if at > 1 {
			out = append(out, a[:at])
		}
		if a[at+1:] == "" {
			out = append(out, "--in-place")
		} else {
			out = append(out, "--in-place="+a[at+1:])
		}
	}
	return out
}

// edit runs the program over one file and writes its output in place of it.
func (e *editor) edit(name, suffix string) int {
	r, ok := e.c.open(name)
	if !ok {
		return 1
	}
	old, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		return e.c.fail("%s: %s", name, reason(err))
	}
	var out bytes.Buffer
	e.out, e.n, e.owing = &out, 0, false
	st := e.run(func(yield func([]byte) bool) {
		for l := range e.c.records(bytes.NewReader(old), e.end()) {
			if !yield(l) {
				return
			}
		}
	})
	if e.quit { // the rest of the file stays as it is
		for l, ok := e.ahead, e.more; ok; l, ok = e.next() {
			out.Write(append(bytes.Clone(l), e.end()))
		}
	}
	if suffix != "\x00" && suffix != "" {
		if err := os.WriteFile(e.c.path(name+suffix), old, 0o644); err != nil {
			return e.c.fail("%s%s: %s", name, suffix, reason(err))
		}
	}
	if err := os.WriteFile(e.c.path(name), out.Bytes(), 0o644); err != nil {
		return e.c.fail("%s: %s", name, reason(err))
	}
	return st
}

func (e *editor) end() byte {
	if e.nullEnd {
		return 0
	}
	return '\n'
}

func (e *editor) lines(names []string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, r := range e.c.files(names) {
			for l := range e.c.records(r, e.end()) {
				if !yield(l) {
					return
				}
			}
		}
	}
}

func (e *editor) read() bool {
	if !e.more {
		return false
	}
	e.space = append(e.space, e.ahead...)
	e.n++
	e.fetch()
	return true
}

func (e *editor) fetch() {
	l, ok := e.next()
	e.ahead, e.more = bytes.Clone(l), ok
}

// write writes a line. The last one gets no newline when it was read without.
func (e *editor) write(b []byte) {
	e.begin()
	e.out.Write(b)
	if e.owing = !e.more && e.c.partial; !e.owing {
		e.out.Write([]byte{e.end()})
	}
}

// begin writes the newline that the line before was left without.
func (e *editor) begin() {
	if e.owing {
		e.out.Write([]byte{e.end()})
		e.owing = false
	}
}

func (e *editor) flush() {
	for _, s := range e.appended {
		e.begin()
		io.WriteString(e.out, s)
	}
	e.appended = e.appended[:0]
}

func (e *editor) run(lines iter.Seq[[]byte]) int {
	next, stop := iter.Pull(lines)
	e.next = next
	e.fetch()
	defer stop()
	keep := false
	for {
		if !keep {
			e.space = e.space[:0]
			if !e.read() {
				return 0
			}
		}
		status, again, err := e.cycle()
		if err != nil {
			return e.c.fail("%v", err)
		}
		e.flush()
		if e.quit {
			return status
		}
		keep = again
	}
}

// cycle runs the program over the pattern space. again starts the next cycle without a new line.
func (e *editor) cycle() (status int, again bool, err error) {
	steps, replaced := 0, false
	for i := 0; i < len(e.prog); i++ {
		if steps++; steps%1024 == 0 && e.c.ctx.Err() != nil {
			return 0, false, e.c.ctx.Err()
		}
		cmd := &e.prog[i]
		if e.selects(i, cmd) == cmd.negate {
			if cmd.name == '{' {
				i = cmd.jump
			}
			continue
		}
		switch cmd.name {
		case '{', '}', ':', '#':
		case 's':
			ok := e.substitute(cmd)
			replaced = replaced || ok
		case 'y':
			e.space = []byte(strings.Map(func(r rune) rune {
				if to, ok := cmd.chars[r]; ok {
					return to
				}
				return r
			}, string(e.space)))
		case 'p':
			e.write(e.space)
		case 'P':
			l, _, _ := bytes.Cut(e.space, []byte("\n"))
			e.write(l)
		case '=':
			e.write([]byte(strconv.Itoa(e.n)))
		case 'l':
			q := strconv.Quote(string(e.space))
			e.write([]byte(strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) + "$"))
		case 'd':
			return 0, false, nil
		case 'D':
			_, rest, ok := bytes.Cut(e.space, []byte("\n"))
			if !ok {
				return 0, false, nil
			}
			e.space = bytes.Clone(rest)
			return 0, true, nil
		case 'n', 'N':
			if !e.more {
				if !e.quiet {
					e.write(e.space)
				}
				e.quit = true
				return 0, false, nil
			}
			if cmd.name == 'n' {
				if !e.quiet {
					e.write(e.space)
				}
				e.space = e.space[:0]
			} else {
				e.space = append(e.space, '\n')
			}
			e.flush()
			e.read()
		case 'g':
			e.space = bytes.Clone(e.hold)
		case 'G':
			e.space = append(append(e.space, '\n'), e.hold...)
		case 'h':
			e.hold = bytes.Clone(e.space)
		case 'H':
			e.hold = append(append(e.hold, '\n'), e.space...)
		case 'x':
			e.space, e.hold = e.hold, e.space
		case 'a':
			e.appended = append(e.appended, cmd.text+"\n")
		case 'i':
			e.begin()
			io.WriteString(e.out, cmd.text+"\n")
		case 'c':
			if cmd.to == nil || cmd.negate || !e.active[i] {
				io.WriteString(e.out, cmd.text+"\n")
			}
			return 0, false, nil
		case 'r':
			if b, err := os.ReadFile(e.c.path(cmd.text)); err == nil {
				e.appended = append(e.appended, string(b))
			}
		case 'w':
			if err := e.writeFile(cmd.text, e.space); err != nil {
				return 0, false, err
			}
		case 'b':
			i = cmd.jump
		case 't', 'T':
			if replaced == (cmd.name == 't') {
				i = cmd.jump
			}
			replaced = false
		case 'q', 'Q':
			if cmd.name == 'q' && !e.quiet {
				e.write(e.space)
			}
			e.quit = true
			return cmd.number, false, nil
		case 'z':
			e.space = e.space[:0]
		}
	}
	if !e.quiet {
		e.write(e.space)
	}
	return 0, false, nil
}

func (e *editor) writeFile(name string, line []byte) error {
	switch name {
	case "/dev/stdout":
		e.write(line)
		return nil
	case "/dev/stderr":
		_, err := e.c.err.Write(append(bytes.Clone(line), '\n'))
		return err
	}
	f := e.files[name]
	if f == nil {
		var err error
		if f, err = os.Create(e.c.path(name)); err != nil {
			return fmt.Errorf("%s: %s", name, reason(err))
		}
		e.files[name] = f
	}
	_, err := f.Write(append(bytes.Clone(line), '\n'))
	return err
}
