package sh

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"sync/atomic"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// deepest is how many calls may be on the stack of a goroutine while a program
// is read or run. Nesting, in the text or of functions, uses a few for each
// level, and Go cannot go on after a stack that has become too large: its
// whole process ends. It is some hundred levels; bash has no limit of its own
// and crashes at some thousand.
const deepest = 8000

var errDeep = errors.New("shell: nested too deeply (parentheses, substitutions, compound commands or functions inside each other)")

// tooDeep looks at the stack at every 16th command, since a look takes as long
// as the stack is deep; a recursion meets it soon after.
func (s *Shell) tooDeep() bool { return s.calls.Add(1)%16 == 0 && deep(deepest) }

// saidOnce writes errDeep once a program: the interpreter reports it for each
// level of substitutions that it leaves.
type saidOnce struct {
	io.Writer
	said atomic.Bool
}

func (w *saidOnce) Write(p []byte) (int, error) {
	if string(p) == errDeep.Error()+"\n" && w.said.Swap(true) {
		return len(p), nil
	}
	return w.Writer.Write(p)
}

// deep says whether the stack has more than n calls.
func deep(n int) bool {
	var pc [1]uintptr
	return runtime.Callers(n, pc[:]) > 0
}

// shallow reads program text in small pieces and ends at a stack that is too
// deep, which is how a parser that knows no limit gets one.
type shallow struct{ io.Reader }

// piece is how much is read between two looks at the stack.
const piece = 128

func (s shallow) Read(p []byte) (int, error) {
	if deep(deepest) {
		return 0, errDeep
	}
	return s.Reader.Read(p[:min(len(p), piece)])
}

// parse reads a program of bash; name is what its errors call it.
func parse(code, name string) (*syntax.File, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(shallow{strings.NewReader(code)}, name)
	if err != nil {
		return nil, err
	}
	return file, substitute(file)
}

// harmless is the length of a text that cannot be nested too deeply: each level
// takes a byte at least, and a few calls.
const harmless = 500

// opensDeep says whether a command of the interpreter's own would read text that
// is nested too deeply, with a parser that we have no hand in.
func (s *Shell) opensDeep(ctx context.Context, args []string) bool {
	var code string
	switch args[0] {
	case "eval", "trap", "unset", "alias":
		code = strings.Join(args[1:], " ")
	case "source", ".":
		if len(args) < 2 {
			return false
		}
		p := args[1]
		if !path.IsAbs(p) {
			p = path.Join(interp.HandlerCtx(ctx).Dir, p)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return false // the interpreter says so
		}
		code = string(b)
	}
	if len(code) <= harmless {
		return false
	}
	_, err := parse(code, "")
	return errors.Is(err, errDeep)
}

// nested refuses program text of another language in which more brackets are
// open at once than any real program has: their parsers know no limit either.
func nested(c *call, text string) bool {
	const most = 1000
	open := 0
	for i := range len(text) {
		switch text[i] {
		case '(', '[', '{':
			open++
		case ')', ']', '}':
			open = max(open-1, 0)
		}
		if open > most {
			c.fail("the program is nested too deeply: at most %d brackets may be open at once", most)
			return true
		}
	}
	return false
}
