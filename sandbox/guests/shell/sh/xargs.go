package sh

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// xargs runs a command with the words of its input as arguments.
func xargs(c *call) int {
	f := c.flags()
	null := f.BoolP("null", "0", false, "the words end with NUL")
	delim := f.StringP("delimiter", "d", "", "the words end with this character")
	each := f.IntP("max-args", "n", 0, "words a command")
	lines := f.IntP("max-lines", "L", 0, "lines a command")
	place := f.StringP("replace", "I", "", "put each line in place of this text")
	empty := f.BoolP("no-run-if-empty", "r", false, "no command without words")
	trace := f.BoolP("verbose", "t", false, "print the commands")
	f.IntP("max-procs", "P", 1, "no effect: one after the other")
	f.IntP("max-chars", "s", 0, "no effect")
	f.SetInterspersed(false)
	cmd, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if len(cmd) == 0 {
		cmd = []string{"echo"}
	}
	in, err := io.ReadAll(c.in)
	if err != nil {
		c.readError(err)
	}
	words, err := xargsWords(string(in), *null, *delim, *place != "" || *lines > 0)
	if err != nil {
		return c.fail("%v", err)
	}
	result := 0
	run := func(args []string) bool {
		if *trace {
			fmt.Fprintln(c.err, strings.Join(args, " "))
		}
		switch st := c.run(c.ctx, args, nil, pipeOut{c}); {
		case st == 255 || st == 127 || st == 126:
			result = map[int]int{255: 124}[st]
			if result == 0 {
				result = st
			}
			return false
		case st != 0:
			result = 123
		}
		return c.ctx.Err() == nil
	}
	if *place != "" {
		for _, w := range words {
			args := make([]string, len(cmd))
			for i, a := range cmd {
				args[i] = strings.ReplaceAll(a, *place, w)
			}
			if !run(args) {
				break
			}
		}
		return result
	}
	size := *each
	if *lines > 0 {
		size = *lines
	}
	if size <= 0 {
		size = max(1, len(words))
	}
	if len(words) == 0 {
		if *empty {
			return 0
		}
		run(cmd)
		return result
	}
	for part := range slices.Chunk(words, size) {
		if *lines > 0 {
			part = strings.Fields(strings.Join(part, " "))
		}
		if !run(slices.Concat(cmd, part)) {
			break
		}
	}
	return result
}

// xargsWords splits the input of xargs: at blanks outside quotes, or as asked.
func xargsWords(in string, null bool, delim string, byLine bool) ([]string, error) {
	if null {
		delim = "\x00"
	}
	if delim != "" {
		in = strings.TrimSuffix(in, escapes(delim))
		if in == "" {
			return nil, nil
		}
		return strings.Split(in, escapes(delim)), nil
	}
	var words []string
	if byLine {
		for l := range strings.Lines(in) {
			if l = strings.TrimSpace(l); l != "" {
				words = append(words, l)
			}
		}
		return words, nil
	}
	var b strings.Builder
	inside, quote := false, byte(0)
	for i := 0; i < len(in); i++ {
		ch := in[i]
		switch {
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(ch)
		case ch == '\'' || ch == '"':
			quote, inside = ch, true
		case ch == '\\' && i+1 < len(in):
			i++
			b.WriteByte(in[i])
			inside = true
		case ch == ' ' || ch == '\t' || ch == '\n':
			if inside {
				words = append(words, b.String())
				b.Reset()
			}
			inside = false
		default:
			b.WriteByte(ch)
			inside = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("unmatched %c in the input; use -0 or -d '\\n'", quote)
	}
	if inside {
		words = append(words, b.String())
	}
	return words, nil
}
