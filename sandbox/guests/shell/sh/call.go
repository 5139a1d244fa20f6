package sh

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A call is one run of a tool: its arguments, its three streams and what it
// may ask of the shell.
type call struct {
	ctx  context.Context
	name string
	args []string // without the name
	dir  string   // absolute
	env  func(string) string
	all  func() []string // the exported variables, NAME=value
	in   io.Reader
	out  *bufio.Writer
	err  io.Writer
	// script runs a program in a shell of its own for bash and sh.
	script  func(name, code string, params []string, in io.Reader) int
	known   func(name string) bool // whether there is such a command
	trouble int                    // exit status for a problem: 1, or 2 where 1 means something else
	status  int                    // raised by fail
	partial bool                   // the last record that was read had no end
	// run runs another tool or shell function for xargs, find and env.
	run func(ctx context.Context, args []string, in io.Reader, out io.Writer) int
}

// A tool returns its exit status.
type tool func(c *call) int

// closedPipe is the panic by which a tool ends when nobody reads its output
// any more, as a process would by SIGPIPE.
type closedPipe struct{}

// exitPipe is the exit status of such a tool: 128 + SIGPIPE.
const exitPipe = 141

// newCall makes the call whose output goes to out.
func newCall(ctx context.Context, name string, args []string, in io.Reader, out, errs io.Writer) *call {
	if in == nil {
		in = strings.NewReader("")
	}
	return &call{ctx: ctx, name: name, args: args, trouble: 1, in: in, out: bufio.NewWriterSize(pipeWriter{out}, 32<<10), err: errs}
}

// do runs t and turns a closed pipe or a defect of the tool into an exit status.
func (c *call) do(t tool) (status int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case closedPipe:
			status = exitPipe
		default:
			fmt.Fprintf(c.err, "%s: internal error: %v\n", c.name, r)
			status = 2
		}
	}()
	status = t(c)
	c.out.Flush()
	return max(status, c.status)
}

type pipeWriter struct{ io.Writer }

func (w pipeWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		panic(closedPipe{})
	}
	return n, nil
}

// fail reports a problem and raises the exit status to that of trouble.
func (c *call) fail(format string, args ...any) int {
	fmt.Fprintf(c.err, "%s: %s\n", c.name, fmt.Sprintf(format, args...))
	c.status = max(c.status, c.trouble)
	return c.status
}

// path resolves a name against the shell's directory.
func (c *call) path(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(c.dir, name)
}

// reason is the text of an error without the operation and the path.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "No such file or directory"
	case errors.Is(err, fs.ErrExist):
		return "File exists"
	case errors.Is(err, fs.ErrPermission):
		return "Permission denied"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// open opens the named file for reading; "-" is the standard input. A problem is reported.
func (c *call) open(name string) (io.ReadCloser, bool) {
	switch name {
	case "-", "/dev/stdin":
		return io.NopCloser(c.in), true
	case "/dev/null":
		return null{}, true
	case "/dev/zero":
		return zero{}, true
	case "/dev/urandom", "/dev/random":
		return io.NopCloser(rand.Reader), true
	}
	p := c.path(name)
	if fi, err := os.Stat(p); err != nil {
		c.fail("%s: %s", name, reason(err))
		return nil, false
	} else if fi.IsDir() {
		c.fail("%s: Is a directory", name)
		return nil, false
	}
	f, err := os.Open(p)
	if err != nil {
		c.fail("%s: %s", name, reason(err))
		return nil, false
	}
	return f, true
}

// zero is /dev/zero.
type zero struct{ null }

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// files yields the named inputs, opened, or the standard input when there are none.
func (c *call) files(names []string) iter.Seq2[string, io.Reader] {
	return func(yield func(string, io.Reader) bool) {
		if len(names) == 0 {
			names = []string{"-"}
		}
		for _, n := range names {
			f, ok := c.open(n)
			if !ok {
				continue
			}
			more := yield(n, f)
			f.Close()
			if !more {
				return
			}
		}
	}
}

// lines yields the lines of r of any length, without their newline. A read error is reported.
// The line is valid until the next one.
func (c *call) lines(r io.Reader) iter.Seq[[]byte] { return c.records(r, '\n') }

// records is lines with another end of line.
func (c *call) records(r io.Reader, end byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		br := bufio.NewReaderSize(r, 32<<10)
		var long []byte
		for {
			part, err := br.ReadSlice(end)
			if err == bufio.ErrBufferFull {
				long = append(long, part...)
				continue
			}
			line := part
			if len(long) > 0 {
				long = append(long, part...)
				line = long
			}
			if err == nil {
				line = line[:len(line)-1]
			}
			c.partial = err != nil && len(line) > 0
			if err != nil && len(line) == 0 {
				c.readError(err)
				return
			}
			if !yield(line) {
				return
			}
			long = long[:0]
			if err != nil {
				c.readError(err)
				return
			}
		}
	}
}

func (c *call) readError(err error) {
	if err != io.EOF && err != io.ErrClosedPipe {
		c.fail("read error: %s", reason(err))
	}
}

// all lines of all inputs, one after the other.
func (c *call) input(names []string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, r := range c.files(names) {
			for l := range c.lines(r) {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// line writes a line.
func (c *call) line(b []byte) {
	c.out.Write(b)
	c.out.WriteByte('\n')
}

// flags starts a set of options; parse reads them.
func (c *call) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SortFlags = false
	return f
}

// errHelp is returned by parse when --help was asked for and answered.
var errHelp = errors.New("help")

// parse reads the options and returns the other arguments. At an error it has
// reported it, and the caller returns leave(err).
func (c *call) parse(f *pflag.FlagSet) ([]string, error) {
	f.Usage = func() {}
	err := f.Parse(c.args)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(c.out, "%s: options:\n%s", c.name, f.FlagUsages())
		return nil, errHelp
	}
	if err != nil {
		c.fail("%v", err)
	}
	return f.Args(), err
}

// leave is the exit status for an error of parse.
func (c *call) leave(err error) int {
	if err == errHelp {
		return 0
	}
	return c.status
}

// numeric rewrites the historical -5 into flag 5, where it is not the value of
// one of the options.
func numeric(args []string, flag string, options ...string) []string {
	out := make([]string, 0, len(args)+1)
	for i, a := range args {
		if i > 0 && slices.Contains(options, args[i-1]) {
			out = append(out, a)
			continue
		}
		if a == "--" {
			return append(out, args[i:]...)
		}
		if len(a) > 1 && a[0] == '-' && strings.Trim(a[1:], "0123456789") == "" {
			out = append(out, flag, a[1:])
			continue
		}
		out = append(out, a)
	}
	return out
}
